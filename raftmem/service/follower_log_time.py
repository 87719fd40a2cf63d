"""Log time as a replica that does not lead can tell it: that of its newest entry, and what has passed since.

Rule: never ahead of the leader's by more than clocks drift, since an entry is applied after it was stamped. It may go
back a little when an entry took longer to come than the one before: it is for showing, and decides nothing.
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
