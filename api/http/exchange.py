"""One HTTP request and its reply: the interface between the API and the server under it.

`raftmem.server.request` and `AsgiExchange` (`asgi.py`) implement it. A head is header lines, each `name: value` with
its line end, without the status line and the empty line. The rule: the maker of a head checks that no value holds a
line break.
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
        """True while too much is unread to write more."""
        ...

    @property
    def unread(self) -> int:
        """Bytes written that the client has not taken yet."""
        ...

    async def drained(self) -> None:
        """Returns when it is not full, or is lost."""
        ...

    def end(self, last: bytes, *, linger_seconds: float) -> None:
        """Write the last piece, full or not; abort the connection after `linger_seconds`."""
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
    def is_old(self) -> bool:
        """HTTP/1.0, which needs no Host."""
        ...

    @property
    def client(self) -> str:
        """The client's address; empty where the server does not know it."""
        ...

    @property
    def line(self) -> Line | None:
        """The connection under a streamed reply, where the server offers it."""
        ...

    async def body(self) -> bytes:
        """The whole body; of a longer one than `BODY_BYTES_MAX`, a part that is longer too. Raises: Disconnected."""
        ...

    async def gone(self) -> None:
        """Returns when the client has left. Its further input is dropped meanwhile."""
        ...

    async def reply(self, status: int, head: bytes, body: bytes) -> None:
        """`head` gives the length of the body, where one is possible."""
        ...

    async def begin(self, status: int, head: bytes) -> None:
        """Start a reply of unknown length."""
        ...

    async def put(self, piece: bytes) -> None:
        """Write a piece; waits while the client reads slowly."""
        ...

    async def end(self, last: bytes) -> None: ...
