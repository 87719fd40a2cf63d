"""uvicorn's server inside our loop, with our connections: it takes no signals, and it waits for nobody for ever."""

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from raftmem.runtime.eager_task import EagerTask
from raftmem.server.connection import Connection, Outbox, Served


class HttpServer(uvicorn.Server):
    """Serves an app on sockets that are already bound, until `should_exit` is set."""

    def __init__(self, app: Served, *, drain_seconds: int) -> None:
        self._connections: set[Connection] = set()
        self._tasks: set[EagerTask] = set()
        outbox = Outbox()

        def connection(**_: object) -> Connection:
            return Connection(app, outbox, self._connections, self._tasks)

        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]  # for what is never asked of it: our connections serve
                interface="asgi3",
                http=connection,  # type: ignore[arg-type]  # called as the class would be
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=drain_seconds,
            )
        )
        self.server_state.connections = self._connections  # type: ignore[assignment]  # it asks them for `shutdown`
        self.server_state.tasks = self._tasks  # type: ignore[assignment]  # it counts them, and cancels them

    def leave(self, *, drains: bool) -> None:
        """Begin to end. `drains`: what is under way may end first; else nobody here will decide it, so it is cut off,
        and its client can ask another replica at once."""
        if not drains:
            for task in list(self._tasks):
                task.cancel()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the node's."""
        yield
