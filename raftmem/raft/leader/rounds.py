"""Rounds: numbered sends of a leader, and what their echoes prove about time (check-quorum, lease, read-index).

A round's send time is taken before its messages leave. When a majority (the leader counts itself) has echoed round r,
every one of them heard this leader at or after r was sent: so no other leader can be elected before
send time of r + minimum election timeout, whatever the drift that is allowed for.
"""

from collections import deque
from collections.abc import Callable, Collection

from raftmem.raft.rules import agreed, quorum
from raftmem.runtime.interfaces import Clock


class Rounds:
    """The rounds of one term of one leader; made anew for each. `lease_seconds` already has the drift taken off."""

    def __init__(self, *, self_id: str, voters: Collection[str], clock: Clock, lease_seconds: float) -> None:
        self._clock = clock
        self._lease = lease_seconds
        self._self_id = self_id
        self.voters = frozenset(voters)
        self._echoed = dict.fromkeys(voters, 0)
        self._sent: deque[tuple[int, float]] = deque()
        self._waiting: deque[tuple[int, Callable[[bool], None]]] = deque()
        self.current = 0
        self.confirmed = 0  # the newest round that a majority has echoed
        self._confirmed_sent = clock.boottime()
        self.echo_at = dict.fromkeys(voters, self._confirmed_sent)

    def set_members(self, voters: Collection[str], learners: Collection[str]) -> None:
        """Echoes of voters confirm from now on; those of learners only tell that they are there.

        What was confirmed stays so: any later leader's majority has somebody in common with those who confirmed it,
        or comes from a membership that was sent after it.
        """
        now = self._clock.boottime()
        members = {*voters, *learners}
        self.voters = frozenset(voters)
        self._echoed = {member: self._echoed.get(member, 0) for member in members}
        self.echo_at = {member: self.echo_at.get(member, now) for member in members}

    def begin(self) -> int:
        """A new round, its send time now; send it at once."""
        self.current += 1
        self._sent.append((self.current, self._clock.boottime()))
        self._count(self._self_id, self.current)
        return self.current

    def echo(self, voter: str, number: int) -> None:
        """Ignored from who is no member and for rounds that were not begun."""
        if voter in self._echoed and number <= self.current:
            self.echo_at[voter] = self._clock.boottime()
            self._count(voter, number)

    def has_echoed(self, member: str) -> bool:
        """It was heard in this term."""
        return self._echoed[member] > 0

    def holds_lease(self) -> bool:
        """No other leader can have been elected yet, as of this very call."""
        return self.confirmed > 0 and self._clock.boottime() < self._confirmed_sent + self._lease

    def silent_seconds(self) -> float:
        """Since the newest confirmed round was sent (since leading began, before the first)."""
        return self._clock.boottime() - self._confirmed_sent

    def when_confirmed(self, callback: Callable[[bool], None]) -> None:
        """Call back once a round begun from now on is confirmed; the caller sees to it that one begins."""
        self._waiting.append((self.current + 1, callback))

    @property
    def awaited(self) -> bool:
        """Someone waits for a round that has not begun."""
        return bool(self._waiting) and self._waiting[-1][0] > self.current

    def end(self) -> None:
        """This replica leads no more: everyone who waits is told no."""
        while self._waiting:
            self._waiting.popleft()[1](False)

    def _count(self, voter: str, number: int) -> None:
        if number <= self._echoed[voter]:
            return
        self._echoed[voter] = number
        confirmed = agreed([self._echoed[voter] for voter in self.voters], quorum(self.voters))
        if confirmed <= self.confirmed:
            return
        self.confirmed = confirmed
        while self._sent and self._sent[0][0] <= confirmed:
            self._confirmed_sent = self._sent.popleft()[1]
        while self._waiting and self._waiting[0][0] <= confirmed:
            self._waiting.popleft()[1](True)
