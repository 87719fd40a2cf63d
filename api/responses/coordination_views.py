"""Locks, tasks and gates as JSON: the shapes of the contract, every field always present, null when unset.

JSON text that is stored (payloads, results, metadata) is spliced in as it is. `now`: log time in microseconds, of the
entry that a write made, or as of now for a read; what remains of a lease is counted from there, rounded down.
"""

from typing import Final

from msgspec import Raw, Struct

from raftmem.api.http import times
from raftmem.api.responses.memory_views import ActorView, actor
from raftmem.limits import PERMITS_MAX, WAITERS_MAX
from raftmem.model.coordination_rows import (
    Gate,
    Hold,
    Lock,
    Task,
    Waiter,
    gate_key,
    holders,
    lock_key,
    queue_of,
    task_key,
)
from raftmem.model.records import Position
from raftmem.storage.state.contract import StateReader

_NULL: Final = Raw(b"null")
_EMPTY_OBJECT: Final = Raw(b"{}")


class HolderView(Struct, frozen=True):
    """`token`: the log index of the grant."""

    owner: str
    token: int
    remaining_ms: int
    metadata: Raw


class WaiterView(Struct, frozen=True):
    """`position`: from 1."""

    owner: str
    position: int


class LockView(Struct, frozen=True):
    """Nobody holds a free lock, and nobody waits for it."""

    name: str
    permits: int
    holders: list[HolderView]
    queue: list[WaiterView]


class TaskErrorView(Struct, frozen=True):
    """`code`: `failed` (`error`: what the worker said), `expired` or `owner-released`."""

    attempt: int
    worker: str
    code: str
    error: Raw
    index: int
    time: str


class TaskView(Struct, frozen=True):
    """`worker`, `token`, `remaining_ms`: of the claim in force."""

    id: str
    queue: str
    state: str
    payload: Raw
    priority: int
    attempt: int
    max_attempts: int
    worker: str | None
    token: int | None
    remaining_ms: int | None
    result: Raw
    errors: list[TaskErrorView]
    depends_on: tuple[str, ...]
    created_index: int
    updated_index: int


class PinView(Struct, frozen=True):
    memory: str
    version: int


class ApprovalView(Struct, frozen=True):
    actor: ActorView
    index: int
    comment: Raw


class GateView(Struct, frozen=True):
    """`open`: enough approvals, every pin holds, and not consumed."""

    name: str
    required: int
    approvers: tuple[str, ...]
    approvals: list[ApprovalView]
    pins: list[PinView]
    open: bool
    consumed_index: int | None


def remaining_ms(until: int, now: int) -> int:
    """`until`, `now`: log time, microseconds."""
    return max(0, until - now) // 1000


# --- locks ----------------------------------------------------------------------------------------
def lock_row(reader: StateReader, name: str) -> Lock | None:
    found = reader.coordination_row(lock_key(name))
    return found if isinstance(found, Lock) else None


def lock(reader: StateReader, name: str, now: int) -> LockView:
    """As it stands now: older versions of a lock are not kept."""
    row = lock_row(reader, name)
    if row is None:
        return LockView(name, 1, [], [])
    waiting = reader.scan(queue_of(name), limit=WAITERS_MAX) if row.waiting else []
    queue = [WaiterView(one.row.owner, at) for at, one in enumerate(waiting, 1) if isinstance(one.row, Waiter)]
    return LockView(name, row.permits, holds(reader, name, now), queue)


def holds(reader: StateReader, name: str, now: int) -> list[HolderView]:
    """Its holders, oldest first."""
    found = [one.row for one in reader.scan(holders(name), limit=PERMITS_MAX)]
    return [
        HolderView(
            one.owner,
            one.token,
            remaining_ms(one.expires, now),
            _text(reader, one.metadata_at, _EMPTY_OBJECT),
        )
        for one in found
        if isinstance(one, Hold)
    ]


# --- tasks ----------------------------------------------------------------------------------------
def task_at(reader: StateReader, task_id: str, at: Position, now: int) -> TaskView | None:
    """As the operation at `at` left it."""
    found = reader.coordination_row(task_key(task_id), at)
    return task(reader, found, now) if isinstance(found, Task) else None


def task(reader: StateReader, row: Task, now: int) -> TaskView:
    claimed_until = row.due if row.state == "claimed" else None
    return TaskView(
        row.id,
        row.queue,
        row.state,
        _text(reader, row.payload_at),
        row.priority,
        row.attempt,
        row.max_attempts,
        row.worker,
        row.token,
        None if claimed_until is None else remaining_ms(claimed_until, now),
        _text(reader, row.result_at),
        [
            TaskErrorView(
                error.attempt,
                error.worker,
                error.code,
                _text(reader, error.at if error.code == "failed" else None),
                error.at.index,
                times.shown(error.wall_ms),
            )
            for error in row.errors
        ],
        row.depends_on,
        row.created.index,
        row.updated.index,
    )


# --- gates ----------------------------------------------------------------------------------------
def gate_at(reader: StateReader, name: str, at: Position) -> GateView | None:
    """As the operation at `at` left it."""
    found = reader.coordination_row(gate_key(name), at)
    return gate(reader, found) if isinstance(found, Gate) else None


def gate(reader: StateReader, row: Gate) -> GateView:
    return GateView(
        row.name,
        row.required,
        row.approvers,
        [
            ApprovalView(actor(one.actor), one.at.index, _text(reader, one.at if one.has_comment else None))
            for one in row.approvals
        ],
        [PinView(pin.memory, pin.version) for pin in row.pins],
        row.open,
        None if row.consumed is None else row.consumed.index,
    )


def _text(reader: StateReader, at: Position | None, otherwise: Raw = _NULL) -> Raw:
    """The content that was given at that position, JSON text."""
    said = None if at is None else reader.content(at)
    return otherwise if said is None else Raw(said)
