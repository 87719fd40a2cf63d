"""The operations on locks and semaphores: acquire, renew, release, force release, leave, expire, and owner release.

A hold is in force until the log says otherwise. It must hold that

- its token is the index of the entry that granted it, and an entry never ends a hold that it granted: so the tokens
  of a mutex strictly rise, and no owner of a semaphore gets one token twice (permits granted by one entry share a
  token);
- it ends before `expires` only by its owner's release, a force release, an owner release, or the leave of a client
  that is gone. An expiry names what its leader saw (renewals, term). It is refused as `moved` if that has changed or
  the hold is not due.

`lock_acquire.py` asks, `lock_release.py` ends. Both change rows only through `lock_queue.py`, which states the
invariants of the rows.
"""

from typing import assert_never

from raftmem.machine.lock_acquire import acquire, renew
from raftmem.machine.lock_queue import token_in_force
from raftmem.machine.lock_release import expire, force_release, leave, owner_release, release
from raftmem.machine.overlay import Moment, Overlay, Refusal
from raftmem.model.commands import (
    Content,
    LockAcquire,
    LockExpire,
    LockForceRelease,
    LockLeave,
    LockOperation,
    LockRelease,
    LockRenew,
    OwnerRelease,
)
from raftmem.model.records import About, Outcome


def perform(overlay: Overlay, moment: Moment, operation: LockOperation, content: Content | None) -> Outcome | Refusal:
    """Do one operation; guards and idempotency are checked already. `content.payload`: the metadata of an acquire."""
    match operation:
        case LockAcquire():
            return acquire(overlay, moment, operation, content)
        case LockRenew():
            return renew(overlay, moment, operation)
        case LockRelease():
            return release(overlay, moment, operation)
        case LockForceRelease():
            return force_release(overlay, moment, operation)
        case LockLeave():
            return leave(overlay, moment, operation)
        case LockExpire():
            return expire(overlay, moment, operation)
        case OwnerRelease():
            return owner_release(overlay, moment, operation)
        case _:
            assert_never(operation)


def refused(overlay: Overlay, operation: LockOperation, refusal: Refusal) -> Outcome:
    """The outcome of an operation that was not done; `current_token` as the state in `working` has it: what an entry
    that is refused whole had granted before was never granted."""
    lock = None if isinstance(operation, OwnerRelease) else operation.lock
    owner = None if isinstance(operation, LockForceRelease) else operation.owner
    token = operation.token if isinstance(operation, LockRenew | LockRelease | LockExpire) else None
    current_token = None
    if refusal.code == "stale-token" and lock is not None and owner is not None:
        current_token = token_in_force(overlay, lock, owner)
    return Outcome(
        _name_of(operation),
        applied=False,
        code=refusal.code,
        failed=refusal.failed,
        path=refusal.path,
        about=About(lock=lock, owner=owner, token=token, current_token=current_token),
    )


def _name_of(operation: LockOperation) -> str:
    match operation:
        case LockAcquire():
            return "LOCK_ACQUIRE"
        case LockRenew():
            return "LOCK_RENEW"
        case LockRelease():
            return "LOCK_RELEASE"
        case LockForceRelease():
            return "LOCK_FORCE_RELEASE"
        case LockLeave():
            return "LOCK_LEAVE"
        case LockExpire():
            return "LOCK_EXPIRE"
        case OwnerRelease():
            return "OWNER_RELEASE"
        case _:
            assert_never(operation)
