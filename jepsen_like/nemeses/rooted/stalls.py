"""Replicas that stand still or crawl, by control groups: frozen between any two instructions, or starved of the
processor.
"""

import random
from abc import abstractmethod
from typing import ClassVar

from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.rooted import cgroups
from jepsen_like.nemeses.rooted.cgroups import Cgroup
from jepsen_like.nemeses.standing import chosen
from jepsen_like.runs.world import World

_SHARES = (0.05, 0.1, 0.2)


class _InCgroup(Nemesis):
    portable: ClassVar[bool] = False

    def __init__(self) -> None:
        self._held: list[tuple[Served, Cgroup]] = []

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        found = chosen("one", world.group, chance)
        if self._held or not found:
            return None
        (target,) = found
        group = self.new_cgroup()
        self._held.append((target, group))
        group.take(target.pid)
        return Struck((target.id,), self.strike(target, group, chance))

    @abstractmethod
    def new_cgroup(self) -> Cgroup: ...

    @abstractmethod
    def strike(self, target: Served, group: Cgroup, chance: random.Random) -> str:
        """Strikes it; returns a sentence for people."""

    def end(self, world: World) -> None:
        del world
        while self._held:
            target, group = self._held[-1]
            group.close()
            self._held.pop()
            self.healed(target)

    def healed(self, target: Served) -> None:
        del target

    def clean_up(self, world: World) -> None:
        self.end(world)


class Freeze(_InCgroup):
    """Longer than a lease. Meanwhile not even a kill ends its process."""

    name: ClassVar[str] = "freeze"
    about: ClassVar[str] = "one replica is frozen, all threads at once, and thawed (cgroup freezer)"
    seconds: ClassVar[tuple[float, float]] = (3.0, 6.0)

    def unavailable(self) -> str | None:
        return cgroups.freezing_unavailable()

    def new_cgroup(self) -> Cgroup:
        return cgroups.freezer()

    def strike(self, target: Served, group: Cgroup, chance: random.Random) -> str:
        del chance
        target.is_paused = True
        group.freeze()
        return f"{target.id} is frozen"

    def healed(self, target: Served) -> None:
        target.is_paused = False


class CpuQuota(_InCgroup):
    name: ClassVar[str] = "cpu-quota"
    about: ClassVar[str] = "one replica gets 5 to 20 % of a processor (cgroup cpu)"

    def unavailable(self) -> str | None:
        return cgroups.limiting_unavailable()

    def new_cgroup(self) -> Cgroup:
        return cgroups.processor()

    def strike(self, target: Served, group: Cgroup, chance: random.Random) -> str:
        share = chance.choice(_SHARES)
        group.limit(share)
        return f"{target.id} gets {share:.0%} of a processor"
