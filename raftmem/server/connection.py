"""One HTTP/1 connection: httptools parses, requests are served one after the other in the order they came.

A request whose answer is at hand is served at once, in the callback that brought it (`eager.py`). The rules: replies
keep the order of their requests; a client that does not read, or whose request is still being answered, is not read
from any more than a piece ahead; what is not whole in time is given up.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import Final, Protocol

import httptools

from raftmem.api.http.exchange import Exchange, Header
from raftmem.limits import HEAD_BYTES_MAX, KEEP_ALIVE_SECONDS, REQUEST_SECONDS_MAX
from raftmem.runtime.eager_task import EagerTask, begin
from raftmem.server.request import Request

_SERVED_A_TURN: Final = 16  # requests of one connection, then the others have theirs
_LINGER_SECONDS: Final = 1.0
_METHODS: Final = {word.encode(): word for word in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")}
_TOGETHER_BYTES: Final = 64 << 10  # of one connection; more is written at once, so that it is known to be full
log = logging.getLogger("raftmem.http")
_LOOKS: Final = 4  # how often within a bound
_NOT_HTTP: Final = "this is not an HTTP/1.1 request; look at its first lines"
_TOO_LONG: Final = f"the head of the request is past its limit of {HEAD_BYTES_MAX} bytes"


class Served(Protocol):
    """What answers: `raftmem.api.app.App`."""

    def serve(self, exchange: Exchange) -> Coroutine[object, None, None]: ...

    def refuse(self, exchange: Exchange, detail: str) -> Coroutine[object, None, None]:
        """What could not be read as a request."""
        ...


class Outbox:
    """What the connections of one server write in this turn of the loop, sent one right after the other at its end.

    A write wakes its reader, on another core; many in a row wake it once.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._senders: list[Connection] = []

    def add(self, sender: "Connection") -> None:
        """It has something to send, and had nothing."""
        if not self._senders:
            self._loop.call_soon(self._send)
        self._senders.append(sender)

    def _send(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.flush()


class Connection(asyncio.Protocol):
    """`connections`, `tasks`: of its server, which waits for them when it ends; it is in the former while it lasts."""

    transport: asyncio.Transport

    def __init__(self, app: Served, outbox: Outbox, connections: "set[Connection]", tasks: "set[EagerTask]") -> None:
        self._app = app
        self._outbox = outbox
        self._connections = connections
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[Header] = []
        self._head_bytes = 0  # of a head, as far as it came in later pieces than its first
        self._arriving: Request | None = None  # its head has come, its body not yet
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._broken: str | None = None  # why nothing more is read; told in its turn
        self._out: list[bytes] = []  # what is to be written at the end of this turn
        self._out_bytes = 0
        self._goes_on = False
        self._leaving = False
        self._reads = True
        self._drains: list[asyncio.Future[None]] = []
        self.is_full = False
        self._unfinished_since: float | None = None  # a request that has been begun, or the first one
        self._idle_since = 0.0

    # --- the transport --------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # the loop's own, not always a subclass of asyncio's
        self._connections.add(self)
        self._unfinished_since = self._idle_since = self._loop.time()
        self._look = self._loop.call_later(REQUEST_SECONDS_MAX / _LOOKS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it ended
        self._look.cancel()
        self._connections.discard(self)
        self._stop_reading()
        self.resume_writing()
        if self._current is not None:
            self._current.lose()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        drains, self._drains = self._drains, []
        for waiting in drains:
            if not waiting.done():
                waiting.set_result(None)
        if self._waiting:
            self._loop.call_soon(self._go_on)

    async def drained(self) -> None:
        while self.is_full:
            waiting: asyncio.Future[None] = self._loop.create_future()
            self._drains.append(waiting)
            await waiting

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_on(data, upgrade)
        except httptools.HttpParserError:
            self._break(_NOT_HTTP)
        if self._unfinished_since is not None:
            self._look_at_unfinished(len(data))
        if self._waiting or self._broken is not None:
            self._go_on()

    def _feed_on(self, data: bytes, upgrade: httptools.HttpParserUpgrade) -> None:
        """To what the client would change is not spoken here: its request is served as it is, and so is the next."""
        assert self._parser is not None
        while True:
            data = data[upgrade.args[0] :]
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as another:
                upgrade = another
            except httptools.HttpParserError:
                self._break(_NOT_HTTP)
                return
            else:
                return

    def _look_at_unfinished(self, size: int) -> None:
        arriving = self._arriving
        if arriving is not None:
            if not arriving.is_queued:
                self._queue(arriving)
        elif self._head_bytes < 0:
            self._head_bytes = 0
        else:
            self._head_bytes += size
            if self._head_bytes > HEAD_BYTES_MAX:
                self._break(_TOO_LONG)

    def _check(self) -> None:
        now = self._loop.time()
        begun = self._unfinished_since if self._reads else None
        if begun is not None:
            over = now - begun > REQUEST_SECONDS_MAX
        else:
            over = self._current is None and not self._waiting and now - self._idle_since > KEEP_ALIVE_SECONDS
        if over:
            self._hang_up()
        else:
            self._look = self._loop.call_later(REQUEST_SECONDS_MAX / _LOOKS, self._check)

    def shutdown(self) -> None:
        """End, once what has been asked is answered."""
        self._leaving = True
        if self._current is None and not self._waiting:
            self._hang_up()

    # --- the parser -----------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._head_bytes = -1  # its first piece is this one
        if self._unfinished_since is None:
            self._unfinished_since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._arriving is None:  # else a trailer, which says nothing here
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, url, headers = self._parser, self._url, self._headers
        assert parser is not None
        if url[:1] == b"/" and b"#" not in url:
            path, _, query = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            path, query = parsed.path or b"/", parsed.query or b""
        if not path.isascii():
            raise ValueError("a path is ASCII")
        method = parser.get_method()
        is_old = parser.get_http_version() == "1.0"
        self._arriving = Request(
            self,
            _METHODS.get(method) or method.decode("ascii"),
            path,
            query,
            headers,
            keeps_alive=not is_old and parser.should_keep_alive(),
            is_old=is_old,
        )

    def on_body(self, part: bytes) -> None:
        if self._arriving is not None:
            self._arriving.take(part)

    def on_message_complete(self) -> None:
        request, self._arriving = self._arriving, None
        self._unfinished_since = None
        if request is not None:
            request.complete()
            if not request.is_queued:
                self._queue(request)

    # --- one after the other ----------------------------------------------------------------------------
    def _queue(self, request: Request) -> None:
        request.is_queued = True
        self._waiting.append(request)

    def _go_on(self) -> None:
        """Serve what waits, as far as it goes without waiting for anything else."""
        waiting = self._waiting
        self._goes_on = True
        served = 0
        while waiting and self._current is None and not self.is_full:
            if served == _SERVED_A_TURN:
                self._loop.call_soon(self._go_on)
                break
            served += 1
            request = self._current = waiting.popleft()
            self._serve(request, self._app.serve(request))
        if self._broken is not None and self._current is None and not waiting:
            detail, self._broken = self._broken, None
            request = self._current = Request(self, "", b"/", b"", (), keeps_alive=False, is_old=False)
            self._serve(request, self._app.refuse(request, detail))
        self._goes_on = False
        if self._reads == bool(waiting):
            self._reads = not waiting
            if self._reads and self._unfinished_since is not None:
                self._unfinished_since = self._loop.time()  # it was not the client that paused
            if not self.transport.is_closing():
                (self.transport.resume_reading if self._reads else self.transport.pause_reading)()

    def _serve(self, request: Request, work: Coroutine[object, None, None]) -> None:
        try:
            begun = begin(work, self._loop, lambda begun, error: self._ended(request, begun, error))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told and logged, and the next is served
            self._settle(request, error)
            return
        if begun is None:
            self._settle(request, None)
        else:
            self._tasks.add(begun)

    def _ended(self, request: Request, begun: EagerTask, error: BaseException | None) -> None:
        self._tasks.discard(begun)
        self._settle(request, error)

    def _settle(self, request: Request, error: BaseException | None) -> None:
        """Nobody works on it any more."""
        if error is not None:
            log.error("%s %s failed", request.method, request.path.decode(), exc_info=error)
        if request.is_answered or self.transport.is_closing():
            return
        if self._broken is None:
            self._hang_up()
        elif self._current is request:
            self._current = None
            if not self._goes_on:
                self._loop.call_soon(self._go_on)

    def _break(self, detail: str) -> None:
        """Nothing more can be understood. What came before is still answered, then this is told."""
        self._parser = None
        request, self._arriving = self._arriving, None
        if request is None:
            self._broken = detail
        elif request.is_answered:
            self._close()
        else:
            self._broken = detail
            request.lose()

    # --- what a request asks for ------------------------------------------------------------------------
    def write(self, data: bytes) -> None:
        if not self._out:
            self._outbox.add(self)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > _TOGETHER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        out, self._out, self._out_bytes = self._out, [], 0
        if out and not self.transport.is_closing():  # its client may have left in the same turn
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def closes_after(self, request: Request) -> bool:
        return not request.keeps_alive or (self._leaving and not self._waiting)

    def answered(self, request: Request, *, closes: bool) -> None:
        if self._current is request:
            self._current = None
        self._idle_since = self._loop.time()
        if closes:
            self._close(is_sending=not request.is_whole and not self._leaving)
        elif not self._goes_on and (self._waiting or self._broken is not None):
            self._loop.call_soon(self._go_on)

    def _hang_up(self) -> None:
        """Once what was answered in this turn has left too."""
        self.flush()
        self.transport.close()

    def _close(self, *, is_sending: bool = False) -> None:
        """Once what is written has left. `is_sending`: the client still sends, and a connection that is closed under it
        may take the reply away again (RFC 9112, 9.6): it is given a moment to read and to close."""
        self._stop_reading()
        self.flush()
        if is_sending and not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()
            self._loop.call_later(_LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    def _stop_reading(self) -> None:
        self._parser = None
        self._broken = None
        self._waiting.clear()
