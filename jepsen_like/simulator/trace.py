"""`--trace`: what happened, one line each, in Raft's words. The same seed gives the same bytes, in any process.

    seconds  n1 -> n2  Append term:3 prev:5/2 commit:5 entries:[6/3 7/3] round:12
    seconds  n2  follower of n1 in term 3, log 1..7, commit 5, applied 5, voters n1 n2 n3

Pieces of a snapshot are counted in bytes.
"""

from collections.abc import Callable

from jepsen_like.simulator.group import Group
from jepsen_like.simulator.replicas import Replica
from jepsen_like.simulator.words import in_words
from raftmem.raft import messages as m


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
            self.say(f"{name} -> {peer}  {in_words(m.decode(data), chunk_bytes=1)}{lost}")
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
