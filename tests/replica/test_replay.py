"""Replay and verify, on a log of a few thousand entries."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from machine_world import World, add, delete, update

from raftmem.errors import Corrupt
from raftmem.replica.replay import COMMIT_ENTRIES, Difference, entries_of, replay, verify
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore

COUNT = 2 * COMMIT_ENTRIES + 100


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    world.one(add("a", value={"n": 0}))
    while world.store.head().index < COUNT:
        world.one(update("a", merge={"value.n": ("inc", 1)}))
    return world


def log(world: World) -> Iterable[LogEntry]:
    return entries_of(world.store.read().events(1, COUNT + 1))


def stored(world: World) -> Callable[[int], bytes | None]:
    def digest(index: int) -> bytes | None:
        row = world.store.read().event(index)
        return None if row is None else row.digest

    return digest


def test_replay_reaches_the_head_of_the_live_state(world: World, tmp_path: Path) -> None:
    seen: list[int] = []
    store = LmdbStateStore(tmp_path / "state", map_bytes=256 << 20)
    assert replay(log(world), store, progress=seen.append) == world.store.head() == store.head()
    assert seen == [COMMIT_ENTRIES, 2 * COMMIT_ENTRIES, COUNT]
    store.close(clean=True)


@pytest.mark.parametrize("until", [0, 1, COMMIT_ENTRIES, COMMIT_ENTRIES + 7])
def test_replay_stops_at_an_index(world: World, until: int) -> None:
    store = InMemoryStateStore()
    head = replay(log(world), store, until)
    assert head.index == until
    assert until == 0 or head.digest == stored(world)(until)


def test_replay_goes_on_from_an_older_state(world: World) -> None:
    store = InMemoryStateStore()
    replay(log(world), store, 50)
    assert replay(log(world), store) == world.store.head()


def test_replay_of_a_log_with_a_hole_stops(world: World) -> None:
    holed = (entry for entry in log(world) if entry.index != 60)
    store = InMemoryStateStore()
    with pytest.raises(Corrupt, match="index 61"):
        replay(holed, store)
    assert store.head().index == 0


def test_verify_of_a_good_log_finds_no_difference(world: World) -> None:
    verified = verify(log(world), stored(world), InMemoryStateStore())
    assert (verified.head, verified.difference) == (world.store.head(), None)


@pytest.mark.parametrize("at", [1, COMMIT_ENTRIES, COMMIT_ENTRIES + 1, COUNT])
def test_verify_names_the_first_digest_that_differs(world: World, at: int) -> None:
    def damaged(index: int) -> bytes | None:
        return stored(world)(index) if index != at else b"\0" * 32

    verified = verify(log(world), damaged, InMemoryStateStore())
    computed = stored(world)(at)
    assert computed is not None
    assert verified.difference == Difference(at, b"\0" * 32, computed)


def test_verify_names_the_first_entry_that_was_changed(world: World) -> None:
    other = World()
    other.one(add("a", value={"n": 0}))
    other.one(delete("a"))
    changed = (LogEntry(e.index, e.term, other.log[1]) if e.index == 1500 else e for e in log(world))
    difference = verify(changed, stored(world), InMemoryStateStore()).difference
    assert difference is not None
    assert difference.index == 1500


def test_verify_ends_where_nothing_is_stored(world: World) -> None:
    def partly(index: int) -> bytes | None:
        return stored(world)(index) if index <= 1234 else None

    verified = verify(log(world), partly, InMemoryStateStore())
    assert (verified.head.index, verified.difference) == (1234, None)
