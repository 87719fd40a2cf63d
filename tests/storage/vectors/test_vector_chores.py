"""Flush and rebuild beside a state that goes on, chores that fail, and searches on threads while entries apply."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from vector_world import Manual, Threaded, World, asking, find, finish, floats_of, seen

from raftmem.errors import StorageFailed
from raftmem.storage.state.contract import Query
from raftmem.storage.vectors.faiss_index import FlatIndex
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex
from raftmem.storage.vectors.index import FaissVectorIndex
from raftmem.storage.vectors.shard import Chores


class Watched:
    """A world with an index whose chores the test runs."""

    def __init__(self, folder: Path, chores: Chores) -> None:
        self.world, self.executor = World(), Manual()
        self.index = FaissVectorIndex(
            folder, executor=self.executor, snapshot=self.world.store.read_private, chores=chores
        )

    def follow(self) -> None:
        self.index.apply(self.world.index, self.world.take())

    def add(self, *ids: str) -> None:
        for memory_id in ids:
            self.world.add(memory_id, floats_of(1, ord(memory_id[0])), tags=(memory_id,))
        self.follow()

    def check(self) -> None:
        reader = self.world.reader()
        assert self.index.audit(reader) == []
        twin = InMemoryVectorIndex.open(reader)
        for query in (Query(), Query(tags=("b",))):
            asked = asking(floats_of(1, 0), query=query)
            assert seen(find(self.index, asked, reader)) == seen(find(twin, asked, reader))


def test_row_is_found_once_while_its_flush_is_done_but_not_told(tmp_path: Path) -> None:
    at = Watched(tmp_path, Chores(flush_rows=2))
    at.add("a", "b")
    before = at.index.prepare(asking(floats_of(1, 0)), at.world.reader())
    done = at.executor.work()
    at.add("c")
    assert len(finish(before, at.world.reader())) == 2
    at.check()
    done(None)
    at.check()
    assert at.executor.waiting == []


def test_flush_goes_on_until_little_is_pending(tmp_path: Path) -> None:
    at = Watched(tmp_path, Chores(flush_rows=2))
    at.add("a", "b")
    at.add("c", "d", "e")
    at.executor.work()(None)
    assert len(at.executor.waiting) == 1
    at.executor.work()(None)
    assert at.executor.waiting == []
    at.check()


def test_changes_during_a_rebuild_are_not_lost(tmp_path: Path) -> None:
    at = Watched(tmp_path, Chores(flush_rows=1000, dead_rows_min=2))
    at.add("a", "b", "c", "d", "e")
    at.world.delete("a")
    at.world.delete("c")
    at.follow()
    assert len(at.executor.waiting) == 1
    at.world.delete("d")
    at.world.update("e", tags=("b", "e"))
    at.add("f", "a")
    at.world.update("f", floats_of(0, 1))
    at.follow()
    at.check()
    done = at.executor.work()
    at.world.update("a", tags=("b",))
    at.world.delete("f")
    at.add("g")
    during = at.index.prepare(asking(floats_of(1, 0)), at.world.reader())
    at.check()
    done(None)
    at.check()
    assert sorted(memory_id for memory_id, _ in seen(finish(during, at.world.reader()))) == ["a", "b", "e", "g"]
    assert len(at.index) == 4


def test_rebuild_waits_until_a_quarter_is_dead(tmp_path: Path) -> None:
    at = Watched(tmp_path, Chores(flush_rows=1000, dead_rows_min=1))
    at.add(*"abcdefgh")
    at.world.delete("a")
    at.world.delete("b")
    at.follow()
    assert at.executor.waiting == []
    at.world.delete("c")
    at.follow()
    assert len(at.executor.waiting) == 1


def test_labels_of_rows_that_died_take_no_room(tmp_path: Path) -> None:
    at = Watched(tmp_path, Chores())
    at.add("a", "b")
    at.world.delete("a")
    for number in range(50):
        at.world.update("b", tags=(f"t{number}",))
        at.follow()
    assert list(at.index._shards[2].rows.carriers()) == [("tag", "t49")]


def test_chore_that_failed_stops_the_index_at_the_next_entry(tmp_path: Path) -> None:
    at = Watched(tmp_path, Chores(flush_rows=1))
    at.add("a")
    _, done = at.executor.waiting.pop()
    done(MemoryError("no room for rows"))
    with pytest.raises(StorageFailed, match="no room for rows"):
        at.add("b")
    with pytest.raises(StorageFailed, match="dimension 2"):
        at.index.prepare(asking(floats_of(1, 0)), at.world.reader())


@pytest.fixture
def executor() -> Iterator[Threaded]:
    threaded = Threaded()
    yield threaded
    threaded.close()


def test_searches_on_threads_while_entries_apply_answer_as_of_their_moment(tmp_path: Path, executor: Threaded) -> None:
    world, random_ = World(), random.Random(5)
    vectors = np.random.default_rng(5).standard_normal((1500, 16), dtype=np.float32)
    chores = Chores(flush_rows=7, dead_rows_min=20)
    index = FaissVectorIndex(tmp_path, executor=executor, snapshot=world.store.read_private, chores=chores)
    twin = InMemoryVectorIndex()
    checks = []
    with ThreadPoolExecutor(3) as pool:
        for number, vector in enumerate(vectors):
            world.add(f"m{number}", vector.tobytes(), tags=(f"t{number % 3}",))
            if number % 3 == 2:
                world.delete(f"m{random_.choice(sorted(twin._held, key=len)[-9:])[1:]}")
            steps = world.take()
            index.apply(world.index, steps)
            twin.apply(world.index, steps)
            executor.pump()
            if number % 5 == 0 and len(twin) > 1:
                query = Query(tags=("t1",)) if number % 2 else Query()
                asked = asking(vectors[random_.randrange(1500)].tobytes(), query=query)
                reader = world.reader()
                search = index.prepare(asked, reader)
                checks.append((search, pool.submit(search.scan), seen(find(twin, asked, reader))))
        for search, scan, wanted in checks:
            scan.result(timeout=30)
            hits = search.hits(world.reader())
            further = pool.submit(search.further()).result(timeout=30)
            assert seen(further if hits is None else hits) == seen(further) == wanted
    executor.close()
    executor.pump()
    assert executor.finished > 5
    assert index.audit(world.reader()) == []


def test_rows_that_were_handed_out_stay_as_they_are_while_more_are_added() -> None:
    flat = FlatIndex(2, room_rows=3)
    flat.add(np.ones((2, 2), dtype=np.float32))
    among = np.arange(2)
    for count in (1, 1, 2, 40):  # into the room that is left, and into ever larger ones
        before = flat._held
        flat.add(np.full((count, 2), 9, dtype=np.float32))
        assert before.tolist() == flat.rows(np.arange(len(before))).tolist()
        products, positions = flat.nearest(np.array([[1, 0]], dtype=np.float32), 2, among)
        assert (products.tolist(), sorted(positions.tolist())) == ([1.0, 1.0], [0, 1])
    assert flat.rows(np.array([45, 0, 2])).tolist() == [[9.0, 9.0], [1.0, 1.0], [9.0, 9.0]]
