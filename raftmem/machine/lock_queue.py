"""The holders and the queue of one lock: its rows are changed together.

It refuses nothing. After each function it must hold that

- `held` and `waiting` of a lock are the numbers of its `Hold` and `Waiter` rows, and held <= permits;
- somebody waits only while held == permits: a free permit goes to the first waiter in the same apply;
- no owner both holds a lock and waits for it, and a lock that nobody holds has no row.

The queue is ordered by the first acquire. A waiter whose time is over is dropped when it comes first: a permit never
goes to a waiter that the log could already have removed.
"""

from msgspec.structs import replace

from raftmem.machine.overlay import Moment, Overlay
from raftmem.model.coordination_rows import Hold, Lock, Waiter, hold_key, holders, lock_key, queue_of, waiter_key
from raftmem.model.records import About, Outcome


def holds_of(overlay: Overlay, lock: Lock) -> list[Hold]:
    """By token."""
    found = [one.row for one in overlay.scan(holders(lock.name), limit=lock.held)]
    return [hold for hold in found if isinstance(hold, Hold)]


def done(op: str, lock: str, owner: str, token: int | None, *, requested_op: str | None = None) -> Outcome:
    return Outcome(op, applied=True, requested_op=requested_op, about=About(lock=lock, owner=owner, token=token))


def token_in_force(overlay: Overlay, name: str, owner: str) -> int | None:
    """The token in force, to report to an owner whose token is stale: its own, or that of the holder of a mutex.

    For a semaphore no other token is reported: the owner did not lose to one certain holder.
    """
    hold, lock = overlay.hold(name, owner), overlay.lock(name)
    if hold is None and lock is not None and lock.permits == 1:
        hold = next(iter(holds_of(overlay, lock)), None)
    return None if hold is None else hold.token


def begin(overlay: Overlay, moment: Moment, lock: Lock, hold: Hold) -> None:
    """Give a free permit of `lock` (an existing or a new one) to an owner that has just asked."""
    assert lock.held < lock.permits
    overlay.put_row(hold_key(hold.lock, hold.owner), hold, moment.position)
    overlay.put_row(lock_key(lock.name), replace(lock, held=lock.held + 1), moment.position)


def end(overlay: Overlay, moment: Moment, lock: Lock, *ended: Hold) -> None:
    """End these holds of `lock` and serve its queue."""
    for hold in ended:
        overlay.put_row(hold_key(hold.lock, hold.owner), None, moment.position)
    _serve(overlay, moment, replace(lock, held=lock.held - len(ended)))


def enqueue(overlay: Overlay, moment: Moment, lock: Lock, waiter: Waiter) -> None:
    """Put a new waiter at the end of the queue."""
    assert lock.held == lock.permits
    overlay.put_row(waiter_key(waiter.lock, waiter.owner), waiter, moment.position)
    overlay.put_row(lock_key(lock.name), replace(lock, waiting=lock.waiting + 1), moment.position)


def dequeue(overlay: Overlay, moment: Moment, lock: Lock, waiter: Waiter) -> None:
    """The waiter leaves the queue without a permit."""
    overlay.put_row(waiter_key(waiter.lock, waiter.owner), None, moment.position)
    overlay.put_row(lock_key(lock.name), replace(lock, waiting=lock.waiting - 1), moment.position)


def _serve(overlay: Overlay, moment: Moment, lock: Lock) -> None:
    """Serve the queue in order while permits are free. Each grant and each dropped waiter is an event of its own."""
    held, waiting = lock.held, lock.waiting
    look = lock.permits - held
    while waiting and held < lock.permits:
        found = overlay.scan(queue_of(lock.name), limit=look)
        assert found, "a lock counts waiters that have no row"
        for waiter in (one.row for one in found):
            assert isinstance(waiter, Waiter)
            if held == lock.permits:
                break
            overlay.put_row(waiter_key(waiter.lock, waiter.owner), None, moment.position)
            waiting -= 1
            if waiter.expires <= moment.now:
                overlay.consequences.append(done("LOCK_EXPIRE", lock.name, waiter.owner, None))
                continue
            held += 1
            overlay.put_row(hold_key(waiter.lock, waiter.owner), _granted(moment, waiter), moment.position)
            overlay.consequences.append(done("LOCK_GRANT", lock.name, waiter.owner, moment.position.index))
        look *= 2  # the dead may be many
    left = replace(lock, held=held, waiting=waiting) if held else None
    overlay.put_row(lock_key(lock.name), left, moment.position)


def _granted(moment: Moment, waiter: Waiter) -> Hold:
    return Hold(
        lock=waiter.lock,
        owner=waiter.owner,
        token=moment.position.index,
        asked=waiter.asked,
        ttl_ms=waiter.ttl_ms,
        expires=moment.now + waiter.ttl_ms * 1000,
        metadata_at=waiter.metadata_at,
    )
