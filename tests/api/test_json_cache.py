"""JSON of memories that is kept: that of the right version, and no more of it than the bound allows."""

import msgspec
import pytest
from api_world import World

from raftmem.api.responses import json_cache, memory_views
from raftmem.api.responses.json_cache import JsonCache
from raftmem.model.records import Position, Record


def record(world: World, memory_id: str, **fields: object) -> Record:
    world("PUT", f"/v1/memories/{memory_id}", fields)
    found = world.service.store.read().memory(memory_id)
    assert found is not None
    return found


def test_every_version_is_shown_as_it_is_each_time() -> None:
    world, kept = World(), JsonCache()
    versions = [record(world, name, text=text) for text in ("one", "two") for name in ("a", "b")]
    for _ in range(2):
        for version in versions:
            assert kept.text(version) == memory_views.encode(memory_views.memory(version))


def test_a_memory_that_changes_is_read_as_it_is_and_as_it_was() -> None:
    world = World()
    for text in ("one", "two"):
        record(world, "a", text=text)
        assert [world("GET", "/v1/memories/a").json()["text"] for _ in range(2)] == [text, text]
    assert [world("GET", f"/v1/memories/a?at={index}").json()["text"] for index in (101, 102, 101)] == [
        "one", "two", "one",
    ]  # fmt: skip
    world("DELETE", "/v1/memories/a")
    assert world("GET", "/v1/memories/a").status_code == 404


def test_no_more_is_kept_than_the_bounds_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_cache, "_SHOWN_MAX", 3)
    world, kept = World(), JsonCache()
    some = record(world, "a", text="some")
    large = record(world, "b", text="x" * 4096)
    for index in range(10):
        kept.text(msgspec.structs.replace(some, updated=Position(index, 0)))
    kept.text(large)
    assert [position.index for _, position in kept._texts] == [7, 8, 9]
