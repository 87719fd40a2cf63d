"""The requests about locks and semaphores, and about owners that died."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from raftmem.client.coordination_shapes import Grant, Lock, LockWritten, OwnerReleased, Renewed
from raftmem.client.plan import (
    Guard,
    Level,
    ListPlan,
    Plan,
    Reading,
    Shape,
    get,
    given,
    guards_of,
    listing,
    ms,
    parser,
    segment,
    write,
)

_GRANT: Final = parser(Grant)
_LOCK: Final = parser(Lock)
_WRITTEN: Final = parser(LockWritten)
_OWNER: Final = parser(OwnerReleased)


class _Renewals(Struct, frozen=True):
    locks: list[Renewed]


_DECODE: Final = parser(_Renewals)


def _renewals(body: bytes) -> list[Renewed]:
    return _DECODE(body).locks


def acquire(
    name: str,
    *,
    owner: str,
    ttl: float,
    wait: float = 0.0,
    keep: float = 0.0,
    permits: int = 1,
    metadata: dict[str, object] | None = None,
    guards: Sequence[Guard] = (),
) -> Plan[Grant]:
    """Take the lock once, and renew it yourself (`hold` does both). Again as the same owner renews it: two threads that
    ask as one owner are one holder. `ttl` and `wait` (at most 60) in seconds; `keep`: how long the place in the queue
    stays after the wait, for asking again.

    Raises: LockHeld, PermitsMismatch, TooManyRequests (the queue is full).
    """
    body = given(
        owner=owner,
        ttl_ms=ms(ttl, "ttl"),
        wait_ms=ms(wait, "wait") or None,
        keep_ms=ms(keep, "keep") or None,
        permits=permits if permits != 1 else None,
        metadata=metadata,
        guards=guards_of(guards),
    )
    return write("POST", f"/v1/locks/{segment(name)}/acquire", _GRANT, body, keyed=False, wait_s=wait)


def renew(name: str, *, owner: str, token: int, ttl: float | None = None) -> Plan[Grant]:
    """Renew a hold; `ttl` None: by the same time as before. Raises: StaleToken."""
    path = f"/v1/locks/{segment(name)}/renew"
    return write("POST", path, _GRANT, given(owner=owner, token=token, ttl_ms=ms(ttl, "ttl")), keyed=False)


def renew_many(locks: Sequence[tuple[str, int]], *, owner: str, ttl: float) -> Plan[list[Renewed]]:
    """One heartbeat for (name, token) of up to 1,000 locks; each answers for itself."""
    named = [{"name": name, "token": token} for name, token in locks]
    body = given(owner=owner, ttl_ms=ms(ttl, "ttl"), locks=named)
    return write("POST", "/v1/locks/renew", _renewals, body, keyed=False)


def release(
    name: str, *, owner: str, token: int, guards: Sequence[Guard] = (), key: str | None = None
) -> Plan[LockWritten]:
    """Release a hold; the next waiter is served at once. Raises: StaleToken."""
    path = f"/v1/locks/{segment(name)}/release"
    return write("POST", path, _WRITTEN, given(owner=owner, token=token, guards=guards_of(guards)), key=key)


def force_release(name: str, *, key: str | None = None) -> Plan[LockWritten]:
    """End the holds of all owners; the log names who did."""
    return write("DELETE", f"/v1/locks/{segment(name)}", _WRITTEN, None, key=key)


def show(name: str, *, consistency: Level | None = None) -> Plan[Lock]:
    """The holders and the queue of a lock; a free lock has no holders."""
    return get(f"/v1/locks/{segment(name)}", _LOCK, reading=Reading(consistency))


def many(
    *,
    owner: str | None = None,
    prefix: str | None = None,
    descending: bool = False,
    consistency: Level | None = None,
    page_size: int = 100,
) -> ListPlan[Lock]:
    """List the locks with holders or waiters. Each page shows its own moment."""
    shape = Shape(page_size, descending, consistency)
    return listing("/v1/locks", "locks", list[Lock], given(owner=owner, prefix=prefix), shape)


def release_owner(owner: str, *, key: str | None = None) -> Plan[OwnerReleased]:
    """Release a dead agent: its locks, waits and claims end at once."""
    return write("POST", f"/v1/owners/{segment(owner, 'owner')}/release", _OWNER, {}, key=key)
