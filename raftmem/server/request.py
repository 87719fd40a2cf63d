"""One request on a connection, and its reply: `raftmem.api.http.exchange.Exchange` of our own server.

Nothing here parses and nothing here decides who is next: that is the connection's. The rules: a reply leaves in one
piece; a request is answered once; its connection hears of it when it is.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Protocol

from raftmem.api.http.exchange import Disconnected, Header
from raftmem.limits import BODY_BYTES_MAX

STATUS_LINES: Final = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"connection: close\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_NO_BODY: Final = (204, 304)


class Wire(Protocol):
    """What a request needs of its connection."""

    transport: asyncio.Transport

    @property
    def is_full(self) -> bool:
        """The reader is slow, and still there."""
        ...

    def write(self, data: bytes) -> None: ...

    async def drained(self) -> None:
        """Until it is not full."""
        ...

    def closes_after(self, request: "Request") -> bool:
        """Whether the reply to it is the last one here."""
        ...

    def answered(self, request: "Request", *, closes: bool) -> None:
        """Its reply is written, all of it."""
        ...


class Request:
    """`keeps_alive`: the connection may serve another one after it. `is_old`: of HTTP/1.0, which knows no chunks.

    `is_whole`: all of the body has come. `is_queued`: its connection has taken note of it.
    """

    __slots__ = (
        "_arrival",
        "_begun",
        "_body",
        "_chunks",
        "_leavers",
        "_lost",
        "_wire",
        "headers",
        "is_answered",
        "is_old",
        "is_queued",
        "is_whole",
        "keeps_alive",
        "method",
        "path",
        "query",
    )

    def __init__(
        self,
        wire: Wire,
        method: str,
        path: bytes,
        query: bytes,
        headers: Sequence[Header],
        *,
        keeps_alive: bool,
        is_old: bool,
    ) -> None:
        self._wire = wire
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.keeps_alive = keeps_alive
        self.is_old = is_old
        self.is_whole = False
        self.is_answered = False
        self.is_queued = False
        self._body: bytes | bytearray = b""
        self._lost = False
        self._begun = False
        self._chunks = False
        self._arrival: asyncio.Future[None] | None = None
        self._leavers: list[asyncio.Future[None]] = []

    # --- the request, as it arrives -----------------------------------------------------------------
    def take(self, part: bytes) -> None:
        """A piece of the body. What is past the limit, or comes after the reply, is dropped."""
        body = self._body
        if len(body) > BODY_BYTES_MAX or self.is_answered:
            return
        if not body:
            self._body = part
        elif isinstance(body, bytearray):
            body += part
        else:
            self._body = bytearray(body) + part
        if len(self._body) > BODY_BYTES_MAX:
            self._arrived()

    def complete(self) -> None:
        """There is no more of it."""
        self.is_whole = True
        self._arrived()

    def lose(self) -> None:
        """The client is gone, or what it sends makes no sense any more."""
        self._lost = True
        self._arrived()
        self._tell_leavers()

    def _arrived(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _tell_leavers(self) -> None:
        for waiting in self._leavers:
            if not waiting.done():
                waiting.set_result(None)

    async def body(self) -> bytes:
        if not self.is_whole and len(self._body) <= BODY_BYTES_MAX:
            await self._more()
        return bytes(self._body)

    async def _more(self) -> None:
        if not self._lost and (b"expect", b"100-continue") in ((name, value.lower()) for name, value in self.headers):
            self._wire.write(_CONTINUE)
        while not self.is_whole and len(self._body) <= BODY_BYTES_MAX:
            if self._lost:
                raise Disconnected
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival

    async def gone(self) -> None:
        if self._lost or self.is_answered:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leavers.append(waiting)
        try:
            await waiting
        finally:
            self._leavers.remove(waiting)

    # --- the reply ----------------------------------------------------------------------------------
    async def reply(self, status: int, head: bytes, body: bytes) -> None:
        self._begin()
        if self.method == "HEAD" or status in _NO_BODY:  # its reply has no body, whatever the length says
            body = b""
        wire = self._wire
        closes = wire.closes_after(self)
        wire.write(b"".join((STATUS_LINES[status], head, _CLOSE if closes else b"", b"\r\n", body)))
        self._end(closes=closes)

    async def begin(self, status: int, head: bytes) -> None:
        self._begin()
        self._chunks = not self.is_old
        closes = _CLOSE if self._wire.closes_after(self) else b""
        chunked = _CHUNKED if self._chunks else b""
        self._wire.write(b"".join((STATUS_LINES[status], head, chunked, closes, b"\r\n")))

    async def put(self, piece: bytes) -> None:
        if self._wire.is_full:
            await self._wire.drained()
        if piece and not self.is_answered:
            self._wire.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunks else piece)

    async def end(self, last: bytes) -> None:
        await self.put(last)
        if not self.is_answered:
            if self._chunks:
                self._wire.write(b"0\r\n\r\n")
            self._end(closes=self._wire.closes_after(self))

    @property
    def line(self) -> "StreamLine":
        return StreamLine(self, self._wire)

    def end_now(self, last: bytes) -> None:
        """Whether the reader takes it or not; the connection closes behind it."""
        if not self.is_answered and not self._lost:
            self._wire.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if self._chunks else last)
            self._end(closes=True)

    def _begin(self) -> None:
        if self._begun:
            raise RuntimeError("a request is answered once")
        self._begun = True

    def _end(self, *, closes: bool) -> None:
        self.is_answered = True
        self._body = b""
        self._tell_leavers()
        self._wire.answered(self, closes=closes)


class StreamLine:
    """The connection under a reply that is streamed, past its flow control: `raftmem.api.http.exchange.Line`."""

    __slots__ = ("_request", "_wire")

    def __init__(self, request: Request, wire: Wire) -> None:
        self._request = request
        self._wire = wire

    @property
    def full(self) -> bool:
        return self._wire.is_full

    @property
    def unread(self) -> int:
        return self._wire.transport.get_write_buffer_size()

    async def drained(self) -> None:
        await self._wire.drained()

    def end(self, last: bytes, *, linger_seconds: float) -> None:
        if not self._request.is_answered:
            self._request.end_now(last)
            asyncio.get_running_loop().call_later(linger_seconds, self._wire.transport.abort)
