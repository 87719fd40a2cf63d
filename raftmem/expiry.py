"""Ends what has outlived its time: the leader looks at log time and proposes one entry for many.

An expiry is a command like any other. It names the version that it saw, and is nothing if that has moved on.
"""

from collections.abc import Callable
from typing import Final

from raftmem import codec
from raftmem.commands import Actor, Draft, Expire, Header
from raftmem.errors import NotApplied
from raftmem.limits import EXPIRE_PER_ENTRY_MAX
from raftmem.raft.consensus import Consensus
from raftmem.replica import Replica
from raftmem.seams import Loop, Randomness

PERIOD_SECONDS: Final = 0.05
ACTOR: Final = Actor("system", "raftmem")


class Expiry:
    """Looks every `PERIOD_SECONDS` while this replica leads; one expiry entry is under way at a time."""

    def __init__(
        self,
        *,
        consensus: Consensus,
        replica: Replica,
        loop: Loop,
        randomness: Randomness,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._consensus = consensus
        self._replica = replica
        self._loop = loop
        self._randomness = randomness
        self._has_room = has_room
        self._under_way = 0
        self._count = 0

    def start(self) -> None:
        if self._consensus.stopped:
            return
        self._loop.call_later(PERIOD_SECONDS, self.start)
        self._look()

    def _look(self) -> None:
        now = self._consensus.log_time()
        if now is None or self._under_way > self._replica.applied or not self._has_room():
            return
        expired = self._replica.reader().expiring(now, EXPIRE_PER_ENTRY_MAX)
        if not expired:
            return
        self._count += 1
        header = Header(
            actor=ACTOR,
            request_id=f"expiry-{self._consensus.node_id}-{self._consensus.term}-{self._count}",
            operations=tuple(Expire(memory_id, version) for memory_id, version in expired),
            atomic=False,
        )
        body = codec.encode_draft(Draft(header, (None,) * len(expired)), self._randomness.bytes)
        try:
            self._under_way, _ = self._consensus.propose(body)
        except NotApplied:
            return  # no longer the leader, or its disk is slow: whoever leads looks again
