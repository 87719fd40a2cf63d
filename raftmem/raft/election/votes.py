"""Votes are asked for and given here, with pre-vote, stickiness and the set of voters around the library's election.

Obligations pre-vote, stickiness, vote-set, learn-terms. The library decides terms and votes (Raft 5.2, 5.4.1); what
reaches it was judged here first, and every refusal that it keeps to itself is answered here.
"""

from collections.abc import Callable

from raftmem.raft import messages as m
from raftmem.raft import rules
from raftmem.raft.election.timer import ElectionTimer
from raftmem.raft.log.durable_outbox import DurableOutbox
from raftmem.raft.log.journal import Journal
from raftmem.raft.pysyncobj_core import CANDIDATE, LEADER, Core


class Votes:
    """`elections`: how often this replica stood. `may_stand()`: its disk can be written."""

    def __init__(
        self,
        *,
        core: Core,
        journal: Journal,
        election: ElectionTimer,
        outbox: DurableOutbox,
        peers: Callable[[], tuple[str, ...]],
        send: Callable[[str, m.Message], None],
        may_stand: Callable[[], bool],
    ) -> None:
        self.elections = 0
        self._core = core
        self._journal = journal
        self._election = election
        self._outbox = outbox
        self._peers = peers
        self._send = send
        self._may_stand = may_stand
        self._told_to = 0  # the term in which this replica's leader told it to stand

    # --- for oneself -------------------------------------------------------------------------------
    def ask_around(self) -> None:
        """Ask the others if they would vote for this replica, which hears no leader (pre-vote)."""
        if not self._may_stand():
            self._election.wait_again()
            return
        self._core.follow_nobody()
        term = self._core.term + 1
        if self._election.ask(term):
            self._stand(term)
            return
        question = m.PreVote(term, self._journal.last_index, self._journal.last.term)
        for peer in self._peers():
            self._send(peer, question)

    def would_vote(self, peer: str, reply: m.PreVoteReply) -> None:
        if reply.granted and self._election.would_vote(peer, reply.asked):
            self._stand(reply.asked)

    def voted(self, peer: str, reply: m.VoteReply) -> None:
        """Each member counts once, in this term's candidacy only."""
        current = reply.term == self._core.term and self._core.role == CANDIDATE
        if reply.granted and current and self._election.first_vote_of(peer):
            self._core.deliver_vote(peer, term=reply.term)

    def _stand(self, term: int) -> None:
        """A majority would vote: checked once more, then candidacy. The vote for oneself is a vote like others."""
        heard = self._is_sticky() or self._core.leader is not None
        if term != self._core.term + 1 or heard or not self._may_stand():
            return
        self._begin()

    def _begin(self) -> None:
        self.elections += 1
        self._election.stand()
        for voter, last_index, last_term in self._core.stand():
            self._ask_vote(voter, last_index, last_term)

    def stand_for(self, leader: str, term: int) -> None:
        """Obligation transfer: the leader of this very term gives way to this replica: nobody need be asked first."""
        led_by = (self._core.term, self._core.leader)
        if (term, leader) == led_by and self._election.may_stand and self._may_stand():
            self._told_to = term + 1
            self._begin()

    def _ask_vote(self, peer: str, last_index: int, last_term: int) -> None:
        """The library asks for a vote: once its own is on disk, and only while it still stands."""
        request = m.Vote(self._core.term, last_index, last_term, self._told_to == self._core.term)
        self._outbox.send(peer, request, unless=lambda: self._core.role != CANDIDATE)

    # --- for others ----------------------------------------------------------------------------------
    def pre_vote(self, peer: str, question: m.PreVote) -> None:
        granted = (
            question.term > self._core.term and not self._is_sticky() and rules.is_up_to_date(self._journal, question)
        )
        self._outbox.send(peer, m.PreVoteReply(self._core.term, question.term, granted))

    def vote(self, peer: str, request: m.Vote) -> None:
        """A sticky replica neither votes nor adopts the candidate's term; the refusal carries its own.

        A candidate whose leader told it to stand passes: that leader has given up its lease.
        """
        granted = False
        if request.transfer or not self._is_sticky():
            granted = self._core.deliver_vote_request(
                peer, term=request.term, last_index=request.last_index, last_term=request.last_term
            )
        if granted:
            self._election.wait_again()
        self._outbox.send(peer, m.VoteReply(self._core.term, granted))

    def _is_sticky(self) -> bool:
        return self._election.is_sticky(is_leader=self._core.role == LEADER)
