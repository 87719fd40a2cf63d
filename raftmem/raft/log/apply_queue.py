"""The apply queue hands committed entries to the state machine, in order, a bounded piece at a time.

Rules: each entry once, `index = applied + 1` (the state checks it again in its transaction); at most a turn's worth,
so that heartbeats are not kept waiting; a full disk pauses, anything else that goes wrong is the caller's to stop for.
"""

from collections.abc import Callable
from typing import Final

from raftmem.errors import is_shortage
from raftmem.limits import APPEND_BYTES_MAX, APPLY_ENTRIES_MAX, APPLY_TURN_MS
from raftmem.raft.log.journal import Journal
from raftmem.runtime.interfaces import Clock, Loop
from raftmem.storage.log.contract import LogEntry

CHUNK: Final = 128  # entries in one transaction of the state
RETRY_SECONDS: Final = 0.25


class ApplyQueue:
    """`index`: applied here. `apply(entries)` is all or nothing; `settle()` makes what was applied outlive a kill, and
    is called now and then. Both may raise OSError for a shortage of disk or descriptors."""

    def __init__(
        self,
        *,
        journal: Journal,
        index: int,
        apply: Callable[[list[LogEntry]], None],
        settle: Callable[[], None],
        loop: Loop,
        clock: Clock,
        again: Callable[[], None],
    ) -> None:
        self.index = index
        self._journal = journal
        self._apply = apply
        self._settle = settle
        self._loop = loop
        self._clock = clock
        self._again = again
        self._paused = False
        self._held = False

    @property
    def is_paused(self) -> bool:
        """True while it waits because there was a shortage of disk or descriptors a moment ago."""
        return self._paused

    def hold(self) -> None:
        """A snapshot is about to become the state: nothing is applied until `jump`."""
        self._held = True

    def jump(self, index: int) -> None:
        """The state stands at `index` now."""
        self._held = False
        self.index = index
        self._again()

    def up_to(self, commit: int) -> None:
        """Apply towards `commit`; asks to be called again when the turn's worth did not reach it."""
        if self._paused or self._held:
            return
        began = self._clock.boottime()
        stop = min(commit + 1, self.index + 1 + APPLY_ENTRIES_MAX)
        while self.index + 1 < stop:
            if not self._has_room(lambda: self._apply_some(stop)):
                return
            if (self._clock.boottime() - began) * 1000 > APPLY_TURN_MS:
                break
        self._journal.forget(self.index)
        if self.index < commit:
            self._again()

    def settle(self) -> None:
        """Make what was applied outlive a kill; where there is no room, try again later."""
        if not self._paused:
            self._has_room(self._settle)

    def _apply_some(self, stop: int) -> None:
        entries = self._journal.read(self.index + 1, stop, APPEND_BYTES_MAX, CHUNK)
        self._apply(entries)
        self.index = entries[-1].index

    def _has_room(self, work: Callable[[], None]) -> bool:
        """Do the work. False: there was a shortage, and everything pauses a while."""
        try:
            work()
        except OSError as error:
            if not is_shortage(error):
                raise
            self._paused = True
            self._loop.call_later(RETRY_SECONDS, self._resume)
            return False
        return True

    def _resume(self) -> None:
        self._paused = False
        self._again()
