"""Random entries give equal answers on the state on disk and in memory, to every question, restarts included."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_world import ACTOR, Act, World, drop_oldest_key, end, end_row, noop, put, put_row, say, store, use_key

from raftmem.model.commands import Actor, Pin, Scope
from raftmem.model.coordination_rows import (
    DUE,
    GATES,
    LOCKS,
    Gate,
    Hold,
    Lock,
    gate_key,
    hold_key,
    holders,
    lock_key,
    owned_by,
    pinned_by,
)
from raftmem.model.records import SEQ_LAST, IndexedRow, Position
from raftmem.storage.state.contract import Query, StateReader
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore

NAMES = ("a", "b", "c")
TAGS = ("t", "u")
ACTORS = (ACTOR, Actor("user", "a1"))
SCOPES = (Scope(), Scope("app"), Scope("app", "user"), Scope(None, "app"))
ROWS_MAX = 3  # of the store on disk: pages end in the middle of everything

names = st.sampled_from(NAMES)
texts = st.sampled_from(("one", "two"))
puts = st.builds(
    put,
    names,
    text=texts,
    scope=st.sampled_from(SCOPES),
    tags=st.sampled_from(((), ("t",), ("u",), ("t", "u"))),
    expires=st.sampled_from((None, 5, 9, 2**63 - 1, -3)),
    memory_type=st.sampled_from((None, "fact")),
    vector=st.sampled_from((None, None, b"1234", b"12345678")),
)
ends = st.builds(end, names, st.sampled_from(("deleted", "expired")))
places = st.builds(Position, st.sampled_from((1, 2, 300)), st.sampled_from((0, 1)))
holds = st.builds(Hold, names, names, st.integers(1, 3), places, st.just(9), st.sampled_from((-3, 5, 9, 300)))
pins = st.lists(st.builds(Pin, names, st.just(1)), max_size=2, unique_by=lambda pin: pin.memory).map(tuple)
gates = st.builds(
    Gate, names, st.integers(1, 2), st.just(()), pins, st.just(()), st.booleans(), places, places, st.none() | places
)
locks = st.builds(Lock, names, st.just(1), st.integers(0, 1), st.just(0), places)
keys = st.one_of(st.builds(lock_key, names), st.builds(hold_key, names, names), st.builds(gate_key, names))
rows = st.one_of(
    st.builds(put_row, st.one_of(holds, gates, locks)),
    st.builds(end_row, keys),
    st.builds(say, st.sampled_from((b"1", b"2"))),
)
nothing = st.builds(noop, st.one_of(st.none(), names))
operations = st.lists(st.one_of(puts, puts, ends, nothing, rows, rows), max_size=5)
entries = st.tuples(operations, st.sampled_from(("", "key", "drop", "")))
batches = st.lists(st.tuples(st.lists(entries, max_size=4), st.booleans()), max_size=6)

QUERIES = [
    Query(scope=scope, ids=ids, tags=tags, memory_type=memory_type, status=status)
    for status in ("active", "deleted", "expired")
    for scope, ids, tags, memory_type in (
        ((), (), (), None),
        ((), (), (), "fact"),
        ((), ("a", "c", "none"), (), None),
        ((("app_id", "app"),), (), (), None),
        ((("app_id", "app"), ("user_id", "user")), (), ("t",), None),
        ((("user_id", "app"),), ("b",), (), None),
        ((), (), ("t",), None),
        ((), (), ("t", "u"), None),
    )
]


def lists(reader: StateReader, at: int | None, limit: int, *, descending: bool) -> list[list[tuple[str, int]]]:
    found = []
    for query in QUERIES:
        rows: list[tuple[str, int]] = []
        after = None
        while True:
            page = reader.memories(query, at=at, after=after, limit=limit, descending=descending)
            assert len(page.records) <= limit
            rows += [(record.id, record.version) for record in page.records]
            if page.after is None:
                break
            assert after is None or (page.after < after if descending else page.after > after), "a page must get on"
            after = page.after
        found.append(rows)
    return found


ROW_KEYS = [key for name in NAMES for key in (lock_key(name), gate_key(name), *(hold_key(name, o) for o in NAMES))]
PREFIXES = [b"", DUE, LOCKS, GATES, *(of(name) for name in NAMES for of in (holders, owned_by, pinned_by))]


def scans(reader: StateReader) -> list[list[IndexedRow]]:
    every = reader.scan(b"", limit=99)
    middle = every[len(every) // 2].index_key if every else b""
    bounds = ((b"", None), (middle, None), (middle + b"\0", None), (b"", middle))
    return [
        reader.scan(prefix, limit=limit, start=start, stop=stop)
        for prefix in PREFIXES
        for limit in (1, 2, 99)
        for start, stop in bounds
    ]


def answers(reader: StateReader, last: int) -> list[object]:
    """Everything that a reader can be asked, in one value."""
    moments = [None, *(Position(index, seq) for index in range(last + 2) for seq in (0, 1, 2, SEQ_LAST))]
    records = [reader.memory(name, moment) for name in (*NAMES, "none") for moment in moments]
    known = [record for record in records if record is not None]
    return [
        reader.head,
        records,
        [reader.vector(record) for record in known],
        [reader.duplicate(r.sha256, r.scope, without) for r in known for without in (set[str](), {"a"}, {"a", "b"})],
        [reader.idempotency(actor, key) for actor in ACTORS for key in ("k", "l", "m")],
        [reader.oldest_keys(limit) for limit in (0, 1, 99)],
        [reader.history(name, after=after, limit=limit) for name in NAMES for after in moments for limit in (1, 99)],
        [reader.event(index) for index in range(last + 2)],
        [list(reader.events(2, last, descending=turned)) for turned in (False, True)],
        [reader.expiring(time, limit) for time in (-9, 4, 5, 9, 2**63 - 1) for limit in (1, 99)],
        list(reader.vectors()),
        [reader.coordination_row(key, moment) for key in ROW_KEYS for moment in moments],
        [reader.content(moment) for moment in moments if moment is not None],
        scans(reader),
        [lists(reader, at, 2, descending=turned) for at in (None, *range(last + 2)) for turned in (False, True)],
    ]


def acts(world: World, made: tuple[list[Act], str]) -> list[Act]:
    operations, key = made
    if key == "key":
        free = [(k, a) for k in ("k", "l") for a in ACTORS if (a, k) not in {(r.actor, r.key) for r in world.keys}]
        return [*operations, *(use_key(*name) for name in free[:1])]
    return [*operations, drop_oldest_key] if key == "drop" else list(operations)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches)
def test_both_stores_answer_alike(batches: list[tuple[list[tuple[list[Act], str]], bool]]) -> None:
    world, twin = World(), InMemoryStateStore()
    with tempfile.TemporaryDirectory() as folder:
        state = LmdbStateStore(Path(folder) / "state", rows_max=ROWS_MAX)
        halfway = len(batches) // 2
        private, expected_then = twin.read_private(), answers(twin.read(), 0)
        for number, (batch, restart) in enumerate(batches):
            if number == halfway:
                private, expected_then = twin.read_private(), answers(state.read(), world.index)
            made = [world.entry(*acts(world, entry)) for entry in batch]
            store(state, *made)
            store(twin, *made)
            if restart:
                state.close(clean=False)
                state = LmdbStateStore(Path(folder) / "state", rows_max=ROWS_MAX)
        asked, expected = answers(state.read(), world.index), answers(twin.read(), world.index)
        state.close(clean=True)
    for number, (found, right) in enumerate(zip(asked, expected, strict=True)):
        assert found == right, f"question {number}"
    for number, (found, right) in enumerate(zip(answers(private, private.head.index), expected_then, strict=True)):
        assert found == right, f"question {number}, of a reader that stayed"
