"""The vector index behind real entries: the machine decides, both stores keep, both indexes answer alike."""

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from vector_world import Inline, asking, find, finish, floats_of, seen

from raftmem.machine.run import step_entry
from raftmem.model.codec import encode_draft, seal
from raftmem.model.commands import Actor, Add, Content, Delete, Draft, Fields, Header, Merge, Operation, Put, Update
from raftmem.storage.state.contract import Query
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.store import LmdbStateStore
from raftmem.storage.vectors.cosine import search_at
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex
from raftmem.storage.vectors.index import FaissVectorIndex
from raftmem.storage.vectors.shard import Chores

Store = InMemoryStateStore | LmdbStateStore
Act = tuple[Operation, Content | None]


@pytest.fixture(params=["memory", "lmdb"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    def lmdb() -> Store:
        return LmdbStateStore(tmp_path / "state", map_bytes=1 << 30)

    return InMemoryStateStore if request.param == "memory" else lmdb


def entry(acts: list[Act], time: int, *, atomic: bool) -> bytes:
    operations, contents = tuple(one for one, _ in acts), tuple(content for _, content in acts)
    draft = Draft(Header(Actor("agent", "a"), "r", operations, atomic=atomic), contents)
    return seal(encode_draft(draft, bytes), time=time, wall_ms=time)


def random_act(random_: random.Random) -> Act:
    memory_id = f"m{random_.randrange(12)}"
    vector = floats_of(*(random_.choice((-1, 0, 1, 2)) for _ in range(random_.choice((2, 2, 3)))))
    fields = Fields(tags=tuple(random_.sample(("x", "y", "z"), 2)), app_id=random_.choice(("shop", "ops")))
    if random_.random() < 0.4:
        return Add(memory_id, fields, id_given=True), Content(text=str(random_.random()), embedding=vector)
    bare = msgspec.structs.replace(fields, app_id=msgspec.UNSET)
    changes: list[Act] = [
        (Put(memory_id, fields), Content(text="put", embedding=vector)),
        (Put(memory_id, fields), Content(text="no vector")),
        (Update(memory_id, bare), None),
        (Update(memory_id, Fields()), Content(embedding=vector)),
        (Update(memory_id, Fields()), Content(text="other text")),
        (Update(memory_id, Fields()), Content(embedding=None)),
        (Update(memory_id, Fields()), Content(merge=(Merge("tags", "union", b'["x"]'),))),
        (Delete(memory_id), None),
    ]
    return random_.choice(changes)


@pytest.mark.parametrize("seed", range(5))
def test_entries_of_the_machine_are_followed_and_found_after_a_restart(
    make_store: Callable[[], Store], tmp_path: Path, seed: int
) -> None:
    random_, store, folder = random.Random(seed), make_store(), tmp_path / "vectors"
    chores = Chores(flush_rows=4, dead_rows_min=6)
    index = FaissVectorIndex(folder, executor=Inline(), snapshot=store.read_private, chores=chores)
    twin = InMemoryVectorIndex()
    past: dict[int, list[tuple[str, float]]] = {}
    query = asking(floats_of(1, 2), top_k=5, query=Query(scope=(("app_id", "shop"),), tags=("x",)))
    for number in range(1, 81):
        acts = [random_act(random_) for _ in range(random_.randint(1, 4))]
        with store.write() as writer:
            applied = step_entry(writer, number, 1, entry(acts, number, atomic=random_.random() < 0.5))
        store.settle()
        index.apply(number, [applied.step])
        twin.apply(number, [applied.step])
        reader = store.read()
        past[number] = seen(find(twin, query, reader))
        assert seen(find(index, query, reader)) == past[number]
        assert index.audit(reader) == []
        if number == 50:
            index.save()
    reader = store.read()
    assert any(past.values())
    assert {number: seen(search_at(reader, query, number)) for number in past} == past
    reopened = FaissVectorIndex.open(folder, reader, executor=Inline(), snapshot=store.read_private, chores=chores)
    assert reopened.origin == "caught up from index 50 to 80"
    assert reopened.audit(reader) == []
    assert seen(find(reopened, query, reader)) == past[80]
    store.close(clean=False)


def test_hits_come_from_the_moment_of_the_search_though_the_store_went_on(
    make_store: Callable[[], Store], tmp_path: Path
) -> None:
    store = make_store()
    index = FaissVectorIndex(tmp_path / "vectors", executor=Inline(), snapshot=store.read_private)
    vectors = np.eye(3, dtype="<f4")

    def write(number: int, *acts: Act) -> None:
        with store.write() as writer:
            applied = step_entry(writer, number, 1, entry(list(acts), number, atomic=True))
        store.settle()
        index.apply(number, [applied.step])

    write(1, *((Add(f"m{n}", Fields()), Content(text=str(n), embedding=vectors[n].tobytes())) for n in range(3)))
    search = index.prepare(asking(vectors[1].tobytes(), top_k=1), store.read())
    write(2, (Delete("m1"), None))
    hits = finish(search, store.read())
    assert [(hit.record.text, hit.score) for hit in hits] == [("1", 1.0)]
    assert seen(find(index, asking(vectors[1].tobytes(), top_k=1, threshold=0.5), store.read())) == []
    store.close(clean=False)
