"""The log store in memory: the twin of `log.py` for tests and the simulator.

It refuses what the LMDB store refuses, in the same words; `bytes_max` plays a full disk.
The rule that must hold: a batch of writes is seen whole or not at all, on any thread.
"""

import errno
import threading
from collections.abc import Sequence

from raftmem.errors import StorageFailed
from raftmem.storage.contracts import HardState, LogEntry, LogWrite
from raftmem.storage.log_rules import FIRST_INDEX, LogEnd, follow


class MemoryLogStore:
    """Survives `close` for as long as the object lives, as a disk would."""

    def __init__(self, *, bytes_max: int | None = None) -> None:
        self.bytes_max = bytes_max
        self._lock = threading.Lock()
        self._entries: list[LogEntry] = []
        self._hard_state = HardState(0, None)
        self._failed: StorageFailed | None = None

    def hard_state(self) -> HardState:
        return self._hard_state

    def first_index(self) -> int:
        return FIRST_INDEX

    def last_index(self) -> int:
        return len(self._entries)

    def read(self, start: int, stop: int, bytes_max: int | None = None) -> list[LogEntry]:
        with self._lock:
            found = self._entries[max(start, FIRST_INDEX) - 1 : max(stop, FIRST_INDEX) - 1]
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
        try:
            end = follow(LogEnd(len(self._entries), self._hard_state), writes)
        except StorageFailed as error:
            self._failed = error
            raise
        with self._lock:
            entries = self._entries[: end.kept] + list(end.appended) if end.kept < len(self._entries) else None
            if self.bytes_max is not None:
                kept = entries if entries is not None else [*self._entries, *end.appended]
                if sum(len(entry.data) for entry in kept) > self.bytes_max:
                    raise OSError(errno.ENOSPC, "no room left for the log")
            if entries is None:
                self._entries.extend(end.appended)
            else:
                self._entries = entries
            self._hard_state = end.hard_state

    def close(self) -> None:
        """Nothing to let go of."""
