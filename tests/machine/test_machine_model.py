"""Random commands on both state stores, against the model in plain dictionaries; restarts included."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_model import PLAIN, Model
from machine_world import ALICE, BOB, Step, World, command, delete, expire, floats, noop

from raftmem import codec
from raftmem.commands import Actor, Add, Content, Fields, Guard, Merge, Put, Update
from raftmem.machine import apply
from raftmem.machine.run import step_entry
from raftmem.records import Position
from raftmem.storage.contracts import StateReader
from raftmem.storage.memory_state import MemoryStateStore
from raftmem.storage.state import LmdbStateStore

MAP_BYTES = 64 << 20
IDS = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.sampled_from(["t", "u", "", "é\n\u2028"])
SMALL = st.sampled_from([None, True, False, 0, 1, 1.0, -2, 0.5, 2**53 - 1, "1", "é", [], [1, 1.0, True], {"n": 1}])
VALUES = SMALL | st.dictionaries(st.sampled_from(["n", "l", "é"]), SMALL | st.lists(SMALL, max_size=3), max_size=3)
TAGS = st.lists(st.sampled_from(["x", "y", "é"]), max_size=3).map(tuple)
PATHS = st.sampled_from(["value", "value.n", "value.l", "value.n.m", "value.n.n", "tags"])
OPS = st.sampled_from(["inc", "max", "min", "append", "union", "remove", "set"])
VECTORS = st.sampled_from([floats(1, 0), floats(0.5, 0.25, 1)])


class Restart(NamedTuple):
    """The store is closed and opened again."""


class Call(NamedTuple):
    steps: list[Step]
    guards: tuple[Guard, ...]
    atomic: bool
    key: tuple[str, bytes] | None
    actor: Actor
    wait_ms: int


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.just(msgspec.UNSET) | st.none() | strategy


def json_text(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[bytes]:
    return strategy.map(msgspec.json.encode)


FIELDS = st.builds(
    Fields,
    tags=maybe(TAGS),
    memory_type=maybe(st.just("fact")),
    confidence=maybe(st.sampled_from([0.1, 1.0])),
    visibility=maybe(st.just("private")),
    ttl_ms=maybe(st.sampled_from([0, 1000, 5000])),
    pinned=maybe(st.booleans()),
    embedding_model=maybe(st.just("toy")),
)
BOUND = st.builds(
    lambda fields, app, run: msgspec.structs.replace(fields, app_id=app, run_id=run),
    FIELDS,
    maybe(st.sampled_from(["shop", "é"])),
    st.just(msgspec.UNSET) | st.none() | st.just("r"),
)
MERGES = st.lists(st.builds(Merge, PATHS, OPS, json_text(SMALL | st.lists(SMALL, max_size=3))), max_size=3).map(tuple)
WHOLE = st.builds(
    Content,
    text=maybe(TEXTS),
    value=maybe(json_text(VALUES)),
    metadata=maybe(st.just(b'{"m":1}')),
    embedding=maybe(VECTORS),
)
PATCH = st.builds(
    Content,
    text=st.just(msgspec.UNSET) | maybe(TEXTS),
    value=st.just(msgspec.UNSET) | maybe(json_text(VALUES)),
    embedding=maybe(VECTORS),
    merge=st.just(msgspec.UNSET) | MERGES,
)
STEPS = st.one_of(
    st.tuples(st.builds(Add, IDS, BOUND, st.sampled_from([None, "add", "noop", "noop"])), WHOLE),
    st.tuples(st.builds(Put, IDS, BOUND), WHOLE),
    st.tuples(st.builds(Update, IDS, FIELDS), PATCH),
    IDS.map(delete),
    st.builds(noop, st.none() | IDS),
    st.builds(expire, IDS, st.integers(1, 4)),
)
GUARDS = st.one_of(
    st.builds(lambda name, version: Guard(memory=name, version=version), IDS, st.integers(1, 3)),
    st.builds(lambda name, exists: Guard(memory=name, exists=exists), IDS, st.booleans()),
)
CALLS = st.builds(
    Call,
    steps=st.lists(STEPS, min_size=1, max_size=4),
    guards=st.just(()) | st.lists(GUARDS, max_size=2).map(tuple),
    atomic=st.booleans(),
    key=st.none() | st.tuples(st.sampled_from(["k", "l"]), st.sampled_from([b"f" * 32, b"g" * 32])),
    actor=st.sampled_from([ALICE, BOB]),
    wait_ms=st.sampled_from([0, 0, 500, 5000, 25 * 3600 * 1000]),
)


def shown(reader: StateReader, memory_id: str) -> dict[str, object]:
    record = reader.memory(memory_id)
    assert record is not None
    scope = record.scope
    return {
        "version": record.version,
        "status": record.status,
        "created": (record.created.index, record.created.seq),
        "updated": (record.updated.index, record.updated.seq),
        "actor": record.actor.id,
        "scope": [scope.app_id, scope.user_id, scope.agent_id, scope.run_id],
        "text": record.text,
        "value": record.value,
        "metadata": msgspec.json.decode(record.metadata),
        "tags": list(record.tags),
        "visibility": record.visibility,
        "pinned": record.pinned,
        "expires": record.expires,
        "model": record.embedding_model,
        "vector": reader.vector(record),
        **{name: getattr(record, name) for name in PLAIN},
    }


def entry_of(call: Call, *, time: int, salt: int) -> bytes:
    key, fingerprint = call.key or (None, b"")
    return command(
        call.steps,
        time=time,
        salt=salt,
        guards=call.guards,
        atomic=call.atomic,
        key=key,
        fingerprint=fingerprint,
        actor=call.actor,
    )


@settings(max_examples=120, deadline=None)
@given(st.lists(CALLS | CALLS | CALLS | st.builds(Restart), min_size=1, max_size=14))
def test_stores_and_model_agree(script: list[Call | Restart]) -> None:
    model, twin = Model(), World(MemoryStateStore())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        store = LmdbStateStore(path, map_bytes=MAP_BYTES)
        for item in script:
            if isinstance(item, Restart):
                store.close(clean=False)
                store = LmdbStateStore(path, map_bytes=MAP_BYTES)
                continue
            twin.later(ms=item.wait_ms)
            index = twin.store.head().index + 1
            data = entry_of(item, time=twin.time, salt=index)
            with store.write() as writer:
                entry = codec.decode(data)
                assert apply(writer, index, 1, entry) == apply(writer, index, 1, entry)
                row = step_entry(writer, index, 1, data).row
            assert row == twin.feed(data).row
            expected = model.run(index, twin.time, item.actor, item.steps, item.guards, item.atomic, item.key)
            check_result(row.result.replay_of, row.result.outcomes, expected)
            check_state(model, store.read(), twin.store.read())
        store.close(clean=True)


def check_result(replay_of: int | None, outcomes: tuple[object, ...], expected: object) -> None:
    told = [
        (outcome.applied, outcome.code, outcome.op, outcome.memory_id, outcome.version)  # type: ignore[attr-defined]
        for outcome in outcomes
    ]
    assert (replay_of if replay_of is not None else told) == expected


def check_state(model: Model, *readers: StateReader) -> None:
    head = readers[0].head
    active = [memory_id for memory_id in model.memories if model.active(memory_id)]
    for reader in readers:
        assert reader.head == head
        assert (head.memories, head.keys) == (len(active), len(model.keys))
        for memory_id, memory in model.memories.items():
            value = None if memory["value"] is None else msgspec.json.encode(memory["value"])
            assert shown(reader, memory_id) == {**memory, "value": value}
        for memory_id in {"a", "b", "c", "d"} - model.memories.keys():
            assert reader.memory(memory_id) is None
        assert [(row.actor.id, row.key, row.index) for row in reader.oldest_keys(9)] == [
            (who[1], key, index) for who, key, _, index, _ in model.keys
        ]


@settings(max_examples=40, deadline=None)
@given(st.lists(CALLS, min_size=2, max_size=8))
def test_every_version_stays_readable_at_its_position(script: list[Call]) -> None:
    world, model = World(), Model()
    seen: list[dict[str, dict[str, object]]] = []
    for call in script:
        world.later(ms=call.wait_ms)
        index = world.store.head().index + 1
        world.feed(entry_of(call, time=world.time, salt=index))
        model.run(index, world.time, call.actor, call.steps, call.guards, call.atomic, call.key)
        seen.append(dict(model.memories))
    reader = world.store.read()
    for at, memories in enumerate(seen, start=1):
        for memory_id, memory in memories.items():
            record = reader.memory(memory_id, Position(at, 0xFFFF))
            assert record is not None
            assert (record.version, record.status, record.text) == (memory["version"], memory["status"], memory["text"])
