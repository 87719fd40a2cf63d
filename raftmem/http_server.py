"""uvicorn inside our loop: it takes no signals, and it does not wait for ever for the rest of a request."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from raftmem.limits import KEEP_ALIVE_SECONDS, REQUEST_SECONDS_MAX


class _Cork(asyncio.Transport):
    """uvicorn writes the head and the body of a reply apart; together they are one system call and one packet.

    Holds a write until the next one, or the end of this turn of the loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._held is None:
            self._held = bytes(data)
            self._loop.call_soon(self._flush)
        else:
            held, self._held = self._held, None
            self._transport.write(held + data)

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def abort(self) -> None:
        self._transport.abort()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        return self._transport.is_reading()


class BoundedProtocol(HttpToolsProtocol):
    """A request must be whole within `REQUEST_SECONDS_MAX` of its first byte, the first one of its connection."""

    _LOOKS: Final = 4  # how often within the bound

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(_Cork(transport, self.loop))
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
                http=BoundedProtocol,
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

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the node's."""
        yield
