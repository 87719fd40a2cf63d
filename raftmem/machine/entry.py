"""One entry: idempotency, then guards, then its operations in order, together or not at all.

A refusal is an outcome with its index like everything else. It must hold that an atomic entry with any refused
operation changes nothing, and that only an entry of which something applied uses up its Idempotency-Key.
"""

from typing import Final, NamedTuple

from raftmem.codec import Entry
from raftmem.commands import Add, Header
from raftmem.machine.guards import false_guards
from raftmem.machine.idempotency import Admitted, Replay, admit, used
from raftmem.machine.memory import perform, refused
from raftmem.machine.working import Moment, Refusal, Working
from raftmem.records import Change, IdempotencyRow, Outcome, Position, Result, Step, View

_NOTHING: Final = Step(Result(), ())
_BATCH_REFUSED: Final = Refusal("batch-refused")


class _Run(NamedTuple):
    outcomes: tuple[Outcome, ...]
    changes: list[Change]


def apply(view: View, index: int, term: int, entry: Entry) -> Step:  # noqa: ARG001  no rule of a memory needs the term
    """What the entry at `index` comes to on the state in `view`, the one just before it.

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
                working = Working(view)
                return Step(Result(tuple(refused(working, op, refusal) for op in header.operations)), ())
            case Admitted() as admission:
                pass
    outcomes, changes = _run(view, index, now, entry, header)
    if header.idempotency is not None and admission is not None and any(outcome.applied for outcome in outcomes):
        key = header.idempotency
        changes += used(admission, IdempotencyRow(header.actor, key.key, key.fingerprint, index, now))
    return Step(Result(outcomes), tuple(changes))


def _run(view: View, index: int, now: int, entry: Entry, header: Header) -> _Run:
    working = Working(view)
    failed = false_guards(working, header.guards) if header.guards else ()
    if failed:
        return _Run(_guarded(working, header, failed), [])
    outcomes: list[Outcome] = []
    for seq, operation in enumerate(header.operations):
        moment = Moment(Position(index, seq), now, entry.wall_ms, header.actor)
        outcome = perform(working, moment, operation, entry.contents[seq], entry.salts[seq])
        if isinstance(outcome, Refusal):
            if header.atomic:
                return _Run(_batch_refused(Working(view), header, seq, outcome), [])
            outcome = refused(working, operation, outcome)
        outcomes.append(outcome)
    return _Run(tuple(outcomes), working.changes)


def _guarded(working: Working, header: Header, failed: tuple[int, ...]) -> tuple[Outcome, ...]:
    """Nothing runs. An ADD of an id that exists says so: that is checked before the guards."""
    false = Refusal("precondition-failed", failed=failed)
    exists = Refusal("already-exists")
    refusals = [exists if isinstance(op, Add) and working.active(op.id) else false for op in header.operations]
    if header.atomic:
        return _batch_refused(working, header, 0, refusals[0]) if refusals else ()
    return tuple(refused(working, op, why) for op, why in zip(header.operations, refusals, strict=True))


def _batch_refused(working: Working, header: Header, seq: int, refusal: Refusal) -> tuple[Outcome, ...]:
    """The operation at `seq` keeps its reason, all others stand and fall with it."""
    return tuple(
        refused(working, op, refusal if position == seq else _BATCH_REFUSED)
        for position, op in enumerate(header.operations)
    )
