"""Answers compared with brute force: random histories, ties that FAISS cannot order, a large filtered set."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_world import Inline, Manual, World, asking, find, floats_of, seen

from raftmem.model.commands import Scope
from raftmem.storage.state.contract import Query
from raftmem.storage.vectors.contract import VectorQuery
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex
from raftmem.storage.vectors.index import FaissVectorIndex
from raftmem.storage.vectors.shard import Chores

TAGS = ("x", "y", "z")
APPS = ("shop", "ops", None)
GRID = st.sampled_from((-1.0, 0.0, 1.0, 2.0))
VECTOR = st.tuples(GRID, GRID) | st.tuples(GRID, GRID, GRID)
TAG_SETS = st.lists(st.sampled_from(TAGS), unique=True, max_size=3).map(tuple)
ACTION = st.tuples(
    st.sampled_from(("add", "add", "add", "vector", "tags", "drop", "delete")),
    st.integers(0, 11),
    VECTOR,
    TAG_SETS,
    st.sampled_from(APPS),
)
QUERY = st.builds(
    lambda vector, k, threshold, app, tags, odd: VectorQuery(
        floats_of(*vector),
        k,
        threshold,
        Query(
            scope=() if app is None else (("app_id", app),),
            tags=tags,
            accept=(lambda record: record.version % 2 == 1) if odd else None,
        ),
    ),
    VECTOR.filter(any),
    st.integers(1, 14),
    st.sampled_from((0.0, 0.5, 1.0)),
    st.sampled_from(APPS),
    TAG_SETS.filter(lambda tags: len(tags) < 2),
    st.booleans(),
)


def act(world: World, action: tuple[str, int, tuple[float, ...], tuple[str, ...], str | None]) -> None:
    kind, number, vector, tags, app = action
    memory_id = f"m{number}"
    known = world.reader().memory(memory_id)
    active = known is not None and known.status == "active"
    if kind == "add" and not active:
        world.add(memory_id, floats_of(*vector), tags=tags, scope=Scope(app_id=app))
    elif kind == "vector" and active:
        world.update(memory_id, floats_of(*vector), tags=tags)
    elif kind == "tags" and active:
        world.update(memory_id, tags=tags)
    elif kind == "drop" and active:
        world.drop_vector(memory_id)
    elif kind == "delete" and active:
        world.delete(memory_id)
    else:
        world.nothing()


@settings(max_examples=60, deadline=None)
@given(
    actions=st.lists(ACTION, min_size=10, max_size=60),
    queries=st.lists(QUERY, min_size=3, max_size=6),
    chores=st.sampled_from((Chores(1, 1), Chores(3, 2), Chores(1000, 1000))),
    reopen=st.integers(0, 60),
)
def test_any_history_answers_as_brute_force_before_and_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
    actions: list[tuple[str, int, tuple[float, ...], tuple[str, ...], str | None]],
    queries: list[VectorQuery],
    chores: Chores,
    reopen: int,
) -> None:
    folder = tmp_path_factory.mktemp("vectors")
    world = World()
    index = FaissVectorIndex(folder, executor=Inline(), snapshot=world.store.read_private, chores=chores)
    twin = InMemoryVectorIndex()

    def compare() -> None:
        for query in queries:
            wanted = seen(find(twin, query, world.reader()))
            assert seen(find(index, query, world.reader())) == wanted
        assert index.audit(world.reader()) == []

    for count, action in enumerate(actions):
        act(world, action)
        steps = world.take()
        index.apply(world.index, steps)
        twin.apply(world.index, steps)
        if count == reopen:
            index.save()
    compare()
    index = FaissVectorIndex.open(
        folder, world.reader(), executor=Inline(), snapshot=world.store.read_private, chores=chores
    )
    assert index.origin.startswith("caught up" if reopen < len(actions) else "rebuilt")
    compare()


def many(world: World, vectors: np.ndarray, *, shuffled: random.Random) -> list[str]:
    """The vectors as memories with ids that are not in row order; `app_id` is one of 100, one in two has a tag."""
    ids = [f"m{number:05}" for number in range(len(vectors))]
    shuffled.shuffle(ids)
    for start in range(0, len(ids), 1000):
        part = range(start, min(start + 1000, len(ids)))
        fields = [{"scope": Scope(app_id=f"app{n % 100}"), "tags": ("even",) if n % 2 == 0 else ()} for n in part]
        world.add_all([(ids[n], vectors[n].tobytes(), f) for n, f in zip(part, fields, strict=True)])
    return ids


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flushed", [True, False, None])
def test_thousands_of_tied_vectors_are_ordered_as_brute_force_orders_them(
    tmp_path: Path, seed: int, flushed: bool | None
) -> None:
    world, random_ = World(), random.Random(seed)
    grid = np.random.default_rng(seed).integers(-1, 2, size=(2500, 4)).astype(np.float32)
    if seed == 3:
        grid[:] = grid[0] = (1, 0, 1, 1)
    index = FaissVectorIndex(
        tmp_path,
        executor=Manual() if flushed is False else Inline(),
        snapshot=world.store.read_private,
        chores=Chores(flush_rows=1 if flushed else 2000),
    )
    twin = InMemoryVectorIndex()
    many(world, grid, shuffled=random_)
    steps = world.take()
    for index_, step in enumerate(steps, start=1):
        index.apply(index_, [step])
        twin.apply(index_, [step])
    for top_k, threshold in ((1, 0.0), (10, 0.5), (1000, 0.0), (1000, 0.7), (40, 1.0)):
        for accept in (None, lambda record: record.id.endswith("7"), lambda record: record.id == "m00001"):
            vector = floats_of(*(random_.choice((1, 2, -1)) for _ in range(4)))
            for query in (Query(accept=accept), Query(tags=("even",), accept=accept)):
                asked = asking(vector, top_k=top_k, threshold=threshold, query=query)
                found = seen(find(index, asked, world.reader()))
                assert found == seen(find(twin, asked, world.reader()))


def test_ten_thousand_vectors_with_a_scope_filter_are_found_exactly_as_numpy_finds_them(tmp_path: Path) -> None:
    world = World()
    vectors = np.random.default_rng(7).standard_normal((10_000, 64), dtype=np.float32)
    ids = many(world, vectors, shuffled=random.Random(7))
    index = FaissVectorIndex.open(
        tmp_path, world.reader(), executor=Inline(), snapshot=world.store.read_private, chores=Chores()
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = np.arange(len(ids))
    scopes = {(): numbers >= 0, (("app_id", "app7"),): numbers % 100 == 7, (("app_id", "none"),): numbers < 0}
    for probe in np.random.default_rng(8).standard_normal((5, 64), dtype=np.float32):
        cosines = unit @ (probe / np.linalg.norm(probe))
        for scope, inside in scopes.items():
            for tags, tagged in (((), numbers >= 0), (("even",), numbers % 2 == 0)):
                candidates = numbers[inside & tagged]
                best = candidates[np.argsort(-cosines[candidates])][:10]
                asked = asking(probe.tobytes(), query=Query(scope=scope, tags=tags))
                found = seen(find(index, asked, world.reader()))
                assert [memory_id for memory_id, _ in found] == [ids[n] for n in best]
                assert [score for _, score in found] == pytest.approx(cosines[best].clip(0).tolist(), abs=1e-5)
