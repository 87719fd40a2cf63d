"""Snapshots and housekeeping of one replica's life: the production code, with the referee looking on.

A small state is sent in several chunks all the same; a full disk takes no snapshot.
"""

import errno
from collections.abc import Callable, Collection
from typing import Protocol

from jepsen_like.simulator.disk import Disk
from jepsen_like.simulator.sometimes import Sometimes
from jepsen_like.simulator.world import VirtualMachine
from raftmem.errors import Stop
from raftmem.raft.consensus import Consensus
from raftmem.raft.interfaces import Timing
from raftmem.replica.apply_loop import Replica as ApplyLoop
from raftmem.replica.snapshot_keeper import SnapshotKeeper
from raftmem.replica.snapshot_policy import SnapshotPolicy, SnapshotThresholds
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta, SnapshotStore
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex

NEVER = 1 << 50
LOOKS = 0.5  # election timeouts between two looks of the housekeeping


class Setting(Protocol):
    """The group, as the snapshots of its replicas see it. `chunks`: how many a snapshot is sent in."""

    timing: Timing
    sometimes: Sometimes
    compact_entries: int
    keep_entries: int
    chunks: int


class WatchedSnapshotStore:
    """Finds no room when the disk is full."""

    def __init__(self, disk: Disk) -> None:
        self._inner: SnapshotStore = disk.snapshots
        self._log = disk.log

    def _check_room(self) -> None:
        if self._log.full:
            raise OSError(errno.ENOSPC, "no room left for a snapshot")

    def all(self) -> list[SnapshotMeta]:
        return self._inner.all()

    def take(self, members_at: Callable[[int], LogEntry], wall_ms: int) -> SnapshotMeta:
        self._check_room()
        return self._inner.take(members_at, wall_ms)

    def read(self, meta: SnapshotMeta, offset: int, size: int) -> bytes:
        return self._inner.read(meta, offset, size)

    def begin(self, meta: SnapshotMeta) -> int:
        return self._inner.begin(meta)

    def write(self, meta: SnapshotMeta, offset: int, data: bytes) -> int:
        self._check_room()
        return self._inner.write(meta, offset, data)

    def finish(self, meta: SnapshotMeta) -> bool:
        return self._inner.finish(meta)

    def verify(self, meta: SnapshotMeta) -> str | None:
        return self._inner.verify(meta)

    def drop(self, dropped: Collection[SnapshotMeta]) -> None:
        self._inner.drop(dropped)


class WatchedSnapshots(SnapshotKeeper):
    """The snapshots that consensus is given. `installed(meta)`: one has become the state."""

    def __init__(
        self,
        setting: Setting,
        disk: Disk,
        machine: VirtualMachine,
        apply_loop: ApplyLoop,
        *,
        members_at: Callable[[int], LogEntry],
        holds: Callable[[SnapshotMeta], bool],
        installed: Callable[[SnapshotMeta], None],
        on_failed: Callable[[Stop], None],
    ) -> None:
        super().__init__(
            store=WatchedSnapshotStore(disk),
            replica=apply_loop,
            executor=machine.chores,
            loop=machine,
            clock=machine,
            members_at=members_at,
            holds=holds,
            vectors=InMemoryVectorIndex.open,
            on_failed=on_failed,
        )
        self._setting = setting
        self._installed = installed

    def read(self, meta: SnapshotMeta, offset: int, size: int, done: Callable[[bytes | None], None]) -> None:
        super().read(meta, offset, min(size, meta.size // self._setting.chunks + 1), done)

    def begin(self, meta: SnapshotMeta, done: Callable[[int], None]) -> None:
        def begun(received: int) -> None:
            if 0 < received < meta.size:
                self._setting.sometimes.saw("snapshot resumed")
            done(received)

        super().begin(meta, begun)

    def install(self, meta: SnapshotMeta) -> None:
        super().install(meta)
        self._installed(meta)


class Chores:
    """`begin` once consensus is made."""

    def __init__(
        self,
        setting: Setting,
        disk: Disk,
        machine: VirtualMachine,
        apply_loop: ApplyLoop,
        *,
        installed: Callable[[SnapshotMeta], None],
        on_failed: Callable[[Stop], None],
    ) -> None:
        self._setting = setting
        self._machine = machine
        self._apply_loop = apply_loop
        self._consensus: Consensus | None = None
        self.snapshots = WatchedSnapshots(
            setting,
            disk,
            machine,
            apply_loop,
            members_at=self._members_at,
            holds=self._holds,
            installed=installed,
            on_failed=on_failed,
        )

    def _members_at(self, index: int) -> LogEntry:
        assert self._consensus is not None, "nothing is taken before consensus is there"
        return self._consensus.journal.membership_at(index)

    def _holds(self, meta: SnapshotMeta) -> bool:
        assert self._consensus is not None, "nothing is asked before consensus is there"
        return self._consensus.journal.term_at(meta.index) == meta.term

    def begin(self, consensus: Consensus) -> None:
        self._consensus = consensus
        setting, machine = self._setting, self._machine
        SnapshotPolicy(
            policy=SnapshotThresholds(setting.compact_entries, NEVER, NEVER, setting.keep_entries, share=0.0),
            replica=self._apply_loop,
            snapshots=self.snapshots,
            compact=consensus.compact,
            loop=machine,
            clock=machine,
            period_seconds=LOOKS * setting.timing.election_timeout,
        ).start()

    def take(self) -> None:
        """As an operator would ask for one."""

        def taken(meta: SnapshotMeta | None) -> None:
            if meta is not None:
                self._setting.sometimes.saw("snapshot asked for")

        self.snapshots.take(taken)
