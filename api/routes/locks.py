"""The routes of locks and semaphores, and of an owner that is dead.

A grant is answered with its fencing token. `remaining_ms` counts from the log time of the entry; under a replayed
Idempotency-Key it is what remains now (0: lost since), so that nobody takes an old lease for a new one.
"""

from typing import Final

from raftmem.api.http import levels
from raftmem.api.http.call import Call, Reply
from raftmem.api.http.parameters import Parameters, name
from raftmem.api.requests import coordination_drafts, memory_drafts
from raftmem.api.requests.coordination_bodies import AcquireBody, BareBody, ReleaseBody, RenewBody, RenewManyBody
from raftmem.api.requests.memory_bodies import convert
from raftmem.api.requests.memory_drafts import Step
from raftmem.api.responses import coordination_views, memory_refusals, memory_views
from raftmem.api.responses.coordination_refusals import waited_in_vain
from raftmem.api.responses.coordination_replies import (
    Granted,
    LockChanged,
    OwnerReleased,
    Released,
    ReleasedHold,
    Renewed,
    RenewedMany,
)
from raftmem.api.routes import listing
from raftmem.api.routes.coordination import REPLAYED, Applied, draft, optional_body, write
from raftmem.limits import LIST_SCAN_ROWS_MAX
from raftmem.model.commands import LockForceRelease, LockRenew, OwnerRelease
from raftmem.model.coordination_rows import LOCKS, Hold, Lock, Waiter, hold_key, owned_by, waiter_key
from raftmem.service.interface import Written
from raftmem.storage.state.contract import StateReader

_LIST: Final = (*listing.PARAMETERS, "owner", "prefix")


# --- holding --------------------------------------------------------------------------------------
async def acquire(call: Call) -> Reply:
    """`POST /v1/locks/{name}/acquire`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, AcquireBody)
    step = coordination_drafts.acquire(target, body, wait_ms=body.wait_ms)
    asked = draft(call, query, step, body, raw)
    timeout_ms = levels.timeout_ms(query)
    with call.wait(body.wait_ms):
        found = await call.service.acquire(asked, keep_ms=body.keep_ms, timeout_ms=timeout_ms, gone=call.gone)
    if isinstance(found, Written):
        raise _not_granted(call, found, target, body.owner)
    event = memory_views.event(found.row, found.entry, found.seq)
    text = memory_views.encode(Granted(target, body.owner, found.token, found.remaining_ms, event))
    return Reply(200, text, found.row.index, headers=REPLAYED if found.replayed else ())


def _not_granted(call: Call, written: Written, target: str, owner: str) -> Exception:
    """It was refused; or the wait for it is over."""
    outcome = written.row.result.outcomes[written.first_seq]
    if outcome.op == "LOCK_ACQUIRE" and not outcome.applied:
        return memory_refusals.problem(written, written.first_seq)
    return waited_in_vain(written, target, owner, key_given=call.header(b"idempotency-key") is not None)


async def renew(call: Call) -> Reply:
    """`POST /v1/locks/{name}/renew`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, RenewBody)
    asked = coordination_drafts.renew(target, body)
    done = await write(call, query, Step(asked, None), body, raw)
    remaining_ms = _remaining_ms(call, done.written, asked)
    text = memory_views.encode(Granted(target, body.owner, body.token, remaining_ms, done.event))
    return Reply(200, text, done.index, headers=done.headers)


async def renew_many(call: Call) -> Reply:
    """`POST /v1/locks/renew`: one entry, each lock for itself."""
    query = call.parameters(once=levels.WRITE)
    raw = await call.json()
    body = convert(raw, RenewManyBody)
    guards = memory_drafts.conditions(call, None)
    ttl_ms = body.ttl_ms
    owner = name(body.owner, "owner")
    renewals = [
        LockRenew(name(one.name, f"locks[{at}].name"), owner, one.token, ttl_ms) for at, one in enumerate(body.locks)
    ]
    steps = [Step(one, None) for one in renewals]
    asked = memory_drafts.draft(call, query, steps, body=body, raw=raw, guards=guards, atomic=False)
    written = await call.service.write(asked, timeout_ms=levels.timeout_ms(query))
    outcomes = written.row.result.outcomes
    if outcomes[written.first_seq].code in memory_refusals.OF_THE_ENTRY:
        raise memory_refusals.problem(written, written.first_seq)
    renewed = [_renewed(call, Applied(written, written.first_seq + at), one) for at, one in enumerate(renewals)]
    headers = REPLAYED if written.replayed else ()
    return Reply(200, memory_views.encode(RenewedMany(renewed)), written.row.index, headers=headers)


def _renewed(call: Call, done: Applied, asked: LockRenew) -> Renewed:
    if done.outcome.applied:
        remaining_ms = _remaining_ms(call, done.written, asked)
        return Renewed(asked.lock, asked.owner, asked.token, remaining_ms, done.event, None)
    problem = memory_refusals.problem(done.written, done.seq)
    error = problem.body(instance=call.instance, request_id=call.request_id)
    return Renewed(asked.lock, asked.owner, asked.token, None, done.event, error)


def _remaining_ms(call: Call, written: Written, asked: LockRenew) -> int:
    """After a renewal that was applied."""
    hold = written.reader.coordination_row(hold_key(asked.lock, asked.owner))
    held = hold if isinstance(hold, Hold) and hold.token == asked.token else None
    if written.replayed:
        return 0 if held is None else coordination_views.remaining_ms(held.expires, call.service.log_time())
    if asked.ttl_ms is not None:
        return asked.ttl_ms
    return 0 if held is None else held.ttl_ms


# --- letting go -----------------------------------------------------------------------------------
async def release(call: Call) -> Reply:
    """`POST /v1/locks/{name}/release`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, ReleaseBody)
    return _changed(target, await write(call, query, coordination_drafts.release(target, body), body, raw))


async def force_release(call: Call) -> Reply:
    """`DELETE /v1/locks/{name}`."""
    query, target = _target(call)
    await call.no_body()
    return _changed(target, await write(call, query, Step(LockForceRelease(target), None), BareBody(), None))


def _changed(target: str, done: Applied) -> Reply:
    lock = coordination_views.lock(done.written.reader, target, done.now)
    return Reply(200, memory_views.encode(LockChanged(lock, done.event)), done.index, headers=done.headers)


async def release_owner(call: Call) -> Reply:
    """`POST /v1/owners/{owner}/release`: its locks, waits and claims go at once."""
    query = call.parameters(once=levels.WRITE)
    owner = name(call.segments[0], "owner")
    body, raw = await optional_body(call, BareBody)
    done = await write(call, query, Step(OwnerRelease(owner), None), body, raw)
    released = Released([], [], [])
    for row in (done.written.row, *done.written.more):
        for outcome in row.result.outcomes:
            about = outcome.about
            if about is None:
                continue
            if outcome.op == "LOCK_FORCE_RELEASE" and about.lock is not None:
                released.locks.append(ReleasedHold(about.lock, about.token))
            elif outcome.op == "LOCK_LEAVE" and about.lock is not None:
                released.waits.append(about.lock)
            elif outcome.op == "TASK_EXPIRE":
                released.tasks.extend(about.task_ids)
    text = memory_views.encode(OwnerReleased(owner, released, done.event))
    return Reply(200, text, done.index, headers=done.headers)


# --- looking --------------------------------------------------------------------------------------
async def one(call: Call) -> Reply:
    """`GET /v1/locks/{name}`."""
    given = call.parameters(once=levels.READ)
    target = name(call.segments[0], "name")
    point = await call.read(levels.read_options(given, call.settings.level()))
    text = memory_views.encode(coordination_views.lock(point.reader, target, call.service.log_time()))
    return Reply(200, text, point.index, point.level)


async def many(call: Call) -> Reply:
    """`GET /v1/locks`."""
    given = call.parameters(once=_LIST)
    owner, prefix = given.name("owner"), given.name("prefix") or ""
    page = await listing.read(
        call,
        given,
        listing.Source(
            Lock,
            LOCKS,
            lambda reader, lock: lock.name.startswith(prefix) and (owner is None or _concerns(reader, lock, owner)),
            view=lambda reader, lock, now: coordination_views.lock(reader, lock.name, now),
            among=None if owner is None else lambda reader: _of_owner(reader, owner),
            weight=lambda lock: lock.held + lock.waiting,
        ),
    )
    return page.reply("locks")


def _concerns(reader: StateReader, lock: Lock, owner: str) -> bool:
    """True if the owner holds it or waits for it."""
    return any(reader.coordination_row(key(lock.name, owner)) is not None for key in (hold_key, waiter_key))


def _of_owner(reader: StateReader, owner: str) -> list[Lock] | None:
    """All of its locks; None: it has more than a page looks at."""
    found = reader.scan(owned_by(owner), limit=LIST_SCAN_ROWS_MAX)
    if len(found) == LIST_SCAN_ROWS_MAX:
        return None
    rows = (coordination_views.lock_row(reader, m.row.lock) for m in found if isinstance(m.row, Hold | Waiter))
    return [row for row in rows if row is not None]


def _target(call: Call) -> tuple[Parameters, str]:
    query = call.parameters(once=levels.WRITE)
    return query, name(call.segments[0], "name")
