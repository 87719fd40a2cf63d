"""Snapshots and housekeeping of one replica's life: the production code, with the referee looking on.

A small state is sent in several chunks all the same; a full disk takes no snapshot.
"""

import errno
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from raftmem.raft.consensus import Consensus
from raftmem.replica.apply_loop import Replica as ApplyLoop
from raftmem.replica.snapshot_keeper import SnapshotKeeper
from raftmem.replica.snapshot_policy import SnapshotPolicy, SnapshotThresholds
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta, SnapshotStore
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex

if TYPE_CHECKING:
    from jepsen_like.simulator.replicas import Replica

NEVER = 1 << 50
LOOKS = 0.5  # election timeouts between two looks of the housekeeping


class WatchedSnapshotStore:
    """Finds no room when the disk is full."""

    def __init__(self, replica: "Replica") -> None:
        self._inner: SnapshotStore = replica.disk.snapshots
        self._log = replica.disk.log

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
    """What consensus is given."""

    def __init__(
        self,
        replica: "Replica",
        apply_loop: ApplyLoop,
        members_at: Callable[[int], LogEntry],
        holds: Callable[[SnapshotMeta], bool],
    ) -> None:
        machine = replica.machine
        super().__init__(
            store=WatchedSnapshotStore(replica),
            replica=apply_loop,
            executor=machine.chores,
            loop=machine,
            clock=machine,
            members_at=members_at,
            holds=holds,
            vectors=InMemoryVectorIndex.open,
            on_failed=lambda error: replica.stops(machine, error),
        )
        self._of = replica

    def read(self, meta: SnapshotMeta, offset: int, size: int, done: Callable[[bytes | None], None]) -> None:
        super().read(meta, offset, min(size, meta.size // self._of.group.chunks + 1), done)

    def begin(self, meta: SnapshotMeta, done: Callable[[int], None]) -> None:
        def begun(received: int) -> None:
            if 0 < received < meta.size:
                self._of.group.sometimes.saw("snapshot resumed")
            done(received)

        super().begin(meta, begun)

    def install(self, meta: SnapshotMeta) -> None:
        super().install(meta)
        self._of.installed(meta)


class Chores:
    """`begin` once consensus is made."""

    def __init__(self, replica: "Replica", apply_loop: ApplyLoop) -> None:
        self._of = replica
        self._apply_loop = apply_loop
        self._consensus: Consensus | None = None
        self.snapshots = WatchedSnapshots(replica, apply_loop, self._members_at, self._holds)

    def _members_at(self, index: int) -> LogEntry:
        assert self._consensus is not None, "nothing is taken before consensus is there"
        return self._consensus.journal.membership_at(index)

    def _holds(self, meta: SnapshotMeta) -> bool:
        assert self._consensus is not None, "nothing is asked before consensus is there"
        return self._consensus.journal.term_at(meta.index) == meta.term

    def begin(self, consensus: Consensus) -> None:
        self._consensus = consensus
        group, machine = self._of.group, self._of.machine
        SnapshotPolicy(
            policy=SnapshotThresholds(group.compact_entries, NEVER, NEVER, group.keep_entries, share=0.0),
            replica=self._apply_loop,
            snapshots=self.snapshots,
            compact=consensus.compact,
            loop=machine,
            clock=machine,
            period_seconds=LOOKS * group.timing.election_timeout,
        ).start()

    def take(self) -> None:
        """As an operator would ask for one."""

        def taken(meta: SnapshotMeta | None) -> None:
            if meta is not None:
                self._of.group.sometimes.saw("snapshot asked for")

        self.snapshots.take(taken)
