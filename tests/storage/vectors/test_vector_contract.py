"""What every vector index must do; the FAISS one with eager chores and with none, and its twin."""

from collections.abc import Callable
from pathlib import Path

import pytest
from vector_world import Inline, Manual, World, asking, find, finish, floats_of, seen

from raftmem.api.http.filter import parse
from raftmem.errors import Corrupt
from raftmem.model.commands import Scope
from raftmem.storage.state.contract import Query
from raftmem.storage.vectors.contract import VectorIndex
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex
from raftmem.storage.vectors.index import FaissVectorIndex
from raftmem.storage.vectors.shard import Chores

Make = Callable[[World], VectorIndex]


@pytest.fixture(params=["memory", "faiss-eager", "faiss-idle"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def eager(world: World) -> VectorIndex:
        chores = Chores(flush_rows=1, dead_rows_min=1)
        return FaissVectorIndex(tmp_path, executor=Inline(), snapshot=world.store.read_private, chores=chores)

    def idle(world: World) -> VectorIndex:
        return FaissVectorIndex(tmp_path, executor=Manual(), snapshot=world.store.read_private)

    def memory(_: World) -> VectorIndex:
        return InMemoryVectorIndex()

    kinds: dict[str, Make] = {"memory": memory, "faiss-eager": eager, "faiss-idle": idle}
    return kinds[request.param]


class Pair:
    """A world and an index that follows it."""

    def __init__(self, make: Make) -> None:
        self.world = World()
        self.index = make(self.world)

    def follow(self) -> None:
        self.index.apply(self.world.index, self.world.take())

    def find(self, *numbers: float, top_k: int = 10, threshold: float = 0.0, query: Query | None = None) -> list[str]:
        self.follow()
        asked = asking(floats_of(*numbers), top_k=top_k, threshold=threshold, query=query)
        return [memory_id for memory_id, _ in seen(find(self.index, asked, self.world.reader()))]


@pytest.fixture
def pair(make: Make) -> Pair:
    return Pair(make)


def test_empty_index_finds_nothing(pair: Pair) -> None:
    assert pair.find(1, 0) == []
    assert pair.index.index == 0


def test_nearest_comes_first_with_its_cosine(pair: Pair) -> None:
    pair.world.add("far", floats_of(0, 5))
    pair.world.add("near", floats_of(8, 6))
    pair.world.add("same", floats_of(3, 0))
    pair.follow()
    hits = find(pair.index, asking(floats_of(1, 0)), pair.world.reader())
    assert seen(hits) == [("same", 1.0), ("near", 0.8), ("far", 0.0)]
    assert pair.index.index == 3


def test_equal_scores_are_ordered_by_id_even_at_the_end_of_top_k(pair: Pair) -> None:
    for name in ("d", "b", "e", "a", "c"):
        pair.world.add(name, floats_of(1, 1))
    assert pair.find(1, 1, top_k=3) == ["a", "b", "c"]


def test_negative_cosines_are_zero_and_so_ties(pair: Pair) -> None:
    pair.world.add("b", floats_of(-1, 0))
    pair.world.add("a", floats_of(-1, 1))
    pair.world.add("c", floats_of(0, 1))
    assert pair.find(1, 0) == ["a", "b", "c"]
    assert pair.find(1, 0, threshold=0.01) == []


def test_zero_vector_in_the_state_scores_zero(pair: Pair) -> None:
    pair.world.add("zero", floats_of(0, 0))
    pair.world.add("one", floats_of(0, 1))
    assert pair.find(0, 1) == ["one", "zero"]


def test_threshold_is_inclusive(pair: Pair) -> None:
    pair.world.add("edge", floats_of(0.8, 0.6, 0))
    assert pair.find(0.6, 0.8, 0, threshold=0.96) == ["edge"]
    assert pair.find(0.6, 0.8, 0, threshold=0.9601) == []
    assert pair.find(0.8, 0.6, 0, threshold=1.0) == ["edge"]


def test_huge_and_tiny_vectors_keep_their_direction(pair: Pair) -> None:
    pair.world.add("huge", floats_of(3e38, 3e38))
    pair.world.add("tiny", floats_of(1e-40, 0))
    assert pair.find(1, 1, threshold=0.999) == ["huge"]
    assert pair.find(1, 0, threshold=0.999) == ["tiny"]


def test_other_dimensions_are_not_candidates(pair: Pair) -> None:
    pair.world.add("two", floats_of(1, 0))
    pair.world.add("three", floats_of(1, 0, 0))
    assert pair.find(1, 0) == ["two"]
    assert pair.find(1, 0, 0) == ["three"]
    assert pair.find(1, 0, 0, 0) == []


def test_scope_ids_given_are_anded_and_those_not_given_are_no_constraint(pair: Pair) -> None:
    pair.world.add("shop", floats_of(1, 0), scope=Scope(app_id="shop"))
    pair.world.add("both", floats_of(1, 0), scope=Scope(app_id="shop", user_id="u"))
    pair.world.add("none", floats_of(1, 0))
    assert pair.find(1, 0) == ["both", "none", "shop"]
    assert pair.find(1, 0, query=Query(scope=(("app_id", "shop"),))) == ["both", "shop"]
    assert pair.find(1, 0, query=Query(scope=(("app_id", "shop"), ("user_id", "u")))) == ["both"]
    assert pair.find(1, 0, query=Query(scope=(("user_id", "shop"),))) == []


def test_every_tag_asked_for_must_be_there(pair: Pair) -> None:
    pair.world.add("x", floats_of(1, 0), tags=("x",))
    pair.world.add("xy", floats_of(1, 0), tags=("x", "y"))
    assert pair.find(1, 0, query=Query(tags=("x",))) == ["x", "xy"]
    assert pair.find(1, 0, query=Query(tags=("y", "x"))) == ["xy"]
    assert pair.find(1, 0, query=Query(tags=("z",))) == []


def test_ids_type_and_status_narrow_the_search(pair: Pair) -> None:
    pair.world.add("fact", floats_of(1, 0), memory_type="fact")
    pair.world.add("plain", floats_of(1, 0))
    assert pair.find(1, 0, query=Query(ids=("plain", "gone"))) == ["plain"]
    assert pair.find(1, 0, query=Query(ids=("gone",))) == []
    assert pair.find(1, 0, query=Query(memory_type="fact")) == ["fact"]
    assert pair.find(1, 0, query=Query(status="deleted")) == []


def test_filter_is_judged_before_top_k(pair: Pair) -> None:
    for number in range(60):
        pair.world.add(f"a{number:02}", floats_of(1, 0), metadata=b'{"env":"dev"}')
    pair.world.add("z", floats_of(0, 1), metadata=b'{"env":"prod"}')
    accept = parse({"field": "metadata.env", "op": "eq", "value": "prod"}).matches
    assert pair.find(1, 0, top_k=2, query=Query(accept=accept)) == ["z"]


def test_label_changes_without_a_new_vector_are_followed(pair: Pair) -> None:
    pair.world.add("m", floats_of(1, 0), tags=("x", "y"))
    assert pair.find(1, 0, query=Query(tags=("x",))) == ["m"]
    pair.world.update("m", tags=("y", "z"), memory_type="fact")
    assert pair.find(1, 0, query=Query(tags=("x",))) == []
    assert pair.find(1, 0, query=Query(tags=("y", "z"), memory_type="fact")) == ["m"]
    pair.world.update("m", tags=("x",), memory_type=None)
    assert pair.find(1, 0, query=Query(tags=("x",))) == ["m"]
    assert pair.find(1, 0, query=Query(memory_type="fact")) == []


def test_label_that_left_and_came_back_between_two_searches_is_found(pair: Pair) -> None:
    pair.world.add("m", floats_of(1, 0), tags=("x",))
    pair.world.add("other", floats_of(1, 0), tags=("x",))
    pair.world.update("m", tags=())
    pair.world.update("m", tags=("x",))
    assert pair.find(1, 0, query=Query(tags=("x",))) == ["m", "other"]


def test_replaced_vector_is_found_only_where_it_is_now(pair: Pair) -> None:
    pair.world.add("m", floats_of(1, 0))
    pair.world.update("m", floats_of(0, 1))
    assert pair.find(1, 0, threshold=0.5) == []
    assert pair.find(0, 1, threshold=0.5) == ["m"]
    pair.world.update("m", floats_of(0, 1, 0))
    assert pair.find(0, 1) == []
    assert pair.find(0, 1, 0) == ["m"]


def test_vector_that_went_is_not_found(pair: Pair) -> None:
    pair.world.add("dropped", floats_of(1, 0))
    pair.world.add("deleted", floats_of(1, 0))
    pair.world.add("expired", floats_of(1, 0))
    assert pair.find(1, 0) == ["deleted", "dropped", "expired"]
    pair.world.drop_vector("dropped")
    pair.world.delete("deleted")
    pair.world.update("expired", status="expired")
    assert pair.find(1, 0) == []


def test_memory_added_again_after_its_deletion_is_found_once(pair: Pair) -> None:
    pair.world.add("m", floats_of(1, 0), tags=("old",))
    pair.world.delete("m")
    pair.world.add("m", floats_of(1, 0), tags=("new",))
    assert pair.find(1, 0) == ["m"]
    assert pair.find(1, 0, query=Query(tags=("old",))) == []


def test_prepared_search_answers_as_of_its_moment(pair: Pair) -> None:
    pair.world.add("kept", floats_of(1, 0), tags=("x",))
    pair.world.add("gone", floats_of(1, 0), tags=("x",))
    pair.follow()
    search = pair.index.prepare(asking(floats_of(1, 0), query=Query(tags=("x",))), pair.world.reader())
    pair.world.delete("gone")
    pair.world.update("kept", floats_of(0, 1), tags=())
    pair.world.add("late", floats_of(1, 0), tags=("x",))
    pair.follow()
    hits = finish(search, pair.world.reader())
    assert seen(hits) == [("gone", 1.0), ("kept", 1.0)]
    assert hits[1].record.tags == ("x",)


def test_entry_without_memories_moves_the_index_on(pair: Pair) -> None:
    pair.world.nothing()
    pair.follow()
    assert pair.index.index == 1


def test_reader_of_another_index_is_refused(pair: Pair) -> None:
    pair.world.add("m", floats_of(1, 0))
    with pytest.raises(Corrupt, match="reflects index 0"):
        pair.index.prepare(asking(floats_of(1, 0)), pair.world.reader())


def test_audit_of_an_index_that_followed_is_clean(pair: Pair) -> None:
    for number in range(5):
        pair.world.add(f"m{number}", floats_of(number, 1), tags=(f"t{number % 2}",))
    pair.world.update("m1", tags=("t9",))
    pair.world.delete("m2")
    pair.follow()
    assert pair.index.audit(pair.world.reader()) == []


def test_audit_tells_what_an_index_missed(pair: Pair) -> None:
    pair.world.add("same", floats_of(1, 0))
    pair.world.add("went", floats_of(1, 0))
    pair.world.add("moved", floats_of(1, 0))
    pair.world.add("tagged", floats_of(1, 0))
    pair.follow()
    pair.world.delete("went")
    pair.world.update("moved", floats_of(0, 1))
    pair.world.add("new", floats_of(1, 0))
    pair.world.add("other", floats_of(1, 0, 0))
    pair.world.update("tagged", tags=("x",))
    pair.index.apply(pair.world.index, [])
    told = "\n".join(pair.index.audit(pair.world.reader()))
    for memory_id in ("went", "moved", "new", "other", "tagged"):
        assert f"memory {memory_id}:" in told
    assert "same" not in told
