"""Acquire and renew a lock: LOCK_ACQUIRE and LOCK_RENEW.

An acquire takes a free permit, or a place in the queue (`wait_ms` > 0). An owner that holds the lock already keeps its
token and gets the new time to live; an owner that waits already keeps its place. Refused are values that a proposer
should have checked (times to live, permits, waits, metadata), `permits-mismatch`, `lock-held`, `too-many-requests` (the
queue is full) and `stale-token`.
"""

from typing import Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from raftmem import limits
from raftmem.machine.json_text import is_object
from raftmem.machine.lock_queue import begin, done, enqueue
from raftmem.machine.overlay import Moment, Overlay, Refusal
from raftmem.model.commands import Content, LockAcquire, LockRenew
from raftmem.model.coordination_rows import Hold, Lock, Waiter, hold_key, waiter_key
from raftmem.model.records import Outcome, Position

_INVALID: Final = Refusal("invalid-request")
_STALE: Final = Refusal("stale-token")


class _Metadata(NamedTuple):
    """`given`: the acquire says what its metadata is; `at`: where that is kept (None: there is nothing in it)."""

    given: bool
    at: Position | None


def acquire(overlay: Overlay, moment: Moment, operation: LockAcquire, content: Content | None) -> Outcome | Refusal:
    """Do an acquire. Its metadata is kept unless it is refused."""
    if not (
        _is_ttl(operation.ttl_ms)
        and 1 <= operation.permits <= limits.PERMITS_MAX
        and 0 <= operation.wait_ms <= limits.WAIT_MS_MAX
        and 0 <= operation.leave_ms <= limits.TIMEOUT_MS_MAX
    ):
        return _INVALID
    if content is None or content.payload is UNSET:
        return _take_or_wait(overlay, moment, operation, _Metadata(given=False, at=None))
    payload = content.payload
    if not is_object(payload):
        return _INVALID
    if payload == b"{}":
        return _take_or_wait(overlay, moment, operation, _Metadata(given=True, at=None))
    outcome = _take_or_wait(overlay, moment, operation, _Metadata(given=True, at=moment.position))
    if isinstance(outcome, Outcome):
        overlay.put_content(moment.position, payload)
    return outcome


def _take_or_wait(overlay: Overlay, moment: Moment, operation: LockAcquire, metadata: _Metadata) -> Outcome | Refusal:
    name, owner = operation.lock, operation.owner
    lock = overlay.lock(name)
    if lock is None:
        lock = Lock(name, operation.permits, held=0, waiting=0, created=moment.position)
    elif lock.permits != operation.permits:
        return Refusal("permits-mismatch")
    else:
        hold = overlay.hold(name, owner)
        if hold is not None:
            return _ask_again_as_holder(overlay, moment, operation, hold, metadata)
    if lock.held < lock.permits:
        hold = Hold(
            lock=name,
            owner=owner,
            token=moment.position.index,
            asked=moment.position,
            ttl_ms=operation.ttl_ms,
            expires=moment.now + operation.ttl_ms * 1000,
            metadata_at=metadata.at,
        )
        begin(overlay, moment, lock, hold)
        return done("LOCK_ACQUIRE", name, owner, moment.position.index)
    if operation.wait_ms == 0:
        return Refusal("lock-held")
    return _wait(overlay, moment, operation, lock, metadata)


def _ask_again_as_holder(
    overlay: Overlay, moment: Moment, operation: LockAcquire, hold: Hold, metadata: _Metadata
) -> Outcome:
    """The owner keeps its token. A leave that names an older acquire has no effect from here on."""
    at = metadata.at if metadata.given else hold.metadata_at
    _prolong(overlay, moment, replace(hold, asked=moment.position, metadata_at=at), operation.ttl_ms)
    return done("LOCK_RENEW", hold.lock, hold.owner, hold.token, requested_op="LOCK_ACQUIRE")


def _wait(
    overlay: Overlay, moment: Moment, operation: LockAcquire, lock: Lock, metadata: _Metadata
) -> Outcome | Refusal:
    """Enter the queue; an owner that waits already keeps its place."""
    expires = moment.now + (operation.wait_ms + operation.leave_ms) * 1000
    stood = overlay.waiter(lock.name, operation.owner)
    if stood is not None:
        asked_again = replace(
            stood,
            asked=moment.position,
            ttl_ms=operation.ttl_ms,
            expires=expires,
            renewals=stood.renewals + 1,
            metadata_at=metadata.at if metadata.given else stood.metadata_at,
        )
        overlay.put_row(waiter_key(stood.lock, stood.owner), asked_again, moment.position)
    elif lock.waiting >= limits.WAITERS_MAX:
        return Refusal("too-many-requests")
    else:
        waiter = Waiter(
            lock=lock.name,
            owner=operation.owner,
            since=moment.position,
            asked=moment.position,
            ttl_ms=operation.ttl_ms,
            expires=expires,
            metadata_at=metadata.at,
        )
        enqueue(overlay, moment, lock, waiter)
    return done("LOCK_WAIT", lock.name, operation.owner, None)


def renew(overlay: Overlay, moment: Moment, operation: LockRenew) -> Outcome | Refusal:
    if operation.ttl_ms is not None and not _is_ttl(operation.ttl_ms):
        return _INVALID
    hold = overlay.hold(operation.lock, operation.owner)
    if hold is None or hold.token != operation.token:
        return _STALE
    _prolong(overlay, moment, hold, hold.ttl_ms if operation.ttl_ms is None else operation.ttl_ms)
    return done("LOCK_RENEW", hold.lock, hold.owner, hold.token)


def _prolong(overlay: Overlay, moment: Moment, hold: Hold, ttl_ms: int) -> None:
    """The hold lasts `ttl_ms` from now on, even if that ends it sooner: its owner says so."""
    longer = replace(hold, ttl_ms=ttl_ms, expires=moment.now + ttl_ms * 1000, renewals=hold.renewals + 1)
    overlay.put_row(hold_key(hold.lock, hold.owner), longer, moment.position)


def _is_ttl(ttl_ms: int) -> bool:
    return limits.LOCK_TTL_MS_MIN <= ttl_ms <= limits.LOCK_TTL_MS_MAX
