"""Propose a command, here or through the leader, and wait until its entry is applied here or its outcome is unknown.

Rules: a command is proposed again only when it is certain that no log holds it (no-blind-retry). It is refused for want
of room before it enters the log, never after.
"""

import asyncio
from typing import Final

from msgspec import Struct

from raftmem import errors
from raftmem.limits import PROPOSALS_IN_FLIGHT_MAX
from raftmem.machine.run import Applied
from raftmem.model import codec
from raftmem.model.commands import Draft, Header
from raftmem.raft.consensus import Consensus
from raftmem.raft.forwarding import EntryAddress, OnProposed, Refused
from raftmem.raft.pending_requests import OnForwarded
from raftmem.replica.apply_loop import Replica
from raftmem.runtime.interfaces import Randomness
from raftmem.runtime.promise import Deadline, Promise, TimedOut
from raftmem.service.leader_call import AnswerLost, ask
from raftmem.service.renewal_batch import RenewalBatch, is_renewal
from raftmem.storage.space import Space

RETRY_MS: Final = 15  # between two looks for a leader
_SHEDS: Final = frozenset(
    {"DELETE", "EXPIRE", "LOCK_RELEASE", "LOCK_LEAVE", "LOCK_EXPIRE", "LOCK_FORCE_RELEASE", "OWNER_RELEASE"}
)


class Committed(Struct, frozen=True):
    """An entry as it was applied here; the command's operations stand in it from `seq` on."""

    applied: Applied
    seq: int


class Proposer:
    """`forwarded`, `unknown`: how often. `closing`: takes nothing new from other replicas either."""

    def __init__(
        self, *, consensus: Consensus, replica: Replica, space: Space, renewals: RenewalBatch, randomness: Randomness
    ) -> None:
        self.forwarded = 0
        self.unknown = 0
        self.closing = False
        self._consensus = consensus
        self._replica = replica
        self._space = space
        self._renewals = renewals
        self._randomness = randomness
        consensus.on_forward(self._take_forwarded)

    async def commit(self, draft: Draft, deadline: Deadline) -> Committed:
        """The entry that took the command in; one that lost its place to another entry is placed again.

        Raises: NotApplied errors, TooLarge, UnknownOutcome.
        """
        body = codec.encode_draft(draft, self._randomness.bytes)
        gathers = is_renewal(draft)
        while True:
            try:
                if not self._consensus.is_leader:
                    place = await self._forward(body, deadline)
                else:
                    self._check_space(draft.header)
                    if gathers:
                        place = await self._gathered(draft, deadline)
                    else:
                        place = EntryAddress(*self._consensus.propose(body))
            except errors.NoLeader:
                if deadline.remaining * 1000 <= RETRY_MS:
                    raise
                await asyncio.sleep(RETRY_MS / 1000)
                continue
            applied = await self.applied(place.index, deadline)
            if applied.row.term == place.term:
                return Committed(applied, place.seq)

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

    async def _forward(self, body: bytes, deadline: Deadline) -> EntryAddress:
        def send(answer: OnForwarded) -> None:
            self._consensus.forward(body, answer)
            self.forwarded += 1

        try:
            return await ask(send, deadline)
        except AnswerLost:
            self.unknown += 1
            raise errors.UnknownOutcome(
                "the leader's answer was lost; the entry may be applied: ask again with the same Idempotency-Key"
            ) from None

    async def _gathered(self, draft: Draft, deadline: Deadline) -> EntryAddress:
        """Propose a renewal together with the others of this tick."""
        promise: Promise[EntryAddress | Refused] = Promise()
        self._renewals.add(draft, promise.resolve)
        try:
            what = await promise.wait(deadline)
        except TimedOut:
            self.unknown += 1
            raise errors.UnknownOutcome(
                "the renewal was not proposed in time, and may be yet; ask again: a renewal is harmless to repeat"
            ) from None
        if isinstance(what, EntryAddress):
            return what
        raise type(what)(str(what))  # the others of the tick are told the same

    def _take_forwarded(self, body: bytes, draft: Draft, placed: OnProposed) -> None:
        """A follower's command, at the leader."""
        if self.closing:
            raise errors.ShuttingDown("the leader is leaving; try again")
        if self._consensus.journal.last_index - self._replica.applied >= PROPOSALS_IN_FLIGHT_MAX:
            raise errors.TooManyRequests("the leader has as many entries in flight as there may be; try again")
        self._check_space(draft.header)
        if self._consensus.is_leader and is_renewal(draft):
            self._renewals.add(draft, placed)
        else:
            placed(EntryAddress(*self._consensus.propose(body)))

    def _check_space(self, header: Header) -> None:
        if self._space.is_low() and (not sheds(header) or self._space.is_exhausted()):
            raise errors.NoSpace(
                f"{self._space.describe()}; reads and deletes go on, writes will when space returns: free some"
            )


def sheds(header: Header) -> bool:
    """True if the command only frees room (delete, expiry, release): it may use the reserve of a full disk."""
    return all(operation.__struct_config__.tag in _SHEDS for operation in header.operations)
