"""The operations of a log entry on locks, tasks and gates, and the transaction over all of them.

A part of `commands.py`, from where it is imported, and under the same rule: fields are only ever added at the end.
"""

from msgspec import Struct

from raftmem.model.primitives import Actor


# --- locks ----------------------------------------------------------------------------------------
class LockAcquire(Struct, frozen=True, array_like=True, tag="LOCK_ACQUIRE"):
    """`wait_ms`: how long to stand in the queue if no permit is free; 0: do not. `leave_ms`: how much longer the place
    stays if nobody leaves it."""

    lock: str
    owner: str
    ttl_ms: int
    permits: int = 1
    wait_ms: int = 0
    leave_ms: int = 0


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
    """End all holds of the lock; its queue is served."""

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


LockOperation = LockAcquire | LockRenew | LockRelease | LockForceRelease | LockLeave | LockExpire | OwnerRelease
TaskOperation = (
    TaskAdd | TaskClaim | TaskHeartbeat | TaskComplete | TaskFail | TaskRelease | TaskCancel | TaskRetry | TaskExpire
)
GateOperation = GatePut | GateApprove | GateRevoke | GateConsume
