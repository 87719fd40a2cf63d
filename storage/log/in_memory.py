"""The log store in memory: the twin of `store.py` for tests and the simulator.

It refuses what the store on disk refuses, with the same words. `bytes_max` simulates a full disk.
The rule that must hold: readers on any thread see a batch of writes whole or not at all.
"""

import errno
import threading
from collections.abc import Sequence

from raftmem.errors import StorageFailed
from raftmem.storage.log.contract import HardState, LogEntry, LogWrite
from raftmem.storage.log.rules import EMPTY, follow


class InMemoryLogStore:
    """Survives `close` for as long as the object lives, as a disk would."""

    def __init__(self, *, bytes_max: int | None = None) -> None:
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        self._entries: list[LogEntry] = []  # from the first index on
        self._end = EMPTY
        self._failed: StorageFailed | None = None

    def hard_state(self) -> HardState:
        return self._end.hard_state

    def first_index(self) -> int:
        return self._end.first

    def last_index(self) -> int:
        return self._end.kept

    def is_empty(self) -> bool:
        return self._end.is_empty

    def memberships(self) -> list[LogEntry]:
        return self._end.memberships()

    def read(self, start: int, stop: int, bytes_max: int | None = None) -> list[LogEntry]:
        with self._lock:
            first = self._end.first
            found = self._entries[max(start - first, 0) : max(stop - first, 0)]
        if bytes_max is None:
            return found
        taken = 0
        for count, entry in enumerate(found):
            taken += len(entry.data)
            if taken > bytes_max and count > 0:
                return found[:count]
        return found

    def commit(self, writes: Sequence[LogWrite]) -> None:
        if self._failed is not None:
            raise StorageFailed(f"the log in memory takes no write after a failed one ({self._failed})")
        before = self._end
        try:
            after = follow(before, writes)
        except StorageFailed as error:
            self._failed = error
            raise
        start, stop = after.first - before.first, after.kept + 1 - before.first
        is_cut = start != 0 or stop < len(self._entries)
        with self._lock:
            entries = self._entries[max(start, 0) : max(stop, 0)] if is_cut else self._entries
            if self.bytes_max is not None:
                held = sum(len(entry.data) for entry in entries) + sum(len(entry.data) for entry in after.appended)
                if held > self.bytes_max:
                    raise OSError(errno.ENOSPC, "no room left for the log")
            entries.extend(after.appended)
            self._entries = entries
            self._end = after.stored()

    def close(self) -> None:
        """There is nothing to close."""
