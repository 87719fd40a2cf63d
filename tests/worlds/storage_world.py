"""Entries made by hand for the tests of the state stores: a machine so small that it can be read at a glance."""

import hashlib
from collections.abc import Callable

import msgspec

from raftmem.model.commands import Actor, Scope
from raftmem.model.coordination_rows import CoordinationRow, key_of
from raftmem.model.digest import GENESIS
from raftmem.model.records import (
    Change,
    DropIdempotency,
    Head,
    IdempotencyRow,
    Outcome,
    Position,
    PutContent,
    PutIdempotency,
    PutRecord,
    PutRow,
    Record,
    Result,
    Status,
    Step,
)
from raftmem.storage.state.contract import EventRow, Query, StateReader, StateStore

ACTOR = Actor("agent", "a1")
Entry = tuple[EventRow, Step, Head]
Act = Callable[["Draft"], None]


class Draft:
    """One entry in the making. Every call is one operation of it."""

    def __init__(self, world: "World", index: int) -> None:
        self.world = world
        self.index = index
        self.changes: list[Change] = []
        self.outcomes: list[Outcome] = []

    def put(self, memory_id: str, **fields: object) -> None:
        """ADD, or UPDATE when it is active. `vector`: bytes to set. Fields as in Record."""
        place = Position(self.index, len(self.outcomes))
        vector = fields.pop("vector", None)
        assert vector is None or isinstance(vector, bytes)
        if vector is not None:
            fields |= {"vector_at": place, "dimension": len(vector) // 4}
        known = self.world.newest.get(memory_id)
        old = known if known is not None and known.status == "active" else None
        if old is None:
            record = Record(
                memory_id,
                1 if known is None else known.version + 1,
                "active",
                place,
                place,
                Scope(),
                "text",
                None,
                b"{}",
                b"",
                (),
                ACTOR,
                0,
                0,
                previous=None if known is None else known.created,
            )
        else:
            record = msgspec.structs.replace(old, version=old.version + 1, updated=place)
        record = msgspec.structs.replace(record, **fields)
        record = msgspec.structs.replace(record, sha256=hashlib.sha256((record.text or "").encode()).digest())
        self._keep("UPDATE" if old else "ADD", record, old, vector)

    def end(self, memory_id: str, status: Status = "deleted") -> None:
        """DELETE or EXPIRE; refused when there is nothing to end."""
        old = self.world.newest.get(memory_id)
        if old is None or old.status != "active":
            self.outcomes.append(Outcome("DELETE", False, "not-found", memory_id))
            return
        place = Position(self.index, len(self.outcomes))
        bare = msgspec.structs.replace(
            old, version=old.version + 1, status=status, updated=place, text=None, tags=(), expires=None, vector_at=None
        )
        self._keep("DELETE", bare, old, None)

    def _keep(self, op: str, record: Record, old: Record | None, vector: bytes | None) -> None:
        self.world.newest[record.id] = record
        self.changes.append(PutRecord(record, old, b"c" * 32, vector))
        self.outcomes.append(Outcome(op, True, None, record.id, record.version))

    def noop(self, memory_id: str | None = None) -> None:
        self.outcomes.append(Outcome("NOOP", True, None, memory_id))

    def put_row(self, coordination_row: CoordinationRow) -> None:
        self._move_row(key_of(coordination_row), coordination_row)

    def end_row(self, key: bytes) -> None:
        self._move_row(key, None)

    def _move_row(self, key: bytes, new: CoordinationRow | None) -> None:
        old = self.world.rows.get(key)
        if new is None:
            self.world.rows.pop(key, None)
        else:
            self.world.rows[key] = new
        if new != old:
            self.changes.append(PutRow(key, new, old, Position(self.index, len(self.outcomes))))
        self.noop()

    def say(self, data: bytes) -> None:
        self.changes.append(PutContent(Position(self.index, len(self.outcomes)), data))
        self.noop()

    def use_key(self, key: str, actor: Actor = ACTOR) -> None:
        row = IdempotencyRow(actor, key, b"f" * 32, self.index, self.index * 1000)
        self.world.keys.append(row)
        self.changes.append(PutIdempotency(row))

    def drop_oldest_key(self) -> None:
        if self.world.keys:
            self.changes.append(DropIdempotency(self.world.keys.pop(0)))


class World:
    """Makes entries, one after another, and what the state must be after them."""

    def __init__(self) -> None:
        self.newest: dict[str, Record] = {}
        self.keys: list[IdempotencyRow] = []
        self.rows: dict[bytes, CoordinationRow] = {}
        self.index = 0

    def entry(self, *acts: Act) -> Entry:
        self.index += 1
        draft = Draft(self, self.index)
        for act in acts:
            act(draft)
        result = Result(tuple(draft.outcomes))
        digest = hashlib.blake2b(GENESIS + bytes([self.index % 256]), digest_size=32).digest()
        row = EventRow(self.index, 1 + self.index // 10, b"entry %d" % self.index, result, digest)
        head = Head(self.index, row.term, self.index * 1000, digest, len(self.newest), len(self.keys))
        return row, Step(result, tuple(draft.changes)), head


def put(memory_id: str, **fields: object) -> Act:
    return lambda draft: draft.put(memory_id, **fields)


def end(memory_id: str, status: Status = "deleted") -> Act:
    return lambda draft: draft.end(memory_id, status)


def noop(memory_id: str | None = None) -> Act:
    return lambda draft: draft.noop(memory_id)


def put_row(coordination_row: CoordinationRow) -> Act:
    return lambda draft: draft.put_row(coordination_row)


def end_row(key: bytes) -> Act:
    return lambda draft: draft.end_row(key)


def say(data: bytes) -> Act:
    return lambda draft: draft.say(data)


def use_key(key: str, actor: Actor = ACTOR) -> Act:
    return lambda draft: draft.use_key(key, actor)


def drop_oldest_key(draft: Draft) -> None:
    draft.drop_oldest_key()


def store(state: StateStore, *entries: Entry) -> None:
    """All in one write, settled."""
    with state.write() as writer:
        for entry in entries:
            writer.put(*entry)
    state.settle()


def ids(
    reader: StateReader, query: Query, *, at: int | None = None, limit: int = 1000, descending: bool = False
) -> list[str]:
    """Of every page, one after another; the pages must end."""
    found: list[str] = []
    after = None
    for _ in range(10_000):
        page = reader.memories(query, at=at, after=after, limit=limit, descending=descending)
        assert len(page.records) <= limit
        found += [record.id for record in page.records]
        if page.after is None:
            return found
        after = page.after
    raise AssertionError("the list does not end")
