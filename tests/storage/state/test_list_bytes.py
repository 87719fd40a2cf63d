"""A page of a list looks at a bounded number of bytes, however few rows they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from storage_world import World, ids, put, store

from raftmem.model.records import Record
from raftmem.storage.state import query as query_module
from raftmem.storage.state.contract import Query, StateStore
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore

TEXT = "x" * 1000
COUNT = 40


@pytest.fixture(params=["memory", "lmdb"])
def state(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StateStore]:
    monkeypatch.setattr(query_module, "LIST_SCAN_BYTES_MAX", 10 * len(TEXT))
    world = World()
    made: StateStore = InMemoryStateStore() if request.param == "memory" else LmdbStateStore(tmp_path / "state")
    store(made, *(world.entry(put(f"m{number:02}", text=TEXT)) for number in range(COUNT)))
    yield made
    made.close(clean=False)


@pytest.mark.parametrize("conditions", [1, 2, 5, 100])
@pytest.mark.parametrize("at", [None, COUNT])
def test_a_page_ends_at_its_bytes_and_the_list_goes_on(state: StateStore, conditions: int, at: int | None) -> None:
    looked: list[str] = []

    def accept(record: Record) -> bool:
        looked.append(record.id)
        return record.id == f"m{COUNT - 1}"

    reader = state.read()
    query = Query(accept=accept, conditions=conditions)
    page = reader.memories(query, at=at, after=None, limit=9)
    assert page.records == []
    assert page.after is not None
    assert 1 <= len(looked) <= 10 // conditions + 1
    assert ids(reader, query, at=at) == [f"m{COUNT - 1}"]


def test_a_page_without_a_filter_ends_at_its_bytes_too(state: StateStore) -> None:
    page = state.read().memories(Query(), at=None, after=None, limit=COUNT)
    assert 9 <= len(page.records) <= 11
    assert page.after is not None
    assert len(ids(state.read(), Query())) == COUNT
