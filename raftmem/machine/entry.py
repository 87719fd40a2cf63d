"""Apply one entry: idempotency first, then guards, then the operations in order, together or not at all.

A refusal is an outcome with its index, like everything else. It must hold that an atomic entry with a refused operation
changes nothing, and that an entry uses up its Idempotency-Key only if something of it applied.

The guards of a transaction refuse nothing: they choose which of its two arms runs, whole or not at all. Guards look at
the state before the entry; each operation sees the operations before it.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from raftmem.machine import gates, locks, memory, tasks
from raftmem.machine.budget import PATH
from raftmem.machine.guards import false_guards
from raftmem.machine.idempotency import Admitted, Replay, admit, used
from raftmem.machine.overlay import Moment, Overlay, Refusal
from raftmem.model.codec import Entry
from raftmem.model.commands import (
    Add,
    Content,
    GateOperation,
    Header,
    LockOperation,
    MemoryOperation,
    Operation,
    TaskOperation,
    Txn,
)
from raftmem.model.records import About, Change, IdempotencyRow, Outcome, Position, Result, Step, View

_NOTHING: Final = Step(Result(), ())
_BATCH_REFUSED: Final = Refusal("batch-refused")
_TOO_LARGE: Final = Refusal("too-large", path=PATH)


class _Run(Struct, frozen=True):
    outcomes: tuple[Outcome, ...]
    changes: list[Change]


def apply(view: View, index: int, term: int, entry: Entry) -> Step:
    """Decide the entry at `index` on the state in `view`, the one just before it.

    Pure and total. Raft's own entries change nothing and have no outcomes.
    """
    header = entry.header
    if header is None:
        return _NOTHING
    now = max(view.head.time, entry.time)
    admission: Admitted | None = None
    if header.idempotency is not None:
        match admit(view, header.actor, header.idempotency, now):
            case Replay(first):
                return Step(Result(replay_of=first), ())
            case Refusal() as refusal:
                return Step(Result(_all_refused(Overlay(view), header, refusal)), ())
            case Admitted() as admission:
                pass
    run = _Entry(view, index, term, now, entry, header).run()
    outcomes, changes = run.outcomes, run.changes
    if header.idempotency is not None and admission is not None and any(outcome.applied for outcome in outcomes):
        key = header.idempotency
        changes += used(admission, IdempotencyRow(header.actor, key.key, key.fingerprint, index, now))
    return Step(Result(outcomes), tuple(changes))


class _Entry:
    """One entry during its decision."""

    def __init__(self, view: View, index: int, term: int, now: int, entry: Entry, header: Header) -> None:
        self._view = view
        self._index = index
        self._term = term
        self._now = now
        self._entry = entry
        self._header = header

    def run(self) -> _Run:
        header = self._header
        overlay = Overlay(self._view)
        failed = false_guards(overlay, header.guards) if header.guards else ()
        first = header.operations[0] if header.operations else None
        if isinstance(first, Txn):
            return self._transaction(overlay, first, failed)
        if failed:
            return _Run(_guarded(overlay, header, failed), [])
        outcomes = self._operations(overlay, range(len(header.operations)), first_seq=0, atomic=header.atomic)
        if isinstance(outcomes, _Refused):
            return _Run(_batch_refused(Overlay(self._view), header.operations, outcomes.seq, outcomes.why), [])
        return _Run((*outcomes, *overlay.consequences), overlay.changes)

    def _transaction(self, overlay: Overlay, txn: Txn, failed: tuple[int, ...]) -> _Run:
        """Run one arm, whole or not at all."""
        count = len(self._header.operations)
        if not 0 <= txn.then < count:
            return _Run((_refused(overlay, txn, Refusal("invalid-request")),), [])
        arm = range(1 + txn.then, count) if failed else range(1, 1 + txn.then)
        ran = Outcome("TXN", applied=True, failed=failed, about=About(succeeded=not failed))
        outcomes = self._operations(overlay, arm, first_seq=1, atomic=True)
        if isinstance(outcomes, _Refused):
            why = outcomes.why
            head = Outcome("TXN", applied=False, code=why.code, failed=failed, about=ran.about, path=why.path)
            arm_operations = [self._header.operations[place] for place in arm]
            refused = _batch_refused(Overlay(self._view), arm_operations, outcomes.seq - 1, why)
            return _Run((head, *refused), [])
        return _Run((ran, *outcomes, *overlay.consequences), overlay.changes)

    def _operations(
        self, overlay: Overlay, places: range, *, first_seq: int, atomic: bool
    ) -> "list[Outcome] | _Refused":
        outcomes: list[Outcome] = []
        entry = self._entry
        for seq, place in enumerate(places, first_seq):
            operation = self._header.operations[place]
            moment = Moment(Position(self._index, seq), self._now, entry.wall_ms, self._header.actor, self._term)
            if seq > first_seq and overlay.count().is_spent(overlay.looked, overlay.changes):
                outcome: Outcome | Refusal = _TOO_LARGE
            else:
                outcome = _perform(overlay, moment, operation, entry.contents[place], entry.salts[place])
            if isinstance(outcome, Refusal):
                if atomic:
                    return _Refused(seq, outcome)
                outcome = _refused(overlay, operation, outcome)
            outcomes.append(outcome)
        return outcomes


class _Refused(Struct, frozen=True):
    """The operation that refuses its entry, with the seq that it would have had."""

    seq: int
    why: Refusal


def _perform(
    overlay: Overlay, moment: Moment, operation: Operation, content: Content | None, salt: bytes
) -> Outcome | Refusal:
    if isinstance(operation, MemoryOperation):  # the usual case first
        outcome = memory.perform(overlay, moment, operation, content, salt)
        if isinstance(outcome, Outcome) and outcome.memory_id is not None and outcome.op != "NOOP":
            gates.follow(overlay, moment, outcome.memory_id)
        return outcome
    if isinstance(operation, LockOperation):
        return locks.perform(overlay, moment, operation, content)
    if isinstance(operation, TaskOperation):
        return tasks.perform(overlay, moment, operation, content)
    if isinstance(operation, GateOperation):
        return gates.perform(overlay, moment, operation, content)
    return Refusal("invalid-request")  # a TXN that does not stand first


def _refused(overlay: Overlay, operation: Operation, refusal: Refusal) -> Outcome:
    if isinstance(operation, MemoryOperation):
        return memory.refused(overlay, operation, refusal)
    if isinstance(operation, LockOperation):
        return locks.refused(overlay, operation, refusal)
    if isinstance(operation, TaskOperation):
        return tasks.refused(overlay, operation, refusal)
    if isinstance(operation, GateOperation):
        return gates.refused(overlay, operation, refusal)
    return Outcome("TXN", applied=False, code=refusal.code, failed=refusal.failed, about=About())


def _all_refused(overlay: Overlay, header: Header, refusal: Refusal) -> tuple[Outcome, ...]:
    """Refuse the whole entry for its key; a transaction has chosen no arm then."""
    if header.operations and isinstance(header.operations[0], Txn):
        return (_refused(overlay, header.operations[0], refusal),)
    return tuple(_refused(overlay, operation, refusal) for operation in header.operations)


def _guarded(overlay: Overlay, header: Header, failed: tuple[int, ...]) -> tuple[Outcome, ...]:
    """The outcomes of an entry with false guards. An ADD of an existing id says so: that comes before guards."""
    false = Refusal("precondition-failed", failed=failed)
    exists = Refusal("already-exists")
    refusals = [exists if isinstance(op, Add) and overlay.active(op.id) else false for op in header.operations]
    if header.atomic:
        return _batch_refused(overlay, header.operations, 0, refusals[0]) if refusals else ()
    return tuple(_refused(overlay, op, why) for op, why in zip(header.operations, refusals, strict=True))


def _batch_refused(
    overlay: Overlay, operations: Sequence[Operation], place: int, refusal: Refusal
) -> tuple[Outcome, ...]:
    """The operation at `place` keeps its own refusal; all others say batch-refused."""
    return tuple(
        _refused(overlay, op, refusal if position == place else _BATCH_REFUSED)
        for position, op in enumerate(operations)
    )
