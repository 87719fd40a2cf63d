"""One request of a connection, and its reply: implements `raftmem.api.http.exchange.Exchange`.

This module neither parses nor orders requests; the connection does. The rules: a reply that is not streamed is written
in one piece; a request is answered once; its connection is told when it is answered.
"""

import asyncio
import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol

from raftmem.api.http.exchange import Disconnected, Header
from raftmem.limits import BODY_BYTES_MAX

STATUS_LINES: Final = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"connection: close\r\n"
_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_NO_BODY: Final = (204, 304)
_date = b""
_date_until = 0.0  # wall time from which on `_date` is another second's


def _date_line() -> bytes:
    """`Date` as of now (RFC 9110, 6.6.1); made anew once a second, and when the clock was set back."""
    global _date, _date_until
    now = time.time()
    if not _date_until - 1 <= now < _date_until:
        _date_until = int(now) + 1.0
        _date = b"date: %b\r\n" % formatdate(int(now), usegmt=True).encode()
    return _date


class Wire(Protocol):
    """The connection, as its requests use it."""

    transport: asyncio.Transport

    @property
    def client(self) -> str:
        """The client's address."""
        ...

    @property
    def is_half_closed(self) -> bool:
        """True when the client sends no more; it may still read, or have left."""
        ...

    @property
    def is_full(self) -> bool:
        """True while the client reads too slowly to write more."""
        ...

    def write(self, data: bytes) -> None: ...

    async def drained(self) -> None:
        """Returns when the connection is not full, or is lost."""
        ...

    def closes_after(self, request: "Request") -> bool:
        """True if the connection closes after the reply to `request`."""
        ...

    def answered(self, request: "Request", *, closes: bool) -> None:
        """The whole reply to `request` is written."""
        ...

    def linger(self, seconds: float) -> None:
        """Abort after so long, whatever the client has read by then."""
        ...


class Request:
    """`keeps_alive`: the connection may serve another request after it. `is_old`: HTTP/1.0, which has no chunks.

    `received`: what came of the body. `held`: how many bytes of it the connection has counted. `is_whole`: the whole
    body has come. `is_queued`: the connection has it in its queue. `is_streaming`: a reply without length was begun.
    """

    __slots__ = (
        "_arrival",
        "_begun",
        "_chunks",
        "_gone_futures",
        "_lost",
        "_wire",
        "headers",
        "held",
        "is_answered",
        "is_old",
        "is_queued",
        "is_streaming",
        "is_whole",
        "keeps_alive",
        "method",
        "path",
        "query",
        "received",
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
        self.is_streaming = False
        self.held = 0
        self.received: bytes | bytearray = b""
        self._lost = False
        self._begun = False
        self._chunks = False
        self._arrival: asyncio.Future[None] | None = None
        self._gone_futures: list[asyncio.Future[None]] = []

    # --- the request, as it arrives -----------------------------------------------------------------
    def take(self, part: bytes) -> None:
        """Add a piece of the body. Pieces past the limit, or after the reply, are dropped."""
        body = self.received
        if len(body) > BODY_BYTES_MAX or self.is_answered:
            return
        if not body:
            self.received = part
        elif isinstance(body, bytearray):
            body += part
        else:
            self.received = bytearray(body) + part
        if len(self.received) > BODY_BYTES_MAX:
            self._arrived()

    def complete(self) -> None:
        """The body has ended."""
        self.is_whole = True
        self._arrived()

    def lose(self) -> None:
        """The client is gone, or the rest of its input cannot be parsed."""
        self._lost = True
        self._arrived()
        self.tell_gone()

    def _arrived(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def tell_gone(self) -> None:
        """Resolve the waits of those who asked to be told when the client leaves."""
        for waiting in self._gone_futures:
            if not waiting.done():
                waiting.set_result(None)

    async def body(self) -> bytes:
        if not self.is_whole and len(self.received) <= BODY_BYTES_MAX:
            await self._more()
        return bytes(self.received)

    async def _more(self) -> None:
        if not self._lost and (b"expect", b"100-continue") in ((name, value.lower()) for name, value in self.headers):
            self._wire.write(_CONTINUE)
        while not self.is_whole and len(self.received) <= BODY_BYTES_MAX:
            if self._lost:
                raise Disconnected
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival

    @property
    def client(self) -> str:
        return self._wire.client

    async def gone(self) -> None:
        if self._lost or self.is_answered or self._wire.is_half_closed:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone_futures.append(waiting)
        try:
            await waiting
        finally:
            self._gone_futures.remove(waiting)

    # --- the reply ----------------------------------------------------------------------------------
    async def reply(self, status: int, head: bytes, body: bytes) -> None:
        self._begin()
        if self.method == "HEAD" or status in _NO_BODY:
            body = b""  # although the head gives its length (RFC 9110, 9.3.2)
        wire = self._wire
        closes = wire.closes_after(self)
        wire.write(b"".join((STATUS_LINES[status], head, _date_line(), _CLOSE if closes else b"", b"\r\n", body)))
        self._end(closes=closes)

    async def begin(self, status: int, head: bytes) -> None:
        self._begin()
        self._chunks = not self.is_old
        self.is_streaming = True
        closes = _CLOSE if self._wire.closes_after(self) else b""
        chunked = _CHUNKED if self._chunks else b""
        self._wire.write(b"".join((STATUS_LINES[status], head, _date_line(), chunked, closes, b"\r\n")))

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
        """End the reply without waiting for the reader; the connection closes after it."""
        if not self.is_answered and not self._lost:
            self._wire.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if self._chunks else last)
            self._end(closes=True)

    def _begin(self) -> None:
        if self._begun:
            raise RuntimeError("a request is answered once")
        self._begun = True

    def _end(self, *, closes: bool) -> None:
        self.is_answered = True
        self.received = b""
        self.tell_gone()
        self._wire.answered(self, closes=closes)


class StreamLine:
    """The connection under a streamed reply, without flow control: implements `raftmem.api.http.exchange.Line`."""

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
            self._wire.linger(linger_seconds)
