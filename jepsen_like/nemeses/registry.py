"""All nemeses by name."""

from typing import Final

from jepsen_like.nemeses.clock import Clock, ClockLeader
from jepsen_like.nemeses.contract import Nemesis
from jepsen_like.nemeses.damage import Flip, FlipVectors, Truncate
from jepsen_like.nemeses.disks import DiskFull, DiskLow, FsyncFail, FsyncLie, FsyncSlow, FsyncStall
from jepsen_like.nemeses.members import Members
from jepsen_like.nemeses.network import (
    CutClients,
    Delay,
    Hold,
    HoldClients,
    Partition,
    PartitionBridge,
    PartitionLeader,
    PartitionOneWay,
)
from jepsen_like.nemeses.processes import (
    Kill,
    KillAll,
    KillLeader,
    KillMajority,
    Pause,
    PauseLeader,
    PauseMajority,
    Restart,
    RestartAll,
)
from jepsen_like.nemeses.rooted.network import Choke, NamespaceDown, NamespaceLoss, NamespaceOneWay, NamespacePartition
from jepsen_like.nemeses.rooted.power import PowerLoss
from jepsen_like.nemeses.rooted.stalls import CpuQuota, Freeze
from jepsen_like.nemeses.upkeep import Snapshot, Transfer

_ALL: Final[tuple[type[Nemesis], ...]] = (
    *(Kill, KillLeader, KillMajority, KillAll, Restart, RestartAll, Pause, PauseLeader, PauseMajority),
    *(Partition, PartitionLeader, PartitionOneWay, PartitionBridge, Hold, Delay, HoldClients, CutClients),
    *(FsyncFail, FsyncLie, FsyncSlow, FsyncStall, DiskLow, DiskFull),
    *(Flip, Truncate, FlipVectors, Members, Transfer, Snapshot, Clock, ClockLeader),
    *(NamespacePartition, NamespaceOneWay, NamespaceLoss, NamespaceDown, Choke, Freeze, CpuQuota, PowerLoss),
)

NEMESES: Final[dict[str, type[Nemesis]]] = {nemesis.name: nemesis for nemesis in _ALL}
