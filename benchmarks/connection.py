"""Plain connections for requests that wrk cannot make: their content comes from the last answer, or holds their send
time.

A connection has one request under way at a time. It knows just enough HTTP/1.1 for replies with a length or in chunks,
and costs some 20 us CPU a request, which is reported beside the measurement.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, cast
from urllib.parse import urlsplit


class Reply(NamedTuple):
    status: int
    body: bytes

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300


class Broken(ConnectionError):
    """The other side closed the connection, or sent something that is not HTTP."""


def request(method: str, path: str, body: str | bytes = b"", *, headers: str = "") -> bytes:
    """The bytes of one request; `headers` are whole lines."""
    text = body.encode() if isinstance(body, str) else body
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{headers}"
    if text or method != "GET":
        head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
    return f"{head}\r\n".encode() + text


class Connection(asyncio.Protocol):
    """Kept alive; `open` it."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = bytearray()
        self._then: Callable[[Reply | Broken], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._listener: Callable[[bytes], None] | None = None
        self.is_closed = False

    @classmethod
    async def open(cls, url: str) -> "Connection":
        address = urlsplit(url)
        place = address.hostname or "", address.port or 0
        _, connection = await asyncio.get_running_loop().create_connection(cls, *place)
        return connection

    def ask(self, sent: bytes) -> "asyncio.Future[Reply]":
        """Raises (from the future): Broken."""
        waiting: asyncio.Future[Reply] = self._loop.create_future()

        def then(reply: Reply | Broken) -> None:
            if waiting.done():
                return
            if isinstance(reply, Broken):
                waiting.set_exception(reply)
            else:
                waiting.set_result(reply)

        self.send(sent, then)
        return waiting

    def send(self, sent: bytes, then: Callable[[Reply | Broken], None]) -> None:
        """`then` is called as soon as the reply is there: cheaper than a future."""
        assert self._then is None, "one request at a time"
        if self._transport is None or self.is_closed:
            then(Broken("the connection is closed"))
            return
        self._then = then
        self._transport.write(sent)

    def listen(self, sent: bytes, listener: Callable[[bytes], None]) -> None:
        """Ask for a stream; all that comes goes to `listener` as it comes, framing included."""
        assert self._transport is not None
        self._listener = listener
        self._transport.write(sent)

    def close(self) -> None:
        self.is_closed = True
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ----------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own do not say what they are

    def data_received(self, data: bytes) -> None:
        if self._listener is not None:
            self._listener(data)
            return
        self._buffer += data
        try:
            reply = take(self._buffer)
        except ValueError as error:
            self._fail(f"not a reply: {error}")
            return
        if reply is not None and self._then is not None:
            then, self._then = self._then, None
            then(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was lost: {exc or 'closed by the other side'}")

    def _fail(self, why: str) -> None:
        self.close()
        then, self._then = self._then, None
        if then is not None:
            then(Broken(why))


@asynccontextmanager
async def opened(urls: Sequence[str], count: int) -> AsyncIterator[list[Connection]]:
    """That many connections, over the addresses in turn."""
    connections = [await Connection.open(urls[number % len(urls)]) for number in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def take(buffer: bytearray) -> Reply | None:
    """One whole reply off the front of `buffer`; None while there is none. Raises: ValueError."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end]).lower()
    if not head.startswith(b"http/1.1 "):
        raise ValueError(repr(head[:20]))
    status, start = int(head[9:12]), end + 4
    told = head.find(b"\r\ncontent-length:")
    if told >= 0:
        length = int(head[told + 17 :].split(b"\r\n", 1)[0])
        if len(buffer) < start + length:
            return None
        body = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return Reply(status, body)
    if b"\r\ntransfer-encoding: chunked" not in head:
        if status in (204, 304):
            del buffer[:start]
            return Reply(status, b"")
        raise ValueError("neither a length nor chunks")
    found = _chunks(buffer, start)
    if found is None:
        return None
    body, at = found
    del buffer[:at]
    return Reply(status, body)


def _chunks(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    """The body and where it ends; None while chunks are missing."""
    parts = bytearray()
    while (line := buffer.find(b"\r\n", at)) >= 0:
        size = int(bytes(buffer[at:line]).split(b";", 1)[0], 16)
        at = line + 2
        if len(buffer) < at + size + 2:
            return None
        if size == 0:
            return bytes(parts), at + 2
        parts += buffer[at : at + size]
        at += size + 2
    return None
