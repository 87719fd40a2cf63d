"""The coordination rows of an in-memory state, and the JSON texts beside them: a part of `in_memory.py`.

Nothing is ever removed: a row or an index key carries the entries from which and until which it stood. The index keys
that stand now are also kept in a list of their own, so that a scan of the newest state does not walk over old ones.
Refused are a change whose `old` differs from the row in force, and an index key that belongs to another row.
"""

from bisect import bisect_left, insort
from itertools import islice
from typing import NamedTuple

from raftmem.errors import Corrupt
from raftmem.model.coordination_rows import VERSIONED, CoordinationRow, index_keys
from raftmem.model.records import IndexedRow, Position, PutContent, PutRow


class _Row(NamedTuple):
    entry: int  # index of the one that put it
    at: Position
    row: CoordinationRow | None  # None: nothing stands there from here on
    is_version: bool


class _Life(NamedTuple):
    """begin <= index < end: the index_key stood then. `end` None: it stands."""

    key: bytes
    begin: int
    end: int | None


class InMemoryRows:
    """Everything that was ever put, in the order it came. An index at or past the last change asks for what is now."""

    def __init__(self) -> None:
        self._changed = 0  # index of the last entry that put a row
        self._rows: dict[bytes, list[_Row]] = {}
        self._contents: dict[Position, tuple[int, bytes]] = {}
        self._index_keys: list[bytes] = []  # those that stand, in order
        self._lives: dict[bytes, list[_Life]] = {}  # index_key -> its lives, oldest first
        self._ever: list[bytes] = []  # the keys of `_lives` in order, but for the newest: see `_all_index_keys`

    # --- what an entry does ---------------------------------------------------------------------------
    def put(self, change: PutRow, index: int) -> None:
        old, new = self.coordination_row(change.key, index), change.new
        if old != change.old:
            raise Corrupt(
                "state in memory", f"coordination row {change.key.hex()} follows another than stands there", index=index
            )
        self._changed = index
        kind = old if new is None else new
        self._rows.setdefault(change.key, []).append(_Row(index, change.at, new, isinstance(kind, VERSIONED)))
        before = frozenset[bytes]() if old is None else index_keys(old)
        after = frozenset[bytes]() if new is None else index_keys(new)
        for index_key in before - after:
            self._end(index_key, index)
        for index_key in after - before:
            self._begin(index_key, change.key, index)

    def _end(self, index_key: bytes, index: int) -> None:
        lives = self._lives[index_key]
        lives[-1] = lives[-1]._replace(end=index)
        del self._index_keys[bisect_left(self._index_keys, index_key)]

    def _begin(self, index_key: bytes, key: bytes, index: int) -> None:
        lives = self._lives.setdefault(index_key, [])
        if lives and lives[-1].end is None:
            raise Corrupt(
                "state in memory", f"index key {index_key.hex()} leads to another coordination row", index=index
            )
        lives.append(_Life(key, index, None))
        insort(self._index_keys, index_key)

    def put_content(self, change: PutContent, index: int) -> None:
        self._contents[change.at] = (index, change.data)

    # --- what stood there after entry `index` -----------------------------------------------------------
    def coordination_row(self, key: bytes, index: int) -> CoordinationRow | None:
        rows = reversed(self._rows.get(key, ()))
        return next((row.row for row in rows if row.entry <= index), None)

    def version(self, key: bytes, at: Position) -> CoordinationRow | None:
        rows = reversed(self._rows.get(key, ()))
        return next((row.row for row in rows if row.is_version and row.at <= at), None)

    def content(self, at: Position, index: int) -> bytes | None:
        found = self._contents.get(at)
        return found[1] if found is not None and found[0] <= index else None

    def scan(self, index: int, prefix: bytes, *, limit: int, start: bytes, stop: bytes | None) -> list[IndexedRow]:
        ordered = self._index_keys if index >= self._changed else self._all_index_keys()
        found: list[IndexedRow] = []
        for place in range(bisect_left(ordered, max(prefix, start)), len(ordered)):
            index_key = ordered[place]
            if len(found) >= limit or not index_key.startswith(prefix) or (stop is not None and index_key >= stop):
                break
            coordination_row = self._row_at(index_key, index)
            if coordination_row is not None:
                found.append(IndexedRow(index_key, coordination_row))
        return found

    def _all_index_keys(self) -> list[bytes]:
        if len(self._ever) < len(self._lives):
            self._ever += islice(self._lives, len(self._ever), None)
            self._ever.sort()
        return self._ever

    def _row_at(self, index_key: bytes, index: int) -> CoordinationRow | None:
        for life in reversed(self._lives[index_key]):
            if life.begin <= index and (life.end is None or index < life.end):
                return self.coordination_row(life.key, index)
        return None
