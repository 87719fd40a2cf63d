"""Things inside an entry: a scan sees what the entry has done so far, as it will stand after it."""

import random

import pytest

from raftmem.machine.overlay import Working
from raftmem.model import codec
from raftmem.model.commands import Actor, Draft, Header
from raftmem.model.coordination_rows import (
    DUE,
    LOCKS,
    Hold,
    Lock,
    Thing,
    Waiter,
    due_until,
    holders,
    key_of,
    marks,
    owned_by,
    place_key,
    queue_of,
)
from raftmem.model.digest import DIGEST_BYTES
from raftmem.model.records import Head, Marked, Position, Result, Step
from raftmem.storage.state.contract import EventRow
from raftmem.storage.state.in_memory import MemoryStateStore

ENTRY = codec.seal(codec.encode_draft(Draft(Header(Actor("agent", "a"), "req", ()), ()), bytes), time=0, wall_ms=0)
SCANS: list[tuple[bytes, bytes, bytes | None]] = [
    (b"", b"", None),
    (DUE, b"", due_until(4)),
    (DUE, due_until(2), due_until(7)),
    (LOCKS, LOCKS + place_key(Position(3, 0)), None),
    *[(prefix, b"", None) for prefix in (DUE, LOCKS, holders("a"), queue_of("b"), owned_by("x"))],
]


def some_thing(rng: random.Random) -> Thing:
    name, owner, at = rng.choice("abc"), rng.choice("xy"), Position(rng.randint(1, 5), 0)
    match rng.randrange(3):
        case 0:
            return Lock(name, 1, rng.randint(0, 1), 0, at)
        case 1:
            return Hold(name, owner, at.index, at, 100, rng.randint(-1, 9))
        case _:
            return Waiter(name, owner, at, at, 100, rng.randint(-1, 9))


def scanned(view: Working | MemoryStateStore, limit: int) -> list[list[Marked]]:
    of = view if isinstance(view, Working) else view.read()
    return [of.scan(prefix, limit=limit, start=start, stop=stop) for prefix, start, stop in SCANS]


def keep(store: MemoryStateStore, working: Working) -> None:
    with store.write() as writer:
        index = writer.head.index + 1
        row = EventRow(index, 1, ENTRY, Result(), bytes(DIGEST_BYTES))
        writer.put(row, Step(Result(), tuple(working.changes)), Head(index, 1, 0, row.digest))


@pytest.mark.parametrize("seed", range(20))
def test_a_scan_inside_an_entry_finds_what_stands_after_it(seed: int) -> None:
    rng, store = random.Random(seed), MemoryStateStore()
    for _ in range(6):
        working = Working(store.read())
        rows: dict[bytes, Thing] = {one.mark: one.thing for one in store.read().scan(b"", limit=99)}
        for _ in range(rng.randint(0, 12)):
            thing = some_thing(rng)
            key = key_of(thing)
            working.put_thing(key, None if rng.random() < 0.4 else thing, Position(store.head().index + 1, 0))
            rows = {mark: row for mark, row in rows.items() if key_of(row) != key}
            now = working.thing(key)
            rows |= {} if now is None else dict.fromkeys(marks(now), now)
            assert working.scan(b"", limit=99) == [Marked(mark, rows[mark]) for mark in sorted(rows)]
        by_limit = [scanned(working, limit) for limit in (1, 2, 99)]
        keep(store, working)
        assert [scanned(store, limit) for limit in (1, 2, 99)] == by_limit
