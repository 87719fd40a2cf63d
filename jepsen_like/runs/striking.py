"""Carries out a schedule of faults, and heals. What it does stands in the history, as it happens.

Rules: a fault begins, in the history, before anything is broken, and ends after all of it is healed. After `heal`
nothing that a nemesis broke is broken.
"""

import heapq
import random
import threading
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from jepsen_like.cluster.client import Lost, Trouble
from jepsen_like.history.record import Fault
from jepsen_like.nemeses.contract import Nemesis
from jepsen_like.runs.schedule import Strike
from jepsen_like.runs.world import World

AGAIN_S: Final = 0.3  # after which one that found nothing to strike looks again
LATE_S: Final = 0.5  # a strike that begins late lasts this long all the same


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
        self._busy = threading.Lock()  # one nemesis at work at a time
        self.troubles: list[str] = []

    @property
    def active(self) -> tuple[Active, ...]:
        return tuple(self._active.values())

    def run(self, strikes: Iterable[Strike], stop: threading.Event) -> None:
        """Returns when all is done, or soon after `stop` is set; what is active then is left to `heal`."""
        began = self._world.recorder.now()
        due = [(strike.at, strike.number, True, strike) for strike in strikes]
        heapq.heapify(due)
        while due:
            at, _, begins, strike = due[0]
            now = (self._world.recorder.now() - began) / 1e9
            if now < at:
                if stop.wait(at - now):
                    return
                continue
            heapq.heappop(due)
            if not begins:
                if any(active.number == strike.number for active in self.active):
                    self._end(strike.name)
                continue
            self._end(strike.name)  # of a strike before, which was late
            struck = self._begin(strike)
            now = (self._world.recorder.now() - began) / 1e9
            end = max(strike.at + strike.seconds, now + min(LATE_S, strike.seconds))
            if struck:
                heapq.heappush(due, (end, strike.number, False, strike))
            elif now + AGAIN_S < end - LATE_S:
                heapq.heappush(due, (now + AGAIN_S, strike.number, True, strike))
            if stop.is_set():
                return

    @property
    def idle(self) -> tuple[str, ...]:
        """Those that have struck nobody at all."""
        return tuple(name for name in self._nemeses if name not in self._struck)

    def heal(self) -> None:
        """Also what a strike that went wrong may have left."""
        for name in self._nemeses:
            if not self._end(name):
                with self._busy:
                    self._safely(name, "healed")

    def _begin(self, strike: Strike) -> bool:
        """Whether it struck."""
        nemesis, recorder = self._nemeses[strike.name], self._world.recorder
        with self._busy:
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

    def _end(self, name: str) -> bool:
        """Whether it was active."""
        with self._busy:
            active = self._active.get(name)
            if active is None:
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
