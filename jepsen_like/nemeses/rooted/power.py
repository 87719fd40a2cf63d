"""The power fails: replicas are killed, and their disks lose all that was not synced. Nothing acknowledged may be lost.

Each folder is on a disk of `jepsen_like.cluster.lossy_fs`. A strike hits one replica, a majority or all of them. Of
what was not synced, either nothing or half of the pages had reached the disk, in no order. If all are hit, one comes
back only at the end, often the leader, so that the others must have what was acknowledged. For the replicas it is a
start of the machine: the boot id in their `state.json` is no longer that of now.
"""

import random
import signal
import time
from collections.abc import Sequence
from typing import ClassVar, Final

from jepsen_like.cluster import lossy_disk
from jepsen_like.cluster.lossy_disk import LossyDisk
from jepsen_like.cluster.served import Served
from jepsen_like.nemeses.contract import Nemesis, Struck
from jepsen_like.nemeses.standing import Whom, chosen, leader, names
from jepsen_like.runs.world import World

_SYNC_MS: Final = 200  # of disks that slow down before the power fails
_WHOM: Final[tuple[Whom, ...]] = ("one", "majority", "all")
_SLOW_S: Final = 0.5  # and for how long


class PowerLoss(Nemesis):
    name: ClassVar[str] = "power-loss"
    about: ClassVar[str] = "one replica, a majority or all lose their power, and their disks what was not synced (FUSE)"
    portable: ClassVar[bool] = False
    seconds: ClassVar[tuple[float, float]] = (4.0, 7.0)

    def __init__(self) -> None:
        self._disks: dict[str, LossyDisk] = {}
        self._down: list[Served] = []

    def unavailable(self) -> str | None:
        return lossy_disk.unavailable()

    def prepare(self, world: World) -> None:
        for replica in world.group.replicas:
            self._mount(replica)
        world.group.dress.append(self._mount)

    def _mount(self, replica: Served) -> None:
        disk = self._disks[replica.id] = LossyDisk(replica.folder)
        disk.mount()

    def begin(self, world: World, chance: random.Random) -> Struck | None:
        whom = chance.choice(_WHOM)
        targets = chosen(whom, world.group, chance)
        if not targets:
            return None
        if whom == "all" and chance.random() < 0.75:
            self.leave_behind(targets, leader(world.group))
        share = chance.choice((0.0, 0.5))
        lost = self.cut(targets, seed=chance.getrandbits(32), share=share)
        if whom == "all":
            self.bring_back(leaving=1)
        words = "nothing unsynced" if share == 0 else "half of what was unsynced, in no order,"
        last = f"; {targets[-1].id} comes back last" if whom == "all" else ""
        hit = names(targets)
        detail = (
            f"the power of {', '.join(hit)} fails, {words} had reached the disk: {lost} pages and names are lost{last}"
        )
        return Struck(hit, detail)

    def leave_behind(self, targets: list[Served], last: Served | None) -> None:
        """This one, who leads, is put last; the disks of the others get slow, so that what they say that they have and
        what they have differ."""
        targets.sort(key=lambda one: one is last)
        for one in targets[:-1]:
            self._disks[one.id].slow_down(sync_ms=_SYNC_MS)
        time.sleep(_SLOW_S)

    def cut(self, targets: Sequence[Served], *, seed: int, share: float) -> int:
        """The power of these, all at once; they stay down. How many pages and names were lost."""
        self._down += targets
        for one in targets:
            one.send(signal.SIGKILL)
        for one in targets:
            one.ended()
        return sum(self._disks[one.id].lose(seed=seed + place, share=share) for place, one in enumerate(targets))

    def bring_back(self, *, leaving: int = 0) -> None:
        """All but the last so many, in the order in which they were cut; not ready yet when this returns."""
        while len(self._down) > leaving:
            replica = self._down.pop(0)
            if not replica.runs:
                replica.start()

    def end(self, world: World) -> None:
        self._down = [one for one in self._down if one in world.group.replicas]
        self.bring_back()

    def clean_up(self, world: World) -> None:
        del world
        for disk in self._disks.values():
            disk.take_away()
