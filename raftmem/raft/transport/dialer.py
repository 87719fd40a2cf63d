"""The dialer calls one member for as long as the membership names it: while there is no connection, with backoff.

It opens connections and judges nobody. The rule: at most one try at a time, and none while connected, whoever called.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from raftmem.raft.transport.connection import PeerConnection
from raftmem.runtime.interfaces import Randomness

BACKOFF_SECONDS: Final = (0.05, 1.0)
Address = tuple[str, int]


class Dialer:
    """`pending`: greeted by us, and not answered yet. `is_unanswered`: the last one that was greeted never was.

    `connect(address)` gives None when it failed; `current()` is the connection that counts now; `patience`: seconds to
    wait beside the backoff before each try.
    """

    def __init__(
        self,
        *,
        address: Address,
        patience: float,
        connect: Callable[[Address], Awaitable[PeerConnection | None]],
        current: Callable[[], PeerConnection | None],
        randomness: Randomness,
    ) -> None:
        self.address: Final = address
        self.pending: PeerConnection | None = None
        self.is_unanswered = False
        self._patience = patience
        self._connect = connect
        self._current = current
        self._randomness = randomness
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def cancel(self) -> None:
        """No further try, and the one that is under way is broken off; a connection that counts is left alone."""
        if self._task is not None:
            self._task.cancel()
        if self.pending is not None:
            self.pending.close(abort=True)

    async def _run(self) -> None:
        shortest, longest = BACKOFF_SECONDS
        wait = shortest
        await asyncio.sleep(self._patience)
        while True:
            connection = self._current() or await self._connect(self.address)
            if connection is not None:
                await connection.over()
                if connection.was_good():
                    wait = shortest
            await asyncio.sleep(self._patience + wait * (0.5 + self._randomness.random()))
            wait = min(longest, wait * 2)
