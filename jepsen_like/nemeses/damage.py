"""Damages the files of one replica that has ended: it must refuse to serve, and is replaced as an operator would do it.

Only a replica of a whole group is hit, and never the leader's majority: all others hold what was acknowledged. Rule: a
damaged replica never comes back; a new replica joins under a new id, and the damaged one is removed.
"""

import random
import signal
import time
from abc import abstractmethod
from typing import ClassVar, Final

from jepsen_like.cluster.client import PAUSE_S
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.broken_files import LOG, STATE, cut_off, flip_in_log, flip_in_vectors
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.disks import is_troubled, preload_of
from jepsen_like.nemeses.members import admit, is_whole, wait_until_whole
from jepsen_like.nemeses.standing import leader, look, spare, standing
from jepsen_like.runs.world import World
from raftmem.cli.exits import Exit

START_S: Final = 30.0  # within which a replica serves or has refused to
REFUSED: Final = "refused to serve"
SERVES: Final = "it serves"


def _target(world: World, chance: random.Random) -> Served | None:
    group = world.group
    if not spare(group) or not is_whole(group):
        return None
    leads = leader(group)
    others = [one for one in standing(group) if one is not leads and not is_troubled(preload_of(world), one)]
    return chance.choice(others) if leads is not None and others else None


def _fate(replica: Served) -> str:
    """The end of a start: it serves, or the way in which it refused to.

    A signal is no refusal, but for SIGKILL: by a fault.
    """
    deadline = time.monotonic() + START_S
    while replica.runs and time.monotonic() < deadline:
        if look(replica, "/readyz") is not None:
            return SERVES
        time.sleep(PAUSE_S)
    if replica.runs:
        alone = look(replica, "/livez") is not None  # another fault keeps it from hearing a leader
        return f"{SERVES}, but hears no leader" if alone else f"it neither serves nor ends within {START_S:.0f} s"
    code = replica.exit_code or 0
    if code < 0:
        return f"{REFUSED}, and was killed" if code == -signal.SIGKILL else f"it died of {signal.Signals(-code).name}"
    how = REFUSED if code == Exit.STOPPED else "it ended"  # any other code tells nobody what to do
    return f"{how}, with exit code {code}: {replica.last_words()}"


class _Damage(Nemesis):
    asks = True
    seconds = (0.5, 2.0)

    def __init__(self) -> None:
        self._lost: Served | None = None
        self._fresh: Served | None = None  # who replaces it, from when that was first asked for

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        target = _target(world, chance) if self._lost is None else None
        if target is None:
            return None
        self._lost = target
        target.send(chance.choice((signal.SIGKILL, signal.SIGTERM)))
        target.ended()
        words = self._damaged(target, chance)
        target.start(may_end=True)
        return Struck((target.id,), f"{target.id}: {words}; {_fate(target)}")

    @abstractmethod
    def _damaged(self, target: Served, chance: random.Random) -> str:
        """The damage to its files, in words."""

    def end(self, world: World) -> None:
        lost = self._lost
        if lost is None:
            return
        lost.clean_up()  # also one that serves: nobody would trust that disk
        if lost in world.group.replicas:
            world.group.part_with(lost)
        if self._fresh is None:
            self._fresh = world.group.newcomer(*standing(world.group))
        admit(world.group, self._fresh, instead_of=lost)
        self._lost = self._fresh = None
        wait_until_whole(world.group)  # else it becomes so when all else is healed


class Flip(_Damage):
    name = "flip"
    about = "a bit of the log of one replica, which is down, is flipped: it must refuse to serve, and is replaced"

    def _damaged(self, target: Served, chance: random.Random) -> str:
        return flip_in_log(target.folder, chance)


class Truncate(_Damage):
    """The cut part may have been unused: then the replica may serve."""

    name = "truncate"
    about = "the log or the state of one replica, which is down, is cut off: it must not serve what is not whole"
    parts: ClassVar[tuple[str, ...]] = (LOG, STATE)

    def _damaged(self, target: Served, chance: random.Random) -> str:
        return cut_off(target.folder, chance.choice(self.parts), chance)


class FlipVectors(Nemesis):
    name = "flip-vectors"
    about = "a bit of the saved vectors of one replica, which is down, is flipped: it makes them again, and serves"
    seconds = (0.5, 2.0)

    def __init__(self) -> None:
        self._down: Served | None = None

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        target = _target(world, chance)
        if target is None:
            return None
        self._down = target
        target.send(signal.SIGTERM)
        target.ended()
        words = flip_in_vectors(target.folder, chance) or "no vectors were saved"
        target.start()
        return Struck((target.id,), f"{target.id}: {words}; {_fate(target)}")

    def end(self, world: World) -> None:
        down, self._down = self._down, None
        if down is not None and down in world.group.replicas and not down.runs:
            down.start()
