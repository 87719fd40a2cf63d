"""Take one entry from its bytes into the state. Live apply, restart and replay all use this path.

The rule that must hold: `step_entry` takes exactly entry `head.index + 1`, of a term that is not older, and stops the
replica on anything else. Only this module computes the new head.
"""

from msgspec import Struct

from raftmem.errors import Corrupt
from raftmem.machine.entry import apply
from raftmem.model.codec import Entry, decode
from raftmem.model.digest import digest
from raftmem.model.records import DropIdempotency, Head, PutIdempotency, PutRecord, Record, Step
from raftmem.storage.state.contract import EventRow, StateWriter


class Applied(Struct, frozen=True):
    """One applied entry: its stored row, the step that the machine made, and the decoded entry."""

    row: EventRow
    step: Step
    entry: Entry


def step_entry(writer: StateWriter, index: int, term: int, data: bytes) -> Applied:
    """Decode, apply, digest and store one entry in the writer's transaction.

    Raises: Corrupt when the bytes are no entry or do not follow the state.
    """
    head = writer.head
    if index != head.index + 1:
        raise Corrupt("state", f"stands at index {head.index} and cannot take another entry than the next", index=index)
    if term < head.term:
        raise Corrupt("log entry", f"has term {term} after an entry of term {head.term}", index=index)
    entry = decode(data, index=index)
    step = apply(writer, index, term, entry)
    after = digest(head.digest, index=index, term=term, raw=data, entry=entry, step=step)
    row = EventRow(index, term, data, step.result, after)
    writer.put(row, step, _advance(head, row, entry.time, step))
    return Applied(row, step, entry)


def _advance(head: Head, row: EventRow, time: int, step: Step) -> Head:
    memories, keys = head.memories, head.keys
    for change in step.changes:
        match change:
            case PutRecord():
                memories += _counts(change.record) - _counts(change.old)
            case PutIdempotency():
                keys += 1
            case DropIdempotency():
                keys -= 1
    return Head(row.index, row.term, max(head.time, time), row.digest, memories, keys)


def _counts(record: Record | None) -> int:
    return 1 if record is not None and record.status == "active" else 0
