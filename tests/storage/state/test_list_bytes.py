"""A page of a list looks at a bounded number of bytes, however few rows they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_world import World, ids, put, store

from raftmem.model.records import Record
from raftmem.storage.state.contract import Bounds, Query, StateStore
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore

TEXT = "x" * 1000
COUNT = 40


@pytest.fixture(params=["memory", "lmdb"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    world = World()
    made: StateStore = InMemoryStateStore() if request.param == "memory" else LmdbStateStore(tmp_path / "state")
    store(made, *(world.entry(put(f"m{number:02}", text=TEXT)) for number in range(COUNT)))
    yield made
    made.close(clean=False)


@pytest.mark.parametrize("bounds", [Bounds(100, 10 * len(TEXT)), Bounds(10, 1 << 20), Bounds(1, 1), Bounds(100, 1)])
@pytest.mark.parametrize("at", [None, COUNT])
def test_a_page_ends_at_its_bounds_and_the_list_goes_on(state: StateStore, bounds: Bounds, at: int | None) -> None:
    looked: list[str] = []

    def accept(record: Record) -> bool:
        looked.append(record.id)
        return record.id == f"m{COUNT - 1}"

    reader = state.read()
    query = Query(accept=accept)
    most = max(1, min(bounds.rows, bounds.bytes // len(TEXT)))
    found: list[str] = []
    after = None
    for _ in range(COUNT + 1):
        looked.clear()
        page = reader.memories(query, at=at, after=after, limit=9, bounds=bounds)
        assert len(looked) == page.looked <= most
        found += [record.id for record in page.records]
        after = page.after
        if after is None:
            break
    assert found == [f"m{COUNT - 1}"]


def test_a_page_without_a_filter_ends_at_its_bytes_too(state: StateStore) -> None:
    page = state.read().memories(Query(), at=None, after=None, limit=COUNT, bounds=Bounds(100, 10 * len(TEXT)))
    assert 9 <= len(page.records) <= 11
    assert page.after is not None
    assert len(ids(state.read(), Query())) == COUNT


def test_ids_are_read_as_far_as_a_page_goes(state: StateStore) -> None:
    query = Query(ids=tuple(f"m{number:02}" for number in range(COUNT)))
    page = state.read().memories(query, at=None, after=None, limit=COUNT, bounds=Bounds(5, 1 << 20))
    assert [record.id for record in page.records] == [f"m{number:02}" for number in range(5)]
    assert page.after == (page.records[-1].created.index, "m04")
