"""A leader's record of one follower: what it holds, and what to send it next.

Invariant: `0 <= match < following`, and everything in (match, following) is under way.
Probing: after a (re)connection or a refusal one append at a time finds where the logs agree; then they are pipelined.
"""

from collections import deque

from raftmem.limits import APPENDS_IN_FLIGHT_MAX
from raftmem.raft import rules
from raftmem.raft.messages import Reject


class Progress:
    """`following`: index of the next entry to send. `commit_sent`: the newest commit index that it was told."""

    def __init__(self, *, last_index: int, in_flight_max: int = APPENDS_IN_FLIGHT_MAX) -> None:
        self.match = 0
        self.following = last_index + 1
        self.probing = True
        self.commit_sent = 0
        self.applied = 0  # as it said last, for operators
        self._in_flight_max = in_flight_max
        self._in_flight: deque[int] = deque()  # last index of each append with entries
        self._probe_out = False

    def lacks(self, log: rules.LogView) -> bool:
        """True when the leader's log has lost what it needs next, so that a snapshot must come first."""
        return log.first_index > 1 and self.following <= log.first_index

    def may_send_entries(self) -> bool:
        return not self._probe_out if self.probing else len(self._in_flight) < self._in_flight_max

    def sent(self, last: int, *, entries: bool) -> None:
        """An append up to `last` has left."""
        if self.probing:
            self._probe_out = True
        elif entries:
            self._in_flight.append(last)
            self.following = last + 1

    def accepted(self, match: int) -> None:
        """The follower has everything up to `match` on its disk."""
        self._probe_out = False
        self.probing = False
        self.match = max(self.match, match)
        self.following = max(self.following, self.match + 1)
        while self._in_flight and self._in_flight[0] <= self.match:
            self._in_flight.popleft()

    def rejected(self, log: rules.LogView, reject: Reject) -> None:
        """Step back, a whole term at a time (obligation bounded-backtrack)."""
        following = rules.next_after_reject(log, reject, match=self.match, following=self.following)
        if following < self.following:
            self.following = following
            self.probing = True
            self._in_flight.clear()
            self._probe_out = False

    def reconnected(self) -> None:
        """Take all that was under way for lost."""
        self.following = self.match + 1 if self.match else self.following
        self.probing = True
        self._probe_out = False
        self._in_flight.clear()

    def retry(self) -> None:
        """A heartbeat is due: a probe that got no answer may go again."""
        self._probe_out = False
