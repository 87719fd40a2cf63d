"""Coordination rows inside an entry: a scan sees what the entry has done so far, as it will stand after it."""

import random

import pytest

from raftmem.machine.overlay import Overlay
from raftmem.model import codec
from raftmem.model.commands import Actor, Draft, Header
from raftmem.model.coordination_rows import (
    DUE,
    LOCKS,
    CoordinationRow,
    Hold,
    Lock,
    Waiter,
    due_until,
    holders,
    index_keys,
    key_of,
    owned_by,
    place_key,
    queue_of,
)
from raftmem.model.digest import DIGEST_BYTES
from raftmem.model.records import Head, IndexedRow, Position, Result, Step
from raftmem.storage.state.contract import EventRow
from raftmem.storage.state.in_memory import InMemoryStateStore

ENTRY = codec.seal(codec.encode_draft(Draft(Header(Actor("agent", "a"), "req", ()), ()), bytes), time=0, wall_ms=0)
SCANS: list[tuple[bytes, bytes, bytes | None]] = [
    (b"", b"", None),
    (DUE, b"", due_until(4)),
    (DUE, due_until(2), due_until(7)),
    (LOCKS, LOCKS + place_key(Position(3, 0)), None),
    *[(prefix, b"", None) for prefix in (DUE, LOCKS, holders("a"), queue_of("b"), owned_by("x"))],
]


def some_row(rng: random.Random) -> CoordinationRow:
    name, owner, at = rng.choice("abc"), rng.choice("xy"), Position(rng.randint(1, 5), 0)
    match rng.randrange(3):
        case 0:
            return Lock(name, 1, rng.randint(0, 1), 0, at)
        case 1:
            return Hold(name, owner, at.index, at, 100, rng.randint(-1, 9))
        case _:
            return Waiter(name, owner, at, at, 100, rng.randint(-1, 9))


def scanned(view: Overlay | InMemoryStateStore, limit: int) -> list[list[IndexedRow]]:
    of = view if isinstance(view, Overlay) else view.read()
    return [of.scan(prefix, limit=limit, start=start, stop=stop) for prefix, start, stop in SCANS]


def keep(store: InMemoryStateStore, overlay: Overlay) -> None:
    with store.write() as writer:
        index = writer.head.index + 1
        row = EventRow(index, 1, ENTRY, Result(), bytes(DIGEST_BYTES))
        writer.put(row, Step(Result(), tuple(overlay.changes)), Head(index, 1, 0, row.digest))


@pytest.mark.parametrize("seed", range(20))
def test_a_scan_inside_an_entry_finds_what_stands_after_it(seed: int) -> None:
    rng, store = random.Random(seed), InMemoryStateStore()
    for _ in range(6):
        overlay = Overlay(store.read())
        rows: dict[bytes, CoordinationRow] = {one.index_key: one.row for one in store.read().scan(b"", limit=99)}
        for _ in range(rng.randint(0, 12)):
            coordination_row = some_row(rng)
            key = key_of(coordination_row)
            overlay.put_row(key, None if rng.random() < 0.4 else coordination_row, Position(store.head().index + 1, 0))
            rows = {index_key: row for index_key, row in rows.items() if key_of(row) != key}
            now = overlay.coordination_row(key)
            rows |= {} if now is None else dict.fromkeys(index_keys(now), now)
            assert overlay.scan(b"", limit=99) == [IndexedRow(index_key, rows[index_key]) for index_key in sorted(rows)]
        by_limit = [scanned(overlay, limit) for limit in (1, 2, 99)]
        keep(store, overlay)
        assert [scanned(store, limit) for limit in (1, 2, 99)] == by_limit
