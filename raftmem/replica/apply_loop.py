"""The apply loop: it applies committed entries to the state and tells the waiting callers. No consensus, no network.

Rule: state, applied index and outcomes change in one transaction, entry after entry. Waiting callers are told after it,
and are only queued (a callback given here must not raise).

Applied entries are settled later, many at once. A kill before that costs nothing, because they are in the log (an
entry is applied only once it is on disk there). Until then the entries are kept: a disk without room takes the
unsettled state with it, and they are applied again so that no reader notices.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from raftmem.errors import Corrupt, StorageFailed, is_no_room
from raftmem.limits import UNSETTLED_BYTES_MAX, UNSETTLED_ENTRIES_MAX
from raftmem.machine.run import Applied, step_entry
from raftmem.model import codec
from raftmem.model.records import Head, Step
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.state.contract import PreparedState, StateReader, StateStore
from raftmem.storage.vectors.contract import VectorIndex

OnEntry = Callable[[Applied], None]
T = TypeVar("T")


class Observer(Protocol):
    """It is told of changes after they are made; it must not raise."""

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
        self._unsettled: list[LogEntry] = []
        self._unsettled_bytes = 0

    @property
    def applied(self) -> int:
        return self.head.index

    def reader(self) -> StateReader:
        """The state as of now; good until this replica applies more."""
        return self.store.read()

    def apply(self, entries: Sequence[LogEntry]) -> None:
        """Apply consecutive entries, together.

        Raises: OSError for a shortage of disk or descriptors (nothing changed, try again); a Stop error otherwise.
        """
        if len(self._unsettled) >= UNSETTLED_ENTRIES_MAX or self._unsettled_bytes >= UNSETTLED_BYTES_MAX:
            self.settle()
        try:
            with self.store.write() as writer:
                applied = [step_entry(writer, entry.index, entry.term, entry.data) for entry in entries]
        except BaseException as error:
            self._fell_back(error)
            raise
        self.head = self.store.head()
        size = sum([len(entry.data) for entry in entries])
        self.bytes_applied += size
        self._unsettled += entries
        self._unsettled_bytes += size
        self.vectors.apply(self.head.index, [one.step for one in applied])
        for one in applied:
            for tell in self._entry_waiters.pop(one.row.index, ()):
                tell(one)
        self._tell_reached()
        for observer in self.observers:
            observer.applied(applied)

    def settle(self) -> None:
        """Settle: everything applied outlives a kill of this process when this returns.

        Raises: OSError for a shortage of disk or descriptors (nothing changed, try again); a Stop error otherwise.
        """
        if self._unsettled:
            try:
                self.store.settle()
            except BaseException as error:
                self._fell_back(error)
                raise
            self._all_settled()

    @property
    def is_settled(self) -> bool:
        return not self._unsettled

    def _all_settled(self) -> None:
        self._unsettled.clear()
        self._unsettled_bytes = 0

    def _fell_back(self, error: BaseException) -> None:
        """A write or a settling failed, and the state fell back to what is settled (or there was nothing to lose).

        For want of room it is brought back; for anything else this replica stops, and claims no more than it can show.
        Raises: StorageFailed, Corrupt when it cannot be brought back.
        """
        before, self.head = self.head, self.store.head()
        if self.head == before or not isinstance(error, OSError):
            return
        try:
            with self.store.write() as writer:
                for entry in self._unsettled:
                    step_entry(writer, entry.index, entry.term, entry.data)
        except OSError as again:
            remedy = "free some disk" if is_no_room(again) else "raise the limit of open files"
            what = f"the state cannot hold again what it held ({again}); {remedy}, then start this replica again"
            raise StorageFailed(what) from again
        self.head = self.store.head()
        if self.head != before:
            raise Corrupt("state", "is another one when it is made again", index=before.index)

    def private_reader(self) -> StateReader:
        """As `StateStore.read_private`, of all that was applied. Raises: as `settle`."""
        self.settle()
        return self.store.read_private()

    def install(self, prepared: PreparedState, vectors: VectorIndex) -> None:
        """A state made from a snapshot takes the place of the one in force, with the vectors that belong to it.

        Whoever waits for an entry that it holds is told. Raises: StorageFailed; Corrupt when it is not ahead.
        """
        if prepared.head.index <= self.head.index:
            index = prepared.head.index
            raise Corrupt("state", f"stands at {self.head.index}, a snapshot must not take it back", index=index)
        self.store.replace(prepared)
        self._all_settled()
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
        """Remove that callback."""
        if not self._forget(self._index_waiters, index, callback):
            return
        if len(self._awaited) > 2 * len(self._index_waiters) + 16:  # most of the heap is nobody's any more
            self._awaited = sorted(self._index_waiters)

    def forget_entry(self, index: int, callback: OnEntry) -> None:
        """Remove that callback."""
        self._forget(self._entry_waiters, index, callback)

    @staticmethod
    def _forget(waiters: dict[int, list[T]], index: int, callback: T) -> bool:
        """Remove the callback; True if nobody waits for that index any more."""
        waiting = waiters.get(index)
        if waiting is None or callback not in waiting:
            return False
        waiting.remove(callback)
        if not waiting:
            del waiters[index]
        return not waiting
