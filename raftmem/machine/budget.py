"""The budget of one entry: rows looked at or written, bytes of content hashed, pins looked at.

Every replica applies every entry, so the work of one entry must be bounded. Work is counted as it is done; an operation
is refused as `too-large` if the operations before it have spent the budget. So a single operation, which the other
limits bound, is never refused for it. The rule that must hold: the counts are a function of the state and the entry.
"""

from collections.abc import Sequence
from typing import Final

from raftmem import limits
from raftmem.model.commands import Merge
from raftmem.model.records import Change, PutRecord, Record

PATH: Final = "entry"  # of the refusal: it is the entry that is too large


class Budget:
    """Rows written and their content are counted from the changes when a second operation comes: most entries have one,
    and pay for none of this."""

    __slots__ = ("_counted", "hashed_bytes", "pins")

    def __init__(self) -> None:
        self.hashed_bytes = 0
        self.pins = 0
        self._counted = 0  # changes whose content is counted

    def is_spent(self, looked: int, changes: Sequence[Change]) -> bool:
        """`looked`: rows looked at so far. `changes`: of the entry so far; those of an earlier call come first."""
        for place in range(self._counted, len(changes)):
            change = changes[place]
            if isinstance(change, PutRecord):
                self.hashed_bytes += content_bytes(change.record)
        self._counted = len(changes)
        return (
            looked + len(changes) > limits.ENTRY_ROWS_MAX
            or self.hashed_bytes > limits.ENTRY_HASHED_BYTES_MAX
            or self.pins > limits.ENTRY_PINS_MAX
        )


def content_bytes(record: Record) -> int:
    """The bytes of a record that its content hashes cover, without its vector."""
    text, value = record.text, record.value
    size = len(record.metadata)
    if text is not None:
        size += len(text) if text.isascii() else len(text.encode())
    return size if value is None else size + len(value)


def merge_bytes(value: bytes | None, merges: Sequence[Merge]) -> int:
    """The bytes of `value` that its merges read: once to parse it, and once for each that compares elements."""
    times = 1 + sum(merge.op in ("union", "remove") for merge in merges)
    return 0 if value is None else times * len(value)
