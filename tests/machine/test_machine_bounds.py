"""Apply is total: everything at its bounds at once applies, and nothing that decodes raises."""

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_world import ALICE, Step, World, add, command

from raftmem.errors import Corrupt
from raftmem.limits import (
    APPROVERS_MAX,
    EMBEDDING_FLOATS_MAX,
    GATE_COMMENT_BYTES_MAX,
    GUARDS_MAX,
    JSON_DEPTH_MAX,
    JSON_INTEGER_MAX,
    LOCK_METADATA_BYTES_MAX,
    LOCK_TTL_MS_MAX,
    LOCK_TTL_MS_MIN,
    MERGE_PATHS_MAX,
    METADATA_BYTES_MAX,
    NAME_BYTES_MAX,
    OPERATIONS_MAX,
    PERMITS_MAX,
    PINS_MAX,
    PROVENANCE_ITEMS_MAX,
    PROVENANCE_TEXT_BYTES_MAX,
    TAGS_MAX,
    TASK_ATTEMPTS_MAX,
    TASK_BACKOFF_FACTOR_MILLI_MAX,
    TASK_CLAIM_MAX,
    TASK_DELAY_MS_MAX,
    TASK_DEPENDS_MAX,
    TASK_ERROR_BYTES_MAX,
    TASK_PRIORITY_MAX,
    TASK_QUEUES_MAX,
    TEXT_BYTES_MAX,
    TTL_MS_MAX,
    TXN_OPERATIONS_MAX,
    VALUE_BYTES_MAX,
    WAIT_MS_MAX,
)
from raftmem.model import codec
from raftmem.model.commands import (
    Actor,
    Add,
    Backoff,
    Content,
    Decision,
    Fields,
    GateApprove,
    GateConsume,
    GatePut,
    GateRevoke,
    Guard,
    LockAcquire,
    LockExpire,
    LockForceRelease,
    LockLeave,
    LockRelease,
    LockRenew,
    Merge,
    Noop,
    OwnerRelease,
    Pin,
    Provenance,
    Put,
    TaskAdd,
    TaskCancel,
    TaskClaim,
    TaskComplete,
    TaskExpire,
    TaskFail,
    TaskHeartbeat,
    TaskRelease,
    TaskRetry,
    Txn,
    Update,
)
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore

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
TTLS = st.sampled_from([LOCK_TTL_MS_MIN, LOCK_TTL_MS_MAX])
TOKENS = st.sampled_from([0, 1, 2, 3, JSON_INTEGER_MAX])
DELAYS = st.sampled_from([0, 1, TASK_DELAY_MS_MAX])
SOME_NAMES = st.sampled_from(["n" * NAME_BYTES_MAX, "é/\n"])  # few, so that they meet
METADATA = st.sampled_from(
    [None, Content(payload=b"{}"), Content(payload=b'{"x":"' + b"y" * (LOCK_METADATA_BYTES_MAX - 8) + b'"}')]
)


def long_said(bytes_max: int) -> st.SearchStrategy[Content | None]:
    return st.sampled_from([None, Content(payload=b'"' + b"x" * (bytes_max - 2) + b'"')]) | DEEP.map(
        lambda payload: Content(payload=payload)
    )


BARE = st.none()
LOCKS = st.one_of(
    st.tuples(
        st.builds(
            LockAcquire,
            SOME_NAMES,
            SOME_NAMES,
            TTLS,
            st.sampled_from([1, PERMITS_MAX]),
            st.sampled_from([0, WAIT_MS_MAX]),
        ),
        METADATA,
    ),
    st.tuples(st.builds(LockRenew, SOME_NAMES, SOME_NAMES, TOKENS, TTLS | st.none()), BARE),
    st.tuples(st.builds(LockRelease, SOME_NAMES, SOME_NAMES, TOKENS), BARE),
    st.tuples(st.builds(LockForceRelease, SOME_NAMES), BARE),
    st.tuples(st.builds(LockLeave, SOME_NAMES, SOME_NAMES, TOKENS, st.booleans()), BARE),
    st.tuples(st.builds(OwnerRelease, SOME_NAMES), BARE),
)
TASK_IDS = st.sampled_from(["t" * 255, "0"])
TASKS = st.one_of(
    st.tuples(
        st.builds(
            TaskAdd,
            TASK_IDS,
            SOME_NAMES,
            st.sampled_from([-TASK_PRIORITY_MAX, TASK_PRIORITY_MAX]),
            DELAYS,
            st.sampled_from([1, TASK_ATTEMPTS_MAX]),
            st.builds(Backoff, DELAYS, st.sampled_from([1, 1000, TASK_BACKOFF_FACTOR_MILLI_MAX]), DELAYS),
            st.sampled_from([(), ("0",), tuple(f"{n:0255}" for n in range(TASK_DEPENDS_MAX))]),
            SOME_NAMES | st.none(),
        ),
        long_said(VALUE_BYTES_MAX),
    ),
    st.tuples(
        st.builds(
            TaskClaim,
            st.sampled_from([("n" * NAME_BYTES_MAX, "é/\n"), tuple(f"{n:0255}" for n in range(TASK_QUEUES_MAX))]),
            SOME_NAMES,
            TTLS,
            st.sampled_from([1, TASK_CLAIM_MAX]),
        ),
        BARE,
    ),
    st.tuples(st.builds(TaskHeartbeat, TASK_IDS, TOKENS, TTLS | st.none()), BARE),
    st.tuples(st.builds(TaskComplete, TASK_IDS, TOKENS), long_said(VALUE_BYTES_MAX)),
    st.tuples(
        st.builds(TaskFail, TASK_IDS, TOKENS, st.booleans(), DELAYS | st.none()), long_said(TASK_ERROR_BYTES_MAX)
    ),
    st.tuples(st.builds(TaskRelease, TASK_IDS, TOKENS), BARE),
    st.tuples(st.builds(TaskCancel, TASK_IDS), BARE),
    st.tuples(st.builds(TaskRetry, TASK_IDS), BARE),
)
GATES = st.one_of(
    st.tuples(
        st.builds(
            GatePut,
            SOME_NAMES,
            st.sampled_from([0, APPROVERS_MAX]),
            st.sampled_from([(), ("x" * NAME_BYTES_MAX,) * APPROVERS_MAX]),
            st.sampled_from(
                [
                    (Pin("i" * 255, 1), Pin("0", 2)),
                    tuple(Pin(f"{n:0255}", JSON_INTEGER_MAX) for n in range(PINS_MAX)),
                ]
            ),
        ),
        BARE,
    ),
    st.tuples(st.builds(GateApprove, SOME_NAMES), long_said(GATE_COMMENT_BYTES_MAX)),
    st.tuples(st.builds(GateRevoke, SOME_NAMES), BARE),
    st.tuples(st.builds(GateConsume, SOME_NAMES), BARE),
)
MEMORIES = st.one_of(
    st.tuples(st.builds(Add, IDS, FIELDS, st.sampled_from(["add", "noop"])), CONTENT),
    st.tuples(st.builds(Put, IDS, UNBOUND), CONTENT),
    st.tuples(st.builds(Update, IDS, UNBOUND), PATCHES),
)
STEPS = st.one_of(MEMORIES, LOCKS, TASKS, GATES)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=6), NAMES, st.booleans())
def test_what_passes_the_limits_applies_on_both_stores(steps: list[Step], name: str, atomic: bool) -> None:
    guards = (
        *(Guard(memory=str(n) * 255, exists=False) for n in range(GUARDS_MAX - 2)),
        Guard(gate=name, open=False),
        Guard(lock=name, token=JSON_INTEGER_MAX, owner=name),
    )
    actor = Actor("service", name, name)
    with tempfile.TemporaryDirectory() as folder:
        disk = World(LmdbStateStore(Path(folder) / "state", map_bytes=256 << 20))
        memory = World(InMemoryStateStore())
        for world in (disk, memory):
            world.run(*steps, guards=guards[:-1], key=name, actor=actor, atomic=atomic)
            world.run(*steps, key=name[:-1] or "k", actor=actor, atomic=False)
            world.run((Txn(1), None), steps[0], *steps, guards=guards, actor=actor)
            world.later(ms=TASK_DELAY_MS_MAX)
            world.run(*steps, guards=guards, actor=actor, atomic=False)
            world.run(*reversed(steps), actor=actor, atomic=False)
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


ANY_INT = st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 100, 1000, 2**31, 2**53, 2**63 - 1, 2**64 - 1])
ANY_NAME = st.sampled_from(["a", "b", "", "x" * 999, "\0"])
ANY_NAMES = st.lists(ANY_NAME, max_size=3).map(tuple)
SAID = st.builds(Content, payload=GARBAGE | st.just(msgspec.UNSET)) | st.none()
LOOSE_COORDINATION = st.one_of(
    st.builds(LockAcquire, ANY_NAME, ANY_NAME, ANY_INT, ANY_INT, ANY_INT),
    st.builds(LockRenew, ANY_NAME, ANY_NAME, ANY_INT, ANY_INT | st.none()),
    st.builds(LockRelease, ANY_NAME, ANY_NAME, ANY_INT),
    st.builds(LockForceRelease, ANY_NAME),
    st.builds(LockLeave, ANY_NAME, ANY_NAME, ANY_INT, st.booleans()),
    st.builds(LockExpire, ANY_NAME, ANY_NAME, ANY_INT | st.none(), ANY_INT, ANY_INT),
    st.builds(OwnerRelease, ANY_NAME),
    st.builds(
        TaskAdd,
        ANY_NAME,
        ANY_NAME,
        ANY_INT,
        ANY_INT,
        ANY_INT,
        st.builds(Backoff, ANY_INT, ANY_INT, ANY_INT),
        ANY_NAMES,
        ANY_NAME | st.none(),
    ),
    st.builds(TaskAdd, ANY_NAME, ANY_NAME, depends_on=ANY_NAMES, unique_key=ANY_NAME | st.none()),
    st.builds(TaskClaim, ANY_NAMES, ANY_NAME, ANY_INT, ANY_INT),
    st.builds(TaskHeartbeat, ANY_NAME, ANY_INT, ANY_INT | st.none()),
    st.builds(TaskComplete, ANY_NAME, ANY_INT),
    st.builds(TaskFail, ANY_NAME, ANY_INT, st.booleans(), ANY_INT | st.none()),
    st.builds(TaskRelease, ANY_NAME, ANY_INT),
    st.builds(TaskCancel, ANY_NAME),
    st.builds(TaskRetry, ANY_NAME),
    st.builds(TaskExpire, ANY_NAME, ANY_INT, ANY_INT, ANY_INT),
    st.builds(
        GatePut, ANY_NAME, ANY_INT, ANY_NAMES, st.lists(st.builds(Pin, ANY_NAME, ANY_INT), max_size=2).map(tuple)
    ),
    st.builds(GateApprove, ANY_NAME),
    st.builds(GateRevoke, ANY_NAME),
    st.builds(GateConsume, ANY_NAME),
    st.builds(Txn, ANY_INT),
)
ANY_GUARD = st.builds(
    Guard,
    memory=ANY_NAME | st.none(),
    version=ANY_INT | st.none(),
    lock=ANY_NAME | st.none(),
    token=ANY_INT | st.none(),
    owner=ANY_NAME | st.none(),
    gate=ANY_NAME | st.none(),
    open=st.booleans() | st.none(),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(LOOSE_COORDINATION, SAID), max_size=8),
    st.lists(ANY_GUARD, max_size=2).map(tuple),
    st.booleans(),
)
def test_coordination_that_decodes_never_raises(steps: list[Step], guards: tuple[Guard, ...], atomic: bool) -> None:
    world = World()
    world.run(*steps, atomic=atomic, guards=guards)
    world.run((Txn(len(steps) // 2), None), *steps, guards=guards)
    for step in steps:
        outcomes = world.run(step)
        assert world.changes == 0 or outcomes[0].applied
    assert world.store.head().index == 2 + len(steps)


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


def test_a_transaction_at_its_bound_applies() -> None:
    world = World()
    locks: list[Step] = [
        (LockAcquire(f"{n:0255}", "o" * 255, LOCK_TTL_MS_MAX), None) for n in range(TXN_OPERATIONS_MAX)
    ]
    tasks: list[Step] = [(TaskAdd(f"{n:0255}", "q" * 255), None) for n in range(TXN_OPERATIONS_MAX)]
    for guards, op in (((), "LOCK_ACQUIRE"), ((Guard(gate="g", open=True),), "TASK_ADD")):
        outcomes = world.run((Txn(len(locks)), None), *locks, *tasks, guards=guards)
        assert [outcome.op for outcome in outcomes] == ["TXN", *[op] * TXN_OPERATIONS_MAX]
        assert all(outcome.applied for outcome in outcomes)


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
