"""One HTTP request and where its reply goes: the seam between the API and whatever serves it.

`raftmem.server.connection` and any ASGI server (`asgi.py`) stand behind it. A head is header lines, each
`name: value` with its line end, without the status line and the empty line; the rule: whoever makes a head has seen to
it that no value holds a line break.
"""

from collections.abc import Sequence
from typing import Protocol

Header = tuple[bytes, bytes]


class Disconnected(Exception):
    """The client went away before its request was whole: there is nobody to answer."""


class Line(Protocol):
    """The connection under a reply that was begun."""

    @property
    def full(self) -> bool:
        """So much waits for the reader that nothing more should be written."""
        ...

    @property
    def unread(self) -> int:
        """Bytes that wait here for the reader."""
        ...

    async def drained(self) -> None:
        """Until it is not full any more, or lost."""
        ...

    def end(self, last: bytes, *, linger_seconds: float) -> None:
        """Write the last of the reply behind all that waits, full or not; cut the connection after so long."""
        ...


class Exchange(Protocol):
    """A request is answered once: whole by `reply`, or by `begin`, any number of `put` and `end`."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> bytes:
        """As it was sent, without the query. ASCII."""
        ...

    @property
    def query(self) -> bytes: ...

    @property
    def headers(self) -> Sequence[Header]:
        """In order, names in lower case."""
        ...

    @property
    def line(self) -> Line | None:
        """The connection under a streamed reply, where the server offers it."""
        ...

    async def body(self) -> bytes:
        """All of it; or, past `BODY_BYTES_MAX`, more than that and not all. Raises: Disconnected."""
        ...

    async def gone(self) -> None:
        """Returns when the client is not there any more. What else it sends meanwhile is dropped."""
        ...

    async def reply(self, status: int, head: bytes, body: bytes) -> None:
        """`head` says the length of the body, where there may be one."""
        ...

    async def begin(self, status: int, head: bytes) -> None:
        """Of a reply whose length nobody knows."""
        ...

    async def put(self, piece: bytes) -> None:
        """Waits while the reader is slow."""
        ...

    async def end(self, last: bytes) -> None: ...
