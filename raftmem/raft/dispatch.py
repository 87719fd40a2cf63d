"""Dispatch gives each message to its part, after it has learnt the term (obligations learn-terms, termed-answers).

An answer of an older term than the sender's own leadership, or of a newer one, reaches nobody.
"""

from collections.abc import Callable

from raftmem.raft import messages as m
from raftmem.raft.election.timer import ElectionTimer
from raftmem.raft.election.votes import Votes
from raftmem.raft.follower.append_handler import AppendHandler
from raftmem.raft.follower.snapshot_receiver import SnapshotReceiver
from raftmem.raft.leadership_term import LeadershipTerm
from raftmem.raft.pysyncobj_core import Core
from raftmem.raft.requests import Requests


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
    ) -> None:
        self._core = core
        self._election = election
        self._append_handler = append_handler
        self._snapshot_receiver = snapshot_receiver
        self._votes = votes
        self._requests = requests
        self._leadership_term = leadership_term
        self._applied = applied

    def handle(self, peer: str, message: m.Message) -> None:
        match message:
            case m.Append():
                if self._append_handler.take(peer, message, applied=self._applied()):
                    self._election.heard_leader()
            case m.Chunk():
                if self._snapshot_receiver.take(peer, message):
                    self._election.heard_leader()
            case m.Refuse():
                self._learn(message.term)
            case m.Echo() | m.Accept() | m.Reject() | m.ChunkReply():
                leading = self._leadership_term.leading
                if self._learn(message.term) and leading is not None and message.term == leading.term:
                    leading.answered(peer, message)
            case m.PreVote():
                self._votes.pre_vote(peer, message)
            case m.PreVoteReply():
                if self._learn(message.term):
                    self._votes.would_vote(peer, message)
            case m.Vote():
                self._votes.vote(peer, message)
            case m.VoteReply():
                if self._learn(message.term):
                    self._votes.voted(peer, message)
            case m.TimeoutNow():
                self._votes.stand_for(peer, message.term)
            case m.Forward() | m.Change():
                self._requests.answer(peer, message)
            case m.ReadIndex():
                self._requests.answer_read(peer, message)
            case m.Forwarded() | m.ReadIndexReply():
                self._requests.pending.answered(peer, message)

    def _learn(self, term: int) -> bool:
        """A higher term is adopted, whoever shows it. False if that happened."""
        if term <= self._core.term:
            return True
        self._core.adopt(term)
        self._leadership_term.observe()
        return False
