"""Gather renewals of locks and claims at the leader, its own and those forwarded to it: one entry for many.

Rules: renewals that arrive within a tick share an entry, and two such entries are at least a tick apart. Each renewal
is decided by itself, under its own actor and request id. A request that asks for more (guards, an idempotency key,
several operations together or not at all) is not gathered. Nothing is proposed twice: if the lead is lost before the
tick is over, every request is told that its renewal is in no log.
"""

from collections import deque
from typing import Final, NamedTuple

from msgspec.structs import replace

from raftmem.errors import NotApplied, TooLarge, TooManyRequests
from raftmem.limits import OPERATIONS_MAX, PROPOSALS_IN_FLIGHT_MAX, RENEW_TICK_MS
from raftmem.model import codec
from raftmem.model.commands import Actor, Draft, Header, LockRenew, Operation, TaskHeartbeat
from raftmem.raft.consensus import Consensus
from raftmem.raft.forwarding import EntryAddress, OnProposed
from raftmem.runtime.interfaces import Loop, Randomness

ACTOR: Final = Actor("system", "raftmem")


def is_renewal(draft: Draft) -> bool:
    """True if the draft may share an entry with others."""
    header = draft.header
    operations = header.operations
    if not operations or not isinstance(operations[0], LockRenew | TaskHeartbeat):
        return False
    return (
        len(operations) <= OPERATIONS_MAX
        and all(isinstance(operation, LockRenew | TaskHeartbeat) for operation in operations)
        and (len(header.operations) == 1 or not header.atomic)
        and not header.guards
        and header.idempotency is None
        and header.read_index is None
        and not any(draft.contents)
    )


class _Asked(NamedTuple):
    operations: tuple[Operation, ...]
    placed: OnProposed


class RenewalBatch:
    """`groups`: entries that were proposed. Loop thread only."""

    def __init__(self, *, consensus: Consensus, loop: Loop, randomness: Randomness) -> None:
        self.groups = 0
        self._consensus = consensus
        self._loop = loop
        self._randomness = randomness
        self._waiting: deque[_Asked] = deque()
        self._is_due = False

    def add(self, draft: Draft, placed: OnProposed) -> None:
        """Propose it within a tick or so. Raises: TooManyRequests."""
        if len(self._waiting) >= PROPOSALS_IN_FLIGHT_MAX:
            raise TooManyRequests("the leader has as many renewals waiting as there may be; try again")
        header = draft.header
        mine = tuple(
            replace(operation, actor=header.actor, request_id=header.request_id) for operation in header.operations
        )
        self._waiting.append(_Asked(mine, placed))
        if not self._is_due:
            self._wait()

    def _wait(self) -> None:
        self._is_due = True
        self._loop.call_later(RENEW_TICK_MS / 1000, self._propose)

    def _propose(self) -> None:
        """As many of those who wait as one entry takes, first come first; the rest a tick later."""
        self._is_due = False
        group: list[_Asked] = []
        operations: list[Operation] = []
        while self._waiting and len(operations) + len(self._waiting[0].operations) <= OPERATIONS_MAX:
            group.append(self._waiting.popleft())
            operations += group[-1].operations
        if self._waiting:
            self._wait()
        header = Header(
            actor=ACTOR,
            request_id=f"renewals-{self._consensus.node_id}-{self._consensus.term}-{self.groups + 1}",
            operations=tuple(operations),
            atomic=False,
        )
        body = codec.encode_draft(Draft(header, (None,) * len(operations)), self._randomness.bytes)
        try:
            index, term = self._consensus.propose(body)
        except (NotApplied, TooLarge) as error:
            for asked in group:
                asked.placed(error)
            return
        self.groups += 1
        seq = 0
        for asked in group:
            asked.placed(EntryAddress(index, term, seq))
            seq += len(asked.operations)
