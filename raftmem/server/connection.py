"""One HTTP/1 connection: httptools parses, and requests are served one after the other in the order they came.

A request whose answer is at hand is served in the callback that brought it (`runtime/eager_task.py`). The rules:
replies keep the order of their requests; the connection reads at most one piece ahead of a client that does not read
its replies or whose request is still being answered; a request that is not whole in time closes the connection.
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

_REQUESTS_A_TURN: Final = 16  # requests of one connection in a turn, then other connections are served
_LINGER_SECONDS: Final = 1.0
_METHODS: Final = {word.encode(): word for word in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")}
_GATHERED_BYTES_MAX: Final = 64 << 10  # of one connection; past it they are written at once, which shows a slow reader
log = logging.getLogger("raftmem.http")
_CHECKS_A_BOUND: Final = 4  # how often a time bound is checked while it runs
_NOT_HTTP: Final = "this is not an HTTP/1.1 request; look at its first lines"
_TOO_LONG: Final = f"the head of the request is past its limit of {HEAD_BYTES_MAX} bytes"


class Served(Protocol):
    """The app that answers: `raftmem.api.app.App`."""

    def serve(self, exchange: Exchange) -> Coroutine[object, None, None]: ...

    def refuse(self, exchange: Exchange, detail: str) -> Coroutine[object, None, None]:
        """Answer input that is no request; `detail` says why."""
        ...


class Outbox:
    """The connections of one server that write in this turn of the loop; all are flushed at its end, in a row.

    A write wakes its reader on another core; many writes in a row wake it once.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._senders: list[Connection] = []

    def add(self, sender: "Connection") -> None:
        """Flush `sender` at the end of this turn. The caller adds it once a turn."""
        if not self._senders:
            self._loop.call_soon(self._send)
        self._senders.append(sender)

    def _send(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.flush()


class Connection(asyncio.Protocol):
    """`connections` and `tasks` belong to the server, which waits for both when it ends.

    The connection is in `connections` from `connection_made` to `connection_lost`.
    """

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
        self._head_bytes = 0  # of an unfinished head, without the piece that it began in
        self._arriving: Request | None = None  # its head is complete, its body is not
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._refusal: str | None = None  # why nothing more is read; sent after the replies before it
        self._out: list[bytes] = []  # written at the end of this turn
        self._out_bytes = 0
        self._is_serving = False
        self._is_leaving = False
        self._is_reading = True
        self._drains: list[asyncio.Future[None]] = []
        self.is_full = False
        self._unfinished_since: float | None = None  # start of a request that is not whole, or of the connection
        self._idle_since = 0.0

    # --- the transport --------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # the loop's own, not always a subclass of asyncio's
        self._connections.add(self)
        self._unfinished_since = self._idle_since = self._loop.time()
        self._check_timer = self._loop.call_later(REQUEST_SECONDS_MAX / _CHECKS_A_BOUND, self._check)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the reason changes nothing
        self._check_timer.cancel()
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
            self._loop.call_soon(self._serve_waiting)

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
            self._feed_after_upgrade(data, upgrade)
        except httptools.HttpParserError:
            self._refuse(_NOT_HTTP)
        if self._unfinished_since is not None:
            self._note_unfinished(len(data))
        if self._waiting or self._refusal is not None:
            self._serve_waiting()

    def _feed_after_upgrade(self, data: bytes, upgrade: httptools.HttpParserUpgrade) -> None:
        """Protocol upgrades are unsupported: serve the request, and those behind it, as HTTP/1.1."""
        assert self._parser is not None
        while True:
            data = data[upgrade.args[0] :]
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as another:
                upgrade = another
            except httptools.HttpParserError:
                self._refuse(_NOT_HTTP)
                return
            else:
                return

    def _note_unfinished(self, size: int) -> None:
        """Queue a request whose body is still to come, or count the bytes of a head."""
        arriving = self._arriving
        if arriving is not None:
            if not arriving.is_queued:
                self._queue(arriving)
        elif self._head_bytes < 0:
            self._head_bytes = 0
        else:
            self._head_bytes += size
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(_TOO_LONG)

    def _check(self) -> None:
        now = self._loop.time()
        begun = self._unfinished_since if self._is_reading else None
        if begun is not None:
            over = now - begun > REQUEST_SECONDS_MAX
        else:
            over = self._current is None and not self._waiting and now - self._idle_since > KEEP_ALIVE_SECONDS
        if over:
            self._hang_up()
        else:
            self._check_timer = self._loop.call_later(REQUEST_SECONDS_MAX / _CHECKS_A_BOUND, self._check)

    def shutdown(self) -> None:
        """Close once every request that has come is answered."""
        self._is_leaving = True
        if self._current is None and not self._waiting:
            self._hang_up()

    # --- the parser -----------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._head_bytes = -1  # the piece that is being parsed is its first, and is not counted
        if self._unfinished_since is None:
            self._unfinished_since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._arriving is None:  # else it is a trailer, which means nothing here
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

    def _serve_waiting(self) -> None:
        """Serve the waiting requests until one of them has to wait."""
        waiting = self._waiting
        self._is_serving = True
        served = 0
        while waiting and self._current is None and not self.is_full:
            if served == _REQUESTS_A_TURN:
                self._loop.call_soon(self._serve_waiting)
                break
            served += 1
            request = self._current = waiting.popleft()
            self._serve(request, self._app.serve(request))
        if self._refusal is not None and self._current is None and not waiting:
            detail, self._refusal = self._refusal, None
            request = self._current = Request(self, "", b"/", b"", (), keeps_alive=False, is_old=False)
            self._serve(request, self._app.refuse(request, detail))
        self._is_serving = False
        if self._is_reading == bool(waiting):
            self._is_reading = not waiting
            if self._is_reading and self._unfinished_since is not None:
                self._unfinished_since = self._loop.time()  # the pause was ours, not the client's
            if not self.transport.is_closing():
                (self.transport.resume_reading if self._is_reading else self.transport.pause_reading)()

    def _serve(self, request: Request, work: Coroutine[object, None, None]) -> None:
        try:
            begun = begin(work, self._loop, lambda begun, error: self._ended(request, begun, error))
        except Exception as error:  # noqa: BLE001  # every failure is logged, and the next request is served
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
        """The work on `request` is over. Unanswered, it closes the connection."""
        if error is not None:
            log.error("%s %s failed", request.method, request.path.decode(), exc_info=error)
        if request.is_answered or self.transport.is_closing():
            return
        if self._refusal is None:
            self._hang_up()
        elif self._current is request:
            self._current = None
            if not self._is_serving:
                self._loop.call_soon(self._serve_waiting)

    def _refuse(self, detail: str) -> None:
        """Parse nothing more. Requests before this point are still answered, then `detail` is sent."""
        self._parser = None
        request, self._arriving = self._arriving, None
        if request is None:
            self._refusal = detail
        elif request.is_answered:
            self._close()
        else:
            self._refusal = detail
            request.lose()

    # --- for its requests ------------------------------------------------------------------------
    def write(self, data: bytes) -> None:
        if not self._out:
            self._outbox.add(self)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > _GATHERED_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered in this turn."""
        out, self._out, self._out_bytes = self._out, [], 0
        if out and not self.transport.is_closing():  # the client may have left in this turn
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def closes_after(self, request: Request) -> bool:
        return not request.keeps_alive or (self._is_leaving and not self._waiting)

    def answered(self, request: Request, *, closes: bool) -> None:
        if self._current is request:
            self._current = None
        self._idle_since = self._loop.time()
        if closes:
            self._close(is_sending=not request.is_whole and not self._is_leaving)
        elif not self._is_serving and (self._waiting or self._refusal is not None):
            self._loop.call_soon(self._serve_waiting)

    def _hang_up(self) -> None:
        """Flush the replies of this turn, then close."""
        self.flush()
        self.transport.close()

    def _close(self, *, is_sending: bool = False) -> None:
        """Close after everything written was sent.

        `is_sending`: the client still sends, and closing at once could destroy the reply on its side (RFC 9112, 9.6);
        so only our direction ends now, and the connection `_LINGER_SECONDS` later.
        """
        self._stop_reading()
        self.flush()
        if is_sending and not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()
            self._loop.call_later(_LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    def _stop_reading(self) -> None:
        self._parser = None
        self._refusal = None
        self._waiting.clear()
