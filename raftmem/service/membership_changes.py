"""Change the membership or the leader, here or through the leader, and wait until the change is applied here.

A change may be asked again without harm (one that is already made is answered with its entry). So a lost answer, a
change of leader, and a change that must wait for another are asked again until the deadline.
"""

import asyncio

from raftmem import errors
from raftmem.model.commands import Actor, Member
from raftmem.raft import messages as m
from raftmem.raft.consensus import Consensus
from raftmem.raft.forwarding import NOWHERE, EntryAddress
from raftmem.runtime.promise import Deadline
from raftmem.service.interface import Changed
from raftmem.service.leader_call import AnswerLost, ask
from raftmem.service.proposer import RETRY_MS, Proposer

_NOBODY = Actor("service", "anonymous")  # a transfer leaves no entry that would say who asked
_AGAIN = (errors.NoLeader, errors.ChangeUnderWay)


class _AnswerLost(errors.NoLeader):
    """Asked, and never answered."""


class MembershipChanges:
    """Loop thread only."""

    def __init__(self, *, consensus: Consensus, proposer: Proposer) -> None:
        self._consensus = consensus
        self._proposer = proposer

    async def change(
        self, op: m.ChangeOp, member: Member, actor: Actor, request_id: str, deadline: Deadline
    ) -> Changed:
        """Raises: WrongState, NotFound, NoSpace, NoLeader; UnknownOutcome at the deadline."""
        is_lost = False  # an answer: from then on nobody here knows that nothing was done
        while True:
            try:
                place = await self._ask(op, member, actor, request_id, deadline)
            except _AGAIN as error:
                is_lost = is_lost or isinstance(error, _AnswerLost)
                if deadline.remaining * 1000 <= RETRY_MS:
                    raise _at_the_end(error, is_lost=is_lost) from None
                await asyncio.sleep(RETRY_MS / 1000)
                continue
            applied = await self._proposer.applied(place.index, deadline)
            members = applied.entry.members
            if applied.row.term == place.term and members is not None:
                return Changed(applied.row, members)

    async def transfer(self, member_id: str | None, deadline: Deadline) -> str:
        """The id of who leads then. Raises: WrongState, NotFound, NoLeader."""
        old = self._consensus.leader
        if old is not None and member_id == old:
            return old
        term = self._consensus.term
        await self._ask("transfer", Member(member_id or "", "", ""), _NOBODY, "transfer", deadline)
        while self._consensus.term == term or self._consensus.leader is None:
            if deadline.remaining * 1000 <= RETRY_MS:
                raise errors.NoLeader("the transfer did not come about in time; the group goes on, try again")
            await asyncio.sleep(RETRY_MS / 1000)
        new = self._consensus.leader
        if member_id not in (None, new):
            raise errors.NoLeader(f"{new} leads now and not {member_id}; try again")
        return new

    async def _ask(
        self, op: m.ChangeOp, member: Member, actor: Actor, request_id: str, deadline: Deadline
    ) -> EntryAddress:
        consensus = self._consensus
        if consensus.is_leader:
            if op == "transfer":
                consensus.transfer(member.id or None)
                return EntryAddress(*NOWHERE)
            return EntryAddress(*consensus.change(op, member, actor, request_id))
        try:
            return await ask(lambda answer: consensus.ask_change(op, member, actor, request_id, answer), deadline)
        except AnswerLost:
            raise _AnswerLost("the leader's answer was lost; the change may still be made: ask again") from None


def _at_the_end(error: errors.RaftmemError, *, is_lost: bool) -> errors.RaftmemError:
    if is_lost:
        return errors.UnknownOutcome(f"an answer was lost, so the change may still be made: ask again ({error})")
    return errors.WrongState(str(error)) if isinstance(error, errors.ChangeUnderWay) else error
