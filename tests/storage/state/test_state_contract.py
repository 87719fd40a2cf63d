"""What every state store promises: one suite, run over the store on disk and its twin in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_world import ACTOR, World, drop_oldest_key, end, ids, noop, put, store, use_key

from raftmem.errors import Stop
from raftmem.limits import NAME_BYTES_MAX, OPERATIONS_MAX, TAGS_MAX
from raftmem.model.commands import Actor, Scope
from raftmem.model.digest import GENESIS_HEAD
from raftmem.model.records import SEQ_LAST, Position, Record
from raftmem.storage.state.contract import Query, StateStore
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore

ROWS_MAX = 40  # small, so that tests reach it


def reopened(state: StateStore) -> StateStore:
    """As the next process finds it."""
    return LmdbStateStore(Path(state.path).parent) if isinstance(state, LmdbStateStore) else state


@pytest.fixture(params=["memory", "lmdb"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    made: StateStore = InMemoryStateStore(rows_max=ROWS_MAX)
    if request.param != "memory":
        made = LmdbStateStore(tmp_path / "state", rows_max=ROWS_MAX)
    yield made
    made.close(clean=False)


class TestStateContract:
    def test_a_new_state_is_empty(self, state: StateStore) -> None:
        reader = state.read()
        assert state.head() == reader.head == GENESIS_HEAD
        assert reader.memory("m") is None
        assert reader.event(1) is None
        assert list(reader.events(1, 99)) == []
        assert reader.oldest_keys(9) == ()
        assert ids(reader, Query()) == []
        assert list(reader.vectors()) == []

    def test_a_memory_is_read_at_every_moment_of_its_lives(self, state: StateStore) -> None:
        world = World()
        first = world.entry(put("m", text="one"), put("m", text="two"))
        store(state, first, world.entry(noop()), world.entry(put("m", text="three")))
        store(state, world.entry(end("m")), world.entry(put("m", text="again")), world.entry(put("m", text="more")))
        reader = state.read()
        moments = [(0, 9), (1, 0), (1, 1), (1, SEQ_LAST), (2, SEQ_LAST), (3, 0), (4, 0), (5, 0), (6, 0), (99, 0)]
        found = [reader.memory("m", Position(*moment)) for moment in moments]
        assert [record and record.text for record in found] == [
            None, "one", "two", "two", "two", "three", None, "again", "more", "more",
        ]  # fmt: skip
        assert [record and record.version for record in found] == [None, 1, 2, 2, 2, 3, 4, 5, 6, 6]
        newest = reader.memory("m")
        assert newest is not None
        assert newest.text == "more"

    def test_a_writer_sees_what_it_put(self, state: StateStore) -> None:
        world = World()
        with state.write() as writer:
            writer.put(*world.entry(put("m", text="one", vector=b"\0\0\x80?"), use_key("k")))
            seen = writer.memory("m")
            assert seen is not None
            assert writer.vector(seen) == b"\0\0\x80?"
            assert writer.duplicate(seen.sha256, Scope()) == seen
            assert writer.idempotency(ACTOR, "k") == writer.oldest_keys(9)[0]
            assert writer.head.index == 1
            writer.put(*world.entry(put("m", text="two")))
            assert writer.duplicate(seen.sha256, Scope()) is None
            assert writer.head.index == 2
        assert state.head().index == 2

    def test_what_is_not_settled_is_read_and_a_kill_takes_it_back(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put("m", text="one", tags=("t",)), use_key("k")))
        settled = state.head()
        for text in ("two", "three"):
            with state.write() as writer:
                writer.put(*world.entry(put("m", text=text), put(text, tags=("t",))))
        reader = state.read()
        assert (state.head().index, reader.head.index) == (3, 3)
        assert ids(reader, Query()) == ["m", "two", "three"]
        assert [row.index for row in reader.events(1, 9)] == [1, 2, 3]
        before = reader.memory("m", Position(2, SEQ_LAST))
        assert before is not None
        assert before.text == "two"
        state.close(clean=False)
        again = reopened(state)
        assert again.head() == settled
        assert ids(again.read(), Query()) == ["m"]
        again.close(clean=False)

    def test_what_is_settled_outlives_a_kill(self, state: StateStore) -> None:
        world = World()
        for name in ("m", "n"):
            with state.write() as writer:
                writer.put(*world.entry(put(name)))
        state.settle()
        state.settle()
        settled = state.head()
        private = state.read_private()
        with state.write() as writer:
            writer.put(*world.entry(put("o")))
        assert (ids(private, Query()), ids(state.read(), Query())) == (["m", "n"], ["m", "n", "o"])
        private.release()
        state.close(clean=False)
        again = reopened(state)
        assert (again.head(), ids(again.read(), Query())) == (settled, ["m", "n"])
        again.close(clean=False)

    def test_a_block_that_raises_takes_back_what_was_not_settled(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put("m")))
        settled = state.head()
        with state.write() as writer:
            writer.put(*world.entry(put("n")))
        twice = world.entry(put("o"))
        with pytest.raises(Stop):
            store(state, twice, twice)
        assert (state.head(), ids(state.read(), Query())) == (settled, ["m"])
        fresh = World()
        fresh.entry(put("m"))
        store(state, fresh.entry(put("p")))
        assert ids(state.read(), Query()) == ["m", "p"]

    def test_a_block_that_raises_leaves_nothing(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put("kept", tags=("t",), expires=5), use_key("k1")))
        aside = World()
        aside.index = 1
        lost = aside.entry(put("lost", tags=("t",), expires=6, vector=b"1234"), use_key("k2"))
        with pytest.raises(Stop):
            store(state, lost, lost)
        reader = state.read()
        assert state.head().index == reader.head.index == 1
        assert reader.memory("lost") is None
        assert ids(reader, Query(tags=("t",))) == ["kept"]
        assert reader.expiring(99, 9) == [("kept", 1)]
        assert [row.key for row in reader.oldest_keys(9)] == ["k1"]
        assert reader.history("lost", after=None, limit=9) == []
        assert list(reader.vectors()) == []
        store(state, world.entry(put("next")))
        assert ids(state.read(), Query()) == ["kept", "next"]

    @pytest.mark.parametrize("skipped", [0, 2])
    def test_an_entry_that_is_not_the_next_is_a_stop(self, state: StateStore, skipped: int) -> None:
        world = World()
        store(state, world.entry(noop()))
        world.index = skipped
        with pytest.raises(Stop):
            store(state, world.entry(noop()))
        assert state.head().index == 1

    def test_a_private_reader_stays_and_the_shared_one_moves_on(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put("a", text="old"), put("b"), use_key("k1")))
        private, shared = state.read_private(), state.read()
        store(state, world.entry(put("a", text="new"), end("b"), put("c"), use_key("k2"), drop_oldest_key))
        record = private.memory("a")
        assert record is not None
        assert (record.text, private.head.index) == ("old", 1)
        assert ids(private, Query()) == ["a", "b"]
        assert [row.key for row in private.oldest_keys(9)] == ["k1"]
        assert private.idempotency(ACTOR, "k2") is None
        assert private.event(2) is None
        private.release()
        assert shared.head.index == 2
        shared.release()
        assert ids(state.read(), Query()) == ["a", "c"]
        assert [row.key for row in state.read().oldest_keys(9)] == ["k2"]

    def test_duplicates_are_active_oldest_first_and_of_the_very_scope(self, state: StateStore) -> None:
        world, scope, other = World(), Scope(app_id="a", user_id="b"), Scope(app_id="ab")
        store(state, world.entry(put("x", scope=scope), put("y", scope=other), put("z", scope=scope)))
        record = state.read().memory("x")
        assert record is not None

        def twin(wanted: Scope, without: frozenset[str] = frozenset()) -> str | None:
            found = state.read().duplicate(record.sha256, wanted, without)
            return None if found is None else found.id

        assert (twin(scope), twin(other), twin(Scope())) == ("x", "y", None)
        assert twin(scope, frozenset({"x"})) == "z"
        assert twin(scope, frozenset({"x", "z"})) is None
        store(state, world.entry(put("x", text="changed"), end("y", "expired")))
        assert (twin(scope), twin(other)) == ("z", None)
        store(state, world.entry(put("x", text="text"), end("z")))
        assert twin(scope) == "x"

    def test_idempotency_keys_belong_to_their_actor(self, state: StateStore) -> None:
        world, other = World(), Actor("user", "a1")
        store(state, world.entry(use_key("k")), world.entry(use_key("k", other)), world.entry(use_key("l")))
        reader = state.read()
        assert [row.index for row in reader.oldest_keys(2)] == [1, 2]
        found = [reader.idempotency(*name) for name in ((ACTOR, "k"), (other, "k"), (other, "l"), (ACTOR, "l"))]
        assert [row and row.index for row in found] == [1, 2, None, 3]
        store(state, world.entry(drop_oldest_key, drop_oldest_key))
        assert state.read().idempotency(ACTOR, "k") is None
        assert [row.index for row in state.read().oldest_keys(9)] == [3]

    def test_a_vector_is_kept_for_every_version_that_had_one(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put("m", vector=b"1111")), world.entry(put("m", confidence=0.5)))
        store(
            state, world.entry(put("m", vector=b"22223333")), world.entry(put("n")), world.entry(put("o", vector=b"4"))
        )
        reader = state.read()
        versions = [reader.memory("m", Position(index, SEQ_LAST)) for index in (1, 2, 3)]
        assert [record and reader.vector(record) for record in versions] == [b"1111", b"1111", b"22223333"]
        assert [record.id for record in reader.vectors()] == ["m", "o"]
        store(state, world.entry(end("m")))
        assert [record.id for record in state.read().vectors()] == ["o"]
        assert versions[0] is not None
        assert state.read().vector(versions[0]) == b"1111"
        plain = state.read().memory("n")
        assert plain is not None
        assert state.read().vector(plain) is None

    def test_expiring_lists_active_ones_by_time(self, state: StateStore) -> None:
        world = World()
        store(
            state, world.entry(put("late", expires=30), put("soon", expires=10), put("never"), put("gone", expires=1))
        )
        store(state, world.entry(put("late", expires=20), end("gone")))
        reader = state.read()
        assert reader.expiring(9, 9) == []
        assert reader.expiring(10, 9) == [("soon", 1)]
        assert reader.expiring(2**63 - 1, 9) == [("soon", 1), ("late", 2)]
        assert reader.expiring(99, 1) == [("soon", 1)]
        store(state, world.entry(put("soon", expires=None)))
        assert state.read().expiring(99, 9) == [("late", 2)]

    def test_history_names_every_outcome_that_concerns_an_id(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put("m"), put("n")), world.entry(noop(), noop("m")), world.entry(end("x"), end("m")))
        reader = state.read()
        places = [Position(1, 0), Position(2, 1), Position(3, 1)]
        assert reader.history("m", after=None, limit=9) == places
        assert reader.history("m", after=None, limit=2) == places[:2]
        assert reader.history("m", after=places[0], limit=9) == places[1:]
        assert reader.history("m", after=Position(2, SEQ_LAST), limit=9) == places[2:]
        assert reader.history("x", after=None, limit=9) == [Position(3, 0)]
        assert reader.history("none", after=None, limit=9) == []

    def test_events_come_back_whole_in_either_order(self, state: StateStore) -> None:
        world = World()
        entries = [world.entry(put(f"m{number}")) for number in range(6)]
        store(state, *entries)
        reader, rows = state.read(), [row for row, _, _ in entries]
        assert [reader.event(index) for index in range(8)] == [None, *rows, None]
        assert list(reader.events(1, 7)) == rows
        assert list(reader.events(0, 99)) == rows
        assert list(reader.events(3, 5)) == rows[2:4]
        assert list(reader.events(3, 99, descending=True)) == rows[:1:-1]
        assert list(reader.events(5, 5)) == list(reader.events(9, 3)) == []
        assert reader.oldest_index() == 1

    def test_a_list_is_ordered_by_entry_then_id(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put("c"), put("a")), world.entry(put("b")), world.entry(put("0"), put("z"), put("y")))
        ordered = ["a", "c", "b", "0", "y", "z"]
        for limit in (1, 2, 3, 6, 7):
            assert ids(state.read(), Query(), limit=limit) == ordered
            assert ids(state.read(), Query(), limit=limit, descending=True) == ordered[::-1]

    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    def test_the_last_page_says_so(self, state: StateStore, limit: int) -> None:
        world = World()
        store(
            state, world.entry(put("a"), put("b")), world.entry(put("c")), world.entry(put("other", memory_type="fact"))
        )
        page = state.read().memories(
            Query(memory_type=None, accept=lambda r: r.id != "other"), at=None, after=None, limit=limit
        )
        assert (page.after is None) == (limit >= 3)
        if page.after is not None:
            assert page.after == (page.records[-1].created.index, page.records[-1].id)

    def test_scope_and_tags_must_all_be_there(self, state: StateStore) -> None:
        world = World()
        store(
            state,
            world.entry(
                put("a", scope=Scope("app"), tags=("t", "u")), put("b", scope=Scope("app", "user"), tags=("t",))
            ),
            world.entry(put("c", scope=Scope(None, "user"), tags=("u",)), put("d", scope=Scope("user", "app"))),
        )
        reader = state.read()
        wanted = [
            (Query(scope=(("app_id", "app"),)), ["a", "b"]),
            (Query(scope=(("app_id", "app"), ("user_id", "user"))), ["b"]),
            (Query(scope=(("user_id", "user"),)), ["b", "c"]),
            (Query(scope=(("agent_id", "app"),)), []),
            (Query(tags=("t",)), ["a", "b"]),
            (Query(tags=("t", "u")), ["a"]),
            (Query(tags=("u", "missing")), []),
            (Query(scope=(("app_id", "app"),), tags=("u",)), ["a"]),
            (Query(ids=("d", "a", "nobody", "a")), ["a", "d"]),
            (Query(ids=("a", "c"), tags=("u",), scope=(("user_id", "user"),)), ["c"]),
            (Query(accept=lambda record: record.scope.user_id == "app"), ["d"]),
        ]
        for query, expected in wanted:
            for limit in (1, 1000):
                assert ids(reader, query, limit=limit) == expected, query
                assert ids(reader, query, limit=limit, descending=True) == expected[::-1], query

    def test_a_tag_that_was_taken_off_is_found_only_in_the_past(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put("m", tags=("old",))), world.entry(put("m", tags=("new",))), world.entry(end("m")))
        store(state, world.entry(put("m", tags=("third",))))
        reader = state.read()
        for tag, moments in (("old", [1]), ("new", [2]), ("third", [4])):
            assert [at for at in range(5) if ids(reader, Query(tags=(tag,)), at=at)] == moments
            assert bool(ids(reader, Query(tags=(tag,)))) == (tag == "third")

    def test_an_older_life_of_an_id_shows_only_while_it_was_the_id_s(self, state: StateStore) -> None:
        world = World()
        store(state, world.entry(put("m")), world.entry(end("m")), world.entry(put("m"), end("m"), put("m")))
        store(state, world.entry(end("m", "expired")), world.entry(noop()))
        reader = state.read()
        for query_ids in ((), ("m",)):
            shown = {
                status: [at for at in range(6) if ids(reader, Query(ids=query_ids, status=status), at=at) == ["m"]]
                for status in ("active", "deleted", "expired")
            }
            assert shown == {"active": [1, 3], "deleted": [2], "expired": [4, 5]}
            assert ids(reader, Query(ids=query_ids, status="deleted")) == []

    def test_a_page_looks_at_a_bounded_number_of_rows_and_goes_on(self, state: StateStore) -> None:
        world = World()
        store(state, *(world.entry(put(f"m{number:03}", tags=("t",))) for number in range(3 * ROWS_MAX)))
        looked: list[str] = []
        last = f"m{3 * ROWS_MAX - 1:03}"

        def accept(record: Record) -> bool:
            looked.append(record.id)
            return record.id == last

        for query in (Query(), Query(tags=("t",))):
            looked.clear()
            query = query._replace(accept=accept)
            page = state.read().memories(query, at=None, after=None, limit=1)
            assert page.records == []
            assert len(looked) == ROWS_MAX
            assert page.after is not None
            assert ids(state.read(), query) == [last]

    @pytest.mark.parametrize("descending", [False, True])
    def test_tags_that_never_meet_are_given_up_in_bounded_pages(self, state: StateStore, descending: bool) -> None:
        world = World()
        tags = [("even",), ("odd",)] * 3 * ROWS_MAX
        entries = [world.entry(put(f"a{n}", tags=tag), put(f"b{n}", tags=tag)) for n, tag in enumerate(tags)]
        dense = world.entry(*(put(f"c{n}", tags=tag) for n, tag in enumerate(tags)))
        store(state, *entries, dense, world.entry(put("both", tags=("even", "odd"))))
        query = Query(tags=("even", "odd"))
        assert ids(state.read(), query, descending=descending) == ["both"]

    def test_one_entry_may_hold_every_bound_at_once(self, state: StateStore) -> None:
        world, long = World(), "é" * (NAME_BYTES_MAX // 2) + "x"
        tags = tuple(f"{number:02}" + long[1:] for number in range(TAGS_MAX))
        scope = Scope(long, long, long, long)
        names = [f"{number:04}".ljust(NAME_BYTES_MAX, "~") for number in range(OPERATIONS_MAX)]
        actor = Actor("service", long, long)
        acts = [
            put(name, scope=scope, tags=tags[: 1 + number % 2], expires=2**63 - 1) for number, name in enumerate(names)
        ]
        store(
            state, world.entry(*acts, use_key(long, actor)), world.entry(put(names[0], tags=tags, vector=b"\0" * 16384))
        )
        reader = state.read()
        every = Query(scope=(("app_id", long), ("user_id", long), ("agent_id", long), ("run_id", long)))
        assert ids(reader, every) == names
        assert ids(reader, every._replace(tags=tags)) == names[:1]
        assert ids(reader, every._replace(tags=tags[:2]), descending=True) == [*names[::-2], names[0]]
        assert reader.idempotency(actor, long) == reader.oldest_keys(1)[0]
        assert len(reader.expiring(2**63 - 1, 9999)) == OPERATIONS_MAX
        assert reader.history(names[0], after=None, limit=9) == [Position(1, 0), Position(2, 0)]
