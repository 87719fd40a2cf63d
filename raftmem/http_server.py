"""uvicorn inside our loop: it takes no signals, and it does not wait for ever for the rest of a request."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from raftmem.api.app import WHOLE
from raftmem.api.streaming import LINE
from raftmem.limits import KEEP_ALIVE_SECONDS, REQUEST_SECONDS_MAX

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application


class Outbox:
    """Replies that were finished in this turn of the loop, written one right after the other at its end.

    A write wakes its reader, on another core; many in a row wake it once.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._replies: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, data: bytes) -> None:
        if not self._replies:
            self._loop.call_soon(self._flush)
        self._replies.append((transport, data))

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        for transport, data in replies:
            if not transport.is_closing():  # its client may have left in the same turn; the others have not
                transport.write(data)


class Whole:
    """Takes a reply that is known whole, in one piece: one system call and one packet.

    uvicorn writes head and body apart and looks at every header by itself. It stands in the ASGI scope as the
    extension `WHOLE`; what it cannot serve goes the ordinary way. Replies of one connection keep their order: its
    next request is begun by a later callback than the outbox is flushed by.
    """

    __slots__ = ("_cycle", "_outbox")

    def __init__(self, cycle: RequestResponseCycle, outbox: Outbox) -> None:
        self._cycle = cycle
        self._outbox = outbox

    def __call__(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Whether it was written. `headers` carry the content length.

        Raises: RuntimeError for a line break inside a header.
        """
        cycle = self._cycle
        if cycle.disconnected or cycle.response_started or not cycle.keep_alive or cycle.flow.write_paused:
            return False
        if cycle.scope["method"] == "HEAD":  # its reply has no body, whatever the length says
            return False
        head = STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])
        if head.count(b"\n") != len(headers) + 1 or head.count(b"\r") != len(headers) + 1:
            raise RuntimeError("a header holds a line break")
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self._outbox.put(cycle.transport, head + b"\r\n" + body)
        cycle.message_event.set()
        cycle.on_response()
        return True


class StreamLine:
    """The connection under a reply that is streamed, past uvicorn's flow control: `raftmem.api.streaming.Line`.

    It stands in the ASGI scope as the extension `LINE`.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    @property
    def full(self) -> bool:
        return self._cycle.flow.write_paused and not self._cycle.disconnected

    @property
    def unread(self) -> int:
        return self._cycle.transport.get_write_buffer_size()

    async def drained(self) -> None:
        await self._cycle.flow.drain()

    def end(self, last: bytes, *, linger_seconds: float) -> None:
        cycle = self._cycle
        if cycle.disconnected or cycle.response_complete:
            return
        cycle.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
        cycle.response_complete = True
        cycle.message_event.set()
        cycle.transport.close()  # once what waits is written
        asyncio.get_running_loop().call_later(linger_seconds, cycle.transport.abort)
        cycle.on_response()


class BoundedProtocol(HttpToolsProtocol):
    """A request must be whole within `REQUEST_SECONDS_MAX` of its first byte, the first one of its connection.

    `outbox`: of the server that this class was made for.
    """

    outbox: Outbox

    _LOOKS: Final = 4  # how often within the bound

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._incomplete_since: float | None = self.loop.time()
        self._look = self.loop.call_later(REQUEST_SECONDS_MAX / self._LOOKS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._incomplete_since = self.loop.time()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._incomplete_since = None
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        ours: dict[str, object] = {WHOLE: Whole(cycle, self.outbox), LINE: StreamLine(cycle)}
        cycle.scope["extensions"] = ours  # type: ignore[typeddict-item]  # extensions of our own
        super()._start_asgi_task(cycle, app)

    def _check(self) -> None:
        since = self._incomplete_since
        if since is not None and self.loop.time() - since > REQUEST_SECONDS_MAX:
            self.transport.close()
        else:
            self._look = self.loop.call_later(REQUEST_SECONDS_MAX / self._LOOKS, self._check)


class HttpServer(uvicorn.Server):
    """Serves an ASGI app on a socket that is already bound, until `should_exit` is set."""

    def __init__(self, app: Callable[..., object], *, drain_seconds: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=type("Protocol", (BoundedProtocol,), {"outbox": Outbox()}),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=drain_seconds,
            )
        )

    def leave(self, *, drains: bool) -> None:
        """Begin to end. `drains`: what is under way may end first; else nobody here will decide it, so it is cut off,
        and its client can ask another replica at once."""
        if not drains:
            for task in list(self.server_state.tasks):
                task.cancel()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the node's."""
        yield
