"""uvicorn's server in our loop, with our connections. It handles no signal, and its shutdown has a time limit."""

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
                app,  # type: ignore[arg-type]  # uvicorn never calls it: our connections do
                interface="asgi3",
                http=connection,  # type: ignore[arg-type]  # called like the class that uvicorn expects
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
        self.server_state.connections = self._connections  # type: ignore[assignment]  # uvicorn calls `shutdown` of each
        self.server_state.tasks = self._tasks  # type: ignore[assignment]  # uvicorn counts and cancels them

    def leave(self, *, drains: bool) -> None:
        """Begin to end. `drains`: requests under way may finish first.

        Without it they are cancelled: this replica cannot decide them any more, and their clients can ask another
        replica at once.
        """
        if not drains:
            for task in list(self._tasks):
                task.cancel()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handler: signals belong to the node."""
        yield
