"""Refused outcomes to problems: what was decided in apply, told to the one who asked.

A refusal is in the log: its problem carries the index. `current` is the record that stood in the way.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from raftmem.api.http.problems import KINDS, Problem
from raftmem.api.responses import coordination_refusals, memory_views
from raftmem.model.commands import Guard
from raftmem.model.records import SEQ_LAST, Outcome, Position, Record
from raftmem.service.interface import Written

# Refusals of the whole entry, whatever `atomic` says.
OF_THE_ENTRY: Final = frozenset({"precondition-failed", "idempotency-key-reused", "too-many-requests"})


def problem(written: Written, seq: int) -> Problem:
    """Why operation `seq` was refused."""
    outcome = written.row.result.outcomes[seq]
    code = outcome.code or "internal"
    index = written.row.index
    if code == "precondition-failed" and outcome.failed:
        return _precondition_failed(written, outcome)
    if outcome.about is not None:
        return coordination_refusals.problem(written, seq, outcome.about)
    current = written.record(seq)
    extra: dict[str, object] = {}
    if code == "not-found":
        if current is not None:
            return gone(current, index=index)
    elif code == "already-exists" and current is not None:
        extra["current"] = memory_views.memory(current)
    elif code == "idempotency-key-reused" or code == "too-many-requests":
        current = None
    if outcome.path is not None:
        extra["path"] = outcome.path
    etag = (memory_views.etag(current),) if current is not None else ()
    return Problem(
        code if code in KINDS else "internal", _detail(code, outcome), index=index, extra=extra, headers=etag
    )


def gone(record: Record, *, index: int) -> Problem:
    """A memory that is deleted or expired: 404, with what is left of it."""
    detail = f"memory {record.id} is {record.status} since index {record.updated.index}"
    # `status` of a problem is its HTTP status (RFC 9457), so the memory's own has a name of its own.
    extra: dict[str, object] = {
        "memory_status": record.status,
        "updated_index": record.updated.index,
        "current": memory_views.memory(record),
    }
    return Problem("not-found", detail, index=index, extra=extra)


class FalseGuard(Struct, frozen=True):
    """`current`: what the guard is over, as it stands; null where there is no such thing."""

    guard: Guard
    current: object


def false_guards(written: Written, outcome: Outcome) -> list[FalseGuard]:
    """Every guard that was false, with what stood there."""
    header = written.entry.header
    guards = () if header is None else header.guards
    return [FalseGuard(guards[at], _stood(written, guards[at]).current) for at in outcome.failed]


def _precondition_failed(written: Written, outcome: Outcome) -> Problem:
    failed = false_guards(written, outcome)
    first = _stood(written, failed[0].guard)
    return Problem(
        "precondition-failed",
        first.detail,
        index=written.row.index,
        extra={"failed": failed, "current": first.current},
        headers=() if first.record is None else (memory_views.etag(first.record),),
    )


class _Stood(NamedTuple):
    current: object
    detail: str
    record: Record | None = None


def _stood(written: Written, guard: Guard) -> _Stood:
    if guard.memory is None:
        return _Stood(*coordination_refusals.stands(written, guard))
    before = Position(written.row.index - 1, SEQ_LAST)
    record = written.reader.memory(guard.memory, before)
    return _Stood(None if record is None else memory_views.memory(record), _false(guard, record), record)


def _false(guard: Guard, record: Record | None) -> str:
    if record is None:
        return f"there is no memory {guard.memory}; to create it, send the request without that condition"
    if guard.exists is False:
        return f"memory exists at version {record.version}; read it, decide again"
    if record.status != "active":
        return f"memory is {record.status} since index {record.updated.index}; decide again"
    if guard.version is not None:
        now = record.version
        return f'memory is at version {now}, not {guard.version}; read it, decide again, send If-Match: "{now}"'
    return f"memory has sha256 {record.sha256.hex()}, not {guard.sha256}; read it, decide again"


def _detail(code: str, outcome: Outcome) -> str:
    target = outcome.memory_id
    match code:
        case "already-exists":
            return f"memory {target} exists at version {outcome.version}; PUT or PATCH it, or choose another id"
        case "not-found":
            return f"there is no memory {target}; POST /v1/memories makes one"
        case "merge-type":
            return (
                f"the merge of {outcome.path} does not fit what stands there: inc takes integers and stays within "
                "±(2^53-1), max and min take numbers, append, union and remove arrays, and a path leads through "
                "objects; read the memory, decide again"
            )
        case "idempotency-key-reused":
            return "this Idempotency-Key was used for another request; use a new key for a new request"
        case "too-many-requests":
            return "the table of idempotency keys is full; retry later, or without a key"
        case "too-large" if outcome.path == "entry":
            return "the operations before it have used up what one entry may look at; send fewer in one request"
        case "too-large":
            return f"{outcome.path or 'the memory'} would be past its limit; store less"
        case "wrong-state":
            return f"memory {target} is bound to another scope, and that cannot change; delete it, or leave scope out"
        case "invalid-request" if outcome.path is None:
            return f"memory {target} would have neither text nor value; give one, or delete it"
        case "batch-refused":
            return "another operation of this atomic batch was refused"
        case _:
            return f"{outcome.path or 'the operation'} cannot be applied as it is"
