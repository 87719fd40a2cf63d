"""Carries out a schedule of faults, and heals. The history records it as it happens.

Rules: a fault begins, in the history, before anything is broken, and ends after all of it is healed. After `heal`
nothing is broken by a nemesis. Faults begin one at a time. Each ends in its own time, whichever others are active,
because one may wait for another to end.
"""

import heapq
import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

from jepsen_like.cluster.client import Lost, Trouble
from jepsen_like.history.record import Fault
from jepsen_like.nemeses.contract import Nemesis
from jepsen_like.runs.load import broken
from jepsen_like.runs.schedule import Strike
from jepsen_like.runs.world import World

AGAIN_S: Final = 0.3  # after which one that found nothing to strike looks again
LATE_S: Final = 0.5  # a strike that begins late lasts this long all the same
ENDS_MAX: Final = 64  # more than are ever awaited at a time
WAIT_S: Final = 0.1  # between looks whether the last have ended


class Active(NamedTuple):
    """A fault that lasts."""

    name: str
    targets: tuple[str, ...]
    number: int


class Striking:
    """`troubles`: strikes that went wrong in our own hands."""

    def __init__(self, world: World, nemeses: Mapping[str, Nemesis], *, seed: int) -> None:
        self._world = world
        self._nemeses = nemeses
        self._seed = seed
        self._active: dict[str, Active] = {}
        self._struck: set[str] = set()
        self._pool = ThreadPoolExecutor(ENDS_MAX, thread_name_prefix="ends")
        self._ends: list[Future[None]] = []
        self._over = threading.Event()
        asks = threading.Lock()  # one at a time asks the group to change
        self._at_work = {name: asks if nemesis.asks else threading.Lock() for name, nemesis in nemeses.items()}
        self.troubles: list[str] = []

    @property
    def active(self) -> tuple[Active, ...]:
        return tuple(self._active.values())

    def run(self, strikes: Iterable[Strike], stop: threading.Event) -> None:
        """Returns when all is done, or soon after `stop` is set; `heal` then ends the faults that are still active."""
        try:
            self._strike_all(tuple(strikes), stop)
            while not all(end.done() for end in self._ends) and not stop.wait(WAIT_S):
                pass
        finally:
            self._over.set()
            self._pool.shutdown(wait=False)

    def _strike_all(self, strikes: Sequence[Strike], stop: threading.Event) -> None:
        began = self._world.recorder.now()
        last = max((strike.at + strike.seconds for strike in strikes), default=0.0)
        due = [(strike.at, strike.number, strike) for strike in strikes]
        heapq.heapify(due)
        while due and not stop.is_set():
            at, _, strike = due[0]
            now = (self._world.recorder.now() - began) / 1e9
            if now < at:
                stop.wait(at - now)
                continue
            heapq.heappop(due)
            end = strike.at + strike.seconds
            first = strike.name not in self._struck
            if now > end and not first:
                continue  # another took so long that its time is over: the group had better recover meanwhile
            struck = (now <= end or len(self._active) < most_at_once(strikes)) and self._strike(strike)
            now = (self._world.recorder.now() - began) / 1e9
            if struck:
                self._end_in(max(end - now, min(LATE_S, strike.seconds)), strike)
            elif now + AGAIN_S + LATE_S < (last if first else end):  # each shall strike once
                heapq.heappush(due, (now + AGAIN_S, strike.number, strike))

    def _end_in(self, seconds: float, strike: Strike) -> None:
        def end() -> None:
            if not self._over.wait(seconds):
                self._end(strike.name, strike.number)

        self._ends.append(self._pool.submit(end))

    @property
    def idle(self) -> tuple[str, ...]:
        """The nemeses that have struck no replica at all."""
        return tuple(name for name in self._nemeses if name not in self._struck)

    def heal(self) -> None:
        """Also what a strike that went wrong may have left. Those that ask the group come last: it must be able to."""
        for name in sorted(self._nemeses, key=lambda name: self._nemeses[name].asks):
            if not self._end(name):
                with self._at_work[name]:
                    self._safely(name, "healed")
        wait(self._ends)
        self.troubles += filter(None, map(broken, self._ends))

    def _strike(self, strike: Strike) -> bool:
        """True if it struck. It does not wait for a nemesis that still ends, or for one that asks the group."""
        if self._at_work[strike.name].locked():
            return False
        self._end(strike.name)  # of a strike before, which was late
        return self._begin(strike)

    def _begin(self, strike: Strike) -> bool:
        """True if it struck."""
        nemesis, recorder = self._nemeses[strike.name], self._world.recorder
        with self._at_work[strike.name]:
            at = recorder.now()
            try:
                struck = nemesis.begin(self._world, random.Random(f"{self._seed} {strike.name} {strike.number}"))
            except (Trouble, Lost) as trouble:
                self.troubles.append(f"{strike.name} went wrong when it began: {trouble}")
                self._safely(strike.name, "healed")
                return False
            if struck is None:
                return False
            self._struck.add(strike.name)
            self._active[strike.name] = Active(strike.name, struck.targets, strike.number)
            recorder.write(Fault(name=strike.name, event="begin", at=at, targets=struck.targets, detail=struck.detail))
            return True

    def _end(self, name: str, number: int | None = None) -> bool:
        """True if it was active. `number`: only that strike of it."""
        with self._at_work[name]:
            active = self._active.get(name)
            if active is None or number not in (None, active.number):
                return False
            self._safely(name, "ended")
            at = self._world.recorder.now()
            del self._active[name]
            self._world.recorder.write(Fault(name=name, event="end", at=at, targets=active.targets))
            return True

    def _safely(self, name: str, what: str) -> None:
        try:
            self._nemeses[name].end(self._world)
        except (Trouble, Lost) as trouble:
            self.troubles.append(f"{name} went wrong when it {what}: {trouble}")


def most_at_once(strikes: Sequence[Strike]) -> int:
    """The greatest number of these that were planned to be active at once."""
    return max((sum(one.at <= strike.at < one.at + one.seconds for one in strikes) for strike in strikes), default=0)
