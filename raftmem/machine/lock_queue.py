"""Who holds a lock and who is next: the rows of one lock, changed together.

Refuses nothing. It must hold after each of these that

- a lock's `held` and `waiting` are the numbers of its `Hold` and `Waiter` rows, and held <= permits;
- somebody waits only while held == permits: a permit that comes free goes to the first of the queue in the same apply;
- nobody both holds a lock and waits for it, and a lock that nobody holds has no row.

The queue is served by the place of the first acquire. A waiter whose time is over is dropped when its turn comes: a
permit never goes to one that the log could have sent away already.
"""

from msgspec.structs import replace

from raftmem.machine.overlay import Moment, Overlay
from raftmem.model.coordination_rows import Hold, Lock, Waiter, hold_key, holders, lock_key, queue_of, waiter_key
from raftmem.model.records import About, Outcome


def holds_of(overlay: Overlay, lock: Lock) -> list[Hold]:
    """By token."""
    found = [marked.row for marked in overlay.scan(holders(lock.name), limit=lock.held)]
    return [hold for hold in found if isinstance(hold, Hold)]


def done(op: str, lock: str, owner: str, token: int | None, *, requested_op: str | None = None) -> Outcome:
    return Outcome(op, applied=True, requested_op=requested_op, about=About(lock=lock, owner=owner, token=token))


def token_in_force(overlay: Overlay, name: str, owner: str) -> int | None:
    """What a stale token of this owner stands against: the owner's own hold, or that of a mutex's holder.

    Of a semaphore no other holder is the one it lost to.
    """
    hold, lock = overlay.hold(name, owner), overlay.lock(name)
    if hold is None and lock is not None and lock.permits == 1:
        hold = next(iter(holds_of(overlay, lock)), None)
    return None if hold is None else hold.token


def begin(overlay: Overlay, moment: Moment, lock: Lock, hold: Hold) -> None:
    """A free permit of `lock` (as it stands, or a new one) goes to one that has just asked."""
    assert lock.held < lock.permits
    overlay.put_row(hold_key(hold.lock, hold.owner), hold, moment.position)
    overlay.put_row(lock_key(lock.name), replace(lock, held=lock.held + 1), moment.position)


def end(overlay: Overlay, moment: Moment, lock: Lock, *ended: Hold) -> None:
    """These holds of `lock` are over; who waits takes their place."""
    for hold in ended:
        overlay.put_row(hold_key(hold.lock, hold.owner), None, moment.position)
    _serve(overlay, moment, replace(lock, held=lock.held - len(ended)))


def enqueue(overlay: Overlay, moment: Moment, lock: Lock, waiter: Waiter) -> None:
    """A new one, behind all others: its place is this operation's."""
    assert lock.held == lock.permits
    overlay.put_row(waiter_key(waiter.lock, waiter.owner), waiter, moment.position)
    overlay.put_row(lock_key(lock.name), replace(lock, waiting=lock.waiting + 1), moment.position)


def dequeue(overlay: Overlay, moment: Moment, lock: Lock, waiter: Waiter) -> None:
    """It waits no more and got nothing."""
    overlay.put_row(waiter_key(waiter.lock, waiter.owner), None, moment.position)
    overlay.put_row(lock_key(lock.name), replace(lock, waiting=lock.waiting - 1), moment.position)


def _serve(overlay: Overlay, moment: Moment, lock: Lock) -> None:
    """First come first, while permits are free. Each grant, and each waiter that is dropped, is an event of its own."""
    held, waiting = lock.held, lock.waiting
    look = lock.permits - held
    while waiting and held < lock.permits:
        found = overlay.scan(queue_of(lock.name), limit=look)
        assert found, "a lock counts waiters that have no row"
        for waiter in (marked.row for marked in found):
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
