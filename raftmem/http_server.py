"""uvicorn inside our loop: it takes no signals, and it does not wait for ever for the rest of a request."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from raftmem.limits import KEEP_ALIVE_SECONDS, REQUEST_SECONDS_MAX


class BoundedProtocol(HttpToolsProtocol):
    """A request must be whole within `REQUEST_SECONDS_MAX` of its first byte, the first one of its connection."""

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
