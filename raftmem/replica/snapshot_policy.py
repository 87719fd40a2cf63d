"""When a replica takes a snapshot of its state, and how far it may compact its log then.

Every replica does both on its own, at its own pace. The rule that must hold: the log is compacted only below a listed
snapshot, less the tail that is kept for slow followers. The log checks the limit again before it compacts.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from raftmem.replica.apply_loop import Replica
from raftmem.runtime.interfaces import Clock, Loop
from raftmem.storage.snapshots.contract import SnapshotMeta

PERIOD_SECONDS: Final = 1.0
BACK_OFF_SECONDS: Final = 60.0  # after one that could not be taken: a full disk is not full for a second only


class SnapshotThresholds(NamedTuple):
    """A snapshot is due when the first of these is reached. `keep_entries`: stay in the log below a snapshot.

    `entries` count once their bytes are a `share` of the newest snapshot's: the cost of copying a large state is spread
    over more of them. `bytes` are those of the entries applied, `age_seconds` counts only when there was one;
    both since the snapshot or the start of this run, whichever is later: a restart costs at most one longer interval.
    """

    entries: int
    bytes: int
    age_seconds: float
    keep_entries: int
    share: float = 0.125


class Keeper(Protocol):
    """See `SnapshotKeeper`."""

    def newest(self) -> SnapshotMeta | None: ...

    def take(self, done: Callable[[SnapshotMeta | None], None]) -> None: ...


class SnapshotPolicy:
    """Loop thread only. `compact(index)`: entries below may go; asked again at every look, it does nothing twice."""

    def __init__(
        self,
        *,
        policy: SnapshotThresholds,
        replica: Replica,
        snapshots: Keeper,
        compact: Callable[[int], None],
        loop: Loop,
        clock: Clock,
        period_seconds: float = PERIOD_SECONDS,
    ) -> None:
        self._policy = policy
        self._replica = replica
        self._snapshots = snapshots
        self._compact = compact
        self._loop = loop
        self._clock = clock
        self._period_seconds = period_seconds
        self._stopped = False
        self._busy = False
        self._not_before = 0.0
        self._since = clock.boottime()
        self._bytes_then = replica.bytes_applied

    def start(self) -> None:
        """Look now, and again every period until `stop`."""
        if not self._stopped:
            self._loop.call_later(self._period_seconds, self.start)
            self.look()

    def stop(self) -> None:
        self._stopped = True

    def look(self) -> None:
        newest = self._snapshots.newest()
        if newest is not None:
            self._compact(min(newest.index, self._replica.applied) - self._policy.keep_entries)
        if not self._busy and self._clock.boottime() >= self._not_before and self._is_due(newest):
            self._take()

    def _is_due(self, newest: SnapshotMeta | None) -> bool:
        policy, replica = self._policy, self._replica
        entries = replica.applied - (0 if newest is None else newest.index)
        if entries <= 0:
            return False
        grown = replica.bytes_applied - self._bytes_then
        return (
            (entries >= policy.entries and grown >= policy.share * (0 if newest is None else newest.size))
            or grown >= policy.bytes
            or self._clock.boottime() - self._since >= policy.age_seconds
        )

    def _take(self) -> None:
        began, bytes_then = self._clock.boottime(), self._replica.bytes_applied

        def done(taken: SnapshotMeta | None) -> None:
            self._busy = False
            if taken is None:
                self._not_before = self._clock.boottime() + BACK_OFF_SECONDS
                return
            self._since, self._bytes_then = began, bytes_then
            if not self._stopped:
                self.look()

        self._busy = True
        self._snapshots.take(done)
