"""The requests that wait for a lock, a task or a gate. Apply wakes them; nothing polls.

Rules: a change of a row wakes every request that waits for its key. A task that becomes available wakes one claim
that waits for its queue, first come first. A woken claim that leaves without a task wakes the next one while there is
a task. A request looks at the state and goes to sleep in one turn of the loop, so no change falls in between. A wake
proves nothing: the request looks at the state and decides by that.
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
    """One waiting request. A wake that comes before the sleep is kept."""

    def __init__(self, wait_registry: "WaitRegistry") -> None:
        self._wait_registry = wait_registry
        self._is_woken = False
        self._asleep: asyncio.Future[None] | None = None

    def wake(self) -> None:
        self._is_woken = True
        if self._asleep is not None and not self._asleep.done():
            self._asleep.set_result(None)

    async def sleep(self, deadline: Deadline) -> None:
        """Until it is woken, or the deadline. Raises: ShuttingDown, also when the end of this replica cuts it off."""
        self._wait_registry.check_open()
        if not self._is_woken:
            self._asleep = asyncio.get_running_loop().create_future()
            timer = deadline.call_at(self.wake)
            try:
                await self._asleep
            except asyncio.CancelledError:
                self._wait_registry.check_open()
                raise
            finally:
                timer.cancel()
                self._asleep = None
        self._is_woken = False
        self._wait_registry.check_open()


class ClaimWait(Wait):
    """A claim's place among those who wait for one of its queues. `called`: the queue that it was woken for."""

    def __init__(self, wait_registry: "WaitRegistry", queues: Sequence[str]) -> None:
        super().__init__(wait_registry)
        self.queues = tuple(dict.fromkeys(queues))
        self.called: str | None = None

    async def sleep(self, deadline: Deadline) -> None:
        """Call it in the turn of the loop in which there was nothing to claim."""
        self._wait_registry.stand(self)
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
        """A wait that every change of the row under a key wakes, from now on. Raises: TooManyRequests, ShuttingDown."""
        wait = Wait(self)
        with self._counted():
            self._by_key.setdefault(key, {})[wait] = None
            try:
                yield wait
            finally:
                _take_out(self._by_key, key, wait)

    @contextmanager
    def claim_wait(self, queues: Sequence[str]) -> Iterator[ClaimWait]:
        """A wait that a task of one of these queues wakes while it sleeps. Raises: TooManyRequests, ShuttingDown."""
        claim = ClaimWait(self, queues)
        with self._counted():
            try:
                yield claim
            finally:
                self._step_out(claim)
                self._end_call(claim)

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
    def stand(self, claim: ClaimWait) -> None:
        """Queue a claim that found nothing. A claim woken in vain goes in front of those who came later."""
        was_called = self._end_call(claim)
        for queue in claim.queues:
            line = self._standing.setdefault(queue, OrderedDict())
            line[claim] = None
            if was_called:
                line.move_to_end(claim, last=False)

    def _call(self, queue: str) -> None:
        line = self._standing.get(queue)
        if line is None:
            return
        claim = next(iter(line))
        self._step_out(claim)
        claim.called = queue
        self._called[queue] += 1
        claim.wake()

    def _end_call(self, claim: ClaimWait) -> bool:
        """True if it was woken. The last of the woken claims wakes another one if a task is left."""
        queue, claim.called = claim.called, None
        if queue is None:
            return False
        self._called[queue] -= 1
        if self._called[queue] == 0:
            del self._called[queue]
            if not self._is_closed and queue in self._standing and self._is_available(queue):
                self._call(queue)
        return True

    def _step_out(self, claim: ClaimWait) -> None:
        for queue in claim.queues:
            _take_out(self._standing, queue, claim)

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
        """Entries were passed over unseen, so every request looks again."""
        for waits in self._by_key.values():
            for wait in waits:
                wait.wake()
        for claim in {claim: None for line in self._standing.values() for claim in line}:
            self._step_out(claim)
            claim.wake()

    def close(self) -> None:
        """Every waiting request raises ShuttingDown."""
        self._is_closed = True
        self.installed()


def _take_out(waiting: dict[K, dict[W, None]] | dict[K, OrderedDict[W, None]], key: K, wait: W) -> None:
    line = waiting.get(key)
    if line is not None and wait in line:
        del line[wait]
        if not line:
            del waiting[key]
