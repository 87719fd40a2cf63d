"""Disks that fail, lie, are slow, stand still or are full, for the processes of chosen replicas alone.

By a library loaded into each replica (see `cluster/preload.py`), so it needs no root. Rule: a replica has one fault of
its disk at a time.
"""

import random
from abc import abstractmethod
from pathlib import Path

from jepsen_like.cluster.client import Trouble
from jepsen_like.cluster.preload import FAILS, FULL, LIBRARY, LIES, OVER_QUOTA, SOUND, STALLS, DiskFault, Preload
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.standing import leader, names, some, spare, standing
from jepsen_like.runs.world import World
from raftmem.cli.exits import Exit
from raftmem.limits import DISK_HARD_BYTES

END_S = 15.0  # within which a replica ends whose sync has failed
SLOW_MS = (20, 200)


def _folder(world: World) -> Path:
    return world.folder / "preload"


def preload_of(world: World) -> Preload | None:
    """The control of the disks of this run's replicas, if there is one."""
    return Preload(_folder(world)) if (_folder(world) / LIBRARY).exists() else None


def is_troubled(preload: Preload | None, replica: Served) -> bool:
    """Its disk may be the reason for whatever it does."""
    return preload is not None and preload.fault(replica.id) != SOUND


class _Disk(Nemesis):
    def __init__(self) -> None:
        self._preload: Preload | None = None
        self._struck: list[Served] = []

    def unavailable(self) -> str | None:
        return Preload.unavailable()

    def prepare(self, world: World) -> None:
        preload = self._preload = Preload(_folder(world))

        def dress(replica: Served) -> None:
            preload.put_under(replica.environment, replica.id, replica.folder)

        for replica in world.group.replicas:
            dress(replica)
        world.group.dress.append(dress)

    @property
    def _under(self) -> Preload:
        if self._preload is None:
            raise Trouble(f"{self.name} was not prepared")
        return self._preload

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        under = self._under
        found = [one for one in self._chosen(world, chance) if under.fault(one.id) == SOUND]
        if not found:
            return None
        fault, words = self._fault(chance)
        self._struck += found
        for replica in found:
            self._before(replica)
            under.set(replica.id, fault)
        return Struck(names(found), f"{words} at {', '.join(names(found))}")

    def _chosen(self, world: World, chance: random.Random) -> list[Served]:
        return some(world.group, chance)

    @abstractmethod
    def _fault(self, chance: random.Random) -> tuple[DiskFault, str]:
        """And what it is, in words."""

    def _before(self, replica: Served) -> None:
        del replica

    def end(self, world: World) -> None:
        struck, self._struck = self._struck, []
        for replica in struck:
            self._under.clear(replica.id)
        for replica in struck:
            if replica in world.group.replicas:
                self._after(replica)

    def _after(self, replica: Served) -> None:
        del replica


class FsyncFail(_Disk):
    """Rule: a replica whose sync has failed ends, with the code that says so; another try might lie to it."""

    name = "fsync-fail"
    about = "every sync of one replica fails (EIO): it must stop at once, and is started again later"

    def __init__(self) -> None:
        super().__init__()
        self._failed = 0

    def _chosen(self, world: World, chance: random.Random) -> list[Served]:
        return [chance.choice(standing(world.group))] if spare(world.group) else []

    def _fault(self, chance: random.Random) -> tuple[DiskFault, str]:
        del chance
        return FAILS, "syncs fail"

    def _before(self, replica: Served) -> None:
        self._failed = self._under.counts(replica.id).failed
        replica.may_end = True

    def _after(self, replica: Served) -> None:
        if self._under.counts(replica.id).failed > self._failed:
            code = replica.ended(seconds=END_S)
            if code not in (Exit.STOPPED, -9):  # killed: by another fault
                raise Trouble(f"{replica.id} ended with {code} after a sync had failed: {replica.last_words()}")
        if replica.runs:
            replica.may_end = False
        else:
            replica.start()


class FsyncLie(_Disk):
    name = "fsync-lie"
    about = "syncs say that they are done and do nothing: harmless until a machine stops (see power-loss)"

    def _fault(self, chance: random.Random) -> tuple[DiskFault, str]:
        del chance
        return LIES, "syncs lie"


class FsyncSlow(_Disk):
    name = "fsync-slow"
    about = "each sync takes 20 to 200 ms longer"

    def _fault(self, chance: random.Random) -> tuple[DiskFault, str]:
        ms = chance.randint(*SLOW_MS)
        return DiskFault(sync_ms=ms), f"syncs take {ms} ms longer"


class FsyncStall(_Disk):
    name = "fsync-stall"
    about = "the leader's disk (or another's) stands still: no sync returns until the end"
    seconds = (3.0, 6.0)

    def _chosen(self, world: World, chance: random.Random) -> list[Served]:
        if not spare(world.group):
            return []
        leads = leader(world.group) if chance.random() < 0.75 else None
        return [leads or chance.choice(standing(world.group))]

    def _fault(self, chance: random.Random) -> tuple[DiskFault, str]:
        del chance
        return STALLS, "no sync returns"


class DiskLow(_Disk):
    name = "disk-low"
    about = "the disk says that little is free: new writes are refused with 507, all else goes on"

    def _fault(self, chance: random.Random) -> tuple[DiskFault, str]:
        free = DISK_HARD_BYTES + chance.randrange(1 << 20, 64 << 20)
        return DiskFault(free_bytes=free), f"{free >> 20} MiB are said to be free"


class DiskFull(_Disk):
    """A quota: the disk's free space does not show it, so nobody sees it before a write fails."""

    name = "disk-full"
    about = "no file of the data folder can grow: the disk is full, or a quota is used up; room is made at the end"

    def _fault(self, chance: random.Random) -> tuple[DiskFault, str]:
        return chance.choice(((FULL, "the disk is full"), (OVER_QUOTA, "the quota is used up")))
