"""Requests that wait for a lock, a task or a gate, and are woken by apply: nothing here looks again and again.

Rules: a change of a row wakes everybody who waits for its key; a task that becomes available wakes one claim that waits
for its queue, first come first, and whoever was called and leaves without it calls the next while there is a task. A
request looks at the state and goes to sleep in one turn of the loop, so no change falls in between. What wakes a
request proves nothing: it looks at the state and decides by that.
"""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from raftmem.errors import ShuttingDown, TooManyRequests
from raftmem.limits import WAITING_MAX
from raftmem.machine.run import Applied
from raftmem.model.coordination_rows import Task
from raftmem.model.records import PutRow
from raftmem.runtime.promise import Deadline

K = TypeVar("K")
W = TypeVar("W")


class Wait:
    """One request that waits. A wake that comes before the sleep is kept for it."""

    def __init__(self, wakes: "WaitRegistry") -> None:
        self._wakes = wakes
        self._is_woken = False
        self._asleep: asyncio.Future[None] | None = None

    def wake(self) -> None:
        self._is_woken = True
        if self._asleep is not None and not self._asleep.done():
            self._asleep.set_result(None)

    async def sleep(self, deadline: Deadline) -> None:
        """Until it is woken, or the deadline. Raises: ShuttingDown, also when the end of this replica cuts it off."""
        self._wakes.check_open()
        if not self._is_woken:
            self._asleep = asyncio.get_running_loop().create_future()
            timer = deadline.call_at(self.wake)
            try:
                await self._asleep
            except asyncio.CancelledError:
                self._wakes.check_open()
                raise
            finally:
                timer.cancel()
                self._asleep = None
        self._is_woken = False
        self._wakes.check_open()


class ClaimWait(Wait):
    """A claim's place among those who wait for one of its queues. `called`: the queue that it was woken for."""

    def __init__(self, wakes: "WaitRegistry", queues: Sequence[str]) -> None:
        super().__init__(wakes)
        self.queues = tuple(dict.fromkeys(queues))
        self.called: str | None = None

    async def sleep(self, deadline: Deadline) -> None:
        """To be entered in the turn of the loop in which there was nothing to claim."""
        self._wakes.stand(self)
        await super().sleep(deadline)


class WaitRegistry:
    """A `Replica` observer. `waiting`: requests that wait here now, or may come to. `is_available(queue)`: is there
    a task to be claimed? Loop thread only."""

    def __init__(self, *, is_available: Callable[[str], bool], waiting_max: int = WAITING_MAX) -> None:
        self.waiting = 0
        self._is_available = is_available
        self._waiting_max = waiting_max
        self._is_closed = False
        self._by_key: dict[bytes, dict[Wait, None]] = {}
        self._standing: dict[str, OrderedDict[ClaimWait, None]] = {}
        self._called: defaultdict[str, int] = defaultdict(int)  # turns by the queue that they were woken for

    # --- who waits ------------------------------------------------------------------------------------
    @contextmanager
    def on(self, key: bytes) -> Iterator[Wait]:
        """Woken by every change of the row under a key, from now on. Raises: TooManyRequests, ShuttingDown."""
        wait = Wait(self)
        with self._counted():
            self._by_key.setdefault(key, {})[wait] = None
            try:
                yield wait
            finally:
                _take_out(self._by_key, key, wait)

    @contextmanager
    def turn(self, queues: Sequence[str]) -> Iterator[ClaimWait]:
        """Woken by a task for one of these queues, while it sleeps. Raises: TooManyRequests, ShuttingDown."""
        turn = ClaimWait(self, queues)
        with self._counted():
            try:
                yield turn
            finally:
                self._step_out(turn)
                self._settle(turn)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.check_open()
        if self.waiting >= self._waiting_max:
            raise TooManyRequests(f"{self.waiting} requests wait here, the most there may be; ask another replica")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def check_open(self) -> None:
        """Raises: ShuttingDown."""
        if self._is_closed:
            raise ShuttingDown(
                "this replica is leaving and waits for nobody; ask another one (a place in a queue is kept)"
            )

    # --- claims ---------------------------------------------------------------------------------------
    def stand(self, turn: ClaimWait) -> None:
        """It found nothing. Who was called in vain keeps its place in front of those who came later."""
        was_called = self._settle(turn)
        for queue in turn.queues:
            line = self._standing.setdefault(queue, OrderedDict())
            line[turn] = None
            if was_called:
                line.move_to_end(turn, last=False)

    def _call(self, queue: str) -> None:
        line = self._standing.get(queue)
        if line is None:
            return
        turn = next(iter(line))
        self._step_out(turn)
        turn.called = queue
        self._called[queue] += 1
        turn.wake()

    def _settle(self, turn: ClaimWait) -> bool:
        """Whether it was called. The last of those who were called sees to it that no task is left lying."""
        queue, turn.called = turn.called, None
        if queue is None:
            return False
        self._called[queue] -= 1
        if self._called[queue] == 0:
            del self._called[queue]
            if not self._is_closed and queue in self._standing and self._is_available(queue):
                self._call(queue)
        return True

    def _step_out(self, turn: ClaimWait) -> None:
        for queue in turn.queues:
            _take_out(self._standing, queue, turn)

    # --- what happens -----------------------------------------------------------------------------------
    def applied(self, entries: Sequence[Applied]) -> None:
        if not self.waiting:
            return
        for one in entries:
            for change in one.step.changes:
                if isinstance(change, PutRow):
                    self._changed(change)

    def _changed(self, change: PutRow) -> None:
        for wait in self._by_key.get(change.key, ()):
            wait.wake()
        new, old = change.new, change.old
        if isinstance(new, Task) and new.state == "available":
            if isinstance(old, Task) and old.state == "available":
                return
            self._call(new.queue)

    def installed(self) -> None:
        """Nobody knows what was passed over: everybody looks."""
        for waits in self._by_key.values():
            for wait in waits:
                wait.wake()
        for turn in {turn: None for line in self._standing.values() for turn in line}:
            self._step_out(turn)
            turn.wake()

    def close(self) -> None:
        """Everybody who waits is told ShuttingDown."""
        self._is_closed = True
        self.installed()


def _take_out(waiting: dict[K, dict[W, None]] | dict[K, OrderedDict[W, None]], key: K, wait: W) -> None:
    line = waiting.get(key)
    if line is not None and wait in line:
        del line[wait]
        if not line:
            del waiting[key]
