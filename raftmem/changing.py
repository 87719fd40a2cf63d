"""Changes of the membership and of the leader, here or through the leader, until they are applied here.

A change is harmless to ask again (what stands already is answered with its entry), so a lost answer and a change of
leader are asked again until the deadline, and so is one that has to wait for another.
"""

import asyncio

from raftmem import errors
from raftmem.commands import Actor, Member
from raftmem.placing import RETRY_MS, Placing
from raftmem.raft import messages as m
from raftmem.raft.consensus import Consensus
from raftmem.service import Changed
from raftmem.waiting import Deadline, Promise, TimedOut

_NOBODY = Actor("service", "anonymous")  # a transfer leaves no entry that would say who asked
_AGAIN = (errors.NoLeader, errors.ChangeUnderWay)
_REFUSALS: dict[str, type[errors.RaftmemError]] = {
    cls.code: cls
    for cls in (errors.NoLeader, errors.ChangeUnderWay, errors.WrongState, errors.NotFound, errors.NoSpace)
}


class _AnswerLost(errors.NoLeader):
    """Asked, and never answered."""


class Changing:
    """Loop thread only."""

    def __init__(self, *, consensus: Consensus, placing: Placing) -> None:
        self._consensus = consensus
        self._placing = placing

    async def change(
        self, op: m.ChangeOp, member: Member, actor: Actor, request_id: str, deadline: Deadline
    ) -> Changed:
        """Raises: WrongState, NotFound, NoSpace, NoLeader; UnknownOutcome at the deadline."""
        is_lost = False  # an answer: from then on nobody here knows that nothing was done
        while True:
            try:
                index, term = await self._ask(op, member, actor, request_id, deadline)
            except _AGAIN as error:
                is_lost = is_lost or isinstance(error, _AnswerLost)
                if deadline.remaining * 1000 <= RETRY_MS:
                    raise _at_the_end(error, is_lost=is_lost) from None
                await asyncio.sleep(RETRY_MS / 1000)
                continue
            applied = await self._placing.applied(index, deadline)
            members = applied.entry.members
            if applied.row.term == term and members is not None:
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
    ) -> tuple[int, int]:
        if self._consensus.is_leader:
            if op == "transfer":
                self._consensus.transfer(member.id or None)
                return 0, 0
            return self._consensus.change(op, member, actor, request_id)
        promise: Promise[m.Forwarded | None] = Promise()
        self._consensus.ask_change(op, member, actor, request_id, promise.resolve)
        try:
            reply = await promise.wait(deadline)
        except TimedOut:
            reply = None
        if reply is None:
            raise _AnswerLost("the leader's answer was lost; the change may still be made: ask again")
        if reply.code is not None:
            raise _REFUSALS.get(reply.code, errors.WrongState)(reply.detail or reply.code)
        return reply.index, reply.term


def _at_the_end(error: errors.RaftmemError, *, is_lost: bool) -> errors.RaftmemError:
    if is_lost:
        return errors.UnknownOutcome(f"an answer was lost, so the change may still be made: ask again ({error})")
    return errors.WrongState(str(error)) if isinstance(error, errors.ChangeUnderWay) else error
