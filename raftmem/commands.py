"""What a log entry can say: typed, frozen structs and one tagged union of operations.

This is the vocabulary of the log for ever (`docs/format.md`): fields are only ever added, at the end of a
positional struct or as a new optional name, never renamed, moved or given another meaning.
Nothing here computes; bytes are made in `codec.py`, decisions in `machine/`.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

ActorType = Literal["agent", "user", "service", "system"]
MemoryType = Literal["semantic", "episodic", "procedural", "fact"]
ClaimType = Literal["observation", "inference", "verified", "directive"]
Visibility = Literal["shared", "private"]
MergeOp = Literal["inc", "max", "min", "append", "union", "remove", "set"]


class Actor(Struct, frozen=True, array_like=True):
    """Who asked."""

    type: ActorType
    id: str
    role: str | None = None


class Scope(Struct, frozen=True, array_like=True):
    """What a memory is bound to; None is not bound. Never joined into one string."""

    app_id: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None


class Provenance(Struct, frozen=True):
    """Where a memory comes from."""

    source_ref: str | None = None
    derived_from: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    reason: str | None = None


class Decision(Struct, frozen=True):
    """A verdict that was reached before proposing (or, for `by: duplicate`, inside apply)."""

    by: str
    matched_id: str | None = None
    similarity: float | None = None
    reason: str | None = None


class Fields(Struct, frozen=True, kw_only=True):
    """Fields of a memory that stay after a redaction. UNSET: not given; None: cleared.

    `valid_at`, `invalid_at`: milliseconds since the Unix epoch.
    """

    app_id: str | None | UnsetType = UNSET
    user_id: str | None | UnsetType = UNSET
    agent_id: str | None | UnsetType = UNSET
    run_id: str | None | UnsetType = UNSET
    tags: tuple[str, ...] | None | UnsetType = UNSET
    memory_type: MemoryType | None | UnsetType = UNSET
    claim_type: ClaimType | None | UnsetType = UNSET
    confidence: float | None | UnsetType = UNSET
    importance: float | None | UnsetType = UNSET
    visibility: Visibility | None | UnsetType = UNSET
    provenance: Provenance | None | UnsetType = UNSET
    valid_at: int | None | UnsetType = UNSET
    invalid_at: int | None | UnsetType = UNSET
    ttl_ms: int | None | UnsetType = UNSET
    pinned: bool | None | UnsetType = UNSET
    embedding_model: str | None | UnsetType = UNSET


class Merge(Struct, frozen=True, array_like=True):
    """One merge: `path` is `value`, `value.a.b` or `tags`; `by` is JSON text."""

    path: str
    op: MergeOp
    by: bytes


class Content(Struct, frozen=True, kw_only=True):
    """What a redaction takes away. JSON stays JSON text, as it came in (compact).

    `embedding`: float32, little-endian, as given (not normalised); None clears it. `payload`: what an operation of
    coordination brings: a task's payload, result or error, a lock's metadata, a comment.
    """

    text: str | None | UnsetType = UNSET
    value: bytes | None | UnsetType = UNSET
    metadata: bytes | None | UnsetType = UNSET
    embedding: bytes | None | UnsetType = UNSET
    merge: tuple[Merge, ...] | UnsetType = UNSET
    payload: bytes | UnsetType = UNSET


# --- memories -------------------------------------------------------------------------------------
class Add(Struct, frozen=True, array_like=True, tag="ADD"):
    """Create a memory. `id_given`: the client chose the id (the payload of the event shows it then)."""

    id: str
    fields: Fields
    on_duplicate: Literal["add", "noop"] | None = None
    id_given: bool = False


class Put(Struct, frozen=True, array_like=True, tag="PUT"):
    """Create or replace whole."""

    id: str
    fields: Fields


class Update(Struct, frozen=True, array_like=True, tag="UPDATE"):
    """Replace the given fields, then merge."""

    memory_id: str
    fields: Fields


class Delete(Struct, frozen=True, array_like=True, tag="DELETE"):
    """Leave a tombstone."""

    memory_id: str


class Noop(Struct, frozen=True, array_like=True, tag="NOOP"):
    """A recorded decision to change nothing."""

    decision: Decision
    memory_id: str | None = None


class Expire(Struct, frozen=True, array_like=True, tag="EXPIRE"):
    """The leader saw this version's time run out on log time; nothing if the memory has moved on."""

    memory_id: str
    version: int


# --- locks ----------------------------------------------------------------------------------------
class LockAcquire(Struct, frozen=True, array_like=True, tag="LOCK_ACQUIRE"):
    """`wait_ms`: how long to stand in the queue if no permit is free; 0: do not."""

    lock: str
    owner: str
    ttl_ms: int
    permits: int = 1
    wait_ms: int = 0


class LockRenew(Struct, frozen=True, array_like=True, tag="LOCK_RENEW"):
    """`ttl_ms` None: as long as before. `actor`, `request_id`: who asked, where one entry renews for many."""

    lock: str
    owner: str
    token: int
    ttl_ms: int | None = None
    actor: Actor | None = None
    request_id: str | None = None


class LockRelease(Struct, frozen=True, array_like=True, tag="LOCK_RELEASE"):
    lock: str
    owner: str
    token: int


class LockForceRelease(Struct, frozen=True, array_like=True, tag="LOCK_FORCE_RELEASE"):
    """Whoever holds it holds it no more; who waits is served."""

    lock: str


class LockLeave(Struct, frozen=True, array_like=True, tag="LOCK_LEAVE"):
    """The waiter whose newest acquire stands at index `asked` waits no more; nothing if it has asked again since.

    `gone`: nobody is there to take it, so what was granted meanwhile is given back.
    """

    lock: str
    owner: str
    asked: int
    gone: bool = False


class LockExpire(Struct, frozen=True, array_like=True, tag="LOCK_EXPIRE"):
    """The leader of `term` saw this hold (`token`) or waiter (None) run out, when it had been renewed so often."""

    lock: str
    owner: str
    token: int | None
    renewals: int
    term: int


class OwnerRelease(Struct, frozen=True, array_like=True, tag="OWNER_RELEASE"):
    """The owner is dead: its holds, waits and claims go at once, up to `OWNER_RELEASE_MAX` of them an entry."""

    owner: str


# --- tasks ----------------------------------------------------------------------------------------
class Backoff(Struct, frozen=True, array_like=True):
    """The wait after failed attempt n is min(max_ms, initial_ms * (factor_milli / 1000) ** (n - 1)), in integers."""

    initial_ms: int = 1000
    factor_milli: int = 2000
    max_ms: int = 3_600_000


class TaskAdd(Struct, frozen=True, array_like=True, tag="TASK_ADD"):
    """`id_given`: the client chose the id."""

    id: str
    queue: str
    priority: int = 0
    delay_ms: int = 0
    max_attempts: int = 25
    backoff: Backoff = Backoff()
    depends_on: tuple[str, ...] = ()
    unique_key: str | None = None
    id_given: bool = False


class TaskClaim(Struct, frozen=True, array_like=True, tag="TASK_CLAIM"):
    queues: tuple[str, ...]
    worker: str
    ttl_ms: int
    max: int = 1


class TaskHeartbeat(Struct, frozen=True, array_like=True, tag="TASK_HEARTBEAT"):
    """As `LockRenew`."""

    task_id: str
    token: int
    ttl_ms: int | None = None
    actor: Actor | None = None
    request_id: str | None = None


class TaskComplete(Struct, frozen=True, array_like=True, tag="TASK_COMPLETE"):
    task_id: str
    token: int


class TaskFail(Struct, frozen=True, array_like=True, tag="TASK_FAIL"):
    """`delay_ms` None: by the task's backoff."""

    task_id: str
    token: int
    retryable: bool = True
    delay_ms: int | None = None


class TaskRelease(Struct, frozen=True, array_like=True, tag="TASK_RELEASE"):
    """Given back; the attempt does not count."""

    task_id: str
    token: int


class TaskCancel(Struct, frozen=True, array_like=True, tag="TASK_CANCEL"):
    task_id: str


class TaskRetry(Struct, frozen=True, array_like=True, tag="TASK_RETRY"):
    task_id: str


class TaskExpire(Struct, frozen=True, array_like=True, tag="TASK_EXPIRE"):
    """The leader of `term` saw the task be due, as it stood since (`index`, `seq`); nothing if it has moved on."""

    task_id: str
    index: int
    seq: int
    term: int


# --- gates ----------------------------------------------------------------------------------------
class Pin(Struct, frozen=True, array_like=True):
    memory: str
    version: int


class GatePut(Struct, frozen=True, array_like=True, tag="GATE_PUT"):
    gate: str
    required: int
    approvers: tuple[str, ...] = ()
    pins: tuple[Pin, ...] = ()


class GateApprove(Struct, frozen=True, array_like=True, tag="GATE_APPROVE"):
    gate: str


class GateRevoke(Struct, frozen=True, array_like=True, tag="GATE_REVOKE"):
    gate: str


class GateConsume(Struct, frozen=True, array_like=True, tag="GATE_CONSUME"):
    gate: str


# --- transactions ---------------------------------------------------------------------------------
class Txn(Struct, frozen=True, array_like=True, tag="TXN"):
    """Stands first in its header. The `then` operations after it run if every guard is true, else those after them."""

    then: int


MemoryOperation = Add | Put | Update | Delete | Noop | Expire
LockOperation = LockAcquire | LockRenew | LockRelease | LockForceRelease | LockLeave | LockExpire | OwnerRelease
TaskOperation = (
    TaskAdd | TaskClaim | TaskHeartbeat | TaskComplete | TaskFail | TaskRelease | TaskCancel | TaskRetry | TaskExpire
)
GateOperation = GatePut | GateApprove | GateRevoke | GateConsume
Operation = MemoryOperation | LockOperation | TaskOperation | GateOperation | Txn


class Guard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that must be true when the entry is applied. One of three kinds:

    `memory` with exactly one of `version`, `exists`, `sha256`; `lock` with the `token` that holds it now (and its
    `owner`, where permits > 1); `gate` with `open`.
    """

    memory: str | None = None
    version: int | None = None
    exists: bool | None = None
    sha256: str | None = None
    lock: str | None = None
    token: int | None = None
    owner: str | None = None
    gate: str | None = None
    open: bool | None = None


class Idempotency(Struct, frozen=True, array_like=True):
    """`fingerprint`: 32 bytes, `codec.fingerprint` of the request."""

    key: str
    fingerprint: bytes


class Header(Struct, frozen=True, array_like=True):
    """One command without its content: who, why, under which conditions, what."""

    actor: Actor
    request_id: str
    operations: tuple[Operation, ...]
    guards: tuple[Guard, ...] = ()
    atomic: bool = True
    idempotency: Idempotency | None = None
    read_index: int | None = None


class Draft(Struct, frozen=True):
    """A command on its way to the leader: no index, no term, no time. `contents[i]` belongs to `operations[i]`."""

    header: Header
    contents: tuple[Content | None, ...]


class Member(Struct, frozen=True, array_like=True):
    """One replica. `folder_id`: the data folder that may speak under this id; None until it is bound.

    `replaces`: of a learner, the voter that leaves when this one has caught up. `birth`: of that folder, as the leader
    that wrote the entry knew it: an emptied folder has another one, whatever id it is given.
    """

    id: str
    peer_url: str
    rest_url: str
    folder_id: str | None = None
    replaces: str | None = None
    birth: str | None = None


MembershipOp = Literal["add", "promote", "remove", "update", "recover"]


class MemberChange(Struct, frozen=True, array_like=True):
    """What a membership entry changed, and who asked: for people, decides nothing."""

    op: MembershipOp
    member_id: str
    actor: Actor
    request_id: str


class Members(Struct, frozen=True, array_like=True):
    """The whole membership, in every membership entry; a group's first entry, index 1, is one.

    `learners` are sent the log and have no vote. `removed`: ids that were members and never are again, oldest first.
    """

    cluster_id: str
    incarnation: int
    voters: tuple[Member, ...]
    election_timeout_ms: int
    clock_drift_ppm: int
    learners: tuple[Member, ...] = ()
    removed: tuple[str, ...] = ()
    change: MemberChange | None = None

    def member(self, member_id: str) -> Member | None:
        """A voter or a learner."""
        return next((one for one in (*self.voters, *self.learners) if one.id == member_id), None)
