"""Read one snapshot of the state environment: memories at any position, lists, events, history, keys.

`Corrupt` (with the place) is raised for a row that does not decode and for an id whose hash belongs to another id.
The rule that must hold: a memory at position p is its newest row created at or before p, in the newest version updated
at or before p. The base class reads the coordination rows (`coordination_read.py`).
"""

import sys
from bisect import insort
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from raftmem.errors import Corrupt
from raftmem.model.commands import Actor, Scope
from raftmem.model.records import Head, IdempotencyRow, Position, Record
from raftmem.storage.lmdb.environment import ReadTxn
from raftmem.storage.state.contract import Bounds, EventRow, Page, Query
from raftmem.storage.state.coordination_read import CoordinationReader
from raftmem.storage.state.listing import Listing
from raftmem.storage.state.query import Cursor, end_of, page
from raftmem.storage.state.tables import (
    DECODE_ERRORS,
    HASH_BYTES,
    ROW_BYTES,
    Tables,
    content_hash,
    decode_event,
    decode_key,
    decode_record,
    entry_key,
    id_key,
    idempotency_hash,
    index_of,
    key_after,
    position_key,
    position_of,
    time_key,
)


class LmdbReader(CoordinationReader):
    """Reads through one transaction; the shared reader of a store is given a newer one after each write."""

    def __init__(self, txn: ReadTxn, tables: Tables, *, path: str, rows_max: int, head: Head) -> None:
        super().__init__(txn, tables, path=path)
        self._rows_max = rows_max
        self._head = head

    @property
    def head(self) -> Head:
        return self._head

    def release(self) -> None:
        self._txn.release()

    # --- one memory ---------------------------------------------------------------------------------
    def memory(self, memory_id: str, at: Position | None = None) -> Record | None:
        found = self._txn.get(self._tables.ids, id_key(memory_id))
        if found is None:
            return None
        if found[2 * ROW_BYTES :] != memory_id.encode():
            raise Corrupt(self._path, f"id {memory_id} leads to another id")
        row = found[:ROW_BYTES]
        while True:
            record = self.newest(row)
            if at is None or record.updated <= at:
                return record
            if record.created <= at:
                return self._overwritten(row, at)
            if record.previous is None:
                return None
            row = position_key(record.previous)

    def row_of(self, memory_id: str) -> bytes | None:
        """The row of the newest life of an id; None for an id that never was."""
        found = self._txn.get(self._tables.ids, id_key(memory_id))
        return None if found is None else found[:ROW_BYTES]

    def newest(self, row: bytes) -> Record:
        """The newest version of a row that must be there."""
        raw = self._txn.get(self._tables.heads, row)
        if raw is None:
            raise Corrupt(self._path, f"row {row.hex()} is missing", index=index_of(row))
        return self._record(raw, row)

    def version(self, row: bytes, at: Position) -> Record | None:
        """The version of a row in force at a position; None before its creation."""
        record = self.newest(row)
        return record if record.updated <= at else self._overwritten(row, at)

    def _overwritten(self, row: bytes, at: Position) -> Record | None:
        for key, raw in self._txn.descending(self._tables.versions, row + position_key(at)):
            return self._record(raw, row) if key.startswith(row) else None
        return None

    def _record(self, raw: bytes, row: bytes) -> Record:
        try:
            return decode_record(raw)
        except DECODE_ERRORS as error:
            raise Corrupt(self._path, f"record does not decode ({error})", index=index_of(row)) from error

    def duplicate(self, sha256: bytes, scope: Scope, without: AbstractSet[str] = frozenset()) -> Record | None:
        prefix = content_hash(sha256, scope)
        for key in self._txn.keys(self._tables.duplicates, prefix):
            if not key.startswith(prefix):
                break
            record = self.newest(key[HASH_BYTES:])
            if record.id not in without:
                return record
        return None

    def vector(self, record: Record) -> bytes | None:
        if record.vector_at is None:
            return None
        return self._txn.get(self._tables.vectors, position_key(record.created) + position_key(record.vector_at))

    # --- idempotency keys ---------------------------------------------------------------------------
    def idempotency(self, actor: Actor, key: str) -> IdempotencyRow | None:
        return self._key(idempotency_hash(actor, key), (actor.type, actor.id, key))

    def _key(self, hashed: bytes, name: tuple[str, str, str] | None) -> IdempotencyRow | None:
        raw = self._txn.get(self._tables.keys, hashed)
        if raw is None:
            return None
        try:
            row = decode_key(raw)
        except DECODE_ERRORS as error:
            raise Corrupt(self._path, f"idempotency key does not decode ({error})") from error
        if name is not None and (row.actor.type, row.actor.id, row.key) != name:
            raise Corrupt(self._path, f"idempotency key {name} leads to another key", index=row.index)
        return row

    def oldest_keys(self, limit: int) -> tuple[IdempotencyRow, ...]:
        found: list[IdempotencyRow] = []
        for key, hashed in self._txn.ascending(self._tables.key_order):
            if len(found) >= limit:
                break
            row = self._key(hashed, None)
            if row is None:
                raise Corrupt(self._path, "idempotency key is missing", index=index_of(key))
            found.append(row)
        return tuple(found)

    # --- many memories ------------------------------------------------------------------------------
    def oldest_index(self) -> int:
        return 1

    def memories(
        self,
        query: Query,
        *,
        at: int | None,
        after: Cursor | None,
        limit: int,
        descending: bool = False,
        bounds: Bounds | None = None,
    ) -> Page:
        moment = None if at is None or at >= self._head.index else end_of(at)
        listing = Listing(self, self._txn, self._tables, moment, descending=descending)
        found = listing.candidates(query, after)
        return page(found, query, limit=limit, bounds=bounds or Bounds(self._rows_max, sys.maxsize))

    def expiring(self, time: int, limit: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        last = time_key(time)
        for key in self._txn.keys(self._tables.expiry, b""):
            if key[: len(last)] > last or len(found) >= limit:
                break
            record = self.newest(key[len(last) :])
            found.append((record.id, record.version))
        return found

    def vectors(self) -> Iterable[Record]:
        row: bytes | None = b""
        while row is not None:  # from row to row: one may have had many vectors
            key = self._txn.at_or_after(self._tables.vectors, row)
            row = None if key is None else key_after(key[:ROW_BYTES])
            if key is not None:
                record = self.newest(key[:ROW_BYTES])
                if record.status == "active" and record.vector_at is not None:
                    yield record

    # --- events -------------------------------------------------------------------------------------
    def history(self, memory_id: str, *, after: Position | None, limit: int) -> list[Position]:
        prefix = id_key(memory_id)
        start = prefix if after is None else key_after(prefix + position_key(after))
        found: list[Position] = []
        for key in self._txn.keys(self._tables.subjects, start):
            if len(found) >= limit or not key.startswith(prefix):
                break
            found.append(position_of(key, len(prefix)))
        row = self._txn.get(self._tables.ids, prefix)
        first = None if row is None else position_of(row, ROW_BYTES)
        if first is not None and first.index <= self._head.index and (after is None or first > after):
            insort(found, first)
        return found[:limit]

    def event(self, index: int) -> EventRow | None:
        if not 0 < index <= self._head.index:
            return None
        raw = self._txn.get(self._tables.events, entry_key(index))
        if raw is None:
            raise Corrupt(self._path, "event is missing", index=index)
        return self._event(index, raw)

    def events(self, start: int, stop: int, *, descending: bool = False) -> Iterator[EventRow]:
        first, last = max(start, 1), min(stop, self._head.index + 1) - 1
        if first > last:
            return
        expected = last if descending else first
        scan = self._txn.descending if descending else self._txn.ascending
        for key, raw in scan(self._tables.events, entry_key(expected)):
            if key != entry_key(expected):
                raise Corrupt(self._path, "event is missing", index=expected)
            yield self._event(expected, raw)
            if expected == (first if descending else last):
                return
            expected += -1 if descending else 1
        raise Corrupt(self._path, "event is missing", index=expected)

    def _event(self, index: int, raw: bytes) -> EventRow:
        try:
            return EventRow(index, *decode_event(raw))
        except DECODE_ERRORS as error:
            raise Corrupt(self._path, f"event does not decode ({error})", index=index) from error
