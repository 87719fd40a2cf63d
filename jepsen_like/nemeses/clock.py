"""The wall clock of a replica is wrong: an hour ahead or behind, or twice as fast. Leases must not care."""

import random
from typing import ClassVar

from jepsen_like.cluster.served import Served
from jepsen_like.cluster.wall_clock import WallClock, unavailable
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.standing import leader, standing
from jepsen_like.runs.world import World

_HOUR_S = 3600
_SETTINGS = (
    ("an hour ahead", _HOUR_S, 1.0),
    ("an hour behind", -_HOUR_S, 1.0),
    ("going twice as fast", 0, 2.0),
)


class Clock(Nemesis):
    """One replica at a time, leader or not."""

    name: ClassVar[str] = "clock"
    about: ClassVar[str] = "the wall clock of one replica jumps an hour ahead or back, or goes twice as fast"

    def __init__(self) -> None:
        self._clocks: dict[str, WallClock] = {}

    def unavailable(self) -> str | None:
        return unavailable()

    def prepare(self, world: World) -> None:
        def dress(replica: Served) -> None:
            clock = self._clocks[replica.id] = WallClock(world.folder / "clocks" / replica.id)
            clock.put_under(replica.environment)

        for replica in world.group.replicas:
            dress(replica)
        world.group.dress.append(dress)

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        target = self._target(world, chance)
        if target is None:
            return None
        words, ahead_s, rate = chance.choice(_SETTINGS)
        self._clocks[target.id].set(ahead_s=ahead_s, rate=rate)
        return Struck((target.id,), f"the wall clock of {target.id} is {words}")

    def _target(self, world: World, chance: random.Random) -> Served | None:
        up = standing(world.group)
        return chance.choice(up) if up else None

    def end(self, world: World) -> None:
        del world
        for clock in self._clocks.values():
            clock.set_right()


class ClockLeader(Clock):
    """By whose clocks leases are counted."""

    name = "clock-leader"
    about = "the wall clock of the leader jumps an hour ahead or back, or goes twice as fast"

    def _target(self, world: World, chance: random.Random) -> Served | None:
        del chance
        return leader(world.group)
