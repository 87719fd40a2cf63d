"""Compaction takes entries off the front of the log, in pieces, so that no transaction of it is long.

Rule (whole-snapshots): never past what is applied, on disk and covered by a finished snapshot, nor past one that is
being sent to a follower (up to a stated limit).
"""

from collections.abc import Callable

from raftmem.limits import COMPACT_ENTRIES_MAX
from raftmem.raft.interfaces import Snapshots
from raftmem.raft.leader.leadership import Leadership
from raftmem.raft.log.journal import Journal


class Compaction:
    """`step(work)` runs a step of consensus that a callback begins."""

    def __init__(
        self,
        *,
        journal: Journal,
        snapshots: Snapshots,
        applied: Callable[[], int],
        leading: Callable[[], Leadership | None],
        step: Callable[[Callable[[], None]], None],
    ) -> None:
        self._journal = journal
        self._snapshots = snapshots
        self._applied = applied
        self._leading = leading
        self._step = step
        self._wanted = 0
        self._busy = False

    def up_to(self, index: int) -> None:
        """Entries below `index` may go."""
        self._wanted = max(self._wanted, index)
        if not self._busy:
            self._some()

    def _some(self) -> None:
        self._busy = False
        first = min(self._limit(), self._journal.first_index + COMPACT_ENTRIES_MAX)
        if first > self._journal.first_index:
            self._busy = True
            number = self._journal.compact(first)
            self._journal.writer.when_durable(number, lambda: self._step(self._some))

    def _limit(self) -> int:
        snapshot, leading = self._snapshots.newest(), self._leading()
        covered = 0 if snapshot is None else snapshot.index
        limit = min(self._wanted, covered, self._applied(), self._journal.durable_index)
        return limit if leading is None else leading.may_compact(limit)
