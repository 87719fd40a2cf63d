"""ADD, PUT, UPDATE, DELETE, NOOP and EXPIRE, one at a time."""

import pytest
from machine_world import ALICE, BOB, World, add, delete, expire, floats, noop, put, update

from raftmem.machine import canonical_json
from raftmem.model import codec
from raftmem.model.commands import Actor, Decision, Guard, Members, Scope
from raftmem.model.records import SEQ_LAST, Position, PutRecord


# --- ADD ------------------------------------------------------------------------------------------
def test_add_of_a_new_id_is_version_1() -> None:
    world = World()
    outcome = world.one(add("a", text="t", value={"k": 1}, app_id="shop", tags=("x",), metadata={"m": 1}))
    assert (outcome.op, outcome.applied, outcome.version, outcome.scope) == ("ADD", True, 1, Scope("shop"))
    record = world.memory("a")
    assert record.created == record.updated == Position(1, 0)
    assert record.sha256 == canonical_json.content_sha256("t", b'{"k":1}')
    assert (record.text, record.value, record.metadata) == ("t", b'{"k":1}', b'{"m":1}')
    assert (record.actor, record.tags, record.visibility, record.pinned) == (ALICE, ("x",), "shared", False)
    assert record.created_ms == record.updated_ms == world.wall_ms


def test_add_of_an_active_id_already_exists() -> None:
    world = World()
    world.one(add("a", text="t"))
    outcome = world.one(add("a", text="u"))
    assert (outcome.applied, outcome.code, outcome.version) == (False, "already-exists", 1)
    assert world.changes == 0


def test_add_of_an_active_id_with_a_false_guard_already_exists() -> None:
    world = World()
    world.one(add("a", text="t"))
    outcome = world.one(add("a", text="u"), guards=(Guard(memory="a", version=9),))
    assert (outcome.code, outcome.failed) == ("already-exists", ())


def test_add_of_a_new_id_with_false_guards_names_them_all() -> None:
    world = World()
    guards = (Guard(memory="b", exists=True), Guard(memory="b", exists=False), Guard(memory="b", version=1))
    outcome = world.one(add("a", text="u"), guards=guards)
    assert (outcome.code, outcome.failed, outcome.version) == ("precondition-failed", (0, 2), None)


def test_add_of_a_deleted_id_is_a_new_row_that_counts_on() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(delete("a"))
    outcome = world.one(add("a", text="u", app_id="other"))
    assert (outcome.op, outcome.version) == ("ADD", 3)
    record = world.memory("a")
    assert (record.created, record.previous, record.scope) == (Position(3, 0), Position(1, 0), Scope("other"))
    assert world.last is not None
    change = world.last.step.changes[0]
    assert isinstance(change, PutRecord)
    assert change.old is None


@pytest.mark.parametrize("given", [{}, {"value": None}, {"text": None}, {"metadata": {"m": 1}}])
def test_add_without_text_and_value_is_refused(given: dict[str, None]) -> None:
    assert World().one(add("a", **given)).code == "invalid-request"


def test_a_time_to_live_counts_log_time() -> None:
    world = World()
    world.one(add("a", text="t", ttl_ms=5000))
    record = world.memory("a")
    assert record.expires == world.time + 5_000_000
    assert record.expires_ms == world.wall_ms + 5000


def test_an_embedding_is_kept_where_it_was_set() -> None:
    world = World()
    world.one(add("a", text="t", embedding=[1.0, 2.0, 3.0], embedding_model="toy"))
    record = world.memory("a")
    assert (record.embedding_model, record.dimension, record.vector_at) == ("toy", 3, Position(1, 0))
    assert world.store.read().vector(record) == floats(1, 2, 3)


# --- duplicates -----------------------------------------------------------------------------------
def test_duplicate_with_noop_matches_the_oldest() -> None:
    world = World()
    world.one(add("a", text="t", value={"x": 1, "y": 2}, app_id="shop"))
    world.one(add("b", text="t", value={"x": 1, "y": 2}, app_id="shop"))
    outcome = world.one(add("c", text="t", value={"y": 2.0, "x": 1}, app_id="shop", on_duplicate="noop"))
    assert (outcome.op, outcome.requested_op, outcome.applied) == ("NOOP", "ADD", True)
    assert (outcome.memory_id, outcome.version, outcome.scope) == ("a", 1, Scope("shop"))
    assert outcome.decision == Decision("duplicate", "a", None, "equal sha256")
    assert world.changes == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"text": "t"}, {"text": "u"}),
        ({"text": "t", "app_id": "x"}, {"text": "t"}),
        ({"text": "t", "app_id": "x"}, {"text": "t", "user_id": "x"}),
        ({"text": "t", "value": True}, {"text": "t", "value": 1}),
    ],
)
def test_other_content_or_scope_is_no_duplicate(first: dict[str, str], second: dict[str, str]) -> None:
    world = World()
    world.one(add("a", **first))
    assert world.one(add("b", on_duplicate="noop", **second)).op == "ADD"


def test_a_deleted_memory_has_no_duplicates() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(delete("a"))
    assert world.one(add("b", text="t", on_duplicate="noop")).op == "ADD"


def test_on_duplicate_add_makes_a_second_one() -> None:
    world = World()
    world.one(add("a", text="t"))
    assert world.one(add("b", text="t", on_duplicate="add")).op == "ADD"


# --- PUT ------------------------------------------------------------------------------------------
def test_put_of_a_new_id_is_an_add() -> None:
    outcome = World().one(put("a", text="t", app_id="shop"))
    assert (outcome.op, outcome.requested_op, outcome.version) == ("ADD", None, 1)


def test_put_of_an_active_id_replaces_everything_but_identity() -> None:
    world = World()
    world.one(
        add(
            "a",
            text="t",
            tags=("x",),
            metadata={"m": 1},
            app_id="shop",
            pinned=True,
            visibility="private",
            embedding=[1.0],
            ttl_ms=500,
        )
    )
    world.later(ms=50)
    outcome = world.one(put("a", value=[1]), actor=BOB)
    assert (outcome.op, outcome.version) == ("UPDATE", 2)
    record = world.memory("a")
    assert (record.created, record.updated) == (Position(1, 0), Position(2, 0))
    assert (record.scope, record.actor) == (Scope("shop"), ALICE)
    assert (record.text, record.value, record.tags, record.metadata) == (None, b"[1]", (), b"{}")
    assert (record.pinned, record.expires, record.vector_at, record.dimension) == (False, None, None, None)
    assert record.visibility == "shared"
    assert record.created_ms == world.wall_ms - 50


@pytest.mark.parametrize("scope", [{"app_id": "other"}, {"app_id": None}, {"user_id": "u"}])
def test_put_with_another_scope_is_wrong_state(scope: dict[str, object]) -> None:
    world = World()
    world.one(add("a", text="t", app_id="shop"))
    outcome = world.one(put("a", text="u", **scope))
    assert (outcome.op, outcome.code, outcome.version) == ("UPDATE", "wrong-state", 1)


def test_put_with_the_same_scope_is_done() -> None:
    world = World()
    world.one(add("a", text="t", app_id="shop"))
    assert world.one(put("a", text="u", app_id="shop", user_id=None)).applied


def test_put_of_a_deleted_id_is_an_add_that_counts_on() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(delete("a"))
    assert (world.one(put("a", text="u")).op, world.memory("a").version) == ("ADD", 3)


def test_put_that_must_create_finds_one() -> None:
    world = World()
    world.one(add("a", text="t"))
    outcome = world.one(put("a", text="u"), guards=(Guard(memory="a", exists=False),))
    assert (outcome.op, outcome.code, outcome.failed) == ("UPDATE", "precondition-failed", (0,))


# --- UPDATE ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("gone", [False, True])
def test_update_of_what_is_not_there_is_not_found(gone: bool) -> None:
    world = World()
    if gone:
        world.one(add("a", text="t"))
        world.one(delete("a"))
    outcome = world.one(update("a", text="u"))
    assert (outcome.code, outcome.version) == ("not-found", 2 if gone else None)


def test_update_of_an_absent_id_with_a_version_guard_is_precondition_failed() -> None:
    outcome = World().one(update("a", text="u"), guards=(Guard(memory="a", version=1),))
    assert (outcome.code, outcome.failed) == ("precondition-failed", (0,))


def test_update_replaces_what_is_given_and_keeps_the_rest() -> None:
    world = World()
    world.one(add("a", text="t", tags=("x",), confidence=0.5, memory_type="fact", ttl_ms=500, metadata={"m": 1}))
    before = world.memory("a")
    world.later(ms=10)
    world.one(update("a", confidence=0.9), actor=BOB)
    after = world.memory("a")
    assert (after.version, after.confidence, after.updated, after.updated_ms) == (
        2,
        0.9,
        Position(2, 0),
        world.wall_ms,
    )
    assert (after.text, after.tags, after.memory_type, after.metadata) == ("t", ("x",), "fact", b'{"m":1}')
    assert (after.expires, after.sha256, after.actor) == (before.expires, before.sha256, ALICE)


def test_update_with_null_clears() -> None:
    world = World()
    world.one(
        add("a", text="t", value=1, tags=("x",), metadata={"m": 1}, visibility="private", pinned=True, ttl_ms=500)
    )
    world.one(update("a", value=None, tags=None, metadata=None, visibility=None, pinned=None, ttl_ms=None))
    record = world.memory("a")
    assert (record.value, record.tags, record.metadata, record.visibility) == (None, (), b"{}", "shared")
    assert (record.pinned, record.expires, record.expires_ms) == (False, None, None)
    assert record.sha256 == canonical_json.content_sha256("t", None)


def test_update_that_leaves_neither_text_nor_value_is_refused() -> None:
    world = World()
    world.one(add("a", text="t"))
    outcome = world.one(update("a", text=None))
    assert (outcome.code, outcome.version, world.changes) == ("invalid-request", 1, 0)


def test_update_that_changes_nothing_is_a_version() -> None:
    world = World()
    world.one(add("a", text="t"))
    assert world.one(update("a", text="t")).version == 2


@pytest.mark.parametrize(
    ("given", "dimension", "model"),
    [
        ({"confidence": 0.5}, 2, "toy"),
        ({"value": 1}, 2, "toy"),
        ({"text": "u"}, None, None),
        ({"text": "u", "embedding": [1.0]}, 1, None),
        ({"text": "u", "embedding": [1.0], "embedding_model": "new"}, 1, "new"),
        ({"embedding": None}, None, None),
        ({"embedding_model": "renamed"}, 2, "renamed"),
    ],
)
def test_vector_after_an_update(given: dict[str, object], dimension: int | None, model: str | None) -> None:
    world = World()
    world.one(add("a", text="t", embedding=[1.0, 2.0], embedding_model="toy"))
    world.one(update("a", **given))
    record = world.memory("a")
    assert (record.dimension, record.embedding_model) == (dimension, model)
    assert (record.vector_at is None) == (dimension is None)
    vector = world.store.read().vector(record)
    assert vector == {None: None, 1: floats(1), 2: floats(1, 2)}[dimension]


def test_updates_within_one_entry_follow_each_other() -> None:
    world = World()
    world.one(add("a", text="t", value={"n": 0}))
    world.run(*[update("a", merge={"value.n": ("inc", 1)})] * 3)
    assert world.last is not None
    changes = [change for change in world.last.step.changes if isinstance(change, PutRecord)]
    assert [change.record.version for change in changes] == [2, 3, 4]
    assert [change.old.version for change in changes if change.old] == [1, 2, 3]
    assert [change.record.updated for change in changes] == [Position(2, 0), Position(2, 1), Position(2, 2)]
    assert world.value("a") == {"n": 3}
    middle = world.store.read().memory("a", Position(2, 1))
    assert middle is not None
    assert middle.version == 3


# --- DELETE, NOOP, EXPIRE -------------------------------------------------------------------------
def test_delete_leaves_a_tombstone() -> None:
    world = World()
    world.one(add("a", text="t", value=1, app_id="shop", tags=("x",), metadata={"m": 1}, embedding=[1.0], ttl_ms=9))
    world.later(ms=5)
    outcome = world.one(delete("a"), actor=BOB)
    assert (outcome.op, outcome.version, outcome.scope) == ("DELETE", 2, Scope("shop"))
    record = world.memory("a")
    assert (record.status, record.scope, record.created, record.actor) == (
        "deleted",
        Scope("shop"),
        Position(1, 0),
        ALICE,
    )
    assert (record.text, record.value, record.metadata, record.tags, record.sha256) == (None, None, b"{}", (), b"")
    assert (record.vector_at, record.dimension, record.expires) == (None, None, None)
    assert world.store.head().memories == 0
    old = world.store.read().memory("a", Position(1, SEQ_LAST))
    assert old is not None
    assert old.text == "t"


def test_delete_again_is_a_noop() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(delete("a"))
    outcome = world.one(delete("a"))
    assert (outcome.op, outcome.requested_op, outcome.applied, outcome.version) == ("NOOP", "DELETE", True, 2)
    assert world.changes == 0


def test_delete_of_what_never_was_is_not_found() -> None:
    assert World().one(delete("a")).code == "not-found"


def test_a_tombstone_stays_as_visible_as_the_memory_was() -> None:
    world = World()
    world.one(add("a", text="t", visibility="private"))
    world.one(delete("a"))
    assert world.memory("a").visibility == "private"
    world.one(add("a", text="t"))
    assert world.memory("a").visibility == "shared"


def test_noop_keeps_its_decision() -> None:
    world = World()
    world.one(add("a", text="t"))
    outcome = world.one(noop("a"))
    assert (outcome.op, outcome.memory_id, outcome.version) == ("NOOP", "a", 1)
    assert outcome.decision == Decision("llm", reason="same fact")
    assert world.one(noop()).applied
    assert world.one(noop("b")).code == "not-found"
    world.one(delete("a"))
    assert world.one(noop("a")).version == 2


def test_expire_ends_a_memory_whose_time_has_run_out() -> None:
    world = World()
    world.one(add("a", text="t", ttl_ms=500))
    world.later(ms=500)
    outcome = world.one(expire("a", 1), actor=Actor("system", "raftmem"))
    assert (outcome.op, outcome.applied, outcome.version) == ("EXPIRE", True, 2)
    assert (world.memory("a").status, world.memory("a").actor) == ("expired", ALICE)
    assert world.one(update("a", text="u")).code == "not-found"
    assert world.one(delete("a")).requested_op == "DELETE"


@pytest.mark.parametrize("case", ["too early", "updated", "deleted", "never", "no ttl"])
def test_expire_of_a_memory_that_moved_on_is_refused(case: str) -> None:
    world = World()
    if case != "never":
        world.one(add("a", text="t", ttl_ms=None if case == "no ttl" else 500))
    if case == "updated":
        world.one(update("a", ttl_ms=500))
    if case == "deleted":
        world.one(delete("a"))
    world.later(ms=499 if case == "too early" else 500)
    outcome = world.one(expire("a", 1))
    assert (outcome.applied, outcome.code, world.changes) == (False, "moved", 0)


def test_expiring_several_is_refused_one_by_one() -> None:
    world = World()
    world.run(add("a", text="t", ttl_ms=500), add("b", text="t"))
    world.later(ms=500)
    outcomes = world.run(expire("b", 1), expire("a", 1), atomic=False)
    assert [outcome.code for outcome in outcomes] == ["moved", None]


# --- entries of Raft, and the clock ----------------------------------------------------------------
def test_entries_of_raft_change_nothing() -> None:
    world = World()
    members = Members("c", 1, (), 1000, 200)
    for data in (codec.membership(members, time=1, wall_ms=1), codec.no_op(time=2, wall_ms=1)):
        applied = world.feed(data)
        assert applied.row.result.outcomes == ()
        assert applied.step.changes == ()
    assert world.store.head().index == 2


def test_log_time_never_runs_back() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.time -= 1000
    world.one(add("b", text="t", ttl_ms=1))
    assert world.store.head().time == world.time + 1000
    assert world.memory("b").expires == world.time + 2000
