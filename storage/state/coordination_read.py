"""Reading the coordination rows of a state (locks, holds, waiters, tasks, gates), and the JSON texts beside them.

Corrupt is raised for a row that does not decode, for one that stands under the key of another, and for an index key
that leads to no row.
"""

from raftmem.errors import Corrupt
from raftmem.model.coordination_rows import CoordinationRow, key_of
from raftmem.model.records import IndexedRow, Position
from raftmem.storage.lmdb.environment import ReadTxn
from raftmem.storage.state.tables import DECODE_ERRORS, Tables, decode_row, position_key


class CoordinationReader:
    """Reads through one transaction."""

    def __init__(self, txn: ReadTxn, tables: Tables, *, path: str) -> None:
        self._txn = txn
        self._tables = tables
        self._path = path

    def coordination_row(self, key: bytes, at: Position | None = None) -> CoordinationRow | None:
        """`at`: only of the kinds in `VERSIONED`; of the others nothing is found at any position."""
        tables = self._tables.coordination
        if at is None:
            raw = self._txn.get(tables.rows, key)
            return None if raw is None else self._row(raw, key)
        for place, raw in self._txn.descending(tables.row_versions, key + position_key(at)):
            return self._row(raw, key) if raw and place.startswith(key) else None
        return None

    def _row(self, raw: bytes, key: bytes) -> CoordinationRow:
        try:
            row: CoordinationRow = decode_row(raw)
        except DECODE_ERRORS as error:
            raise Corrupt(self._path, f"coordination row {key.hex()} does not decode ({error})") from error
        if key_of(row) != key:
            raise Corrupt(self._path, f"coordination row {key.hex()} holds another row")
        return row

    def scan(self, prefix: bytes, *, limit: int, start: bytes = b"", stop: bytes | None = None) -> list[IndexedRow]:
        tables = self._tables.coordination
        found: list[IndexedRow] = []
        for index_key, key in self._txn.ascending(tables.index_keys, max(prefix, start)):
            if len(found) >= limit or not index_key.startswith(prefix) or (stop is not None and index_key >= stop):
                break
            row = self.coordination_row(key)
            if row is None:
                raise Corrupt(self._path, f"index key {index_key.hex()} leads to a coordination row that is missing")
            found.append(IndexedRow(index_key, row))
        return found

    def content(self, at: Position) -> bytes | None:
        return self._txn.get(self._tables.coordination.contents, position_key(at))
