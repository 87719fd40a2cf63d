"""Log time as a leader stamps it (`docs/format.md`, Log time)."""

from raftmem.runtime.interfaces import Clock


class LogTime:
    """Log time while one replica leads one term: int64 microseconds, never decreasing, anchored once.

    `now = max(previous, anchor + elapsed)`, where the anchor is the log time of the leader's newest entry when it
    became leader, and elapsed counts CLOCK_BOOTTIME since that entry was stored here. Never re-anchored, nothing
    added per entry: it keeps within clock drift of real time at any rate of entries.
    """

    def __init__(self, clock: Clock, *, last_time: int, last_stored: float) -> None:
        self._clock = clock
        self._anchor_time = last_time
        self._anchor_at = last_stored
        self._previous = last_time

    def now(self) -> int:
        elapsed = int((self._clock.boottime() - self._anchor_at) * 1_000_000)
        self._previous = max(self._previous, self._anchor_time + elapsed)
        return self._previous
