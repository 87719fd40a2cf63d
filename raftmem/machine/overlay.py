"""The state inside one entry: the state before it, overlaid with the changes of its operations so far.

It refuses nothing. The rule that must hold: dropping an `Overlay` undoes the whole entry, because the state below is
only read.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from raftmem.machine.budget import Budget
from raftmem.model.commands import Actor, Scope
from raftmem.model.coordination_rows import (
    CoordinationRow,
    Gate,
    Hold,
    Lock,
    Task,
    Waiter,
    gate_key,
    hold_key,
    index_keys,
    lock_key,
    task_key,
    waiter_key,
)
from raftmem.model.digest import content_hash
from raftmem.model.records import Change, IndexedRow, Outcome, Position, PutContent, PutRecord, PutRow, Record, View


class Moment(NamedTuple):
    """The time, position and actor of one operation. `now`: log time, microseconds. `wall_ms`: for people.

    `term`: of the entry.
    """

    position: Position
    now: int
    wall_ms: int
    actor: Actor
    term: int = 0


class Refusal(NamedTuple):
    """The reason why an operation is not done; it becomes a refused `Outcome`."""

    code: str
    path: str | None = None
    failed: tuple[int, ...] = ()


class Overlay:
    """Later operations of an entry see the earlier ones through it. `changes`: the changes of the entry.

    `budget`: the work of the entry so far. `consequences`: events that followed from its operations (a grant, a gate
    that closed).
    """

    __slots__ = (
        "_gone",
        "_indexed",
        "_left",
        "_newest",
        "_rows",
        "_taken",
        "_view",
        "budget",
        "changes",
        "consequences",
        "looked",
        "told",
    )

    def __init__(self, view: View) -> None:
        self._view = view
        self.looked = 0  # rows
        self.budget: Budget | None = None  # made when a second operation comes
        self._newest: dict[str, Record] = {}
        self._rows: dict[bytes, CoordinationRow | None] = {}
        self._left: list[bytes] = []  # index keys of the state below whose rows have changed; in order
        self._gone: dict[bytes, bytes] = {}  # by prefix: below this nothing of the state below is left
        self._taken: list[bytes] = []  # index keys of the rows in `_rows`; in order
        self._indexed: dict[bytes, CoordinationRow] = {}  # index key -> its row, of those
        self.changes: list[Change] = []
        self.consequences: list[Outcome] = []
        self.told = 0  # dependents of tasks that have ended

    def memory(self, memory_id: str) -> Record | None:
        """The newest version, tombstones too."""
        known = self._newest.get(memory_id)
        if known is not None:
            return known
        self.looked += 1
        return self._view.memory(memory_id)

    def active(self, memory_id: str) -> Record | None:
        record = self.memory(memory_id)
        return record if record is not None and record.status == "active" else None

    def duplicate(self, sha256: bytes, scope: Scope) -> Record | None:
        """The oldest active memory with this content hash and exactly these four scope ids."""
        self.looked += 1
        if not self._newest:
            return self._view.duplicate(sha256, scope)
        below = self._view.duplicate(sha256, scope, self._newest.keys())
        found = [
            record
            for record in self._newest.values()
            if record.sha256 == sha256 and record.status == "active" and record.scope == scope
        ]
        if below is not None:
            found.append(below)
        return min(found, key=lambda record: record.created, default=None)

    def put(self, record: Record, *, old: Record | None, salt: bytes, vector: bytes | None) -> None:
        """Put `record` as the newest version. `old`: the version before it in the same row; `salt`: of the slot."""
        self._newest[record.id] = record
        self.changes.append(PutRecord(record, old, content_hash(salt, record, vector), vector))

    # --- coordination ---------------------------------------------------------------------------------
    def coordination_row(self, key: bytes) -> CoordinationRow | None:
        if key in self._rows:
            return self._rows[key]
        self.looked += 1
        return self._view.coordination_row(key)

    def lock(self, name: str) -> Lock | None:
        found = self.coordination_row(lock_key(name))
        assert found is None or isinstance(found, Lock)
        return found

    def hold(self, lock: str, owner: str) -> Hold | None:
        found = self.coordination_row(hold_key(lock, owner))
        assert found is None or isinstance(found, Hold)
        return found

    def waiter(self, lock: str, owner: str) -> Waiter | None:
        found = self.coordination_row(waiter_key(lock, owner))
        assert found is None or isinstance(found, Waiter)
        return found

    def task(self, task_id: str) -> Task | None:
        found = self.coordination_row(task_key(task_id))
        assert found is None or isinstance(found, Task)
        return found

    def gate(self, name: str) -> Gate | None:
        found = self.coordination_row(gate_key(name))
        assert found is None or isinstance(found, Gate)
        return found

    def scan(self, prefix: bytes, *, limit: int, start: bytes = b"", stop: bytes | None = None) -> list[IndexedRow]:
        """As `View.scan`, with the changes of the entry so far."""
        if not self._rows:
            rows = self._view.scan(prefix, limit=limit, start=start, stop=stop)
            self.looked += len(rows)
            return rows
        seek = max(prefix, start)
        seek_below = max(seek, self._gone.get(prefix, b""))
        left = set(_under(self._left, prefix, seek_below, stop))
        below = self._view.scan(prefix, limit=limit + len(left), start=seek_below, stop=stop)
        self.looked += len(below)
        found = [one for one in below if one.index_key not in left]
        if left and seek == prefix:
            gone = next((at for at, one in enumerate(below) if one.index_key not in left), len(below))
            if gone:
                self._gone[prefix] = below[gone - 1].index_key + b"\0"
        found += [
            IndexedRow(index_key, self._indexed[index_key]) for index_key in _under(self._taken, prefix, seek, stop)
        ]
        return sorted(found, key=lambda one: one.index_key)[:limit]

    def count(self) -> Budget:
        """The budget with the work so far; most entries have one operation, and never ask."""
        if self.budget is None:
            self.budget = Budget()
        return self.budget

    def has(self, prefix: bytes) -> bool:
        """True if a scan of this prefix finds a row; the rows that the entry put are looked at first."""
        if self._taken and next(_under(self._taken, prefix, prefix, None), None) is not None:
            return True
        return bool(self.scan(prefix, limit=1))

    def put_row(self, key: bytes, new: CoordinationRow | None, at: Position) -> None:
        """Put `new` under `key`; None removes the row."""
        old = self.coordination_row(key)
        if old == new:
            return
        self._rows[key] = new
        self.changes.append(PutRow(key, new, old, at))
        if old is not None:
            for index_key in index_keys(old):
                if self._indexed.pop(index_key, None) is None:
                    insort(self._left, index_key)
                else:
                    del self._taken[bisect_left(self._taken, index_key)]
        if new is not None:
            for index_key in index_keys(new):
                self._indexed[index_key] = new
                insort(self._taken, index_key)

    def put_content(self, at: Position, data: bytes) -> None:
        self.changes.append(PutContent(at, data))


def _under(in_order: list[bytes], prefix: bytes, seek: bytes, stop: bytes | None) -> Iterator[bytes]:
    """The keys with this prefix, from `seek` on and before `stop`."""
    found = (in_order[place] for place in range(bisect_left(in_order, seek), len(in_order)))
    return takewhile(lambda index_key: index_key.startswith(prefix) and (stop is None or index_key < stop), found)
