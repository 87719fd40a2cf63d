"""Expiry: the leader compares log time with what is due, and proposes one entry that ends many.

It ends memories, holds and waits of locks, and whatever is due with a task (its claim, its delay, dependents to be
told, its removal). An expiry is a command like any other. It names what the leader saw (a version, a number of
renewals, the position of a task's version) and the term, and it does nothing if that has changed.
"""

from collections.abc import Callable
from typing import Final

from raftmem.errors import NotApplied
from raftmem.limits import EXPIRE_PER_ENTRY_MAX
from raftmem.model import codec
from raftmem.model.commands import Actor, Draft, Expire, Header, LockExpire, Operation, TaskExpire
from raftmem.model.coordination_rows import DUE, CoordinationRow, Hold, Task, Waiter, due_until
from raftmem.raft.consensus import Consensus
from raftmem.replica.apply_loop import Replica
from raftmem.runtime.interfaces import Loop, Randomness
from raftmem.storage.state.contract import StateReader

PERIOD_SECONDS: Final = 0.05
ACTOR: Final = Actor("system", "raftmem")


class Expiry:
    """Looks every `PERIOD_SECONDS` while this replica leads; one expiry entry is under way at a time.

    `rows_expired`: how many ends of holds, waits and tasks this replica has proposed.
    """

    def __init__(
        self,
        *,
        consensus: Consensus,
        replica: Replica,
        loop: Loop,
        randomness: Randomness,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self.rows_expired = 0
        self._consensus = consensus
        self._replica = replica
        self._loop = loop
        self._randomness = randomness
        self._has_room = has_room
        self._under_way = (0, 0)  # index and term: of another term than this one it may have lost its place for good
        self._count = 0

    def start(self) -> None:
        if self._consensus.stopped:
            return
        self._loop.call_later(PERIOD_SECONDS, self.start)
        self._look()

    def _look(self) -> None:
        now = self._consensus.log_time()
        if now is None or self._is_under_way() or not self._has_room():
            return
        reader = self._replica.reader()
        rows = _due(reader, now, self._consensus.term)
        memories = (Expire(memory_id, version) for memory_id, version in reader.expiring(now, EXPIRE_PER_ENTRY_MAX))
        operations = (*rows, *memories)
        if not operations:
            return
        self._count += 1
        header = Header(
            actor=ACTOR,
            request_id=f"expiry-{self._consensus.node_id}-{self._consensus.term}-{self._count}",
            operations=operations,
            atomic=False,
        )
        body = codec.encode_draft(Draft(header, (None,) * len(operations)), self._randomness.bytes)
        try:
            self._under_way = self._consensus.propose(body)
        except NotApplied:
            return  # no longer the leader, or its disk is slow: whoever leads looks again
        self.rows_expired += len(rows)

    def _is_under_way(self) -> bool:
        index, term = self._under_way
        return term == self._consensus.term and index > self._replica.applied


def _due(reader: StateReader, now: int, term: int) -> list[Operation]:
    """One operation for each due row, earliest first."""
    one = reader.scan(DUE, limit=EXPIRE_PER_ENTRY_MAX, stop=due_until(now))
    return [_expire(found.row, term) for found in one]


def _expire(row: CoordinationRow, term: int) -> Operation:
    match row:
        case Hold():
            return LockExpire(row.lock, row.owner, row.token, row.renewals, term)
        case Waiter():
            return LockExpire(row.lock, row.owner, None, row.renewals, term)
        case Task():
            return TaskExpire(row.id, row.updated.index, row.updated.seq, term)
        case _:
            raise AssertionError(f"{row} has no time at which it would be due")
