"""End a hold or a wait: release, force release, leave, expire, and the release of everything that a dead owner has.

The first waiter is served in the same apply. Refused are `stale-token`, `moved` (the hold or wait is not, or no longer,
as the operation says) and `wrong-state` (this very entry granted the hold, so its token could be given a second time).
"""

from typing import Final

from raftmem import limits
from raftmem.machine import tasks
from raftmem.machine.lock_queue import dequeue, done, end, holds_of
from raftmem.machine.overlay import Moment, Overlay, Refusal
from raftmem.model.commands import LockExpire, LockForceRelease, LockLeave, LockRelease, OwnerRelease
from raftmem.model.coordination_rows import Hold, Lock, Task, Waiter, owned_by
from raftmem.model.records import About, Outcome

_MOVED: Final = Refusal("moved")
_STALE: Final = Refusal("stale-token")
_GRANTED_HERE: Final = Refusal("wrong-state")


def release(overlay: Overlay, moment: Moment, operation: LockRelease) -> Outcome | Refusal:
    hold = overlay.hold(operation.lock, operation.owner)
    if hold is None or hold.token != operation.token:
        return _STALE
    return _end(overlay, moment, hold, "LOCK_RELEASE")


def _end(
    overlay: Overlay, moment: Moment, hold: Hold, op: str, *, requested_op: str | None = None
) -> Outcome | Refusal:
    if hold.token == moment.position.index:
        return _GRANTED_HERE
    end(overlay, moment, _lock_of(overlay, hold), hold)
    return done(op, hold.lock, hold.owner, hold.token, requested_op=requested_op)


def _lock_of(overlay: Overlay, row: Hold | Waiter) -> Lock:
    lock = overlay.lock(row.lock)
    assert lock is not None, "a lock that is held has a row"
    return lock


def force_release(overlay: Overlay, moment: Moment, operation: LockForceRelease) -> Outcome | Refusal:
    """End all holds. Of a semaphore each but the first is an event of its own: the log names every holder."""
    lock = overlay.lock(operation.lock)
    if lock is None:
        about = About(lock=operation.lock)
        return Outcome("NOOP", applied=True, requested_op="LOCK_FORCE_RELEASE", about=about)
    ended = holds_of(overlay, lock)
    if any(hold.token == moment.position.index for hold in ended):
        return _GRANTED_HERE
    first, *others = [done("LOCK_FORCE_RELEASE", hold.lock, hold.owner, hold.token) for hold in ended]
    overlay.consequences += others
    end(overlay, moment, lock, *ended)
    return first


def leave(overlay: Overlay, moment: Moment, operation: LockLeave) -> Outcome | Refusal:
    name, owner = operation.lock, operation.owner
    waiter = overlay.waiter(name, owner)
    if waiter is not None and waiter.asked.index == operation.asked:
        dequeue(overlay, moment, _lock_of(overlay, waiter), waiter)
        return done("LOCK_LEAVE", name, owner, None)
    hold = overlay.hold(name, owner)
    if hold is None or hold.asked.index != operation.asked:
        return _MOVED
    if not operation.gone:
        return done("NOOP", name, owner, hold.token, requested_op="LOCK_LEAVE")
    if hold.renewals:
        return _MOVED  # somebody knows of it
    return _end(overlay, moment, hold, "LOCK_RELEASE", requested_op="LOCK_LEAVE")


def expire(overlay: Overlay, moment: Moment, operation: LockExpire) -> Outcome | Refusal:
    if operation.term != moment.term:
        return _MOVED
    if operation.token is None:
        waiter = overlay.waiter(operation.lock, operation.owner)
        if waiter is None or waiter.renewals != operation.renewals or waiter.expires > moment.now:
            return _MOVED
        dequeue(overlay, moment, _lock_of(overlay, waiter), waiter)
        return done("LOCK_EXPIRE", operation.lock, operation.owner, None)
    hold = overlay.hold(operation.lock, operation.owner)
    if hold is None or (hold.token, hold.renewals) != (operation.token, operation.renewals):
        return _MOVED
    if hold.expires > moment.now:
        return _MOVED
    return _end(overlay, moment, hold, "LOCK_EXPIRE")


def owner_release(overlay: Overlay, moment: Moment, operation: OwnerRelease) -> Outcome | Refusal:
    """End all that the owner has, each with an event of its own. What exceeds the bound waits for the next entry."""
    owner = operation.owner
    found = [one.row for one in overlay.scan(owned_by(owner), limit=limits.OWNER_RELEASE_MAX)]
    if any(
        isinstance(coordination_row, Hold | Task) and coordination_row.token == moment.position.index
        for coordination_row in found
    ):
        return _GRANTED_HERE
    for coordination_row in found:
        if isinstance(coordination_row, Hold):
            overlay.consequences.append(
                done("LOCK_FORCE_RELEASE", coordination_row.lock, owner, coordination_row.token)
            )
            end(overlay, moment, _lock_of(overlay, coordination_row), coordination_row)
        elif isinstance(coordination_row, Waiter):
            dequeue(overlay, moment, _lock_of(overlay, coordination_row), coordination_row)
            overlay.consequences.append(done("LOCK_LEAVE", coordination_row.lock, owner, None))
        elif isinstance(coordination_row, Task):
            overlay.consequences.append(tasks.drop_claim(overlay, moment, coordination_row, "owner-released"))
    return Outcome("OWNER_RELEASE", applied=True, about=About(owner=owner))
