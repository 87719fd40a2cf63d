"""uvicorn's server in our loop, with our listener and our connections.

It handles no signal, and its shutdown has a time limit. `Listener` accepts, so that connections are bounded before they
take a descriptor.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from raftmem.errors import Overloaded
from raftmem.limits import CONNECTIONS_MAX
from raftmem.runtime.eager_task import begin
from raftmem.server.connection import Connection
from raftmem.server.listener import Listener
from raftmem.server.request import Request
from raftmem.server.room import Room
from raftmem.server.shared import Served, Shared


class HttpServer(uvicorn.Server):
    """Serves an app on sockets that are already bound, until `should_exit` is set."""

    def __init__(self, app: Served, *, drain_seconds: int, connections_max: int = CONNECTIONS_MAX) -> None:
        self._app = app
        self._shared = Shared(Room(connections_max))
        self._listeners: list[Listener] = []
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]  # uvicorn never calls it: our connections do
                interface="asgi3",
                http=self._connection,  # type: ignore[arg-type]  # called like the class that uvicorn expects
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
        self.server_state.connections = self._shared.connections  # type: ignore[assignment]  # uvicorn calls `shutdown` of each
        self.server_state.tasks = self._shared.tasks  # type: ignore[assignment]  # uvicorn counts and cancels them

    @property
    def room(self) -> Room:
        return self._shared.room

    def _connection(self, **_: object) -> Connection:
        return Connection(self._app, self._shared)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        for listening in sockets or ():
            listener = Listener(
                listening, room=self._shared.room, protocol=self._connection, refusal=lambda: turned_away(self._app)
            )
            self._listeners.append(listener)
            listener.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in self._listeners:
            listener.close()
        await super().shutdown(sockets=sockets)

    def leave(self, *, drains: bool) -> None:
        """Begin to end. `drains`: requests under way may finish first.

        Without it they are cancelled: this replica cannot decide them any more, and their clients can ask another
        replica at once.
        """
        if not drains:
            for task in list(self._shared.tasks):
                task.cancel()
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handler: signals belong to the node."""
        yield


class _NoConnection:
    """Keeps the reply to a client that gets no connection: `raftmem.server.request.Wire`."""

    transport: asyncio.Transport
    client = ""
    is_full = False
    is_half_closed = True

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    async def drained(self) -> None:
        return

    def closes_after(self, request: Request) -> bool:  # noqa: ARG002  # always
        return True

    def answered(self, request: Request, *, closes: bool) -> None:
        """There is nothing to end."""

    def linger(self, seconds: float) -> None:
        """There is nothing to wait for."""


def turned_away(app: Served) -> bytes:
    """The whole reply to a client that finds no room for its connection."""
    wire = _NoConnection()
    request = Request(wire, "", b"/", b"", (), keeps_alive=False, is_old=False)
    refusal = Overloaded("as many connections are open here as there may be; try again, or ask another replica")
    begin(app.refuse(request, refusal), asyncio.get_running_loop(), lambda *_: None)
    return wire.written
