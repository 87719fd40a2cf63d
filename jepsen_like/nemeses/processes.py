"""Processes that end, or stand still: SIGKILL, SIGTERM and SIGSTOP for one, the leader, a majority, all."""

import random
import signal
from abc import abstractmethod
from typing import ClassVar

from jepsen_like.cluster.client import Trouble
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.disks import is_troubled, preload_of
from jepsen_like.nemeses.standing import Whom, chosen, look, names
from jepsen_like.runs.world import World


class _Down(Nemesis):
    """Those hit are down until the end of the strike, which starts them again."""

    whom: ClassVar[Whom] = "one"
    seconds = (1.0, 4.0)

    def __init__(self) -> None:
        self._down: list[Served] = []

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        found = chosen(self.whom, world.group, chance)
        self._down += found
        return Struck(names(found), self._fell(world, found)) if found else None

    @abstractmethod
    def _fell(self, world: World, found: list[Served]) -> str:
        """They have ended when this returns. How, in words."""

    def end(self, world: World) -> None:
        down, self._down = self._down, []
        for replica in down:
            if replica in world.group.replicas and not replica.runs:
                replica.start()


class Kill(_Down):
    name = "kill"
    about = "one replica is killed (SIGKILL), and started again later"

    def _fell(self, world: World, found: list[Served]) -> str:
        del world
        for replica in found:
            replica.send(signal.SIGKILL)
        for replica in found:
            replica.ended()
        return f"killed {', '.join(replica.id for replica in found)}"


class KillLeader(Kill):
    name = "kill-leader"
    about = "the leader is killed (SIGKILL), and started again later"
    whom = "leader"


class KillMajority(Kill):
    name = "kill-majority"
    about = "a majority is killed (SIGKILL) at once: nothing can be written until it is started again"
    whom = "majority"


class KillAll(Kill):
    name = "kill-all"
    about = "every replica is killed (SIGKILL) at once, and started again later"
    whom = "all"


class Restart(_Down):
    name = "restart"
    about = "one replica is asked to end (SIGTERM), as by an operator, and started again later"

    def _fell(self, world: World, found: list[Served]) -> str:
        serving = {replica for replica in found if look(replica, "/livez") is not None}
        for replica in found:
            replica.send(signal.SIGTERM)
        codes = {replica: replica.ended() for replica in found}
        preload = preload_of(world)
        for replica, code in codes.items():
            if code == -signal.SIGTERM and replica not in serving:
                continue  # it was still starting: the signal ends it, as it does any process
            if code != 0 and not is_troubled(preload, replica):
                raise Trouble(f"{replica.id} ended with {code} when it was asked to: {replica.last_words()}")
        return f"stopped {', '.join(replica.id for replica in found)}"


class RestartAll(Restart):
    name = "restart-all"
    about = "every replica is asked to end (SIGTERM), and started again later"
    whom = "all"


class Pause(Nemesis):
    """A pause longer than a lease and an election: a leader or a lock holder wakes up after another took over."""

    name = "pause"
    about = "one replica stands still (SIGSTOP) for longer than leases and elections, then goes on"
    whom: ClassVar[Whom] = "one"
    seconds = (2.5, 6.0)

    def __init__(self) -> None:
        self._paused: list[Served] = []

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        found = chosen(self.whom, world.group, chance)
        self._paused += found
        for replica in found:
            replica.send(signal.SIGSTOP)
        return Struck(names(found), f"paused {', '.join(replica.id for replica in found)}") if found else None

    def end(self, world: World) -> None:
        del world
        paused, self._paused = self._paused, []
        for replica in paused:
            if replica.is_paused:
                replica.send(signal.SIGCONT)


class PauseLeader(Pause):
    name = "pause-leader"
    about = "the leader stands still (SIGSTOP) for longer than its lease, then goes on as if no time had passed"
    whom = "leader"


class PauseMajority(Pause):
    name = "pause-majority"
    about = "a majority stands still (SIGSTOP): nothing can be written until it goes on"
    whom = "majority"
