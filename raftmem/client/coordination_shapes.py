"""The answers about locks, tasks, gates and transactions: the shapes of the REST contract, field by field.

Fields that a newer service adds are passed over. `remaining_ms` is as of the reply.
"""

from datetime import datetime

from msgspec import Struct

from raftmem.client.shapes import Actor, Event, Memory


# --- locks ------------------------------------------------------------------------------------------
class Holder(Struct, frozen=True):
    owner: str
    token: int
    remaining_ms: int
    metadata: object = None


class Place(Struct, frozen=True):
    """In a queue, from 1."""

    owner: str
    position: int


class Lock(Struct, frozen=True):
    """A lock, or a semaphore (`permits` > 1). Free: nobody holds it."""

    name: str
    permits: int
    holders: list[Holder]
    queue: list[Place]


class Grant(Struct, frozen=True):
    """A permit. `token`: the fencing token, rises with every grant. `remaining_ms`: as of the reply."""

    name: str
    owner: str
    token: int
    remaining_ms: int
    event: Event


class Renewed(Struct, frozen=True):
    """The renewal of one of many locks. `error`: a problem document if it was refused; `remaining_ms` is None then."""

    name: str
    owner: str
    token: int
    remaining_ms: int | None
    event: Event | None = None
    error: dict[str, object] | None = None


class LockWritten(Struct, frozen=True):
    """`lock`: as it was right after."""

    lock: Lock
    event: Event


class Token(Struct, frozen=True):
    name: str
    token: int


class Released(Struct, frozen=True):
    """The released holds, waits and claims of an owner."""

    locks: list[Token] = []
    waits: list[str] = []
    tasks: list[str] = []


class OwnerReleased(Struct, frozen=True):
    owner: str
    released: Released
    event: Event


# --- tasks ------------------------------------------------------------------------------------------
class TaskError(Struct, frozen=True):
    """Why one attempt did not succeed. `error`: what the worker said."""

    attempt: int
    worker: str
    code: str
    error: object
    index: int
    time: datetime


class Task(Struct, frozen=True, kw_only=True):
    """`worker`, `token`, `remaining_ms`: of the claim, None without one."""

    id: str
    queue: str
    state: str
    payload: object
    priority: int
    attempt: int
    max_attempts: int
    worker: str | None
    token: int | None
    remaining_ms: int | None
    result: object
    errors: list[TaskError]
    depends_on: list[str]
    created_index: int
    updated_index: int


class TaskWritten(Struct, frozen=True):
    """`task`: as it was right after."""

    task: Task
    event: Event


class Claim(Struct, frozen=True):
    """`event`: None when there was nothing to claim."""

    tasks: list[Task]
    event: Event | None


class Heartbeat(Struct, frozen=True):
    """`cancel_requested`: somebody wants the task stopped."""

    cancel_requested: bool
    remaining_ms: int
    event: Event | None = None


# --- gates ------------------------------------------------------------------------------------------
class Approval(Struct, frozen=True):
    actor: Actor
    index: int
    comment: str | None = None


class Pin(Struct, frozen=True):
    memory: str
    version: int


class Gate(Struct, frozen=True, kw_only=True):
    """`open`: enough approvals, every pinned memory as it was, not consumed."""

    name: str
    required: int
    approvers: list[str]
    approvals: list[Approval]
    pins: list[Pin]
    open: bool
    consumed_index: int | None

    @property
    def guard(self) -> dict[str, object]:
        """True while it is open: for `guards=` of a write."""
        return {"gate": self.name, "open": True}


class GateWritten(Struct, frozen=True):
    """`gate`: as it was right after."""

    gate: Gate
    event: Event


# --- transactions -----------------------------------------------------------------------------------
class TxnItem(Struct, frozen=True, kw_only=True):
    """The outcome of one operation: its event (with the token of a grant), and the object right after it.

    `lock`: as it is now. `cancel_requested`: of a heartbeat.
    """

    event: Event
    memory: Memory | None = None
    lock: Lock | None = None
    task: Task | None = None
    tasks: list[Task] = []
    gate: Gate | None = None
    cancel_requested: bool | None = None


class Txn(Struct, frozen=True, kw_only=True):
    """`succeeded`: every guard was true and `then` ran; else `else_` did, and `failed` says which were false."""

    succeeded: bool
    index: int
    results: list[TxnItem]
    event: Event | None = None
    failed: list[dict[str, object]] = []
