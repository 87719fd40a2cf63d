"""Bodies of locks, tasks, gates and transactions: what a client may send, as in `bodies.py`.

What a route takes beside its path, and what the same operation takes inside a transaction, are the same fields; an
item of a transaction names its lock, task or gate too, and cannot wait.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from raftmem.api.requests.memory_bodies import ActorBody, Guards, Id, Index, Name
from raftmem.limits import (
    APPROVERS_MAX,
    GATE_COMMENT_BYTES_MAX,
    JSON_INTEGER_MAX,
    LOCK_TTL_MS_MAX,
    LOCK_TTL_MS_MIN,
    PERMITS_MAX,
    PINS_MAX,
    RENEWALS_MAX,
    TASK_ATTEMPTS_DEFAULT,
    TASK_ATTEMPTS_MAX,
    TASK_BACKOFF_FACTOR_MILLI_MAX,
    TASK_CLAIM_MAX,
    TASK_DELAY_MS_MAX,
    TASK_DEPENDS_MAX,
    TASK_PRIORITY_MAX,
    TASK_QUEUES_MAX,
    TIMEOUT_MS_MAX,
    WAIT_MS_MAX,
)

Token = Annotated[int, Meta(ge=1, le=JSON_INTEGER_MAX)]
Ttl = Annotated[int, Meta(ge=LOCK_TTL_MS_MIN, le=LOCK_TTL_MS_MAX)]
Wait = Annotated[int, Meta(ge=0, le=WAIT_MS_MAX)]
Delay = Annotated[int, Meta(ge=0, le=TASK_DELAY_MS_MAX)]
Comment = Annotated[str, Meta(extra_json_schema={"maxLength": GATE_COMMENT_BYTES_MAX})]


# `actor`, `guards` and `read_index` may stand in any write body, and in no item of a transaction; msgspec has no
# mixins, so each body spells them out.
class BareBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A write that says no more than who asks, under which conditions, having read up to where."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


# --- locks ----------------------------------------------------------------------------------------
class HolderFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The holder of a lock, and its token."""

    owner: Name
    token: Token


class RenewFields(HolderFields, frozen=True, kw_only=True):
    """`ttl_ms`: as long as before when not given."""

    ttl_ms: Ttl | None = None


class AcquireFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`permits`: how many may hold the lock at once. `metadata`: for people, shown with the holder."""

    owner: Name
    ttl_ms: Ttl
    permits: Annotated[int, Meta(ge=1, le=PERMITS_MAX)] = 1
    metadata: dict[str, object] | None = None


class AcquireBody(AcquireFields, frozen=True, kw_only=True):
    """`POST /v1/locks/{name}/acquire`. `wait_ms` 0: do not queue. `keep_ms`: how long the place in the queue stays when
    the wait is over, for who asks again; 0: it is left."""

    wait_ms: Wait = 0
    keep_ms: Annotated[int, Meta(ge=0, le=TIMEOUT_MS_MAX)] = 0
    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class RenewBody(RenewFields, frozen=True, kw_only=True):
    """`POST /v1/locks/{name}/renew`."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class ReleaseBody(HolderFields, frozen=True, kw_only=True):
    """`POST /v1/locks/{name}/release`."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class HeldLock(Struct, frozen=True, forbid_unknown_fields=True):
    """One lock to renew."""

    name: Name
    token: Token


class RenewManyBody(BareBody, frozen=True, kw_only=True):
    """`POST /v1/locks/renew`: one heartbeat for all that an owner holds. `ttl_ms`: as before when not given."""

    owner: Name
    locks: Annotated[list[HeldLock], Meta(min_length=1, max_length=RENEWALS_MAX)]
    ttl_ms: Ttl | None = None


# --- tasks ----------------------------------------------------------------------------------------
class BackoffBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The wait after failed attempt n: min(max_ms, initial_ms * factor ** (n - 1)). `factor`: to a thousandth."""

    initial_ms: Delay = 1000
    factor: Annotated[float, Meta(ge=1, le=TASK_BACKOFF_FACTOR_MILLI_MAX // 1000)] = 2.0
    max_ms: Delay = 3_600_000


class TaskFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`id`: a UUIDv7 when not given. `depends_on`: tasks that must be completed first; they may come later."""

    queue: Name
    payload: object = None
    id: Id | UnsetType = UNSET
    priority: Annotated[int, Meta(ge=-TASK_PRIORITY_MAX, le=TASK_PRIORITY_MAX)] = 0
    delay_ms: Delay = 0
    max_attempts: Annotated[int, Meta(ge=1, le=TASK_ATTEMPTS_MAX)] = TASK_ATTEMPTS_DEFAULT
    backoff: BackoffBody = BackoffBody()
    depends_on: Annotated[list[Id], Meta(max_length=TASK_DEPENDS_MAX)] = []
    unique_key: Name | None = None


class TaskBody(TaskFields, frozen=True, kw_only=True):
    """`POST /v1/tasks`."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class ClaimFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`worker`: unique to one process."""

    queues: Annotated[list[Name], Meta(min_length=1, max_length=TASK_QUEUES_MAX)]
    worker: Name
    ttl_ms: Ttl
    max: Annotated[int, Meta(ge=1, le=TASK_CLAIM_MAX)] = 1


class ClaimBody(ClaimFields, frozen=True, kw_only=True):
    """`POST /v1/tasks/claim`. `wait_ms`: how long to wait for a task."""

    wait_ms: Wait = 0
    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class ClaimedFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token of the claim."""

    token: Token


class HeartbeatFields(ClaimedFields, frozen=True, kw_only=True):
    """`ttl_ms`: as long as before when not given."""

    ttl_ms: Ttl | None = None


class HeartbeatBody(HeartbeatFields, frozen=True, kw_only=True):
    """`POST /v1/tasks/{id}/heartbeat`."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class CompleteFields(ClaimedFields, frozen=True, kw_only=True):
    """`result`: any JSON."""

    result: object = None


class CompleteBody(CompleteFields, frozen=True, kw_only=True):
    """`POST /v1/tasks/{id}/complete`."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class FailFields(ClaimedFields, frozen=True, kw_only=True):
    """`error`: any JSON. `retryable` false: it is dead at once. `delay_ms`: by the task's backoff when not given."""

    error: object = None
    retryable: bool = True
    delay_ms: Delay | None = None


class FailBody(FailFields, frozen=True, kw_only=True):
    """`POST /v1/tasks/{id}/fail`."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class GiveBackBody(ClaimedFields, frozen=True, kw_only=True):
    """`POST /v1/tasks/{id}/release`."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


# --- gates ----------------------------------------------------------------------------------------
class PinBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A memory that must be active at this version."""

    memory: Id
    version: Annotated[int, Meta(ge=1, le=JSON_INTEGER_MAX)]


class GateFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`approvers`: ids of actors, or `<type>/<id>`; none: anybody may approve."""

    required: Annotated[int, Meta(ge=0, le=APPROVERS_MAX)]
    approvers: Annotated[list[Name], Meta(max_length=APPROVERS_MAX)] = []
    pins: Annotated[list[PinBody], Meta(max_length=PINS_MAX)] = []


class GateBody(GateFields, frozen=True, kw_only=True):
    """`PUT /v1/gates/{name}`."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class ApproveBody(BareBody, frozen=True, kw_only=True):
    """`POST /v1/gates/{name}/approve`; may be left out."""

    comment: Comment | None = None
