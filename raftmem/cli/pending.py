"""An entry that was not applied yet, in the shape of an outcome, so that it is shown like the others.

It says what each operation is about, and nothing of its result.
"""

from typing import assert_never

from raftmem.model.codec import Entry
from raftmem.model.commands import (
    Add,
    Delete,
    Expire,
    GateApprove,
    GateConsume,
    GatePut,
    GateRevoke,
    LockAcquire,
    LockExpire,
    LockForceRelease,
    LockLeave,
    LockRelease,
    LockRenew,
    Noop,
    Operation,
    OwnerRelease,
    Put,
    TaskAdd,
    TaskCancel,
    TaskClaim,
    TaskComplete,
    TaskExpire,
    TaskFail,
    TaskHeartbeat,
    TaskRelease,
    TaskRetry,
    Txn,
    Update,
)
from raftmem.model.records import About, Outcome, Result


def asked(entry: Entry) -> Result:
    """One outcome an operation; of a transaction only the TXN, as nobody knows which arm of it will run."""
    operations = () if entry.header is None else entry.header.operations
    if operations and isinstance(operations[0], Txn):
        operations = operations[:1]
    return Result(tuple(map(_asked, operations)))


def _asked(operation: Operation) -> Outcome:
    """Name what an operation is about, in the place of its outcome."""
    memory_id, about = None, None
    match operation:
        case Add() | Put():
            memory_id = operation.id
        case Update() | Delete() | Noop() | Expire():
            memory_id = operation.memory_id
        case LockAcquire() | LockLeave():
            about = About(lock=operation.lock, owner=operation.owner)
        case LockRenew() | LockRelease() | LockExpire():
            about = About(lock=operation.lock, owner=operation.owner, token=operation.token)
        case LockForceRelease():
            about = About(lock=operation.lock)
        case OwnerRelease():
            about = About(owner=operation.owner)
        case GatePut() | GateApprove() | GateRevoke() | GateConsume():
            about = About(gate=operation.gate)
        case Txn() | TaskClaim():
            about = About()
        case TaskAdd():
            about = About(task_ids=(operation.id,))
        case TaskHeartbeat() | TaskComplete() | TaskFail() | TaskRelease() | TaskCancel() | TaskRetry() | TaskExpire():
            about = About(task_ids=(operation.task_id,))
        case _ as never:
            assert_never(never)
    return Outcome(str(type(operation).__struct_config__.tag), applied=True, memory_id=memory_id, about=about)
