"""Everything that the connections of one server share, and the app that answers them."""

import asyncio
from collections.abc import Coroutine
from typing import Protocol

from raftmem.api.http.exchange import Exchange
from raftmem.errors import RaftmemError
from raftmem.runtime.eager_task import EagerTask
from raftmem.server.room import Occupant, Room


class Served(Protocol):
    """The app that answers: `raftmem.api.app.App`."""

    def serve(self, exchange: Exchange) -> Coroutine[object, None, None]: ...

    def refuse(self, exchange: Exchange, error: RaftmemError) -> Coroutine[object, None, None]:
        """Answer a request that is not served, or input that is none."""
        ...


class Sender(Occupant, Protocol):
    """A connection, as its server sees it."""

    def flush(self) -> None:
        """Write what was gathered in this turn."""
        ...

    def shutdown(self) -> None:
        """Close once every request that has come is answered."""
        ...


class Outbox:
    """The connections of one server that write in this turn of the loop; all are flushed at its end, in a row.

    A write wakes its reader on another core; many writes in a row wake it once.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._senders: list[Sender] = []

    def add(self, sender: Sender) -> None:
        """Flush `sender` at the end of this turn. The caller adds it once a turn."""
        if not self._senders:
            self._loop.call_soon(self._send)
        self._senders.append(sender)

    def _send(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.flush()


class Shared:
    """`connections`: open ones. `tasks`: requests that wait. The server waits for both when it ends."""

    def __init__(self, room: Room | None = None) -> None:
        self.outbox = Outbox()
        self.room = Room() if room is None else room
        self.connections: set[Sender] = set()
        self.tasks: set[EagerTask] = set()
