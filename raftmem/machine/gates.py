"""Gates: given approvals, pinned memories that must not change, and one consumer.

A gate is open when it has the required approvals, every pin holds (the memory is active at exactly that version) and
nobody has consumed it. The rule that must hold after every operation: `open` in the row says exactly that. So a change
of a pinned memory closes its gates in the same apply (`follow`). A version of a memory never comes back, so a gate that
was closed this way stays closed until it is put again.

Refused are an approval by somebody who is no approver (`forbidden`), any operation but PUT on a consumed gate and the
consumption of a gate that is not open (`wrong-state`), and a gate or memory that would grow without end (`too-large`).
Names, ids and comments are bounded before they are proposed; numbers that decide something are checked again here.
"""

from typing import Final, assert_never, get_args

from msgspec import UNSET
from msgspec.structs import replace

from raftmem import limits
from raftmem.machine import json_text
from raftmem.machine.overlay import Moment, Overlay, Refusal
from raftmem.model.commands import (
    Actor,
    ActorType,
    Content,
    GateApprove,
    GateConsume,
    GateOperation,
    GatePut,
    GateRevoke,
    Pin,
)
from raftmem.model.coordination_rows import PINS, Approval, Gate, gate_key, pinned_by
from raftmem.model.records import About, Outcome

_TYPES: Final = frozenset(get_args(ActorType))


def perform(overlay: Overlay, moment: Moment, operation: GateOperation, content: Content | None) -> Outcome | Refusal:
    """Do one operation; guards and idempotency are checked already."""
    match operation:
        case GatePut():
            return _put(overlay, moment, operation)
        case GateApprove():
            return _approve(overlay, moment, operation, content)
        case GateRevoke():
            return _revoke(overlay, moment, operation)
        case GateConsume():
            return _consume(overlay, moment, operation)
        case _:
            assert_never(operation)


def refused(overlay: Overlay, operation: GateOperation, refusal: Refusal) -> Outcome:
    """The outcome of a refused operation; `open` is that of the gate in `overlay`."""
    gate = overlay.gate(operation.gate)
    about = About(gate=operation.gate, open=None if gate is None else gate.open)
    return Outcome(
        _name_of(operation), applied=False, code=refusal.code, failed=refusal.failed, path=refusal.path, about=about
    )


def follow(overlay: Overlay, moment: Moment, memory_id: str) -> None:
    """A memory has changed: gates that pin the version that it had, or the one that it has now, are looked at again.

    Each that was open and is not any more is a consequence `GATE_CLOSE`.
    """
    record = overlay.memory(memory_id) if overlay.has(PINS) else None
    if record is None:  # the usual case: no memory is pinned
        return
    prefix = pinned_by(memory_id)
    start, stop = pinned_by(memory_id, record.version - 1), pinned_by(memory_id, record.version + 1)
    for found in overlay.scan(prefix, limit=2 * limits.GATES_PINNING_MAX, start=start, stop=stop):
        gate = found.row
        assert isinstance(gate, Gate)
        if gate.open == _is_open(overlay, gate):
            continue
        _keep(overlay, moment, gate)
        if gate.open:
            overlay.consequences.append(_done("GATE_CLOSE", replace(gate, open=False)))


def _name_of(operation: GateOperation) -> str:
    match operation:
        case GatePut():
            return "GATE_PUT"
        case GateApprove():
            return "GATE_APPROVE"
        case GateRevoke():
            return "GATE_REVOKE"
        case GateConsume():
            return "GATE_CONSUME"
        case _:
            assert_never(operation)


def _done(op: str, gate: Gate) -> Outcome:
    return Outcome(op, applied=True, about=About(gate=gate.name, open=gate.open))


def _nothing_done(requested_op: str, gate: Gate) -> Outcome:
    return Outcome("NOOP", applied=True, requested_op=requested_op, about=About(gate=gate.name, open=gate.open))


def _keep(overlay: Overlay, moment: Moment, gate: Gate) -> Gate:
    """Put the row, with `open` as it is now."""
    kept = replace(gate, open=_is_open(overlay, gate), updated=moment.position)
    overlay.put_row(gate_key(gate.name), kept, moment.position)
    return kept


def _is_open(overlay: Overlay, gate: Gate) -> bool:
    return (
        gate.consumed is None
        and len(gate.approvals) >= gate.required
        and all(_pin_holds(overlay, pin) for pin in gate.pins)
    )


def _pin_holds(overlay: Overlay, pin: Pin) -> bool:
    overlay.count().pins += 1
    record = overlay.active(pin.memory)
    return record is not None and record.version == pin.version


# --- the operations -------------------------------------------------------------------------------
def _put(overlay: Overlay, moment: Moment, operation: GatePut) -> Outcome | Refusal:
    stood = overlay.gate(operation.gate)
    if stood is not None and stood.consumed is None and _is_same(stood, operation):
        return _nothing_done("GATE_PUT", stood)
    refusal = _unusable(overlay, operation)
    if refusal is not None:
        return refusal
    gate = Gate(
        name=operation.gate,
        required=operation.required,
        approvers=operation.approvers,
        pins=operation.pins,
        approvals=(),
        open=False,
        created=moment.position if stood is None else stood.created,
        updated=moment.position,
    )
    return _done("GATE_PUT", _keep(overlay, moment, gate))


def _is_same(gate: Gate, operation: GatePut) -> bool:
    """True if the gate is equal to the operation; the order of approvers and pins does not matter."""
    return (
        gate.required == operation.required
        and set(gate.approvers) == set(operation.approvers)
        and set(gate.pins) == set(operation.pins)
    )


def _unusable(overlay: Overlay, operation: GatePut) -> Refusal | None:
    if not 0 <= operation.required <= limits.APPROVERS_MAX:
        return Refusal("invalid-request", path="required")
    if len(operation.approvers) > limits.APPROVERS_MAX:
        return Refusal("invalid-request", path="approvers")
    pins = operation.pins
    if len(pins) > limits.PINS_MAX or len({pin.memory for pin in pins}) != len(pins):
        return Refusal("invalid-request", path="pins")
    if not all(1 <= pin.version <= limits.JSON_INTEGER_MAX for pin in pins):
        return Refusal("invalid-request", path="pins")
    if any(_is_crowded(overlay, operation.gate, pin) for pin in pins):
        return Refusal("too-large", path="pins")
    return None


def _is_crowded(overlay: Overlay, name: str, pin: Pin) -> bool:
    """True if as many other gates pin this version of the memory as may."""
    limit = limits.GATES_PINNING_MAX
    found = overlay.scan(pinned_by(pin.memory, pin.version), limit=limit)
    return len(found) == limit and not any(isinstance(one.row, Gate) and one.row.name == name for one in found)


def _approve(overlay: Overlay, moment: Moment, operation: GateApprove, content: Content | None) -> Outcome | Refusal:
    gate = overlay.gate(operation.gate)
    if gate is None:
        return Refusal("not-found")
    if gate.approvers and not any(_names(entry, moment.actor) for entry in gate.approvers):
        return Refusal("forbidden")
    if any(_is_by(approval, moment.actor) for approval in gate.approvals):
        return _nothing_done("GATE_APPROVE", gate)
    if gate.consumed is not None:
        return Refusal("wrong-state")
    if len(gate.approvals) == limits.APPROVERS_MAX:
        return Refusal("too-large", path="approvals")
    comment = UNSET if content is None else content.payload
    if comment is not UNSET:
        if len(comment) > limits.GATE_COMMENT_BYTES_MAX or json_text.parse(comment) is None:
            return Refusal("invalid-request", path="comment")
        overlay.put_content(moment.position, comment)
    approval = Approval(moment.actor, moment.position, has_comment=comment is not UNSET)
    return _done("GATE_APPROVE", _keep(overlay, moment, replace(gate, approvals=(*gate.approvals, approval))))


def _names(entry: str, actor: Actor) -> bool:
    """`<type>/<id>` names one actor; anything else is an id, of whatever type (an id may contain `/`)."""
    first, slash, rest = entry.partition("/")
    if slash and first in _TYPES:
        return (first, rest) == (actor.type, actor.id)
    return entry == actor.id


def _is_by(approval: Approval, actor: Actor) -> bool:
    """True if this actor gave the approval; a role does not make another person."""
    return (approval.actor.type, approval.actor.id) == (actor.type, actor.id)


def _revoke(overlay: Overlay, moment: Moment, operation: GateRevoke) -> Outcome | Refusal:
    gate = overlay.gate(operation.gate)
    if gate is None:
        return Refusal("not-found")
    kept = tuple(approval for approval in gate.approvals if not _is_by(approval, moment.actor))
    if len(kept) == len(gate.approvals):
        return _nothing_done("GATE_REVOKE", gate)
    if gate.consumed is not None:
        return Refusal("wrong-state")
    return _done("GATE_REVOKE", _keep(overlay, moment, replace(gate, approvals=kept)))


def _consume(overlay: Overlay, moment: Moment, operation: GateConsume) -> Outcome | Refusal:
    gate = overlay.gate(operation.gate)
    if gate is None:
        return Refusal("not-found")
    if not gate.open:
        return Refusal("wrong-state")
    return _done("GATE_CONSUME", _keep(overlay, moment, replace(gate, consumed=moment.position)))
