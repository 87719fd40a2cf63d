"""One gate without pins: its approvers, its approvals, and whether it was consumed.

A put with the same terms changes nothing unless the gate was consumed; another one drops the approvals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jepsen_like.checkers.models.rules import Move, Rules
from jepsen_like.checkers.models.values import fields, integer, text, unknown_function
from jepsen_like.history.record import Operation


@dataclass(frozen=True, slots=True)
class Terms:
    """`required` is -1 while the gate was never put. `approvers`: empty for anybody."""

    required: int = -1
    approvers: frozenset[str] = frozenset()
    approvals: frozenset[str] = frozenset()
    consumed: bool = False

    @property
    def is_open(self) -> bool:
        return self.required >= 0 and not self.consumed and len(self.approvals) >= self.required

    def admits(self, actor: str) -> bool:
        return not self.approvers or actor in self.approvers or actor.partition("/")[2] in self.approvers


class Gate(Rules[Terms]):
    name = "gate"
    functions = frozenset({"put", "approve", "revoke", "consume", "read"})
    begin = Terms()

    def moves(self, operations: Sequence[Operation]) -> list[Move[Terms] | None]:
        return [self._move(operation) for operation in operations]

    def _move(self, operation: Operation) -> Move[Terms] | None:
        f, unknown = operation.f, operation.type == "unknown"
        if f not in self.functions:
            raise unknown_function(operation, self.name)
        if operation.type == "fail":
            return _refused(operation)
        if f == "read":
            return None if unknown else _read(operation)
        if f == "put":
            return _put(operation)
        if f == "consume":
            return Move(lambda state: replace(state, consumed=True) if state.is_open else None, pure=False, same=f)
        told = None
        if not unknown and operation.result is not None:
            told = fields(operation, operation.result).get("open")
        return _vote(f == "approve", text(operation, fields(operation, operation.value), "actor"), told)


def _put(operation: Operation) -> Move[Terms]:
    asked = fields(operation, operation.value)
    wanted = Terms(integer(operation, asked, "required") or 0, _names(operation, asked.get("approvers")))

    def step(state: Terms) -> Terms:
        same = not state.consumed and (state.required, state.approvers) == (wanted.required, wanted.approvers)
        return state if same else wanted

    return Move(step, pure=False, same=wanted)


def _vote(approves: bool, actor: str, told: object) -> Move[Terms]:
    def step(state: Terms) -> Terms | None:
        if state.required < 0 or (approves and not state.admits(actor)):
            return None
        after = state
        if (actor in state.approvals) != approves:
            if state.consumed:
                return None
            approvals = state.approvals | {actor} if approves else state.approvals - {actor}
            after = replace(state, approvals=approvals)
        return after if told is None or told is after.is_open else None

    return Move(step, pure=False, same=(approves, actor))


def _read(operation: Operation) -> Move[Terms]:
    if operation.result is None:
        return Move(lambda state: state if state.required < 0 else None, pure=True, same=None)
    told = fields(operation, operation.result)
    wanted = (told.get("open"), _names(operation, told.get("approvals")), told.get("consumed"))

    def step(state: Terms) -> Terms | None:
        is_so = state.required >= 0 and (state.is_open, state.approvals, state.consumed) == wanted
        return state if is_so else None

    return Move(step, pure=True, same=None)


def _refused(operation: Operation) -> Move[Terms] | None:
    """`wrong-state`: a consume of a gate that is not open; a vote that would change one that was consumed."""
    f, same = operation.f, _same(operation)
    if operation.error == "not-found":
        return Move(lambda state: state if state.required < 0 else None, pure=True, same=same)
    if operation.error != "wrong-state":
        return None
    if f == "consume":
        return Move(lambda state: state if state.required >= 0 and not state.is_open else None, pure=True, same=same)
    if f in ("approve", "revoke"):
        actor, approves = text(operation, fields(operation, operation.value), "actor"), f == "approve"

        def would_change(state: Terms) -> Terms | None:
            return state if state.consumed and (actor in state.approvals) != approves else None

        return Move(would_change, pure=True, same=(*same, actor))
    return None


def _same(operation: Operation) -> tuple[str, str | None]:
    return operation.f, operation.error


def _names(operation: Operation, value: object) -> frozenset[str]:
    if value is None:
        return frozenset()
    if not isinstance(value, list | tuple):
        raise ValueError(f"{operation.f} of process {operation.process}: {value!r} is not a list of names")
    return frozenset(map(str, value))
