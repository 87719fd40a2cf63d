"""A snapshot of the things that coordination keeps, and of what users said of them: the part of `state_read.py` for it.

It refuses a row that does not decode, a row whose key is another's, and a mark that leads nowhere (`Corrupt`).
"""

from raftmem.errors import Corrupt
from raftmem.model.coordination_rows import CoordinationRow, key_of
from raftmem.model.records import IndexedRow, Position
from raftmem.storage.lmdb.environment import ReadTxn
from raftmem.storage.state.tables import DECODE_ERRORS, Tables, decode_row, position_key


class CoordinationReader:
    """Reads through one transaction. Absent tables are empty."""

    def __init__(self, txn: ReadTxn, tables: Tables, *, path: str) -> None:
        self._txn = txn
        self._tables = tables
        self._path = path

    def coordination_row(self, key: bytes, at: Position | None = None) -> CoordinationRow | None:
        """`at`: only of the kinds in `VERSIONED`; of the others nothing is found at any position."""
        tables = self._tables.coordination
        if tables is None:
            return None
        if at is None:
            raw = self._txn.get(tables.things, key)
            return None if raw is None else self._thing(raw, key)
        for place, raw in self._txn.descending(tables.row_versions, key + position_key(at)):
            return self._thing(raw, key) if raw and place.startswith(key) else None
        return None

    def _thing(self, raw: bytes, key: bytes) -> CoordinationRow:
        try:
            row: CoordinationRow = decode_row(raw)
        except DECODE_ERRORS as error:
            raise Corrupt(self._path, f"thing {key.hex()} does not decode ({error})") from error
        if key_of(row) != key:
            raise Corrupt(self._path, f"thing {key.hex()} leads to another thing")
        return row

    def scan(self, prefix: bytes, *, limit: int, start: bytes = b"", stop: bytes | None = None) -> list[IndexedRow]:
        tables = self._tables.coordination
        found: list[IndexedRow] = []
        if tables is None:
            return found
        for mark, key in self._txn.ascending(tables.marks, max(prefix, start)):
            if len(found) >= limit or not mark.startswith(prefix) or (stop is not None and mark >= stop):
                break
            row = self.coordination_row(key)
            if row is None:
                raise Corrupt(self._path, f"mark {mark.hex()} leads to a thing that is missing")
            found.append(IndexedRow(mark, row))
        return found

    def content(self, at: Position) -> bytes | None:
        tables = self._tables.coordination
        return None if tables is None else self._txn.get(tables.contents, position_key(at))
