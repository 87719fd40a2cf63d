"""A search in its parts: what is scanned at once, what is left to another thread, when its records do not suffice."""

from pathlib import Path

import pytest
from vector_world import Inline, Manual, World, asking, floats_of, seen

from raftmem.api.http.filter import parse
from raftmem.errors import Corrupt
from raftmem.storage.state.contract import Query
from raftmem.storage.vectors import search as vector_search
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex
from raftmem.storage.vectors.index import FaissVectorIndex
from raftmem.storage.vectors.shard import Chores


def followed(folder: Path, world: World, *, flushed: bool = True) -> FaissVectorIndex:
    index = FaissVectorIndex(
        folder,
        executor=Inline() if flushed else Manual(),
        snapshot=world.store.read_private,
        chores=Chores(flush_rows=1),
    )
    for number, step in enumerate(world.take(), start=1):
        index.apply(number, [step])
    return index


def line(world: World, count: int) -> None:
    """Memories m0000.. in one entry, nearest to (1, 0) first; every second is from `prod`, every tenth has a tag."""
    memories = []
    for number in range(count):
        fields = {"metadata": b'{"env":"prod"}' if number % 2 else b'{"env":"dev"}'}
        tagged = {"tags": ("tenth",)} if number % 10 == 0 else {}
        memories.append((f"m{number:04}", floats_of(1, number / count), {**fields, **tagged}))
    world.add_all(memories)


def test_few_candidates_are_scanned_at_once_and_many_on_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    line(world, 200)
    index = followed(tmp_path, world)
    monkeypatch.setattr(vector_search, "SHORT_FLOATS", 2 * 100)
    everything = index.prepare(asking(floats_of(1, 0), top_k=2), world.reader())
    tagged = index.prepare(asking(floats_of(1, 0), top_k=2, query=Query(tags=("tenth",))), world.reader())
    assert not everything.scan_now()
    assert tagged.scan_now()
    assert seen(tagged.hits(world.reader()) or ()) == [("m0000", 1.0), ("m0010", pytest.approx(0.99875, abs=1e-5))]
    everything.scan()
    assert [memory_id for memory_id, _ in seen(everything.hits(world.reader()) or ())] == ["m0000", "m0001"]


def test_pending_rows_count_as_more_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    line(world, 100)
    index = followed(tmp_path, world, flushed=False)
    monkeypatch.setattr(vector_search, "SHORT_FLOATS", 2 * 100)
    assert not index.prepare(asking(floats_of(1, 0)), world.reader()).scan_now()
    monkeypatch.setattr(vector_search, "SHORT_FLOATS", 2 * 100 * (vector_search.LATE_WEIGHT + 1))
    assert index.prepare(asking(floats_of(1, 0)), world.reader()).scan_now()


def test_nothing_to_be_found_needs_no_thread(tmp_path: Path) -> None:
    world = World()
    line(world, 10)
    index = followed(tmp_path, world)
    for query in (Query(tags=("none",)), Query(status="deleted")):
        search = index.prepare(asking(floats_of(1, 0), query=query), world.reader())
        assert search.scan_now()
        assert search.hits(world.reader()) == []
        assert search.further()() == []


def test_filter_that_refuses_most_is_judged_further_and_answers_the_same(tmp_path: Path) -> None:
    world = World()
    line(world, 3000)
    world.update("m2990", metadata=b'{"env":"rare"}')
    index, reader = followed(tmp_path, world), world.reader()

    def asked(env: str) -> list[tuple[str, float]] | None:
        accept = parse({"field": "metadata.env", "op": "eq", "value": env}).matches
        query = asking(floats_of(1, 0), top_k=3, query=Query(accept=accept))
        search = index.prepare(query, reader)
        search.scan()
        hits = search.hits(reader)
        wanted = seen(InMemoryVectorIndex.open(reader).prepare(query, reader).hits(reader))
        assert seen(search.further()()) == wanted
        assert hits is None or seen(hits) == wanted
        return None if hits is None else seen(hits)

    assert asked("prod") is not None
    assert asked("rare") is None


def test_no_more_records_are_looked_at_on_the_loop_than_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    line(world, 60)
    index, reader = followed(tmp_path, world), world.reader()
    judged = []
    query = Query(accept=lambda record: bool(judged.append(record.id)))
    monkeypatch.setattr(vector_search, "JUDGED_MAX", 20)
    search = index.prepare(asking(floats_of(1, 0), query=query), reader)
    assert search.scan_now()
    assert search.hits(reader) is None
    assert len(judged) == 20
    assert search.further()() == []
    assert len(set(judged)) == 60


@pytest.mark.parametrize("kind", ["memory", "faiss"])
def test_state_of_before_the_search_is_refused(tmp_path: Path, kind: str) -> None:
    world = World()
    line(world, 10)
    before = world.store.read_private()
    world.nothing()
    index = InMemoryVectorIndex.open(world.reader()) if kind == "memory" else followed(tmp_path, world)
    search = index.prepare(asking(floats_of(1, 0)), world.reader())
    search.scan()
    with pytest.raises(Corrupt, match="reflects index 2"):
        search.hits(before)


def test_rows_are_gathered_once_for_the_memory_that_was_asked_for_twice(tmp_path: Path) -> None:
    world = World()
    line(world, 10)
    index, reader = followed(tmp_path, world), world.reader()
    search = index.prepare(asking(floats_of(1, 0), query=Query(ids=("m0003", "m0003"))), reader)
    assert search.scan_now()
    assert [memory_id for memory_id, _ in seen(search.hits(reader) or ())] == ["m0003"]
