"""Search in the past, and the order and look of scores."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_world import World, asking, floats_of, seen

from raftmem.api.http.filter import parse
from raftmem.model.commands import Scope
from raftmem.storage.state.contract import Query
from raftmem.storage.vectors.cosine import Probe, normalised, ranking, search_at, shown


def test_search_in_the_past_sees_what_was_overwritten_and_deleted() -> None:
    world = World()
    world.add("moved", floats_of(1, 0))
    world.add("gone", floats_of(2, 1), tags=("x",))
    world.update("moved", floats_of(0, 1))
    world.delete("gone")
    world.add("late", floats_of(1, 0))
    query = asking(floats_of(1, 0), threshold=0.5)
    assert seen(search_at(world.reader(), query, 1)) == [("moved", 1.0)]
    assert [memory_id for memory_id, _ in seen(search_at(world.reader(), query, 2))] == ["moved", "gone"]
    assert [memory_id for memory_id, _ in seen(search_at(world.reader(), query, 3))] == ["gone"]
    assert seen(search_at(world.reader(), query, 4)) == []
    assert search_at(world.reader(), query, 2)[1].record.tags == ("x",)


def test_search_in_the_past_narrows_as_any_search_does() -> None:
    world = World()
    world.add("a", floats_of(1, 0), scope=Scope(app_id="shop"), metadata=b'{"n":1}')
    world.add("b", floats_of(1, 0), scope=Scope(app_id="shop"), metadata=b'{"n":2}')
    world.add("c", floats_of(1, 0, 0), scope=Scope(app_id="shop"), metadata=b'{"n":2}')
    world.add("d", floats_of(1, 0), metadata=b'{"n":2}')
    accept = parse({"field": "metadata.n", "op": "gt", "value": 1}).matches
    query = asking(floats_of(1, 0), query=Query(scope=(("app_id", "shop"),), accept=accept))
    assert seen(search_at(world.reader(), query, 4)) == [("b", 1.0)]


def test_search_in_the_past_goes_through_all_pages() -> None:
    world = World()
    fields: dict[str, object] = {}
    world.add_all([(f"m{number:04}", floats_of(number % 7, 1), fields) for number in range(2500)])
    found = seen(search_at(world.reader(), asking(floats_of(1, 0), top_k=357), 1))
    best = [f"m{number:04}" for number in range(2500) if number % 7 == 6]
    assert [memory_id for memory_id, _ in found] == best[:357]


def test_score_is_shown_as_the_shortest_decimal_of_its_float32() -> None:
    assert shown(np.float32(0.96)) == 0.96
    assert shown(np.float32(1.0)) == 1.0


def test_no_scores_have_no_ranking() -> None:
    assert ranking(np.empty(0, dtype=np.float32), []).tolist() == []


@settings(max_examples=50, deadline=None)
@given(dimension=st.integers(1, 300), rows=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_score_of_a_row_does_not_depend_on_the_rows_beside_it(dimension: int, rows: int, seed: int) -> None:
    numbers = np.random.default_rng(seed)
    block = normalised(numbers.standard_normal((rows, dimension), dtype=np.float32))
    probe = Probe(numbers.standard_normal(dimension, dtype=np.float32).tobytes())
    together = probe.scores(block)
    assert together.tolist() == [float(probe.scores(row.reshape(1, -1))[0]) for row in block]
    assert normalised(block[:1]).tolist() == normalised(block)[:1].tolist()
