"""Write one entry into the tables of the state: records, coordination rows, indexes, event, idempotency keys.

Refused are an entry that is not the next one, a change whose `old` differs from the row in force, and an index key
that belongs to another row: each would mean that this replica no longer follows the log. The rule that must hold:
every index is a function of (old, new).
"""

from typing import assert_never

from raftmem.errors import Corrupt, StorageFailed
from raftmem.model.coordination_rows import VERSIONED, index_keys
from raftmem.model.records import (
    DropIdempotency,
    Head,
    IdempotencyRow,
    IndexedRow,
    Outcome,
    PutContent,
    PutIdempotency,
    PutRecord,
    PutRow,
    Record,
    Step,
)
from raftmem.storage.lmdb.environment import Table, WriteTxn
from raftmem.storage.state.contract import EventRow
from raftmem.storage.state.read import LmdbReader
from raftmem.storage.state.tables import (
    HEAD_KEY,
    ROW_BYTES,
    Tables,
    content_hash,
    decode_key,
    encode,
    entry_key,
    id_key,
    idempotency_hash,
    labels,
    position_key,
    time_key,
)


class LmdbWriter(LmdbReader):
    """One write transaction; reads see what was put before them."""

    def __init__(self, txn: WriteTxn, tables: Tables, *, path: str, rows_max: int, head: Head) -> None:
        super().__init__(txn, tables, path=path, rows_max=rows_max, head=head)
        self._writes = txn
        self._bare: set[bytes] = set()  # prefixes of marks that nothing has, as this transaction stands

    def scan(self, prefix: bytes, *, limit: int, start: bytes = b"", stop: bytes | None = None) -> list[IndexedRow]:
        """As `ThingReader.scan`; entry after entry asks whether anything is pinned, and mostly nothing is."""
        if prefix in self._bare:
            return []
        found = super().scan(prefix, limit=limit, start=start, stop=stop)
        if not found and not start and stop is None and limit > 0:
            self._bare.add(prefix)
        return found

    def put(self, row: EventRow, step: Step, head: Head) -> None:
        index = self._head.index + 1
        if row.index != index or head.index != index:
            raise StorageFailed(f"entry {row.index} with head {head.index} put after entry {index - 1}")
        for change in step.changes:
            if isinstance(change, PutRecord):
                self._put_record(change, index)
            elif isinstance(change, PutIdempotency):
                self._put_key(change.row)
            elif isinstance(change, DropIdempotency):
                self._drop_key(change.row, index)
            elif isinstance(change, PutRow):
                self._put_coordination_row(change, index)
            elif isinstance(change, PutContent):
                self._writes.put(self._tables.coordination.contents, position_key(change.at), change.data)
            else:
                assert_never(change)
        self._put_event(row)
        self._head = head

    def finish(self) -> None:
        """Store the head; the last write of the transaction."""
        self._writes.put(self._tables.meta, HEAD_KEY, encode(self._head))

    def _put_record(self, change: PutRecord, index: int) -> None:
        txn, tables, new, old = self._writes, self._tables, change.record, change.old
        row = position_key(new.created)
        if old is None:
            self._put_row(row, new, index)
        else:
            raw = txn.get(tables.heads, row)
            if raw is None or self._record(raw, row) != old:
                raise self._astray(new, "follows another version than stands there", index)
            txn.put(tables.versions, row + position_key(old.updated), raw)
            txn.put(tables.heads, row, encode(new))
        if change.vector is not None and new.vector_at is not None:
            txn.put(tables.vectors, row + position_key(new.vector_at), change.vector)
        self._move_indexes(row, old, new)

    def _put_row(self, row: bytes, new: Record, index: int) -> None:
        ids, key, name = self._tables.ids, id_key(new.id), new.id.encode()
        if new.previous is None:
            follows = self._writes.add(ids, key, row + row + name)
        else:
            stood = self._writes.get(ids, key)
            first = b"" if stood is None else stood[ROW_BYTES : 2 * ROW_BYTES]
            follows = stood == position_key(new.previous) + first + name
            if follows:
                self._writes.put(ids, key, row + first + name)
        if not follows:
            raise self._astray(new, "does not follow the row that its id has", index)
        self._writes.append(self._tables.heads, row, encode(new))

    def _astray(self, record: Record, what: str, index: int) -> Corrupt:
        return Corrupt(self._path, f"version {record.version} of {record.id} {what}", index=index)

    def _move_indexes(self, row: bytes, old: Record | None, new: Record) -> None:
        self._move(self._tables.duplicates, row, None if old is None else _content(old), _content(new))
        if new.expires is not None or (old is not None and old.expires is not None):
            self._move(self._tables.expiry, row, None if old is None else _expiry(old), _expiry(new))
        put, postings = self._writes.put, self._tables.postings
        for label in labels(new) if old is None else labels(new) - labels(old):
            put(postings, label + row, b"")

    def _move(self, table: Table, row: bytes, old: bytes | None, new: bytes | None) -> None:
        if old != new:
            if old is not None:
                self._writes.delete(table, old + row)
            if new is not None:
                self._writes.put(table, new + row, b"")

    # --- coordination --------------------------------------------------------------------------------
    def _put_coordination_row(self, change: PutRow, index: int) -> None:
        txn, tables, key, old, new = self._writes, self._tables.coordination, change.key, change.old, change.new
        if self.coordination_row(key) != old:
            raise Corrupt(self._path, f"coordination row {key.hex()} follows another than stands there", index=index)
        raw = b"" if new is None else encode(new)
        if new is None:
            txn.delete(tables.rows, key)
        else:
            txn.put(tables.rows, key, raw)
        if isinstance(old if new is None else new, VERSIONED):
            txn.put(tables.row_versions, key + position_key(change.at), raw)
        before = frozenset[bytes]() if old is None else index_keys(old)
        after = frozenset[bytes]() if new is None else index_keys(new)
        for index_key in before - after:
            if not txn.delete(tables.index_keys, index_key):
                raise Corrupt(self._path, f"index key {index_key.hex()} of a coordination row is missing", index=index)
        self._bare.clear()
        for index_key in after - before:
            if not txn.add(tables.index_keys, index_key, key):
                raise Corrupt(self._path, f"index key {index_key.hex()} leads to another coordination row", index=index)

    # --- the entry itself ---------------------------------------------------------------------------
    def _put_event(self, row: EventRow) -> None:
        key = entry_key(row.index)
        self._writes.append(self._tables.events, key, encode((row.term, row.data, row.result, row.digest)))
        for seq, outcome in enumerate(row.result.outcomes):
            if outcome.memory_id is not None and not _begins_first_row(outcome):
                subject = id_key(outcome.memory_id) + key + seq.to_bytes(2, "big")
                self._writes.put(self._tables.subjects, subject, b"")

    def _put_key(self, row: IdempotencyRow) -> None:
        hashed = idempotency_hash(row.actor, row.key)
        self._writes.put(self._tables.keys, hashed, encode(row))
        self._writes.put(self._tables.key_order, entry_key(row.index), hashed)

    def _drop_key(self, row: IdempotencyRow, index: int) -> None:
        hashed = idempotency_hash(row.actor, row.key)
        raw = self._writes.get(self._tables.keys, hashed)
        if raw is None or decode_key(raw) != row:
            raise Corrupt(self._path, f"idempotency key of entry {row.index} to be forgotten is not kept", index=index)
        self._writes.delete(self._tables.keys, hashed)
        self._writes.delete(self._tables.key_order, entry_key(row.index))


def _begins_first_row(outcome: Outcome) -> bool:
    """An ADD (or PUT) of an id that never was: its position is that of the id's first row."""
    return outcome.applied and outcome.op == "ADD" and outcome.version == 1


def _content(record: Record) -> bytes | None:
    return content_hash(record.sha256, record.scope) if record.status == "active" else None


def _expiry(record: Record) -> bytes | None:
    return None if record.status != "active" or record.expires is None else time_key(record.expires)
