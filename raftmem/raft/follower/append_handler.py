"""A follower judges its leader's append, hands it to the library, echoes it, and claims it once it is on disk.

Order matters: the echo goes out before the claim and does not wait for the log's disk; the claim does.
"""

from raftmem.raft import messages as m
from raftmem.raft import rules
from raftmem.raft.follower.match_claim import MatchClaim
from raftmem.raft.log.durable_outbox import DurableOutbox
from raftmem.raft.log.journal import Journal
from raftmem.raft.pysyncobj_core import LEADER, Core
from raftmem.raft.rules import UntrustedClaim


class AppendHandler:
    """`commit`: the highest index that leaders' words and this log together make committed."""

    def __init__(self, *, core: Core, journal: Journal, outbox: DurableOutbox, commit: int) -> None:
        self._core = core
        self._journal = journal
        self._outbox = outbox
        self._match_claim = MatchClaim(commit=commit)

    @property
    def commit(self) -> int:
        return self._match_claim.commit

    def take(self, leader: str, message: m.Append, *, applied: int) -> bool:
        """Take an append. True: it came from a live leader; one of an older term is refused instead.

        Raises: UntrustedClaim when it contradicts what is known here; nothing has changed then.
        """
        core = self._core
        if not self._is_led_by(leader, message.term):
            return False
        verdict = rules.judge_append(self._journal, message, floor=max(core.commit_index, applied))
        if isinstance(verdict, m.Reject):
            core.deliver_append(leader, term=message.term, kept=0, entries=[], commit=0)
        else:
            core.deliver_append(
                leader, term=message.term, kept=verdict.kept, entries=verdict.entries, commit=verdict.commit
            )
            self._match_claim.verify(term=message.term, verified=verdict.verified, commit=verdict.commit)
        if message.round:
            self._outbox.send(leader, m.Echo(message.term, message.round, applied))
        if isinstance(verdict, m.Reject):
            self._outbox.send(leader, verdict)
        else:
            self.claim(owed=message.round > 0)
        return True

    def hear(self, leader: str, term: int) -> bool:
        """A sign of life that says nothing of the log (a chunk of a snapshot). False: of an older term, refused."""
        if not self._is_led_by(leader, term):
            return False
        self._core.deliver_append(leader, term=term, kept=0, entries=[], commit=0)
        return True

    def _is_led_by(self, leader: str, term: int) -> bool:
        if term < self._core.term:
            self._outbox.send(leader, m.Refuse(self._core.term))
            return False
        if self._core.role == LEADER and term == self._core.term:
            raise UntrustedClaim(f"{leader} says that it leads term {term}, which this replica was elected for")
        if term == self._core.term and self._core.leader not in (None, leader):
            raise UntrustedClaim(f"{leader} says that it leads term {term}, which {self._core.leader} leads")
        return True

    def vouch(self, index: int) -> None:
        """Claim the log up to `index`, as an answer: that much is committed, or known to be the leader's."""
        self._match_claim.verify(term=self._core.term, verified=index, commit=0)
        self.claim(owed=True)

    def claim(self, *, owed: bool) -> None:
        """Say how far this log is verified and on disk, if that is news or an answer is owed (termed-answers)."""
        leader, term = self._core.leader, self._core.term
        if leader is None or self._core.role == LEADER or self._journal.is_resetting:
            return
        match = self._match_claim.claim(term=term, durable=self._journal.durable_index, owed=owed)
        if match is not None:
            self._outbox.send(leader, m.Accept(term, match))
