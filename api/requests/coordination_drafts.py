"""Bodies of locks, tasks and gates to operations of the log: the same for a route and for an item of a transaction.

As in `memory_drafts.py`, only what the log must be able to hold is checked here: names, sizes, and what one field asks
of another. `at`: the place of the fields in the request, `then[3].`, for what is refused.
"""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import UNSET

from raftmem.api.http import strict_json
from raftmem.api.http.parameters import memory_id as row_id
from raftmem.api.http.parameters import name, new_id, new_name, new_owner
from raftmem.api.requests.coordination_bodies import (
    AcquireFields,
    ClaimFields,
    CompleteFields,
    FailFields,
    GateFields,
    HeartbeatFields,
    HolderFields,
    RenewFields,
    TaskFields,
)
from raftmem.api.requests.memory_drafts import Step, bounded
from raftmem.errors import BadRequest
from raftmem.limits import (
    GATE_COMMENT_BYTES_MAX,
    LOCK_METADATA_BYTES_MAX,
    TASK_ERROR_BYTES_MAX,
    VALUE_BYTES_MAX,
)
from raftmem.model import commands
from raftmem.model.commands import Backoff, Content, Pin

_FACTOR_MILLI: Final = 1000


# --- locks ----------------------------------------------------------------------------------------
def acquire(lock: str, body: AcquireFields, *, wait_ms: int = 0, at: str = "") -> Step:
    new_name(lock, at + "name")
    operation = commands.LockAcquire(lock, new_owner(body.owner, at + "owner"), body.ttl_ms, body.permits, wait_ms)
    return Step(operation, _said(body.metadata, LOCK_METADATA_BYTES_MAX, at + "metadata"))


def renew(lock: str, body: RenewFields, at: str = "") -> commands.LockRenew:
    return commands.LockRenew(lock, name(body.owner, at + "owner"), body.token, body.ttl_ms)


def release(lock: str, body: HolderFields, at: str = "") -> Step:
    return Step(commands.LockRelease(lock, name(body.owner, at + "owner"), body.token), None)


# --- tasks ----------------------------------------------------------------------------------------
def add_task(body: TaskFields, fresh: Callable[[], str], at: str = "") -> Step:
    """`fresh`: makes the id when the client chose none."""
    backoff = body.backoff
    operation = commands.TaskAdd(
        id=fresh() if body.id is UNSET else new_id(body.id, at + "id"),
        queue=new_name(body.queue, at + "queue"),
        priority=body.priority,
        delay_ms=body.delay_ms,
        max_attempts=body.max_attempts,
        backoff=Backoff(backoff.initial_ms, round(backoff.factor * _FACTOR_MILLI), backoff.max_ms),
        depends_on=_each(body.depends_on, row_id, at + "depends_on"),
        unique_key=None if body.unique_key is None else name(body.unique_key, at + "unique_key"),
        id_given=body.id is not UNSET,
    )
    return Step(operation, _said(body.payload, VALUE_BYTES_MAX, at + "payload"))


def claim(body: ClaimFields, at: str = "") -> Step:
    queues = _each(body.queues, name, at + "queues")
    return Step(commands.TaskClaim(queues, new_owner(body.worker, at + "worker"), body.ttl_ms, body.max), None)


def heartbeat(task: str, body: HeartbeatFields) -> Step:
    return Step(commands.TaskHeartbeat(task, body.token, body.ttl_ms), None)


def complete(task: str, body: CompleteFields, at: str = "") -> Step:
    return Step(commands.TaskComplete(task, body.token), _said(body.result, VALUE_BYTES_MAX, at + "result"))


def fail(task: str, body: FailFields, at: str = "") -> Step:
    operation = commands.TaskFail(task, body.token, body.retryable, body.delay_ms)
    return Step(operation, _said(body.error, TASK_ERROR_BYTES_MAX, at + "error"))


# --- gates ----------------------------------------------------------------------------------------
def put_gate(gate: str, body: GateFields, at: str = "") -> Step:
    pins = tuple(Pin(row_id(pin.memory, f"{at}pins[{n}].memory"), pin.version) for n, pin in enumerate(body.pins))
    new_name(gate, at + "name")
    if len({pin.memory for pin in pins}) < len(pins):
        raise BadRequest(f"{at}pins names a memory twice; pin each once", parameter=at + "pins")
    approvers = tuple(dict.fromkeys(_each(body.approvers, name, at + "approvers")))
    if approvers and body.required > len(approvers):
        raise BadRequest(
            f"{at}required is {body.required}, and only {len(approvers)} may approve: it would never open",
            parameter=at + "required",
        )
    return Step(commands.GatePut(gate, body.required, approvers, pins), None)


def approve(gate: str, comment: str | None, at: str = "") -> Step:
    return Step(commands.GateApprove(gate), _said(comment, GATE_COMMENT_BYTES_MAX, at + "comment"))


def _said(value: object, bytes_max: int, place: str) -> Content | None:
    """As JSON text; null says nothing."""
    return None if value is None else Content(payload=bounded(strict_json.encode(value), bytes_max, place))


def _each(given: Iterable[str], check: Callable[[str, str], str], place: str) -> tuple[str, ...]:
    return tuple([check(one, f"{place}[{n}]") for n, one in enumerate(given)])
