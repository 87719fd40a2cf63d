"""The apply loop: committed entries in, state and waiting callers out. Knows no consensus and no network.

Rule: state, applied index and outcomes change in one transaction, entry after entry; waiting callers are told after
it, and are only queued (a callback given here must not raise).
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from raftmem import codec
from raftmem.errors import Corrupt
from raftmem.machine.run import Applied, step_entry
from raftmem.records import Head, Step
from raftmem.storage.contracts import LogEntry, PreparedState, StateReader, StateStore, VectorIndex

OnEntry = Callable[[Applied], None]
T = TypeVar("T")


class Observer(Protocol):
    """Is told what changes, after it has, and only takes note: it must not raise."""

    def applied(self, entries: Sequence[Applied]) -> None:
        """These entries, in order, right after those told of before."""
        ...

    def installed(self) -> None:
        """The state has jumped ahead: entries were passed over."""
        ...


class Replica:
    """One replica's state. Loop thread only."""

    def __init__(self, store: StateStore, vectors: VectorIndex) -> None:
        self.store = store
        self.vectors = vectors
        self.head: Head = store.head()
        self.bytes_applied = 0  # of entries, since this run began
        self.observers: list[Observer] = []
        self._entry_waiters: defaultdict[int, list[OnEntry]] = defaultdict(list)
        self._index_waiters: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self._awaited: list[int] = []  # a heap of their indexes, and of some that nobody awaits any more

    @property
    def applied(self) -> int:
        return self.head.index

    def reader(self) -> StateReader:
        """The state as of now; good until this replica applies more."""
        return self.store.read()

    def apply(self, entries: Sequence[LogEntry]) -> None:
        """Apply consecutive entries in one transaction.

        Raises: OSError with ENOSPC when there is no room (nothing changed, try again); a Stop error otherwise.
        """
        with self.store.write() as writer:
            applied = [step_entry(writer, entry.index, entry.term, entry.data) for entry in entries]
        self.head = self.store.head()
        self.bytes_applied += sum(len(entry.data) for entry in entries)
        self.vectors.apply(self.head.index, [one.step for one in applied])
        for one in applied:
            for tell in self._entry_waiters.pop(one.row.index, ()):
                tell(one)
        self._tell_reached()
        for observer in self.observers:
            observer.applied(applied)

    def install(self, prepared: PreparedState, vectors: VectorIndex) -> None:
        """A state made from a snapshot takes the place of the one in force, with the vectors that belong to it.

        Whoever waits for an entry that it holds is told. Raises: StorageFailed; Corrupt when it is not ahead.
        """
        if prepared.head.index <= self.head.index:
            index = prepared.head.index
            raise Corrupt("state", f"stands at {self.head.index}, a snapshot must not take it back", index=index)
        self.store.replace(prepared)
        self.vectors = vectors
        self.head = self.store.head()
        for index in sorted(index for index in self._entry_waiters if index <= self.head.index):
            one = self.applied_entry(index)
            for tell in self._entry_waiters.pop(index):
                tell(one)
        self._tell_reached()
        for observer in self.observers:
            observer.installed()

    def _tell_reached(self) -> None:
        while self._awaited and self._awaited[0] <= self.head.index:
            for tell in self._index_waiters.pop(heapq.heappop(self._awaited), ()):
                tell()

    def when_entry(self, index: int, callback: OnEntry) -> None:
        """Call back with the entry of `index` when it is applied here: at once if it is already."""
        if index <= self.head.index:
            callback(self.applied_entry(index))
        else:
            self._entry_waiters[index].append(callback)

    def applied_entry(self, index: int) -> Applied:
        """An entry as it was applied here; the changes it made are not kept."""
        row = self.reader().event(index)
        assert row is not None, "an applied entry has a row"
        return Applied(row, Step(row.result, ()), codec.decode(row.data, index=index))

    def when_applied(self, index: int, callback: Callable[[], None]) -> None:
        """Call back once everything up to `index` is applied here."""
        if index <= self.head.index:
            callback()
            return
        if index not in self._index_waiters:
            heapq.heappush(self._awaited, index)
        self._index_waiters[index].append(callback)

    def forget_applied(self, index: int, callback: Callable[[], None]) -> None:
        """That caller waits no more."""
        if not self._forget(self._index_waiters, index, callback):
            return
        if len(self._awaited) > 2 * len(self._index_waiters) + 16:  # most of the heap is nobody's any more
            self._awaited = sorted(self._index_waiters)

    def forget_entry(self, index: int, callback: OnEntry) -> None:
        """That caller waits no more."""
        self._forget(self._entry_waiters, index, callback)

    @staticmethod
    def _forget(waiters: dict[int, list[T]], index: int, callback: T) -> bool:
        """Whether nobody waits for that index any more."""
        waiting = waiters.get(index)
        if waiting is None or callback not in waiting:
            return False
        waiting.remove(callback)
        if not waiting:
            del waiters[index]
        return not waiting
