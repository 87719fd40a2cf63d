"""Match records against a query, and end a page: pure, used by both state stores.

The rule that must hold: a page ends at its last record only if another match follows, so no cursor leads to nothing. A
page that reached its bound returns the last row that it looked at.
"""

from collections.abc import Iterable

from raftmem.model.records import SEQ_LAST, Position, Record
from raftmem.storage.state.contract import Bounds, Page, Query

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


def content_bytes(record: Record) -> int:
    """About how many bytes the content of a version has: its text counted in characters."""
    return len(record.text or "") + len(record.value or b"") + len(record.metadata)


def page(candidates: Iterable[tuple[Cursor, Record | None]], query: Query, *, limit: int, bounds: Bounds) -> Page:
    """Fill one page from candidates in their order; None stands for a row that is not there at that moment."""
    records: list[Record] = []
    last: Cursor | None = None
    looked = spent = 0
    for cursor, record in candidates:
        if looked == bounds.rows or spent >= bounds.bytes:
            return Page(records, last, looked)
        if record is not None:
            spent += content_bytes(record)
            if matches(query, record):
                if len(records) == limit:
                    return Page(records, (records[-1].created.index, records[-1].id), looked)
                records.append(record)
        last = cursor
        looked += 1
    return Page(records, None, looked)
