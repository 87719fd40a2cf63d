"""The one ordered queue to the log's disk: hard state, appends, truncations and the rest, committed in groups.

Rule: work is numbered as it is queued, and what waits for number n runs only when everything up to n is on disk
(obligations sync-before-promise, atomic-files). While one group is being synced the next one gathers.
A group that found no room, or no descriptor, is tried again, whole: nothing of it was promised. Any other failure stops
the replica.
"""

import heapq
from collections.abc import Callable, Sequence

from raftmem.errors import StorageFailed, is_shortage
from raftmem.runtime.interfaces import Clock, Executor, Loop
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry, LogStore, LogWrite, Reset, Truncate

RETRY_SECONDS = 0.25
Work = LogEntry | Truncate | HardState | Compact | Reset


class Writer:
    """`queued` and `durable` count pieces of work. `on_started` runs when all that is queued was handed to the disk,
    `on_durable` after each group, before those who wait."""

    def __init__(
        self,
        store: LogStore,
        *,
        executor: Executor,
        loop: Loop,
        clock: Clock,
        on_started: Callable[[], None],
        on_durable: Callable[[int], None],
        on_failed: Callable[[StorageFailed], None],
    ) -> None:
        self._store = store
        self._executor = executor
        self._loop = loop
        self._clock = clock
        self._on_started = on_started
        self._on_durable = on_durable
        self._on_failed = on_failed
        self._pending: list[Work] = []
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []  # a heap: (number, order, callback)
        self._order = 0
        self._busy = False
        self._since: float | None = None
        self.queued = 0
        self.durable = 0
        self.shortage: OSError | None = None  # why the newest group has to wait
        self.stopped = False

    def queue(self, write: Work) -> int:
        """Its number. Not on disk when this returns."""
        self._pending.append(write)
        self.queued += 1
        self._wake()
        return self.queued

    def queue_all(self, writes: Sequence[Work]) -> int:
        """Queue each; the number of the last."""
        self._pending += writes
        self.queued += len(writes)
        self._wake()
        return self.queued

    def _wake(self) -> None:
        if not self._busy:
            self._busy = True
            self._since = self._clock.boottime()
            self._loop.call_soon(self._start)

    def when_durable(self, number: int, callback: Callable[[], None]) -> None:
        """Run `callback` once number is on disk: now, if it is. Lower numbers first, then in the order given."""
        if number <= self.durable:
            callback()
        else:
            self._order += 1
            heapq.heappush(self._waiting, (number, self._order, callback))

    def pending_seconds(self) -> float:
        """Seconds for which the oldest unfinished group has been under way; 0 when there is none."""
        return 0.0 if self._since is None else self._clock.boottime() - self._since

    def is_stuck(self, patience: float) -> bool:
        """Short of disk or descriptors, or a group has been under way for more than `patience` seconds."""
        return self.shortage is not None or self.pending_seconds() > patience

    def stop(self) -> None:
        """Nothing more is written and nobody is called."""
        self.stopped = True
        self._waiting.clear()

    def _start(self) -> None:
        if self.stopped:
            return
        group, self._pending = self._pending, []
        self._write(_grouped(group), self.durable + len(group))
        self._on_started()

    def _write(self, writes: Sequence[LogWrite], number: int) -> None:
        def done(error: BaseException | None) -> None:
            self._done(writes, number, error)

        self._executor.submit(lambda: self._store.commit(writes), done)

    def _done(self, writes: Sequence[LogWrite], number: int, error: BaseException | None) -> None:
        if self.stopped:
            return
        if isinstance(error, OSError) and is_shortage(error):
            self.shortage = error
            self._loop.call_later(RETRY_SECONDS, lambda: None if self.stopped else self._write(writes, number))
            return
        if error is not None:
            self.stop()
            failed = error if isinstance(error, StorageFailed) else StorageFailed(f"writing the log failed: {error!r}")
            self._on_failed(failed)
            return
        self.shortage = None
        self.durable = number
        self._busy = bool(self._pending)
        self._since = self._clock.boottime() if self._busy else None
        if self._busy:
            self._start()
        self._on_durable(number)
        waiting = self._waiting
        while waiting and waiting[0][0] <= self.durable:
            heapq.heappop(waiting)[2]()


def _grouped(writes: list[Work]) -> list[LogWrite]:
    """Runs of entries become one append each."""
    grouped: list[LogWrite] = []
    run: list[LogEntry] = []
    for write in writes:
        if isinstance(write, LogEntry):
            run.append(write)
            continue
        if run:
            grouped.append(Append(tuple(run)))
            run = []
        grouped.append(write)
    if run:
        grouped.append(Append(tuple(run)))
    return grouped
