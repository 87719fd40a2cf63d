"""Log time at a replica that does not lead: the time of its newest entry plus the time since it was applied.

Rule: it is never ahead of the leader's by more than the drift of the clocks, since an entry is applied after it was
stamped. It may go back a little if an entry took longer to arrive than the one before. It is for showing only.
"""

from collections.abc import Sequence

from raftmem.machine.run import Applied
from raftmem.replica.apply_loop import Replica
from raftmem.runtime.interfaces import Clock


class FollowerLogTime:
    """A `Replica` observer."""

    def __init__(self, replica: Replica, clock: Clock) -> None:
        self._replica = replica
        self._clock = clock
        self._since = clock.boottime()

    def log_time(self) -> int:
        """Microseconds."""
        return self._replica.head.time + int((self._clock.boottime() - self._since) * 1_000_000)

    def applied(self, _entries: Sequence[Applied]) -> None:
        self._since = self._clock.boottime()

    def installed(self) -> None:
        self._since = self._clock.boottime()
