"""Apply is total: everything at its bounds at once applies, and nothing that decodes raises."""

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_world import ALICE, Step, World, add, command

from raftmem import codec
from raftmem.commands import Actor, Add, Content, Decision, Fields, Guard, Merge, Noop, Provenance, Put, Update
from raftmem.errors import Corrupt
from raftmem.limits import (
    EMBEDDING_FLOATS_MAX,
    GUARDS_MAX,
    JSON_DEPTH_MAX,
    JSON_INTEGER_MAX,
    MERGE_PATHS_MAX,
    METADATA_BYTES_MAX,
    NAME_BYTES_MAX,
    OPERATIONS_MAX,
    PROVENANCE_ITEMS_MAX,
    PROVENANCE_TEXT_BYTES_MAX,
    TAGS_MAX,
    TEXT_BYTES_MAX,
    TTL_MS_MAX,
    VALUE_BYTES_MAX,
)
from raftmem.storage.memory_state import MemoryStateStore
from raftmem.storage.state import LmdbStateStore

NAMES = st.sampled_from(["x" * NAME_BYTES_MAX, "é" * (NAME_BYTES_MAX // 2), "\U0001f512" * 63, "a/b\n\u2028", "~"])
IDS = st.sampled_from(["i" * 255, "i" * 254 + "~", "0"])
DEEP = st.sampled_from(
    [
        b"[" * JSON_DEPTH_MAX + b"]" * JSON_DEPTH_MAX,
        b'{"":' * (JSON_DEPTH_MAX - 1) + b"[]" + b"}" * (JSON_DEPTH_MAX - 1),
    ]
)
LONG = st.sampled_from([b'"' + b"x" * (VALUE_BYTES_MAX - 2) + b'"', b"[" + b"[]," * (VALUE_BYTES_MAX // 3 - 1) + b"1]"])
NUMBERS = st.sampled_from([JSON_INTEGER_MAX, -JSON_INTEGER_MAX, 1.7976931348623157e308, 5e-324, -0.0, True, None])
VALUES = DEEP | LONG | NUMBERS.map(msgspec.json.encode)
OBJECTS = st.sampled_from([b"{}", b'{"x":"' + b"y" * (METADATA_BYTES_MAX - 8) + b'"}', b'{"\\u0000":' + b"[[]]" + b"}"])
VECTORS = st.sampled_from([b"\0\0\x80\x3f" * EMBEDDING_FLOATS_MAX, b"\1\0\0\0"])
PROSE = "é" * (PROVENANCE_TEXT_BYTES_MAX // 2)
FIELDS = st.builds(
    Fields,
    app_id=NAMES,
    user_id=NAMES,
    agent_id=NAMES,
    run_id=NAMES,
    tags=st.sampled_from([tuple(f"{n:0255}" for n in range(TAGS_MAX)), ("x",) * TAGS_MAX, ()]),
    memory_type=st.just("procedural"),
    confidence=st.sampled_from([0.0, -0.0, 1.0, 5e-324]),
    visibility=st.just("private"),
    provenance=st.just(
        Provenance(PROSE, (PROSE[:255],) * PROVENANCE_ITEMS_MAX, (PROSE[:255],) * PROVENANCE_ITEMS_MAX, PROSE)
    ),
    valid_at=st.sampled_from([-JSON_INTEGER_MAX, JSON_INTEGER_MAX]),
    ttl_ms=st.sampled_from([0, 1, TTL_MS_MAX]),
    embedding_model=NAMES,
)
UNBOUND = FIELDS.map(
    lambda fields: msgspec.structs.replace(
        fields, **dict.fromkeys(("app_id", "user_id", "agent_id", "run_id"), msgspec.UNSET)
    )
)
CONTENT = st.builds(
    Content,
    text=st.sampled_from(["x" * TEXT_BYTES_MAX, "\U0001f512" * (TEXT_BYTES_MAX // 4), "\0", ""]),
    value=VALUES,
    metadata=OBJECTS,
    embedding=VECTORS,
)
MERGES = st.lists(
    st.builds(
        Merge,
        st.sampled_from(["value" + ".é" * 63, "value." + "x" * 249, "value", "value..", "tags"]),
        st.sampled_from(["inc", "max", "min", "append", "union", "remove", "set"]),
        VALUES,
    ),
    max_size=4,
).map(tuple)
PATCHES = st.builds(lambda content, merge: msgspec.structs.replace(content, merge=merge), CONTENT, MERGES)
STEPS = st.one_of(
    st.tuples(st.builds(Add, IDS, FIELDS, st.sampled_from(["add", "noop"])), CONTENT),
    st.tuples(st.builds(Put, IDS, UNBOUND), CONTENT),
    st.tuples(st.builds(Update, IDS, UNBOUND), PATCHES),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=4), NAMES, st.booleans())
def test_what_passes_the_limits_applies_on_both_stores(steps: list[Step], name: str, atomic: bool) -> None:
    guards = tuple(Guard(memory=str(n) * 255, exists=False) for n in range(GUARDS_MAX))
    actor = Actor("service", name, name)
    with tempfile.TemporaryDirectory() as folder:
        disk = World(LmdbStateStore(Path(folder) / "state", map_bytes=256 << 20))
        memory = World(MemoryStateStore())
        for world in (disk, memory):
            world.run(*steps, guards=guards, key=name, actor=actor, atomic=atomic)
            world.run(*steps, key=name[:-1] or "k", actor=actor, atomic=False)
        assert disk.store.head() == memory.store.head()
        disk.store.close(clean=False)


GARBAGE = st.binary(max_size=12) | st.sampled_from(
    [
        b"[" * 100_000,
        b'{"a":' * 2000,
        b'"\xff"',
        b"NaN",
        b"1e999",
        b"9" * 400,
        b"[9007199254740993,0.5]",
        b"{}",
        b"null",
    ]
)
LOOSE = st.builds(
    Content,
    text=st.text(max_size=3) | st.none(),
    value=GARBAGE,
    metadata=GARBAGE | st.none(),
    embedding=GARBAGE | st.none(),
    merge=st.lists(
        st.builds(
            Merge,
            st.text("value.tgs", max_size=9) | st.sampled_from(["value", "tags", "value.x"]),
            st.sampled_from(["inc", "max", "min", "append", "union", "remove", "set"]),
            GARBAGE,
        ),
        max_size=3,
    ).map(tuple),
)
LOOSE_FIELDS = st.builds(Fields, ttl_ms=st.sampled_from([-1, 2**63, 0, msgspec.UNSET]), tags=st.just(("", "x" * 999)))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.builds(Add, st.text(max_size=2), LOOSE_FIELDS), LOOSE | st.none()),
            st.tuples(st.builds(Put, st.text(max_size=2), LOOSE_FIELDS), LOOSE | st.none()),
            st.tuples(st.builds(Update, st.just("a"), LOOSE_FIELDS), LOOSE | st.none()),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_what_decodes_never_raises(steps: list[Step], atomic: bool) -> None:
    world = World()
    world.one(add("a", text="t", value={"x": [1]}))
    world.run(*steps, atomic=atomic)
    assert world.store.head().index == 2


@pytest.mark.parametrize(
    "content",
    [
        Content(value=b"[" * 65 + b"]" * 65),
        Content(value=b"{"),
        Content(value=b"[9007199254740993,0.5]"),
        Content(text="t", metadata=b"[]"),
        Content(text="t", metadata=b'{"a":' * 80),
        Content(text="t", metadata=b"{"),
        Content(text="t", embedding=b""),
        Content(text="t", embedding=b"\0" * 5),
        Content(text="t", embedding=b"\0" * (4 * EMBEDDING_FLOATS_MAX + 4)),
    ],
)
def test_content_that_no_proposer_should_send_is_refused(content: Content) -> None:
    assert World().one((Add("a", Fields()), content)).code == "invalid-request"


@pytest.mark.parametrize("ttl_ms", [-1, TTL_MS_MAX + 1])
def test_a_time_to_live_out_of_bounds_is_refused(ttl_ms: int) -> None:
    assert World().one(add("a", text="t", ttl_ms=ttl_ms)).code == "invalid-request"


def test_a_batch_at_its_bound_applies() -> None:
    merge = {f"value.{n}": ("inc", 1) for n in range(MERGE_PATHS_MAX)}
    steps: list[Step] = [add("i" * 255, value={})]
    steps += [(Noop(Decision("llm"), "i" * 255), None)] * (OPERATIONS_MAX - 2)
    world = World()
    outcomes = world.run(*steps, (Update("i" * 255, Fields()), _merging(merge)))
    assert all(outcome.applied for outcome in outcomes)
    assert len(outcomes) == OPERATIONS_MAX


def _merging(merge: dict[str, tuple[str, int]]) -> Content:
    return msgspec.convert(
        {"merge": [Merge(path, "inc", str(by).encode()) for path, (_, by) in merge.items()]}, Content
    )


BODY = command([add("a", text="t")], time=1, actor=ALICE)[codec.PREFIX_BYTES :]


@pytest.mark.parametrize(
    "damaged",
    [
        BODY.replace(b"alice", b"\xff\xfeice"),
        BODY.replace(b"ADD", b"XYZ"),
        BODY[:-1],
        BODY + b"\0",
        b"",
        b"\x92\xc4\x00\x90",
    ],
)
def test_a_body_that_does_not_decode_is_corrupt(damaged: bytes) -> None:
    codec.check_body(BODY)
    with pytest.raises(Corrupt):
        codec.check_body(damaged)


def test_a_body_nested_without_end_is_corrupt() -> None:
    fields = b"\x81\xa1x" + b"\x91" * 100_000 + b"\xc0"
    header = msgspec.msgpack.decode(BODY)[0]
    nested = header.replace(msgspec.msgpack.encode(Fields()), fields)
    assert nested != header
    with pytest.raises(Corrupt):
        codec.check_body(msgspec.msgpack.encode([nested, [None]]))
