"""Match records against a query, and end a page: pure, used by both state stores.

The rule that must hold: a page ends at its last record only if another match follows, so no cursor leads to nothing. A
page that reached its bound returns the last row that it looked at.
"""

from collections.abc import Iterable

from raftmem.limits import LIST_SCAN_BYTES_MAX
from raftmem.model.records import SEQ_LAST, Position, Record
from raftmem.storage.state.contract import Page, Query

Cursor = tuple[int, str]  # (created index, id)


def end_of(index: int) -> Position:
    """The state after the whole entry `index`."""
    return Position(index, SEQ_LAST)


def matches(query: Query, record: Record) -> bool:
    """Everything that a query asks of one version, cheapest first."""
    if record.status != query.status:
        return False
    if query.memory_type is not None and record.memory_type != query.memory_type:
        return False
    scope = record.scope
    if any(getattr(scope, field) != wanted for field, wanted in query.scope):
        return False
    if query.tags and not set(query.tags).issubset(record.tags):
        return False
    if query.ids and record.id not in query.ids:
        return False
    return query.accept is None or query.accept(record)


def page(candidates: Iterable[tuple[Cursor, Record | None]], query: Query, *, limit: int, rows_max: int) -> Page:
    """Fill one page from candidates in their order; None stands for a row that is not there at that moment."""
    records: list[Record] = []
    last: Cursor | None = None
    left = LIST_SCAN_BYTES_MAX // max(1, query.conditions)
    for looked, (cursor, record) in enumerate(candidates):
        if looked == rows_max or left < 0:
            return Page(records, last)
        if record is not None:
            left -= bytes_of(record)
        if record is not None and matches(query, record):
            if len(records) == limit:
                return Page(records, (records[-1].created.index, records[-1].id))
            records.append(record)
        last = cursor
    return Page(records, None)


def bytes_of(record: Record) -> int:
    """The bytes of a record that a filter may read, about: a text counts a byte for a character."""
    text, value = record.text, record.value
    return (0 if text is None else len(text)) + (0 if value is None else len(value)) + len(record.metadata)
