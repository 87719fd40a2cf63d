"""The rows that a list looks at, in order: the intersection of postings, or all rows.

A list with ids looks at those ids. A list with scope ids or tags looks at the rows that all their postings share; it
seeks from one posting list to the next. Any other list looks at every row. Postings are never removed, so each record
is checked afterwards. The rule that must hold: each seek counts as a row looked at, so a page stays bounded even if
the postings share nothing.
"""

from collections.abc import Iterator
from itertools import groupby, repeat
from typing import Protocol

from raftmem.model.records import SEQ_LAST, Position, Record
from raftmem.storage.lmdb.environment import ReadTxn
from raftmem.storage.state.contract import Query
from raftmem.storage.state.query import Cursor
from raftmem.storage.state.tables import HASH_BYTES, Tables, index_of, key_after, key_before, label_hash, position_key

Probe = tuple[bytes, bool]  # row, and whether it stands in all postings
Candidate = tuple[Cursor, Record | None]
_INDEX_MAX = (1 << 64) - 1


class Rows(Protocol):
    """The part of the reader that a list uses."""

    def memory(self, memory_id: str, at: Position | None = None) -> Record | None: ...

    def row_of(self, memory_id: str) -> bytes | None: ...

    def newest(self, row: bytes) -> Record: ...

    def version(self, row: bytes, at: Position) -> Record | None: ...


class Listing:
    """`moment`: the state as it was then; None: as it is."""

    def __init__(self, rows: Rows, txn: ReadTxn, tables: Tables, moment: Position | None, *, descending: bool) -> None:
        self._rows = rows
        self._txn = txn
        self._tables = tables
        self._moment = moment
        self._descending = descending

    def candidates(self, query: Query, after: Cursor | None) -> Iterator[Candidate]:
        """In the order of the list, beginning after `after`; None: a row looked at that shows nothing."""
        if query.ids:
            return self._by_ids(query, after)
        return self._by_rows(query, after)

    def _by_ids(self, query: Query, after: Cursor | None) -> Iterator[Candidate]:
        """Reads the content of a record only when its turn comes."""
        found: dict[Cursor, str] = {}
        for memory_id in set(query.ids):
            created = self._created_index(memory_id)
            if created is not None:
                found[created, memory_id] = memory_id
        for cursor in sorted(found, reverse=self._descending):
            if self._follows(cursor, after):
                yield cursor, self._rows.memory(found[cursor], self._moment)

    def _created_index(self, memory_id: str) -> int | None:
        """Of the life that an id had at the moment; None for one that had none yet."""
        row = self._rows.row_of(memory_id)
        if row is None:
            return None
        if self._moment is None or row <= position_key(self._moment):
            return index_of(row)
        earlier = self._rows.memory(memory_id, self._moment)
        return None if earlier is None else earlier.created.index

    def _by_rows(self, query: Query, after: Cursor | None) -> Iterator[Candidate]:
        for index, probes in groupby(self._probes(query, self._start(after)), key=_index_of_probe):
            if self._moment is not None and index > self._moment.index:
                return
            found: dict[str, Record | None] = {}
            misses = 0
            for row, hit in probes:
                if not hit:
                    misses += 1
                    continue
                record = self._version(row)
                if record is None:
                    continue
                shown = record if self._is_in_force(record, query) else None
                if shown is not None or record.id not in found:  # an id may have two lives in one entry
                    found[record.id] = shown
            for memory_id in sorted(found, reverse=self._descending):
                if self._follows((index, memory_id), after):
                    yield (index, memory_id), found[memory_id]
            yield from repeat(((index, "") if self._descending else (index + 1, ""), None), misses)

    def _version(self, row: bytes) -> Record | None:
        return self._rows.newest(row) if self._moment is None else self._rows.version(row, self._moment)

    def _is_in_force(self, record: Record, query: Query) -> bool:
        """True if its row is the id's row at the moment. An active row always is; a tombstone may have a successor."""
        if record.status != query.status:
            return False
        if record.status == "active":
            return True
        current = self._rows.memory(record.id, self._moment)
        return current is not None and current.created == record.created

    def _follows(self, cursor: Cursor, after: Cursor | None) -> bool:
        if after is None:
            return True
        return cursor < after if self._descending else cursor > after

    def _start(self, after: Cursor | None) -> bytes:
        """The row to begin at: the first of the cursor's entry, as rows of one entry are sorted by id."""
        if not self._descending:
            return position_key(Position(0 if after is None else after[0], 0))
        last = _INDEX_MAX if after is None else after[0] if after[1] else after[0] - 1
        if self._moment is not None:
            last = min(last, self._moment.index)
        return position_key(Position(last, SEQ_LAST))

    def _probes(self, query: Query, start: bytes) -> Iterator[Probe]:
        labels = [label_hash(field, wanted) for field, wanted in query.scope]
        labels += [label_hash("tag", tag) for tag in query.tags]
        if len(labels) > 1:
            return self._join(labels, start)
        return self._walk(labels[0] if labels else b"", start)

    def _walk(self, prefix: bytes, row: bytes) -> Iterator[Probe]:
        table = self._tables.postings if prefix else self._tables.heads
        for key in self._txn.keys(table, prefix + row, descending=self._descending):
            if not key.startswith(prefix):
                return
            yield key[len(prefix) :], True

    def _join(self, labels: list[bytes], row: bytes) -> Iterator[Probe]:
        seek = self._txn.at_or_before if self._descending else self._txn.at_or_after
        step = key_before if self._descending else key_after
        agreed = asked = 0
        while True:
            label = labels[asked % len(labels)]
            key = seek(self._tables.postings, label + row)
            if key is None or not key.startswith(label):
                return
            asked += 1
            if key[HASH_BYTES:] == row:
                agreed += 1
            else:
                row, agreed = key[HASH_BYTES:], 1
                yield row, False
            if agreed == len(labels):
                yield row, True
                row, agreed = step(row), 0


def _index_of_probe(probe: Probe) -> int:
    return index_of(probe[0])
