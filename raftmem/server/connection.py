"""One HTTP/1 connection: requests are served one after the other, in the order they came.

A request whose answer is at hand is served in the callback that brought it (`runtime/eager_task.py`). The rules:
replies keep the order of their requests; the connection reads at most one piece ahead of a client that does not read
its replies or whose request is still being answered; a request that is not whole in time closes the connection, and so
does a client that takes nothing of its replies.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import Final

from raftmem.api.http.exchange import Header
from raftmem.errors import BadRequest, RaftmemError
from raftmem.limits import (
    BODY_BYTES_UNCOUNTED,
    KEEP_ALIVE_SECONDS,
    REQUEST_SECONDS_MAX,
    UNREAD_BYTES_HIGH,
    WRITE_STALL_SECONDS,
)
from raftmem.runtime.eager_task import EagerTask, begin
from raftmem.server.message_parser import Malformed, MessageParser
from raftmem.server.request import Request
from raftmem.server.room import address_of
from raftmem.server.shared import Served, Shared

_REQUESTS_A_TURN: Final = 16  # requests of one connection in a turn, then other connections are served
_LINGER_SECONDS: Final = 1.0
_GATHERED_BYTES_MAX: Final = 64 << 10  # of one connection; past it they are written at once, which shows a slow reader
_PARSED_A_TURN_BYTES: Final = 32 << 10  # of one connection; tiny requests or chunks take some 5 ms
_CHECKS_A_BOUND: Final = 4  # how often a time bound is checked while it runs
log = logging.getLogger("raftmem.http")


class Connection(asyncio.Protocol):
    """It is in `shared.connections` from `connection_made` to `connection_lost`."""

    transport: asyncio.Transport

    def __init__(self, app: Served, shared: Shared) -> None:
        self._app = app
        self._shared = shared
        self._unread = shared.room.unread
        self._loop = asyncio.get_running_loop()
        self._parser: MessageParser | None = MessageParser(self)
        self._unparsed: memoryview | None = None  # of a large piece; the parser gets some of it at a turn
        self._arriving: Request | None = None  # its head is complete, its body is not
        self._waiting: deque[Request] = deque()
        self._current: Request | None = None
        self._refusal: RaftmemError | None = None  # why nothing more is read; sent after the replies before it
        self._out: list[bytes] = []  # written at the end of this turn
        self._out_bytes = 0
        self._written = 0  # bytes given to the transport
        self._taken = 0  # of these, how many the client had taken at `unread_since`
        self._is_serving = False
        self._is_leaving = False
        self._is_reading = True
        self._drains: list[asyncio.Future[None]] = []
        self.client = ""
        self.is_full = False
        self.is_half_closed = False
        self.unread_since = 0.0
        self._unfinished_since: float | None = None  # start of a request that is not whole, or of the connection
        self._idle_since = 0.0

    # --- the transport --------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # the loop's own, not always a subclass of asyncio's
        self.transport.set_write_buffer_limits(high=UNREAD_BYTES_HIGH)
        self.client = address_of(transport.get_extra_info("peername"))
        self._shared.connections.add(self)
        self._shared.room.enter(self)
        self._unfinished_since = self._idle_since = self.unread_since = self._loop.time()
        self._check_timer = self._loop.call_later(REQUEST_SECONDS_MAX / _CHECKS_A_BOUND, self._check)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the reason changes nothing
        self._check_timer.cancel()
        self._shared.connections.discard(self)
        self._shared.room.leave(self)
        self._stop_reading()
        self.resume_writing()
        if self._current is not None:
            self._release(self._current)
            self._current.lose()

    def eof_received(self) -> bool:
        """The client sends no more, and may still read: requests that are whole are answered (RFC 9112, 9.6)."""
        self.is_half_closed = True
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            self._release(arriving)
            arriving.lose()
            if arriving in self._waiting:
                self._waiting.remove(arriving)
        if self._current is not None:
            self._current.tell_gone()
        self.shutdown()
        return not self.transport.is_closing()

    def pause_writing(self) -> None:
        self.is_full = True
        self._unread.note(self, self.transport.get_write_buffer_size())
        self._check_timer.cancel()
        self._note_progress()
        self._check_timer = self._loop.call_later(WRITE_STALL_SECONDS / _CHECKS_A_BOUND, self._check)

    def resume_writing(self) -> None:
        self.is_full = False
        self._unread.forget(self)
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

    def data_received(self, data: bytes | memoryview) -> None:
        if len(data) > _PARSED_A_TURN_BYTES or self._unparsed is not None:
            self._unparsed = memoryview(data if self._unparsed is None else bytes(self._unparsed) + bytes(data))
            self._parse_some()
            return
        parser = self._parser
        if parser is None:
            return
        try:
            parser.feed(data)
        except Malformed as error:
            self._refuse(BadRequest(error.detail))
        if (parser.is_in_head or parser.is_in_body) and self._unfinished_since is None:
            self._unfinished_since = self._loop.time()
        if self._arriving is not None:
            self._hold(self._arriving)
            if self._arriving is not None and not self._arriving.is_queued:
                self._queue(self._arriving)
        if self._waiting or self._refusal is not None:
            self._serve_waiting()

    def _parse_some(self) -> None:
        """A part of a large piece, then other connections have their turn."""
        if (unparsed := self._unparsed) is None or self._waiting:
            return
        self._unparsed = None
        self.data_received(unparsed[:_PARSED_A_TURN_BYTES])
        if self._parser is not None and len(unparsed) > _PARSED_A_TURN_BYTES:
            self._unparsed = unparsed[_PARSED_A_TURN_BYTES:]
        self._steer_reading()
        if self._unparsed is not None and not self._waiting:
            self._loop.call_soon(self._parse_some)

    def _steer_reading(self) -> None:
        """Read from the socket only while nothing waits that was read."""
        reads = not self._waiting and self._unparsed is None
        if reads == self._is_reading or self.is_half_closed:
            return
        self._is_reading = reads
        if reads and self._unfinished_since is not None:
            self._unfinished_since = self._loop.time()  # the pause was ours, not the client's
        if not self.transport.is_closing():
            (self.transport.resume_reading if reads else self.transport.pause_reading)()

    # --- time -----------------------------------------------------------------------------------------
    def _check(self) -> None:
        now = self._loop.time()
        unread = self._note_progress()
        streams = self._current is not None and self._current.is_streaming  # it notices by itself, and says a last word
        if unread and now - self.unread_since >= WRITE_STALL_SECONDS and not streams:
            self.abort()
            return
        if not self.transport.is_closing():
            begun = self._unfinished_since if self._is_reading else None
            if begun is not None:
                over = now - begun > REQUEST_SECONDS_MAX
            else:
                over = self._current is None and not self._waiting and now - self._idle_since > KEEP_ALIVE_SECONDS
            if over:
                self._hang_up()
        bound = WRITE_STALL_SECONDS if unread else REQUEST_SECONDS_MAX
        self._check_timer = self._loop.call_later(bound / _CHECKS_A_BOUND, self._check)

    def _note_progress(self) -> int:
        """Bytes that wait for the reader."""
        unread = self.transport.get_write_buffer_size()
        if self._written - unread != self._taken or not unread:
            self._taken, self.unread_since = self._written - unread, self._loop.time()
        return unread

    @property
    def idle_since(self) -> float | None:
        if self._current is not None or self._waiting or self._out or self._unparsed is not None:
            return None
        if self._parser is None or self._parser.is_in_head or self._parser.is_in_body:
            return None
        return self._idle_since if not self.transport.get_write_buffer_size() else None

    @property
    def arriving_since(self) -> float | None:
        return self._unfinished_since if self._current is None and not self._waiting else None

    def abort(self) -> None:
        self.transport.abort()

    def shutdown(self) -> None:
        self._is_leaving = True
        if self._current is None and not self._waiting and self._refusal is None:
            self._hang_up()

    # --- the parser -----------------------------------------------------------------------------------
    def head_received(
        self, method: str, path: bytes, query: bytes, headers: list[Header], keeps_alive: bool, is_old: bool, /
    ) -> None:
        self._arriving = Request(self, method, path, query, headers, keeps_alive=keeps_alive, is_old=is_old)

    def body_received(self, part: bytes) -> None:
        if self._arriving is not None:
            self._arriving.take(part)

    def message_completed(self) -> None:
        request, self._arriving = self._arriving, None
        self._unfinished_since = None
        if request is not None:
            request.complete()
            if len(request.received) > BODY_BYTES_UNCOUNTED and not self._hold(request):
                return
            if not request.is_queued:
                self._queue(request)

    # --- bytes of bodies ------------------------------------------------------------------------------
    def _hold(self, request: Request) -> bool:
        """Count what came of a body. False: there is no room for it, and its request is refused."""
        more = len(request.received) - request.held
        if more <= 0:
            return True
        refusal = self._shared.room.bodies.take(self.client, more)
        if refusal is None:
            request.held += more
            return True
        self._arriving = None
        self._refuse(refusal, request)
        return False

    def _release(self, request: Request) -> None:
        if request.held:
            self._shared.room.bodies.give_back(self.client, request.held)
            request.held = 0

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
            refusal = self._unread.refusal(self.client) if self._unread.held else None
            self._serve(request, self._app.serve(request) if refusal is None else self._app.refuse(request, refusal))
        if self._refusal is not None and self._current is None and not waiting:
            error, self._refusal = self._refusal, None
            request = self._current = Request(self, "", b"/", b"", (), keeps_alive=False, is_old=False)
            self._serve(request, self._app.refuse(request, error))
        self._is_serving = False
        if self._is_reading == bool(waiting):
            self._steer_reading()
        if self._unparsed is not None and not waiting:
            self._loop.call_soon(self._parse_some)

    def _serve(self, request: Request, work: Coroutine[object, None, None]) -> None:
        try:
            begun = begin(work, self._loop, lambda begun, error: self._ended(request, begun, error))
        except Exception as error:  # noqa: BLE001  # every failure is logged, and the next request is served
            self._settle(request, error)
            return
        if begun is None:
            self._settle(request, None)
        else:
            self._shared.tasks.add(begun)

    def _ended(self, request: Request, begun: EagerTask, error: BaseException | None) -> None:
        self._shared.tasks.discard(begun)
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

    def _refuse(self, error: RaftmemError, request: Request | None = None) -> None:
        """Parse nothing more. Requests before this point are still answered, then `error` is told.

        `request`: the one that it is about; None: one that is arriving, if any.
        """
        self._end_parsing()
        if request is None:
            request, self._arriving = self._arriving, None
        if request is None:
            self._refusal = error
        elif request.is_answered:
            self._close()
        else:
            self._refusal = error
            self._release(request)
            request.lose()
            if request.is_queued and request is not self._current:
                self._waiting.remove(request)

    # --- for its requests ------------------------------------------------------------------------
    def write(self, data: bytes) -> None:
        if not self._out:
            self._shared.outbox.add(self)
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > _GATHERED_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        out, written, self._out, self._out_bytes = self._out, self._out_bytes, [], 0
        if out and not self.transport.is_closing():  # the client may have left in this turn
            self._written += written
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def closes_after(self, request: Request) -> bool:
        return not request.keeps_alive or (self._is_leaving and not self._waiting)

    def answered(self, request: Request, *, closes: bool) -> None:
        if self._current is request:
            self._current = None
        if request.held:
            self._release(request)
        self._idle_since = self._loop.time()
        if closes:
            self._close(is_sending=not request.is_whole and not self._is_leaving)
        elif not self._is_serving and (self._waiting or self._refusal is not None):
            self._loop.call_soon(self._serve_waiting)

    def linger(self, seconds: float) -> None:
        """Abort after so long, whatever the client has read by then."""
        self._check_timer.cancel()
        self._check_timer = self._loop.call_later(seconds, self.transport.abort)

    def _hang_up(self) -> None:
        self.flush()  # the replies of this turn
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
        self._end_parsing()
        self._refusal = None
        for request in (*self._waiting, *((self._arriving,) if self._arriving else ())):
            self._release(request)
        self._waiting.clear()

    def _end_parsing(self) -> None:
        self._unparsed = None
        if self._parser is not None:
            self._parser.close()
            self._parser = None
