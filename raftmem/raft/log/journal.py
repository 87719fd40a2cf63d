"""The log as consensus sees it: the store, plus what is queued for it, plus the newest entries in memory.

Rules: `durable_index` counts only what is on disk; a truncation lowers it at once, and a sync begun before the cut
cannot raise it above the cut. Entries not yet on disk are always in memory. The whole log never is. The membership in
force is the last in the log, else the one in force at its first index, worked out anew after every change of the log
(obligation membership).
"""

from collections import deque
from collections.abc import Callable, Sequence

from raftmem.errors import Corrupt, StorageFailed
from raftmem.limits import LOG_TAIL_BYTES_MAX
from raftmem.model import codec
from raftmem.model.commands import Members
from raftmem.raft.log.writer import Writer
from raftmem.runtime.interfaces import Clock, Executor, Loop
from raftmem.storage.log.contract import Compact, HardState, LogEntry, LogStore, Reset, Truncate


def members_of(entry: LogEntry) -> Members:
    """Raises: Corrupt when it is no membership entry."""
    members = codec.decode(entry.data, index=entry.index).members
    if members is None:
        raise Corrupt("log", "entry is no membership", index=entry.index)
    return members


class Journal:
    """`term`, `vote`: the hard state as last set. `members`: the membership in force. `last_time`, `last_stored`: log
    time of the newest entry, and the local boot clock when it was stored (or when the log was opened): the anchor of
    log time."""

    def __init__(
        self,
        store: LogStore,
        *,
        executor: Executor,
        loop: Loop,
        clock: Clock,
        on_durable: Callable[[], None],
        on_failed: Callable[[StorageFailed], None],
        on_members: Callable[[], None] = lambda: None,
        tail_bytes_max: int = LOG_TAIL_BYTES_MAX,
    ) -> None:
        self._store = store
        self._clock = clock
        self._tell = on_durable
        self._on_members = on_members
        self._tail_bytes_max = tail_bytes_max
        self.writer = Writer(
            store,
            executor=executor,
            loop=loop,
            clock=clock,
            on_started=self._started,
            on_durable=self._written,
            on_failed=on_failed,
        )
        state = store.hard_state()
        self.term, self.vote = state.term, state.vote
        self.first_index = store.first_index()
        self.durable_index = store.last_index()
        self.started_index = self.durable_index  # on disk, or on the way there
        self.last = store.read(self.durable_index, self.durable_index + 1)[0]
        self._tail = {self.last.index: self.last}  # every entry from _tail_start to the last
        self._tail_start = self.last.index
        self._tail_bytes = len(self.last.data)
        if self.last.term > self.term:
            raise Corrupt("log", f"ends in term {self.last.term}, the hard state is of term {self.term}")
        self.last_time = codec.times(self.last.data)[0]
        self.last_stored = clock.boottime()
        self.truncations = 0
        self.hard_number = 0  # number of the queued write that holds the newest hard state
        self._marks: deque[tuple[int, int]] = deque()  # (number, last index of the log after that write)
        self._cuts: deque[tuple[int, int]] = deque()  # the same, of truncations and resets alone
        self._memberships = store.memberships()
        if not self._memberships:
            raise Corrupt("log", "names no membership", index=self.first_index)
        self.members = members_of(self._memberships[-1])

    @property
    def last_index(self) -> int:
        return self.last.index

    def append(self, entry: LogEntry) -> None:
        """Queue the next entry. Raises ValueError for a gap: that is our own mistake."""
        if entry.index != self.last.index + 1:
            raise ValueError(f"entry {entry.index} does not follow {self.last.index}")
        self._marks.append((self.writer.queue(entry), entry.index))
        self._tail[entry.index] = entry
        self._tail_bytes += len(entry.data)
        self._set_last(entry)
        if entry.data[0] == codec.MEMBERSHIP:
            self._memberships.append(entry)
            self._members_changed()

    def extend(self, entries: Sequence[LogEntry]) -> None:
        """`append` for each of them; quicker for many."""
        if len(entries) < 2 or codec.MEMBERSHIP in [entry.data[0] for entry in entries]:
            for entry in entries:
                self.append(entry)
            return
        indexes = [entry.index for entry in entries]
        if indexes != list(range(self.last.index + 1, self.last.index + 1 + len(entries))):
            raise ValueError(f"entries {indexes[0]} to {indexes[-1]} do not follow {self.last.index} one by one")
        self._marks.append((self.writer.queue_all(entries), indexes[-1]))
        self._tail.update(zip(indexes, entries, strict=True))
        self._tail_bytes += sum([len(entry.data) for entry in entries])
        self._set_last(entries[-1])

    def truncate(self, index: int) -> None:
        """Remove entry `index` and all after it. `index` is above the first."""
        if not self.first_index < index <= self.last.index:
            raise ValueError(f"cannot truncate at {index}: the log is {self.first_index}..{self.last.index}")
        keep = self.entry(index - 1)
        self.truncations += 1
        for gone in range(max(index, self._tail_start), self.last.index + 1):
            self._tail_bytes -= len(self._tail.pop(gone).data)
        if not self._tail:
            self._tail[keep.index] = keep
            self._tail_start = keep.index
            self._tail_bytes = len(keep.data)
        self._set_last(keep)
        self.durable_index = min(self.durable_index, keep.index)
        self.started_index = min(self.started_index, keep.index)
        mark = (self.writer.queue(Truncate(index)), keep.index)
        self._marks.append(mark)
        self._cuts.append(mark)
        if self._memberships[-1].index >= index:
            while self._memberships[-1].index >= index:
                self._memberships.pop()
            self._members_changed()

    def compact(self, first_index: int) -> int:
        """Remove what lies below entry `first_index`, which becomes the first; the number of the queued write.

        The caller has seen to it that a snapshot covers it.
        """
        if not self.first_index < first_index <= self.durable_index:
            raise ValueError(f"cannot compact to {first_index}: {self.first_index}..{self.durable_index} is on disk")
        members = self.membership_at(first_index)
        number = self.writer.queue(Compact(first_index, members))
        self._memberships = [members, *(later for later in self._memberships if later.index > first_index)]
        for gone in range(self._tail_start, min(first_index, self.last.index)):
            self._tail_bytes -= len(self._tail.pop(gone).data)
            self._tail_start = gone + 1
        self.first_index = first_index
        return number

    def reset(self, entry: LogEntry, members: LogEntry) -> int:
        """The log becomes this entry alone, the last of a snapshot; the number of the queued write.

        Until that is on disk, the durable index stays below the entry.
        """
        number = self.writer.queue(Reset(entry, members))
        self._tail = {entry.index: entry}
        self._tail_start = self.first_index = entry.index
        self._tail_bytes = len(entry.data)
        self._set_last(entry)
        self.durable_index = min(self.durable_index, entry.index - 1)
        self.started_index = min(self.started_index, entry.index - 1)
        self._marks.append((number, entry.index))
        self._cuts.append((number, entry.index - 1))
        self._memberships = [members]
        self._members_changed()
        return number

    @property
    def is_resetting(self) -> bool:
        """A reset is on its way: the disk does not hold yet what this log says."""
        return self.durable_index < self.first_index

    @property
    def members_index(self) -> int:
        """Index of the entry that holds the membership in force."""
        return self._memberships[-1].index

    def membership_at(self, index: int) -> LogEntry:
        """The membership entry in force at an index of this log. Any thread. Raises: LookupError when it is gone."""
        for entry in reversed(self._memberships):
            if entry.index <= index:
                return entry
        raise LookupError(f"the membership at index {index} is not in the log any more")

    def _members_changed(self) -> None:
        self.members = members_of(self._memberships[-1])
        self._on_members()

    def _set_last(self, entry: LogEntry) -> None:
        self.last = entry
        self.last_time = codec.times(entry.data)[0]
        self.last_stored = self._clock.boottime()

    def set_hard_state(self, term: int, vote: str | None) -> None:
        self.term, self.vote = term, vote
        self.hard_number = self.writer.queue(HardState(term, vote))

    def entry(self, index: int) -> LogEntry:
        """Entry `index`, which is there."""
        return self._tail.get(index) or self._store.read(index, index + 1)[0]

    def term_at(self, index: int) -> int | None:
        """None when there is no such entry; 0 before the very first."""
        if index == self.last.index:
            return self.last.term
        if index == 0 and self.first_index <= 1:
            return 0
        if not self.first_index <= index <= self.last.index:
            return None
        return self.entry(index).term

    def read(self, start: int, stop: int, bytes_max: int | None = None, count_max: int | None = None) -> list[LogEntry]:
        """Entries start <= index < stop, at least one if there is one, as far as the bounds allow."""
        stop = min(stop, self.last.index + 1)
        if count_max is not None:
            stop = min(stop, start + count_max)
        if start >= stop:
            return []
        if start < self._tail_start:
            return self._store.read(start, min(stop, self._tail_start), bytes_max)
        entries: list[LogEntry] = []
        total = 0
        for index in range(start, stop):
            entry = self._tail[index]
            total += len(entry.data)
            if entries and bytes_max is not None and total > bytes_max:
                break
            entries.append(entry)
        return entries

    def forget(self, applied: int) -> None:
        """Drop from memory what is on disk and applied, beyond the tail that is kept for followers."""
        stop = min(applied, self.durable_index, self.last.index)
        while self._tail_bytes > self._tail_bytes_max and self._tail_start < stop:
            self._tail_bytes -= len(self._tail.pop(self._tail_start).data)
            self._tail_start += 1

    def _started(self) -> None:
        self.started_index = self.last.index
        self._tell()

    def _written(self, number: int) -> None:
        reached = self.durable_index
        while self._marks and self._marks[0][0] <= number:
            reached = self._marks.popleft()[1]
        while self._cuts and self._cuts[0][0] <= number:
            self._cuts.popleft()
        self.durable_index = min(reached, *(last for _, last in self._cuts)) if self._cuts else reached
        self._tell()
