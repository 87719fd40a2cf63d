"""The operations on memories: ADD, PUT, UPDATE, DELETE, NOOP and EXPIRE.

Each is done whole (an applied `Outcome`, its changes in the overlay) or not at all (a `Refusal`).
The version numbers of an id only rise, also through delete and re-add, so an old version never matches again.
"""

from typing import assert_never

from msgspec import UNSET

from raftmem.machine.budget import merge_bytes
from raftmem.machine.identity import blank, born, keeps_scope, next_version, scope_of
from raftmem.machine.overlay import Moment, Overlay, Refusal
from raftmem.machine.revision import NOTHING, revise
from raftmem.model.commands import Add, Content, Decision, Delete, Expire, MemoryOperation, Noop, Put, Update
from raftmem.model.records import Outcome, Record


def perform(
    overlay: Overlay, moment: Moment, operation: MemoryOperation, content: Content | None, salt: bytes
) -> Outcome | Refusal:
    """Do one operation; guards and idempotency are checked already."""
    given = NOTHING if content is None else content
    match operation:
        case Add():
            return _add(overlay, moment, operation, given, salt)
        case Update():
            return _update(overlay, moment, operation, given, salt)
        case Put():
            return _put(overlay, moment, operation, given, salt)
        case Delete():
            return _delete(overlay, moment, operation, salt)
        case Noop():
            return _noop(overlay, operation)
        case Expire():
            return _expire(overlay, moment, operation, salt)
        case _:
            assert_never(operation)


def refused(overlay: Overlay, operation: MemoryOperation, refusal: Refusal) -> Outcome:
    """The outcome of a refused operation; version and op are those of the memory in `overlay`.

    `scope`: the one asked for if the operation would have created a memory, else the memory's own.
    """
    memory_id = operation.id if isinstance(operation, Add | Put) else operation.memory_id
    record = None if memory_id is None else overlay.memory(memory_id)
    op = _name_of(operation, record)
    scope = None if record is None else record.scope
    if op == "ADD" and isinstance(operation, Add | Put):
        scope = scope_of(operation.fields)
    return Outcome(
        op=op,
        applied=False,
        code=refusal.code,
        memory_id=memory_id,
        version=None if record is None else record.version,
        scope=scope,
        failed=refusal.failed,
        path=refusal.path,
    )


def _name_of(operation: MemoryOperation, record: Record | None) -> str:
    match operation:
        case Add():
            return "ADD"
        case Update():
            return "UPDATE"
        case Put():
            return "UPDATE" if record is not None and record.status == "active" else "ADD"
        case Delete():
            return "DELETE"
        case Noop():
            return "NOOP"
        case Expire():
            return "EXPIRE"
        case _:
            assert_never(operation)


def _done(op: str, record: Record, *, requested_op: str | None = None, decision: Decision | None = None) -> Outcome:
    return Outcome(
        op=op,
        applied=True,
        memory_id=record.id,
        version=record.version,
        scope=record.scope,
        requested_op=requested_op,
        decision=decision,
    )


def _add(overlay: Overlay, moment: Moment, operation: Add, content: Content, salt: bytes) -> Outcome | Refusal:
    stood = overlay.memory(operation.id)
    if stood is not None and stood.status == "active":
        return Refusal("already-exists")
    base = born(operation.id, moment, scope_of(operation.fields), moment.actor, stood)
    revision = revise(base, operation.fields, content, moment)
    if isinstance(revision, Refusal):
        return revision
    record = revision.record
    if operation.on_duplicate == "noop":
        twin = overlay.duplicate(record.sha256, record.scope)
        if twin is not None:
            decision = Decision(by="duplicate", matched_id=twin.id, reason="equal sha256")
            return _done("NOOP", twin, requested_op="ADD", decision=decision)
    overlay.put(record, old=None, salt=salt, vector=revision.vector)
    return _done("ADD", record)


def _put(overlay: Overlay, moment: Moment, operation: Put, content: Content, salt: bytes) -> Outcome | Refusal:
    stood = overlay.active(operation.id)
    if stood is None:
        return _add(overlay, moment, Add(operation.id, operation.fields), content, salt)
    if not keeps_scope(operation.fields, stood.scope):
        return Refusal("wrong-state")
    revision = revise(blank(stood, moment, "active"), operation.fields, content, moment)
    if isinstance(revision, Refusal):
        return revision
    overlay.put(revision.record, old=stood, salt=salt, vector=revision.vector)
    return _done("UPDATE", revision.record)


def _update(overlay: Overlay, moment: Moment, operation: Update, content: Content, salt: bytes) -> Outcome | Refusal:
    stood = overlay.active(operation.memory_id)
    if stood is None:
        return Refusal("not-found")
    if content.merge is not UNSET:
        overlay.count().hashed_bytes += merge_bytes(stood.value, content.merge)
    revision = revise(next_version(stood, moment), operation.fields, content, moment)
    if isinstance(revision, Refusal):
        return revision
    overlay.put(revision.record, old=stood, salt=salt, vector=revision.vector)
    return _done("UPDATE", revision.record)


def _delete(overlay: Overlay, moment: Moment, operation: Delete, salt: bytes) -> Outcome | Refusal:
    stood = overlay.memory(operation.memory_id)
    if stood is None:
        return Refusal("not-found")
    if stood.status != "active":
        return _done("NOOP", stood, requested_op="DELETE")
    tombstone = blank(stood, moment, "deleted")
    overlay.put(tombstone, old=stood, salt=salt, vector=None)
    return _done("DELETE", tombstone)


def _noop(overlay: Overlay, operation: Noop) -> Outcome | Refusal:
    if operation.memory_id is None:
        return Outcome(op="NOOP", applied=True, decision=operation.decision)
    stood = overlay.memory(operation.memory_id)
    return Refusal("not-found") if stood is None else _done("NOOP", stood, decision=operation.decision)


def _expire(overlay: Overlay, moment: Moment, operation: Expire, salt: bytes) -> Outcome | Refusal:
    stood = overlay.active(operation.memory_id)
    if stood is None or stood.version != operation.version or stood.expires is None or stood.expires > moment.now:
        return Refusal("moved")
    tombstone = blank(stood, moment, "expired")
    overlay.put(tombstone, old=stood, salt=salt, vector=None)
    return _done("EXPIRE", tombstone)
