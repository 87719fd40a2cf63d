"""Refused operations on locks, tasks and gates to problems, and their false guards: each with what stands there now.

Tasks and gates are shown as they were after the entry. Locks keep no older versions: they are shown as the reader has
them, which sees that entry at least. What remains of a lease is counted from the entry's log time.
"""

from typing import Final, NamedTuple

from raftmem.api.http.problems import KINDS, Problem
from raftmem.api.responses import coordination_views as shown
from raftmem.limits import WAITERS_MAX
from raftmem.model.commands import Guard
from raftmem.model.coordination_rows import Task, Waiter, queue_of, task_key, waiter_key
from raftmem.model.records import SEQ_LAST, About, Outcome, Position
from raftmem.service.interface import Written
from raftmem.storage.state.contract import StateReader

_RETRY_MS: Final = 100  # of a lock whose holder has run out, and nobody has noticed yet
_NOT_OF_IT: Final = ("idempotency-key-reused", "batch-refused", "internal")


class Stands(NamedTuple):
    """The subject of a false guard: as it stands, and in words."""

    current: shown.LockView | shown.GateView | None
    detail: str


def problem(written: Written, seq: int, about: About) -> Problem:
    """Why operation `seq` was refused."""
    outcome = written.row.result.outcomes[seq]
    code = outcome.code if outcome.code in KINDS else "internal"
    if code in _NOT_OF_IT:
        return _plain(written, outcome, code)
    if code == "too-large" and outcome.path == "entry":
        return _plain(written, outcome, code)
    if about.lock is not None:
        return _of_lock(written, outcome, about, about.lock, code)
    if about.gate is not None:
        return _of_gate(written, outcome, about.gate, code)
    if about.task_ids:
        return _of_task(written, outcome, about, about.task_ids[0], code)
    return _plain(written, outcome, code)


def _plain(written: Written, outcome: Outcome, code: str) -> Problem:
    details = {
        "idempotency-key-reused": "this Idempotency-Key was used for another request; use a new key for a new request",
        "too-many-requests": "the table of idempotency keys is full; retry later, or without a key",
        "batch-refused": "another operation of this atomic batch was refused",
        "too-large": "the operations before it have used up what one entry may look at; send fewer in one request",
    }
    detail = details.get(code, f"{outcome.path or 'the operation'} cannot be applied as it is")
    return Problem(code, detail, index=written.row.index)


# --- locks ----------------------------------------------------------------------------------------
def _of_lock(written: Written, outcome: Outcome, about: About, name: str, code: str) -> Problem:
    reader, now, index = written.reader, written.entry.time, written.row.index
    if code == "lock-held":
        return _lock_held(written, name, about.owner)
    row = shown.lock_row(reader, name)
    if code == "too-many-requests":
        if row is None or row.waiting < WAITERS_MAX:
            return _plain(written, outcome, code)
        detail = f"{row.waiting} wait for {name}, the most there may be; ask again later"
        return Problem(code, detail, index=index, extra={"queue_length": row.waiting, "limit": WAITERS_MAX})
    current = shown.lock(reader, name, now)
    match code:
        case "permits-mismatch":
            permits = current.permits
            detail = f"{name} has permits={permits} as long as somebody holds it; ask with as many, or when it is free"
            if not current.holders:
                detail = f"{name} was held with another number of permits and is free by now; ask again"
            return Problem(code, detail, index=index, extra={"permits": permits, "current": current})
        case "stale-token":
            detail = _lost(current, about.token, about.owner)
            extra: dict[str, object] = {"current_token": about.current_token, "current": current}
            return Problem(code, detail, index=index, extra=extra)
        case "wrong-state":
            detail = f"{name} was granted by this very request; end that hold in another one"
            return Problem(code, detail, index=index, extra={"current": current})
        case _:
            return _plain(written, outcome, code)


def _lock_held(written: Written, name: str, owner: str | None) -> Problem:
    """Of an acquire that was refused."""
    found = _holders_of(written, name, owner)
    place = found.extra["queue_position"]
    if written.row.result.outcomes[0].op == "TXN":
        found.detail += "; nothing of the transaction was applied: ask again, or acquire this lock first, with wait_ms"
    elif place is not None:
        found.detail += f"; {owner} stands at place {place} of its queue: ask again with wait_ms to wait on"
    else:
        found.detail += "; ask again with wait_ms to queue"
    return found


def waited_in_vain(written: Written, name: str, owner: str, *, key_given: bool) -> Problem:
    """Of an acquire whose wait is over. Its LOCK_WAIT was applied, and that uses up an Idempotency-Key."""
    found = _holders_of(written, name, owner)
    place = found.extra["queue_position"]
    found.detail += "; the wait ended before its turn (wait_ms)"
    if place is not None:
        found.detail += f", place {place} of the queue is kept for now (keep_ms): ask again as the same owner"
    elif key_given:
        found.kind = found.kind._replace(retryable=False)
        found.detail += "; ask again with another Idempotency-Key, this one had its turn"
    else:
        found.detail += "; ask again"
    return found


def _holders_of(written: Written, name: str, owner: str | None) -> Problem:
    """The holders that are in the way. The detail still lacks the next step."""
    reader, row = written.reader, shown.lock_row(written.reader, name)
    holders = shown.holds(reader, name, written.entry.time)
    remaining_ms = min((one.remaining_ms for one in holders), default=0)
    extra: dict[str, object] = {
        "holders": holders,
        "remaining_ms": remaining_ms,
        "queue_position": None if row is None or owner is None else _place(reader, name, owner),
        "queue_length": 0 if row is None else row.waiting,
        "retry_after_ms": remaining_ms or _RETRY_MS,
    }
    if holders:
        others = f" and {len(holders) - 1} more" if len(holders) > 1 else ""
        detail = f"{name} is held by {holders[0].owner}{others} for about {remaining_ms} ms more (it may renew)"
    else:
        detail = f"{name} was held and is free by now"
    return Problem("lock-held", detail, index=written.row.index, extra=extra)


def _place(reader: StateReader, name: str, owner: str) -> int | None:
    """Of an owner in the queue, from 1."""
    if reader.coordination_row(waiter_key(name, owner)) is None:
        return None
    queue = [one.row for one in reader.scan(queue_of(name), limit=WAITERS_MAX)]
    return next((at for at, one in enumerate(queue, 1) if isinstance(one, Waiter) and one.owner == owner), None)


def _lost(current: shown.LockView, token: int | None, owner: str | None) -> str:
    """That a token is not in force. `owner` None: a guard that names none."""
    name, holders = current.name, current.holders
    if not holders:
        return f"{name} is held by nobody now, not with token {token}: you lost the lock; stop"
    if current.permits > 1 and owner is None:
        return f"{name} has {current.permits} permits: name the owner beside token {token}"
    same = next((one for one in holders if one.token == token), None)
    if same is not None and owner in (None, same.owner):
        return f"{name} was not held with token {token} yet when this was decided; ask again"
    if same is not None:
        return f"{name} is held with token {token} by {same.owner}, not by {owner}; stop"
    if current.permits == 1:
        return f"{name} is now held with token {holders[0].token}, not {token}: you lost the lock; stop"
    return f"{name} is not held by {owner} with token {token} any more: you lost your permit; stop"


# --- tasks and gates ------------------------------------------------------------------------------
def _of_task(written: Written, outcome: Outcome, about: About, task_id: str, code: str) -> Problem:
    after = Position(written.row.index, SEQ_LAST)
    current = shown.task_at(written.reader, task_id, after, written.entry.time)
    extra: dict[str, object] = {"current": current}
    match code:
        case "not-found":
            detail = f"there is no task {task_id}; finished ones are forgotten after a day"
        case "already-exists" if outcome.path == "unique_key":
            detail = "an unfinished task of its queue has the same unique_key; wait for that one"
        case "already-exists":
            detail = f"task {task_id} exists; choose another id"
        case "stale-token":
            extra = {"current_token": about.current_token, "current": current}
            now = "gone" if current is None else current.state
            other = "" if about.current_token is None else f" with token {about.current_token}"
            detail = f"task {task_id} is not claimed with token {about.token}, it is {now}{other} now: drop the work"
        case "dependency-cycle":
            extra = {"path": outcome.path}
            detail = f"these tasks would wait for each other: {outcome.path}; leave one dependency out"
        case "too-large":
            extra = {}
            detail = f"the dependencies of task {task_id} reach too many unfinished tasks; depend on fewer"
        case "wrong-state":
            detail = _not_allowed(written.reader, outcome, task_id, current, after)
        case _:
            return _plain(written, outcome, code)
    return Problem(code, detail, index=written.row.index, extra=extra)


def _not_allowed(
    reader: StateReader, outcome: Outcome, task_id: str, current: shown.TaskView | None, after: Position
) -> str:
    """Why the state of a task does not allow an operation, and what does."""
    state = "not there" if current is None else current.state
    if outcome.op == "TASK_CANCEL":
        return f"task {task_id} is {state}: there is nothing left to cancel"
    if outcome.op != "TASK_RETRY":
        return f"task {task_id} was claimed by this very request; end that claim in another one"
    for needed in () if current is None or state not in ("dead", "cancelled") else current.depends_on:
        row = reader.coordination_row(task_key(needed), after)
        if isinstance(row, Task) and row.state in ("dead", "cancelled"):
            return f"task {task_id} is {state} and depends on {needed}, which is {row.state}: retry that one first"
    return f"task {task_id} is {state}; only dead, cancelled and scheduled ones are retried: read it, decide again"


def _of_gate(written: Written, outcome: Outcome, name: str, code: str) -> Problem:
    current = shown.gate_at(written.reader, name, Position(written.row.index, SEQ_LAST))
    match code:
        case "not-found":
            detail = f"there is no gate {name}; PUT makes one"
        case "forbidden":
            approvers = "" if current is None else f": only {', '.join(current.approvers)} may"
            detail = f"the actor is no approver of {name}{approvers}"
        case "wrong-state" if current is not None and current.consumed_index is not None:
            detail = f"{name} was consumed at index {current.consumed_index}; PUT it again for another use"
        case "wrong-state":
            detail = _closed(name, current)
        case "too-large":
            detail = f"{outcome.path or 'the gate'} is past its limit; name fewer"
        case _:
            return _plain(written, outcome, code)
    return Problem(code, detail, index=written.row.index, extra={"current": current})


def _closed(name: str, gate: shown.GateView | None) -> str:
    if gate is None:
        return f"there is no gate {name}"
    if gate.consumed_index is not None:
        return f"{name} was consumed at index {gate.consumed_index}"
    if len(gate.approvals) < gate.required:
        return f"{name} is closed: {len(gate.approvals)} of {gate.required} approvals are there"
    return f"{name} is closed: a pinned memory is not at its version any more"


# --- guards ---------------------------------------------------------------------------------------
def stands(written: Written, guard: Guard) -> Stands:
    """The subject of a false guard over a lock or a gate, just before the entry."""
    reader, before = written.reader, Position(written.row.index - 1, SEQ_LAST)
    if guard.lock is not None:
        lock = shown.lock(reader, guard.lock, written.entry.time)
        return Stands(lock, _lost(lock, guard.token, guard.owner))
    assert guard.gate is not None, "a guard is over a memory, a lock or a gate"
    gate = shown.gate_at(reader, guard.gate, before)
    if gate is not None and gate.open:
        return Stands(gate, f"{guard.gate} is open, and the guard wants it closed; read it, decide again")
    return Stands(gate, f"{_closed(guard.gate, gate)}; wait until it is open")
