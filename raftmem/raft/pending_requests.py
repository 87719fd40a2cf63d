"""Requests that wait for the leader's answer, by number: forwarded commands, changes, and read indexes.

Rule (no-blind-retry): a question whose connection broke is answered None, once: its fate is not known.
"""

from collections.abc import Callable

from raftmem.raft import messages as m

OnForwarded = Callable[[m.Forwarded | None], None]
OnIndex = Callable[[int | None], None]


class PendingRequests:
    """Numbers count from `first`, drawn for each life of a replica: an answer to its last life fits no question of
    this one. An answer from anybody but the one who was asked is ignored."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._forwards: dict[int, tuple[str, OnForwarded]] = {}
        self._reads: dict[int, tuple[str, OnIndex]] = {}

    def forward(self, peer: str, callback: OnForwarded) -> int:
        self._next += 1
        self._forwards[self._next] = (peer, callback)
        return self._next

    def read(self, peer: str, callback: OnIndex) -> int:
        self._next += 1
        self._reads[self._next] = (peer, callback)
        return self._next

    def answered(self, peer: str, reply: m.Forwarded | m.ReadIndexReply) -> None:
        if isinstance(reply, m.Forwarded):
            if self._forwards.get(reply.id, ("", None))[0] == peer:
                self._forwards.pop(reply.id)[1](reply)
        elif self._reads.get(reply.id, ("", None))[0] == peer:
            self._reads.pop(reply.id)[1](reply.index)

    def lost_all(self) -> None:
        """Answer all that wait with None: this replica stops."""
        for peer in sorted({asked for asked, _ in (*self._forwards.values(), *self._reads.values())}):
            self.lost(peer)

    def lost(self, peer: str) -> None:
        """Answer all that wait for this peer with None: nothing more comes from it."""
        forwards = [self._forwards.pop(n) for n in [n for n, (asked, _) in self._forwards.items() if asked == peer]]
        reads = [self._reads.pop(n) for n in [n for n, (asked, _) in self._reads.items() if asked == peer]]
        for _, unknown in forwards:
            unknown(None)
        for _, unconfirmed in reads:
            unconfirmed(None)
