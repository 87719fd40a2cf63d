"""The election timer says when to stand and when to refuse others. It replaces the library's; so do pre-vote and
stickiness.

Rules: nobody stands who could not win (pre-vote), nobody helps to unseat a leader that is alive (stickiness), and a
replica that just started keeps still for one election timeout, because it does not remember what it promised.
"""

from collections.abc import Collection

from raftmem.raft.rules import is_sticky, quorum
from raftmem.runtime.interfaces import Clock, Randomness


class ElectionTimer:
    """Timers of one replica. `timeout`: the minimum election timeout, seconds; each wait is drawn from [1, 2) of it.

    A replica that has lost the connection with its leader waits for 1.1 to 1.35 of it, by the same draw: the sockets of
    a killed leader tell of it early. That decides when to ask, and nothing else.
    """

    def __init__(
        self,
        *,
        self_id: str,
        voters: Collection[str],
        clock: Clock,
        randomness: Randomness,
        timeout: float,
        fresh: bool,
    ) -> None:
        self._self_id = self_id
        self._voters = frozenset(voters)
        self._clock = clock
        self._randomness = randomness
        self.timeout = timeout
        now = clock.boottime()
        self._started = float("-inf") if fresh else now
        self._heard = float("-inf")
        self._would_vote: set[str] = set()
        self._asked = 0
        self.votes: set[str] = set()
        self._deadline = now + self._draw(fresh)

    def set_voters(self, voters: Collection[str]) -> None:
        """The votes of these count from now on; a replica that is none of them never stands."""
        self._voters = frozenset(voters)

    def _draw(self, fresh: bool = False) -> float:
        """A random wait; a short one for a group that never had a leader."""
        self._share = self._randomness.random()
        return self.timeout * (0.05 + 0.3 * self._share if fresh else 1.0 + self._share)

    def heard_leader(self) -> None:
        self._heard = self._clock.boottime()
        self._asked = 0
        self.wait_again()

    def lost(self, peer: str, *, leader: str | None) -> None:
        """The connection with a peer is gone. If that leads, wait no longer than it takes until the others have not
        heard it for an election timeout either, and a little more, each by its own share."""
        if peer == leader and self._heard > float("-inf"):
            self._deadline = min(self._deadline, self._heard + self.timeout * (1.1 + 0.25 * self._share))

    def wait_again(self) -> None:
        self._deadline = self._clock.boottime() + self._draw()

    def is_due(self) -> bool:
        return self.may_stand and self._clock.boottime() >= self._deadline

    @property
    def may_stand(self) -> bool:
        """This replica is a voter."""
        return self._self_id in self._voters

    @property
    def _quorum(self) -> int:
        return quorum(self._voters)

    def is_sticky(self, *, is_leader: bool) -> bool:
        return is_sticky(
            now=self._clock.boottime(),
            heard=self._heard,
            started=self._started,
            is_leader=is_leader,
            timeout=self.timeout,
        )

    def ask(self, term: int) -> bool:
        """Begin a pre-vote for `term`; True when one's own is enough."""
        self.wait_again()
        self._asked = term
        self._would_vote = {self._self_id}
        return self._quorum == 1

    def would_vote(self, voter: str, term: int) -> bool:
        """One more would vote; True when that makes a majority (once)."""
        if term != self._asked or voter not in self._voters:
            return False
        self._would_vote.add(voter)
        if len(self._would_vote) < self._quorum:
            return False
        self._asked = 0
        return True

    def stand(self) -> None:
        """A new candidacy: no votes yet but one's own."""
        self.votes = {self._self_id}
        self.wait_again()

    def first_vote_of(self, voter: str) -> bool:
        """Obligation vote-set: each member counts once, a stranger never."""
        if voter in self.votes or voter not in self._voters:
            return False
        self.votes.add(voter)
        return True
