"""Dispatch gives each message to its part, after it has learnt the term (obligations learn-terms, termed-answers).

An answer of an older term than the sender's own leadership, or of a newer one, reaches nobody. Rules
(untrusted-messages): one message raises the term by a bound at most; while this replica leads, only a voter of the
membership in force raises it; only members ask a leader to propose or to change something.
"""

from collections.abc import Callable

from raftmem.limits import TERM_AHEAD_MAX, TERM_AHEAD_VOTER_MAX
from raftmem.model.commands import Members
from raftmem.raft import messages as m
from raftmem.raft.election.timer import ElectionTimer
from raftmem.raft.election.votes import Votes
from raftmem.raft.follower.append_handler import AppendHandler
from raftmem.raft.follower.snapshot_receiver import SnapshotReceiver
from raftmem.raft.forwarding import NOWHERE
from raftmem.raft.leadership_term import LeadershipTerm
from raftmem.raft.membership import ids
from raftmem.raft.pysyncobj_core import Core
from raftmem.raft.requests import Requests
from raftmem.raft.rules import UntrustedClaim


class Dispatch:
    """`handle` takes decoded messages of authenticated replicas of this group, members or not yet."""

    def __init__(
        self,
        *,
        core: Core,
        election: ElectionTimer,
        append_handler: AppendHandler,
        snapshot_receiver: SnapshotReceiver,
        votes: Votes,
        requests: Requests,
        leadership_term: LeadershipTerm,
        applied: Callable[[], int],
        members: Callable[[], Members],
        send: Callable[[str, m.Message], None],
    ) -> None:
        self._core = core
        self._election = election
        self._append_handler = append_handler
        self._snapshot_receiver = snapshot_receiver
        self._votes = votes
        self._requests = requests
        self._leadership_term = leadership_term
        self._applied = applied
        self._members = members
        self._send = send

    def handle(self, peer: str, message: m.Message) -> None:
        """Raises: UntrustedClaim for what cannot be; nothing has changed then."""
        match message:
            case m.Append():
                counts = self._counts(peer, message.term)
                if counts and self._append_handler.take(peer, message, applied=self._applied()):
                    self._election.heard_leader()
            case m.Chunk():
                if self._counts(peer, message.term) and self._snapshot_receiver.take(peer, message):
                    self._election.heard_leader()
            case m.Refuse():
                self._learn(peer, message.term)
            case m.Echo() | m.Accept() | m.Reject() | m.ChunkReply():
                leading = self._leadership_term.leading
                if self._learn(peer, message.term) and leading is not None and message.term == leading.term:
                    leading.answered(peer, message)
            case m.PreVote():
                self._votes.pre_vote(peer, message)
            case m.PreVoteReply():
                if self._learn(peer, message.term):
                    self._votes.would_vote(peer, message)
            case m.Vote():
                if self._counts(peer, message.term):
                    self._votes.vote(peer, message)
            case m.VoteReply():
                if self._learn(peer, message.term):
                    self._votes.voted(peer, message)
            case m.TimeoutNow():
                self._votes.stand_for(peer, message.term)
            case m.Forward() | m.Change():
                if self._leadership_term.leading is None or self._members().member(peer) is not None:
                    self._requests.answer(peer, message)
                else:
                    reason = f"{peer} is no member of this group, so its leader takes nothing from it"
                    self._send(peer, m.Forwarded(message.id, *NOWHERE, "no-leader", reason))
            case m.ReadIndex():
                self._requests.answer_read(peer, message)
            case m.Forwarded() | m.ReadIndexReply():
                self._requests.pending.answered(peer, message)

    def _counts(self, peer: str, term: int) -> bool:
        """False: the message is ignored. Raises: UntrustedClaim for a term beyond the bound."""
        ahead = term - self._core.term
        if ahead <= 0:
            return True
        voters = ids(self._members().voters)
        is_voter = peer in voters or not voters
        if ahead > (TERM_AHEAD_VOTER_MAX if is_voter else TERM_AHEAD_MAX):
            raise UntrustedClaim(f"{peer} speaks of term {term}, this replica is in term {self._core.term}")
        return is_voter or self._leadership_term.leading is None

    def _learn(self, peer: str, term: int) -> bool:
        """A higher term is adopted. False: it was higher."""
        if term <= self._core.term:
            return True
        if not self._counts(peer, term):
            return False
        self._core.adopt(term)
        self._leadership_term.observe()
        return False
