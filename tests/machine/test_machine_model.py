"""Random commands on both state stores, against the model in plain dictionaries; restarts included."""

import random
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_model import PLAIN, Model
from machine_world import ALICE, BOB, Step, World, add, command, delete, expire, floats, noop, put, update

from raftmem.machine import apply
from raftmem.machine.run import step_entry
from raftmem.model import codec
from raftmem.model.commands import Actor, Add, Content, Fields, Guard, Merge, Put, Update
from raftmem.model.records import Position
from raftmem.storage.state.contract import StateReader
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore

MAP_BYTES = 64 << 20
IDS = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["t", "é\n\u2028"])
SMALL = st.sampled_from([1, True, 1.0, 0, -2.5, 2**53 - 1, "é", None, [1], {"n": 1}])
LISTS = st.lists(SMALL, max_size=3)
VALUES = st.sampled_from([{"n": 1, "l": [1, True]}, {"l": [True, 1.0]}, {"n": {"n": 1}}, [1], 1, "é"])
TAGS = st.lists(st.sampled_from(["x", "y", "é"]), max_size=3).map(tuple)
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
    return st.one_of(st.just(msgspec.UNSET), st.just(msgspec.UNSET), st.none(), strategy)


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
    lambda fields, app: msgspec.structs.replace(fields, app_id=app),
    FIELDS,
    maybe(st.just("shop")),
)
NUMBER_PATHS = st.sampled_from(["value.n", "value", "value.n.n", "value.m.m"])
LIST_PATHS = st.sampled_from(["value.l", "value", "value.k", "tags"])
MERGE = st.one_of(
    st.builds(Merge, NUMBER_PATHS, st.sampled_from(["inc", "max", "min"]), json_text(SMALL)),
    st.builds(Merge, LIST_PATHS, st.sampled_from(["union", "remove"]), json_text(LISTS)),
    st.builds(Merge, st.just("tags"), st.sampled_from(["union", "remove", "set"]), json_text(TAGS)),
    st.builds(Merge, LIST_PATHS | NUMBER_PATHS, st.sampled_from(["append", "set"]), json_text(SMALL)),
)
MERGES = st.lists(MERGE, max_size=2).map(tuple)
WHOLE = st.builds(
    Content,
    text=TEXTS | maybe(TEXTS),
    value=maybe(json_text(VALUES)),
    metadata=maybe(st.just(b'{"m":1}')),
    embedding=maybe(VECTORS),
)
PATCH = st.builds(
    Content,
    text=st.just(msgspec.UNSET) | maybe(TEXTS),
    value=st.just(msgspec.UNSET) | maybe(json_text(VALUES)),
    embedding=maybe(VECTORS),
    merge=MERGES,
)
STEPS = st.one_of(
    st.tuples(st.builds(Add, IDS, BOUND, st.sampled_from([None, "add", "noop", "noop"])), WHOLE),
    st.tuples(st.builds(Put, IDS, BOUND), WHOLE),
    st.tuples(st.builds(Update, IDS, FIELDS), PATCH),
    st.tuples(st.builds(Update, IDS, st.just(Fields())), st.builds(Content, merge=MERGES)),
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
    guards=st.one_of(st.just(()), st.just(()), st.lists(GUARDS, max_size=2).map(tuple)),
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


@settings(max_examples=250, deadline=None)
@given(st.lists(CALLS | CALLS | CALLS | st.builds(Restart), min_size=1, max_size=20))
def test_stores_and_model_agree(script: list[Call | Restart]) -> None:
    run_script(script)


@pytest.mark.parametrize("seed", range(10))
def test_stores_and_model_agree_over_a_long_history(seed: int) -> None:
    """Denser than what hypothesis draws: few ids, much of it applied."""
    dice = random.Random(seed)
    run_script([Restart() if dice.random() < 0.02 else drawn(dice) for _ in range(200)])


def drawn(dice: random.Random) -> Call:
    pairs = [("k", b"f" * 32), ("k", b"g" * 32), ("l", b"f" * 32)]
    guard = Guard(memory=dice.choice("abc"), version=dice.randint(1, 9))
    if dice.random() < 0.1:  # whatever version it is at
        name = dice.choice("abc")
        return Call([expire(name, version) for version in range(1, 90)], (), False, None, ALICE, 0)
    return Call(
        steps=[drawn_step(dice) for _ in range(dice.choice([1, 1, 2, 3]))],
        guards=(guard,) if dice.random() < 0.05 else (),
        atomic=dice.random() < 0.5,
        key=dice.choice(pairs) if dice.random() < 0.1 else None,
        actor=dice.choice([ALICE, BOB]),
        wait_ms=dice.choice([0, 500, 1000, 3_600_000 if dice.random() < 0.2 else 0]),
    )


def drawn_step(dice: random.Random) -> Step:
    name = dice.choice("abc")
    kind = dice.choice(["add", "add", "put", "update", "merge", "merge", "delete", "noop"])
    text = dice.choice(["t", "t", "u"])
    if kind == "add":
        value = dice.choice([{"value": {"n": 1, "l": [1]}}, {"value": {"n": 1.0, "l": [True]}}, {}, {}])
        more = dice.choice([{"visibility": "private"}, {"embedding": [1.0], "embedding_model": "toy"}, {"ttl_ms": 500}])
        return add(name, text=text, on_duplicate=dice.choice(["noop", "add"]), **value, **more)
    if kind == "put":
        return put(name, text=text, **dice.choice([{}, {"app_id": "shop"}, {"value": {"l": [1, True, 0]}}]))
    if kind == "update":
        more = dice.choice(
            [{"text": text}, {"text": None}, {"ttl_ms": 500}, {"pinned": True}, {"embedding": [0.5, 2.0]}]
        )
        return update(name, **more)
    if kind == "merge":
        numbers = {"value.n": (dice.choice(["inc", "max", "min"]), dice.choice([1, -1, 2, 0.5, 1.0]))}
        some = [dice.choice([1, True, 1.0, 0, False, "x", [1], [True], None]) for _ in range(dice.randint(0, 2))]
        lists = {"value.l": (dice.choice(["union", "remove", "append", "set"]), some)}
        tags = {"tags": (dice.choice(["union", "remove", "set"]), [dice.choice("xyz")])}
        return update(name, merge=dice.choice([numbers, lists, lists, tags]))
    return delete(name) if kind == "delete" else noop(dice.choice([name, None]))


def run_script(script: list[Call | Restart]) -> None:
    model, twin = Model(), World(InMemoryStateStore())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        store = LmdbStateStore(path, map_bytes=MAP_BYTES)
        for item in script:
            if isinstance(item, Restart):
                store.settle()
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
        for memory_id in {"a", "b", "c"} - model.memories.keys():
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
