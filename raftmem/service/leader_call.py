"""One question to the leader: send it, wait for the answer, raise a refusal as the error that it was there.

Rule (no-blind-retry): a lost or late answer is told apart from a refusal, because nobody here knows its effect.
"""

from collections.abc import Callable
from typing import Final

from raftmem import errors
from raftmem.raft.forwarding import EntryAddress
from raftmem.raft.messages import Forwarded
from raftmem.raft.pending_requests import OnForwarded
from raftmem.runtime.promise import Deadline, Promise, TimedOut

_REFUSALS: Final[dict[str, type[errors.NotApplied | errors.TooLarge]]] = {
    cls.code: cls
    for cls in (
        errors.NoLeader,
        errors.TooManyRequests,
        errors.NoSpace,
        errors.ShuttingDown,
        errors.ChangeUnderWay,
        errors.WrongState,
        errors.NotFound,
        errors.TooLarge,
    )
}


class AnswerLost(Exception):
    """Asked, and not answered in time or at all."""


async def ask(send: Callable[[OnForwarded], None], deadline: Deadline) -> EntryAddress:
    """The address of the proposed entry. Raises: AnswerLost; NotApplied errors, TooLarge and BadRequest as the leader
    said; whatever `send` raises, which has sent nothing then."""
    promise: Promise[Forwarded | None] = Promise()
    send(promise.resolve)
    try:
        reply = await promise.wait(deadline)
    except TimedOut:
        reply = None
    if reply is None:
        raise AnswerLost
    if reply.code is not None:
        raise _REFUSALS.get(reply.code, errors.BadRequest)(reply.detail or reply.code)
    return EntryAddress(reply.index, reply.term, reply.seq)
