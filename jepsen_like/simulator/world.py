"""Virtual time, and the machines in it: loop, clock, randomness and executors of replicas that share one real thread.

Fault model of a machine: it may die between any two events, before or after any piece of work of its executors; its
threads may stop for a while (what comes meanwhile waits, in order); work may hang or be slow; its clock runs at its
own rate, which may change, and begins anew with the machine. Everything random comes from seeded generators.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable

Event = Callable[[], None]
WALL_MS = 1_700_000_000_000


class World:
    """Virtual time in seconds, and the events that are to come. `failure`: raised before the next event.

    `observe`: runs after each event.
    """

    def __init__(self, seed: int) -> None:
        self.now = 1000.0
        self.random = random.Random(seed)
        self.failure: Exception | None = None
        self.observe: Event | None = None
        self._later: list[tuple[float, int, VirtualMachine | None, Event]] = []
        self._soon: deque[tuple[VirtualMachine | None, Event]] = deque()
        self._order = 0

    def at(self, when: float, event: Event, machine: "VirtualMachine | None" = None) -> None:
        """Run at a time, on a machine if one is given: later if it is paused, never if it is dead by then."""
        self._order += 1
        heapq.heappush(self._later, (when if when > self.now else self.now, self._order, machine, event))

    def soon(self, event: Event, machine: "VirtualMachine | None" = None) -> None:
        """Run after the event of now, before time goes on."""
        self._soon.append((machine, event))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Run for some time or until a condition holds; whether it does."""
        end = self.now + seconds
        later, soon = self._later, self._soon
        while True:
            if self.failure is not None:
                raise self.failure
            if until is not None and until():
                return True
            if soon:
                machine, event = soon.popleft()
            elif later and later[0][0] <= end:
                self.now, _, machine, event = heapq.heappop(later)
            else:
                self.now = end
                return until is not None and until()
            if machine is None:
                event()
            else:
                machine.perform(event)
            if self.observe is not None:
                self.observe()


class VirtualHandle:
    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualExecutor:
    """One thread of a machine. `sync_seconds`: how long a piece of work takes. `hold_syncs`: it hangs.

    `at_commit`: run before (False) and after (True) each piece of work; a True from it ends this life.
    """

    def __init__(self, world: World, sync_seconds: float) -> None:
        self.sync_seconds = sync_seconds
        self.hold_syncs = False
        self.at_commit: Callable[[bool], bool] | None = None
        self._world = world
        self._busy_until = 0.0
        self._held: list[Event] = []

    def _machine(self) -> "VirtualMachine":
        raise NotImplementedError

    def submit(self, work: Event, done: Callable[[BaseException | None], None]) -> None:
        if self.hold_syncs:
            self._held.append(lambda: self.submit(work, done))
            return
        machine = self._machine()
        self._busy_until = max(self._busy_until, self._world.now) + self.sync_seconds

        def event() -> None:
            if not machine.alive or (self.at_commit is not None and self.at_commit(False)):
                return
            failed: BaseException | None = None
            try:
                work()
            except Exception as error:  # noqa: BLE001  # reported to the caller, as an executor does
                failed = error
            if self.at_commit is None or not self.at_commit(True):
                machine.call_soon(lambda: done(failed))

        self._world.at(self._busy_until, event)

    def release_syncs(self) -> None:
        self.hold_syncs = False
        held, self._held = self._held, []
        for again in held:
            again()


class VirtualMachine(VirtualExecutor):
    """Loop, clock, randomness, and the log's thread of one replica; a new one for each of its lives.

    `rate`: how fast its clock runs; `booted`: when the machine itself began. `chores`: its other thread.
    """

    def __init__(
        self, world: World, *, rate: float = 1.0, sync_seconds: float = 0.001, booted: float = 0.0, wall_ms: int = 0
    ) -> None:
        super().__init__(world, sync_seconds)
        self.chores = Chores(self, world, sync_seconds)
        self.alive = True
        self.paused_until = 0.0
        self.wall_offset_ms = wall_ms
        self._rate = rate
        self._since = world.now
        self._base = (world.now - booted) * rate
        self._backlog: list[Event] = []  # what came during a pause, in order

    def _machine(self) -> "VirtualMachine":
        return self

    # clock
    def boottime(self) -> float:
        return self._base + (self._world.now - self._since) * self._rate

    def set_rate(self, rate: float) -> None:
        """From now on; timers that run keep their time."""
        self._base, self._since, self._rate = self.boottime(), self._world.now, rate

    def wall_ms(self) -> int:
        return WALL_MS + self.wall_offset_ms + int(self._world.now * 1000)

    # randomness
    def random(self) -> float:
        return self._world.random.random()

    def bytes(self, count: int) -> bytes:
        return self._world.random.randbytes(count)

    # loop
    def call_soon(self, callback: Event) -> None:
        self._world.soon(callback, self)

    def call_later(self, seconds: float, callback: Event) -> VirtualHandle:
        handle = VirtualHandle()
        self._world.at(self._world.now + seconds / self._rate, lambda: None if handle.cancelled else callback(), self)
        return handle

    @property
    def runs(self) -> bool:
        return self.alive and self.paused_until <= self._world.now and not self._backlog

    def perform(self, event: Event) -> None:
        """Now if it runs, after the pause if it is paused, never if it is dead by then."""
        if self._backlog or self.paused_until > self._world.now:
            if not self._backlog and self.alive:
                self._world.at(self.paused_until, self._go_on)
            self._backlog.append(event)
        elif self.alive:
            event()

    def _go_on(self) -> None:
        if self.paused_until > self._world.now and self.alive:
            self._world.at(self.paused_until, self._go_on)
            return
        backlog, self._backlog = self._backlog, []
        for event in backlog:
            if self.alive:
                event()


class Chores(VirtualExecutor):
    """The thread for snapshots of one machine."""

    def __init__(self, machine: VirtualMachine, world: World, sync_seconds: float) -> None:
        super().__init__(world, sync_seconds)
        self._of = machine

    def _machine(self) -> VirtualMachine:
        return self._of
