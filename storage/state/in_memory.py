"""The state store in memory: the twin of `store.py` for tests and the simulator.

Nothing is ever removed, and everything carries the index that brought it. So a snapshot is only an index, and a reader
looks at everything up to it. The loops are plain on purpose: the LMDB store is compared with this one.
An entry that is not the next one is refused.
"""

import errno
import sys
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, assert_never

from raftmem.errors import Corrupt, StorageFailed
from raftmem.limits import LIST_SCAN_ROWS_MAX
from raftmem.model.commands import Actor, Scope
from raftmem.model.coordination_rows import CoordinationRow
from raftmem.model.digest import GENESIS_HEAD
from raftmem.model.records import (
    DropIdempotency,
    Head,
    IdempotencyRow,
    IndexedRow,
    Position,
    PutContent,
    PutIdempotency,
    PutRecord,
    PutRow,
    Record,
    Step,
)
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.contract import Bounds, EventRow, Page, PreparedState, Query
from raftmem.storage.state.in_memory_copy import GrowingCopy, InMemoryFiles, doubt, lines_of
from raftmem.storage.state.in_memory_rows import InMemoryRows
from raftmem.storage.state.query import Cursor, end_of, page


class _Key(NamedTuple):
    row: IdempotencyRow
    dropped: int | None  # index of the entry that forgot it


def _name(actor: Actor, key: str) -> tuple[str, str, str]:
    return actor.type, actor.id, key


class _Kept:
    """Everything that was ever put, in the order it came."""

    def __init__(self) -> None:
        self.heads = [GENESIS_HEAD]
        self.events: list[tuple[EventRow, Step]] = []
        self.rows: dict[Position, list[Record]] = {}  # created -> versions, oldest first
        self.ids: dict[str, list[Position]] = {}  # id -> its rows, oldest first
        self.vectors: dict[tuple[Position, Position], bytes] = {}
        self.twins: dict[tuple[bytes, Scope], dict[Position, None]] = {}  # content ever carried -> rows
        self.keys: list[_Key] = []
        self.key_places: dict[tuple[str, str, str], list[int]] = {}  # actor and key -> places in `keys`
        self.coordination = InMemoryRows()

    def put(self, row: EventRow, step: Step, head: Head) -> None:
        index = self.heads[-1].index + 1
        if row.index != index or head.index != index:
            raise StorageFailed(f"entry {row.index} with head {head.index} put after entry {index - 1}")
        for change in step.changes:
            match change:
                case PutRecord(record=record, vector=vector):
                    if record.created not in self.rows:
                        self.ids.setdefault(record.id, []).append(record.created)
                    self.rows.setdefault(record.created, []).append(record)
                    self.twins.setdefault((record.sha256, record.scope), {})[record.created] = None
                    if vector is not None and record.vector_at is not None:
                        self.vectors[record.created, record.vector_at] = vector
                case PutIdempotency(row=key):
                    self.key_places.setdefault(_name(key.actor, key.key), []).append(len(self.keys))
                    self.keys.append(_Key(key, None))
                case DropIdempotency(row=key):
                    self.keys[self.key_places[_name(key.actor, key.key)][-1]] = _Key(key, index)
                case PutRow():
                    self.coordination.put(change, index)
                case PutContent():
                    self.coordination.put_content(change, index)
                case _:
                    assert_never(change)
        self.events.append((row, step))
        self.heads.append(head)

    @classmethod
    def of_copy(cls, meta: SnapshotMeta, data: bytes) -> "_Kept":
        """Raises: Corrupt when the bytes are not what `meta` says."""
        wrong = doubt(meta, data)
        if wrong is not None:
            raise Corrupt("snapshot in memory", wrong, index=meta.index)
        self = cls()
        for row, step, head in lines_of(data, meta):
            self.put(row, step, head)
        return self


class InMemoryReader:
    """The state at one index, for ever. `index` None: as it comes, the writer's view."""

    def __init__(self, kept: _Kept, rows_max: int, index: int | None) -> None:
        self._kept = kept
        self._rows_max = rows_max
        self._index = index

    @property
    def head(self) -> Head:
        return self._kept.heads[-1 if self._index is None else self._index]

    def memory(self, memory_id: str, at: Position | None = None) -> Record | None:
        return self._record(memory_id, self._moment(at))

    def _moment(self, at: Position | None) -> Position:
        end = end_of(self.head.index)
        return end if at is None else min(at, end)

    def _record(self, memory_id: str, moment: Position) -> Record | None:
        for created in reversed(self._kept.ids.get(memory_id, ())):
            if created <= moment:
                return self._version(created, moment)
        return None

    def _version(self, created: Position, moment: Position) -> Record | None:
        versions = self._kept.rows[created]
        return next((version for version in reversed(versions) if version.updated <= moment), None)

    def _newest(self) -> Iterator[Record]:
        """The version in force of every row, in row order."""
        moment = self._moment(None)
        for created in list(self._kept.rows):
            record = self._version(created, moment)
            if record is not None:
                yield record

    def duplicate(self, sha256: bytes, scope: Scope, without: AbstractSet[str] = frozenset()) -> Record | None:
        moment = self._moment(None)
        for created in sorted(self._kept.twins.get((sha256, scope), ())):
            record = self._version(created, moment)
            if record is None or record.id in without:
                continue
            if (record.status, record.sha256, record.scope) == ("active", sha256, scope):
                return record
        return None

    def vector(self, record: Record) -> bytes | None:
        return None if record.vector_at is None else self._kept.vectors.get((record.created, record.vector_at))

    def _holds(self, key: _Key) -> bool:
        now = self.head.index
        return key.row.index <= now and (key.dropped is None or key.dropped > now)

    def idempotency(self, actor: Actor, key: str) -> IdempotencyRow | None:
        places = self._kept.key_places.get(_name(actor, key), ())
        held = (self._kept.keys[place] for place in places)
        return next((found.row for found in held if self._holds(found)), None)

    def oldest_keys(self, limit: int) -> tuple[IdempotencyRow, ...]:
        held = (key.row for key in self._kept.keys if self._holds(key))
        return tuple(islice(held, limit))

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
        moment = self._moment(None if at is None else end_of(at))
        found: dict[Cursor, Record | None] = {}
        for created, versions in list(self._kept.rows.items()):
            memory_id = versions[0].id
            if created <= moment and (not query.ids or memory_id in query.ids):
                record = self._record(memory_id, moment)
                found[created.index, memory_id] = record if record and record.created == created else None
        cursors = sorted(found, reverse=descending)
        if after is not None:
            cursors = [cursor for cursor in cursors if (cursor < after if descending else cursor > after)]
        candidates = ((cursor, found[cursor]) for cursor in cursors)
        return page(candidates, query, limit=limit, bounds=bounds or Bounds(self._rows_max, sys.maxsize))

    def history(self, memory_id: str, *, after: Position | None, limit: int) -> list[Position]:
        found: list[Position] = []
        for row, step in self._kept.events[: self.head.index]:
            for seq, outcome in enumerate(step.result.outcomes):
                place = Position(row.index, seq)
                if outcome.memory_id == memory_id and (after is None or place > after):
                    found.append(place)
        return found[:limit]

    def event(self, index: int) -> EventRow | None:
        return self._kept.events[index - 1][0] if 0 < index <= self.head.index else None

    def events(self, start: int, stop: int, *, descending: bool = False) -> Iterable[EventRow]:
        rows = range(max(start, 1), min(stop, self.head.index + 1))
        for index in reversed(rows) if descending else rows:
            yield self._kept.events[index - 1][0]

    def expiring(self, time: int, limit: int) -> list[tuple[str, int]]:
        found = [
            (record.expires, record.created, record.id, record.version)
            for record in self._newest()
            if record.status == "active" and record.expires is not None and record.expires <= time
        ]
        return [(memory_id, version) for _, _, memory_id, version in sorted(found)[:limit]]

    def vectors(self) -> Iterable[Record]:
        return [record for record in self._newest() if record.status == "active" and record.vector_at is not None]

    # --- coordination --------------------------------------------------------------------------------
    def coordination_row(self, key: bytes, at: Position | None = None) -> CoordinationRow | None:
        rows = self._kept.coordination
        return rows.coordination_row(key, self.head.index) if at is None else rows.version(key, self._moment(at))

    def scan(self, prefix: bytes, *, limit: int, start: bytes = b"", stop: bytes | None = None) -> list[IndexedRow]:
        return self._kept.coordination.scan(self.head.index, prefix, limit=limit, start=start, stop=stop)

    def content(self, at: Position) -> bytes | None:
        return self._kept.coordination.content(at, self.head.index)

    def release(self) -> None:
        """There is nothing to release."""


class InMemorySharedReader(InMemoryReader):
    """Moved on by its store after every write."""

    def renew(self, kept: _Kept) -> None:
        self._kept, self._index = kept, len(kept.events)


class InMemoryWriter(InMemoryReader):
    """Sees what it has put."""

    def put(self, row: EventRow, step: Step, head: Head) -> None:
        self._kept.put(row, step, head)


class InMemoryPreparedState:
    """A state beside the one in force."""

    def __init__(self, kept: _Kept, rows_max: int) -> None:
        self.kept = kept
        self._rows_max = rows_max
        self._head = kept.heads[-1]

    @property
    def head(self) -> Head:
        return self._head

    def reader(self) -> InMemoryReader:
        return InMemoryReader(self.kept, self._rows_max, self._head.index)

    def discard(self) -> None:
        """There is nothing to release."""


class InMemoryStateStore:
    """Survives `close` for as long as the object lives, as files would. `snapshots`: those that may be prepared.

    `has_room`: of its disk, as of now.
    """

    def __init__(
        self,
        *,
        rows_max: int = LIST_SCAN_ROWS_MAX,
        snapshots: InMemoryFiles | None = None,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._kept = _Kept()
        self._growing = GrowingCopy()
        self._rows_max = rows_max
        self._snapshots = InMemoryFiles() if snapshots is None else snapshots
        self._shared = InMemorySharedReader(self._kept, rows_max, 0)
        self._has_room = has_room
        self._settled = 0  # entries

    def head(self) -> Head:
        return self._shared.head

    @contextmanager
    def write(self) -> Iterator[InMemoryWriter]:
        try:
            yield InMemoryWriter(self._kept, self._rows_max, None)
        except BaseException:
            self._take_back()
            raise
        finally:
            self._shared.renew(self._kept)

    def settle(self) -> None:
        if self._settled == len(self._kept.events):
            return
        if not self._has_room():
            self._take_back()
            raise OSError(errno.ENOSPC, "no room left on this disk")
        self._settled = len(self._kept.events)

    def _take_back(self) -> None:
        """Put what is settled again: rare, so plain."""
        kept = _Kept()
        for (row, step), head in zip(self._kept.events[: self._settled], self._kept.heads[1:], strict=False):
            kept.put(row, step, head)
        self._kept, self._growing = kept, GrowingCopy()
        self._shared.renew(kept)

    # --- snapshots ----------------------------------------------------------------------------------
    def copy(self) -> tuple[Head, EventRow, bytes, bytes]:
        """Head and last row of what is settled, its bytes, their checksum. That is not nothing."""
        kept, growing = self._kept, self._growing
        start, count = growing.entries, self._settled
        events, heads = kept.events[start:count], kept.heads[start + 1 : count + 1]
        growing.extend((row, step.changes, head) for (row, step), head in zip(events, heads, strict=True))
        data, checksum = growing.finished()
        return kept.heads[count], kept.events[count - 1][0], data, checksum

    def prepare(self, meta: SnapshotMeta) -> InMemoryPreparedState:
        data = self._snapshots.listed.get(meta)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, "snapshot was dropped", meta.name)
        return InMemoryPreparedState(_Kept.of_copy(meta, data), self._rows_max)

    def replace(self, prepared: PreparedState) -> None:
        assert isinstance(prepared, InMemoryPreparedState), "it was prepared by this store"
        self._kept, self._growing = prepared.kept, GrowingCopy()
        self._settled = len(self._kept.events)
        self._shared.renew(self._kept)

    def read(self) -> InMemorySharedReader:
        return self._shared

    def read_private(self) -> InMemoryReader:
        return InMemoryReader(self._kept, self._rows_max, self.head().index)

    def close(self, *, clean: bool) -> None:
        """Settle if clean; there is nothing to sync."""
        if clean:
            self.settle()
        elif self._settled < len(self._kept.events):
            self._take_back()
