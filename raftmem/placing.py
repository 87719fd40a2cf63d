"""Getting a command into the log, here or through the leader, until its entry is applied here or nobody knows.

Rules: a command is proposed again only when it is certain that it stands in no log (no-blind-retry), and refused for
want of room before it enters the log, never after.
"""

import asyncio
from typing import Final

from raftmem import codec, errors
from raftmem.commands import Header
from raftmem.limits import PROPOSALS_IN_FLIGHT_MAX
from raftmem.machine.run import Applied
from raftmem.raft import messages as m
from raftmem.raft.consensus import Consensus
from raftmem.replica import Replica
from raftmem.storage.space import Space
from raftmem.waiting import Deadline, Promise, TimedOut

RETRY_MS: Final = 15  # between two looks for a leader
_NOT_APPLIED: Final = {
    cls.code: cls for cls in (errors.NoLeader, errors.TooManyRequests, errors.NoSpace, errors.ShuttingDown)
}


class Placing:
    """`forwarded`, `unknown`: how often. `closing`: takes nothing new from other replicas either."""

    def __init__(self, *, consensus: Consensus, replica: Replica, space: Space) -> None:
        self.forwarded = 0
        self.unknown = 0
        self.closing = False
        self._consensus = consensus
        self._replica = replica
        self._space = space
        consensus.on_forward(self._take_forwarded)

    async def commit(self, body: bytes, deadline: Deadline, *, sheds: bool) -> Applied:
        """The entry as it was applied here; one that lost its place to another entry is placed again.

        `sheds`: the command only makes room. Raises: NotApplied errors, UnknownOutcome.
        """
        while True:
            index, term = await self._place(body, deadline, sheds=sheds)
            applied = await self.applied(index, deadline)
            if applied.row.term == term:
                return applied

    async def applied(self, index: int, deadline: Deadline) -> Applied:
        """The entry of an index once it is applied here. Raises: UnknownOutcome."""
        promise: Promise[Applied] = Promise()
        tell = promise.resolve
        self._replica.when_entry(index, tell)
        try:
            return await promise.wait(deadline, on_timeout=lambda: self._replica.forget_entry(index, tell))
        except TimedOut:
            self.unknown += 1
            raise errors.UnknownOutcome(
                f"the entry stands at index {index} and was not committed in time; it may be applied later: "
                "ask again with the same Idempotency-Key"
            ) from None

    async def _place(self, body: bytes, deadline: Deadline, *, sheds: bool) -> tuple[int, int]:
        """(index, term) of the entry in the leader's log."""
        while True:
            try:
                if self._consensus.is_leader:
                    self._check_space(sheds=sheds)
                    return self._consensus.propose(body)
                return await self._forward(body, deadline)
            except errors.NoLeader:
                if deadline.remaining * 1000 <= RETRY_MS:
                    raise
            await asyncio.sleep(RETRY_MS / 1000)

    async def _forward(self, body: bytes, deadline: Deadline) -> tuple[int, int]:
        promise: Promise[m.Forwarded | None] = Promise()
        self._consensus.forward(body, promise.resolve)
        self.forwarded += 1
        try:
            reply = await promise.wait(deadline)
        except TimedOut:
            reply = None
        if reply is None:
            self.unknown += 1
            raise errors.UnknownOutcome(
                "the leader's answer was lost; the entry may be applied: ask again with the same Idempotency-Key"
            )
        if reply.code is not None:
            raise _NOT_APPLIED.get(reply.code, errors.BadRequest)(reply.detail or reply.code)
        return reply.index, reply.term

    def _take_forwarded(self, body: bytes) -> tuple[int, int]:
        """A follower's command, at the leader."""
        if self.closing:
            raise errors.ShuttingDown("the leader is leaving; try again")
        if self._consensus.journal.last_index - self._replica.applied >= PROPOSALS_IN_FLIGHT_MAX:
            raise errors.TooManyRequests("the leader has as many entries in flight as there may be; try again")
        if self._space.is_low():
            header = codec.decode(codec.seal(body, time=0, wall_ms=0)).header
            self._check_space(sheds=header is not None and sheds(header))
        return self._consensus.propose(body)

    def _check_space(self, *, sheds: bool) -> None:
        if self._space.is_low() and (not sheds or self._space.is_exhausted()):
            raise errors.NoSpace(
                f"{self._space.describe()}; reads and deletes go on, writes will when space returns: free some"
            )


def sheds(header: Header) -> bool:
    """Does this command only make room (deletes, expiry)? It may use the reserve of a disk that is nearly full."""
    return all(operation.__struct_config__.tag in ("DELETE", "EXPIRE") for operation in header.operations)
