"""`--trace`: what happened, one line each, in Raft's words. The same seed gives the same bytes, in any process.

seconds  n1 -> n2  AppendEntries term 3, after 5/2, entries 6..8, commit 5, round 12
seconds  n2  follower of n1 in term 3, log 1..8, commit 5, applied 5
"""

from collections.abc import Callable

from jepsen_like.simulator.group import Group
from jepsen_like.simulator.replicas import Replica
from raftmem.raft import messages as m

NAMES = {
    m.Append: "AppendEntries", m.Echo: "Echo", m.Accept: "AppendAccepted", m.Reject: "AppendRejected",
    m.Refuse: "OldTermRefused", m.PreVote: "RequestPreVote", m.PreVoteReply: "PreVote", m.Vote: "RequestVote",
    m.VoteReply: "Vote", m.Forward: "Forward", m.Forwarded: "Forwarded", m.ReadIndex: "ReadIndex",
    m.ReadIndexReply: "ReadIndexReply", m.TimeoutNow: "TimeoutNow", m.Chunk: "InstallSnapshot",
    m.ChunkReply: "SnapshotReceived", m.Change: "ChangeMembership",
}  # fmt: skip


class Trace:
    """Watches a group from before its start."""

    def __init__(self, group: Group, write: Callable[[str], None]) -> None:
        self._group = group
        self._write = write
        self._began = group.world.now
        self._seen: dict[str, str] = {}
        referee = group.network.watch

        def watch(name: str, peer: str, data: bytes) -> None:
            lost = "" if group.network.is_connected(name, peer) else " (not connected)"
            self.say(f"{name} -> {peer}  {in_words(m.decode(data))}{lost}")
            referee(name, peer, data)

        group.network.watch = watch
        group.world.observe = self._look

    def say(self, line: str) -> None:
        self._write(f"{self._group.world.now - self._began:11.6f}  {line}")

    def _look(self) -> None:
        """Roles, terms and logs that changed with the last event."""
        for name, replica in self._group.replicas.items():
            now = _state(replica)
            if self._seen.get(name) != now:
                self._seen[name] = now
                self.say(f"{name}  {now}")


def _state(replica: Replica) -> str:
    consensus = replica.consensus
    if consensus is None:
        return "removed" if replica.gone else "down"
    role = "leader" if consensus.is_leader else f"follower of {consensus.leader or 'nobody'}"
    journal = consensus.journal
    named = consensus.members
    voters = " ".join(one.id for one in named.voters)
    learners = " ".join(["", "+", *(one.id for one in named.learners)]) if named.learners else ""
    return (
        f"{role} in term {consensus.term}, log {journal.first_index}..{journal.last_index}, "
        f"commit {consensus.commit_index}, applied {consensus.applied}, voters {voters}{learners}"
    )


def in_words(message: m.Message) -> str:
    """One message."""
    name = NAMES[type(message)]
    match message:
        case m.Append(term=term, prev_index=prev, prev_term=prev_term, commit=commit, entries=entries, round=number):
            what = f"entries {prev + 1}..{prev + len(entries)}" if entries else "no entries"
            return f"{name} term {term}, after {prev}/{prev_term}, {what}, commit {commit}, round {number}"
        case m.Chunk(term=term, meta=meta, offset=offset, data=data, round=number):
            what = f"bytes {offset}..{offset + len(data)} of {meta.size}" if data else "an offer"
            return f"{name} term {term}, at {meta.index}/{meta.term}, {what}, round {number}"
        case m.ChunkReply(term=term, index=index, received=received):
            return f"{name} term {term}, at {index}, {received} bytes"
        case m.Forward(id=number, body=body):
            return f"{name} {number}, {len(body)} bytes"
        case m.Change(id=number, op=op, member=member):
            return f"{name} {number}, {op} {member.id}"
        case _:
            fields = ((field, getattr(message, field)) for field in message.__struct_fields__)
            return f"{name} " + ", ".join(f"{field} {value}" for field, value in fields)
