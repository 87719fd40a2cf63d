"""A small world for the vector tests: an in-memory state, entries made by hand, executors the test owns."""

import queue
import threading
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from raftmem.model.commands import Actor, MemoryType, Scope
from raftmem.model.records import Change, Head, Position, PutRecord, Record, Result, Step
from raftmem.storage.state.contract import EventRow, Query, StateReader
from raftmem.storage.state.in_memory import InMemoryReader, InMemoryStateStore
from raftmem.storage.vectors.contract import Hit, Search, VectorIndex, VectorQuery

Done = Callable[[BaseException | None], None]


def floats_of(*numbers: float) -> bytes:
    return np.array(numbers, dtype="<f4").tobytes()


def asking(vector: bytes, *, top_k: int = 10, threshold: float = 0.0, query: Query | None = None) -> VectorQuery:
    return VectorQuery(vector, top_k, threshold, query if query is not None else Query())


def seen(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    return [(hit.record.id, hit.score) for hit in hits]


def find(index: VectorIndex, query: VectorQuery, reader: StateReader) -> list[Hit]:
    """All of a search on this thread."""
    return finish(index.prepare(query, reader), reader)


def finish(search: Search, reader: StateReader) -> list[Hit]:
    if not search.scan_now():
        search.scan()
    hits = search.hits(reader)
    return search.further()() if hits is None else hits


class World:
    """The state, one entry at a time; `steps` collects what an index has not applied yet."""

    def __init__(self) -> None:
        self.store = InMemoryStateStore()
        self.steps: list[Step] = []

    @property
    def index(self) -> int:
        return self.store.head().index

    def reader(self) -> InMemoryReader:
        return self.store.read()

    def take(self) -> list[Step]:
        taken, self.steps = self.steps, []
        return taken

    def _put(self, changes: Sequence[Change]) -> None:
        index = self.index + 1
        digest = index.to_bytes(32, "big")
        step = Step(Result(), tuple(changes))
        with self.store.write() as writer:
            writer.put(EventRow(index, 1, b"", step.result, digest), step, Head(index, 1, index, digest))
        self.steps.append(step)

    def add_all(self, memories: Sequence[tuple[str, bytes | None, dict[str, object]]]) -> None:
        """One entry with one new row each: (id, vector, fields)."""
        index = self.index + 1
        changes = []
        for seq, (memory_id, vector, fields) in enumerate(memories):
            at = Position(index, seq)
            record = Record(
                memory_id, 1, "active", at, at, Scope(), "t", None, b"{}", b"", (), Actor("agent", "a"), 0, 0
            )
            record = msgspec.structs.replace(record, **fields)
            changes.append(PutRecord(self._with_vector(record, vector, at), None, b"", vector))
        self._put(changes)

    @staticmethod
    def _with_vector(record: Record, vector: bytes | None, at: Position) -> Record:
        if vector is None:
            return record
        return msgspec.structs.replace(record, dimension=len(vector) // 4, vector_at=at)

    def add(
        self,
        memory_id: str,
        vector: bytes | None,
        *,
        scope: Scope | None = None,
        tags: tuple[str, ...] = (),
        memory_type: MemoryType | None = None,
        metadata: bytes = b"{}",
    ) -> None:
        fields: dict[str, object] = {
            "scope": scope or Scope(),
            "tags": tags,
            "memory_type": memory_type,
            "metadata": metadata,
        }
        self.add_all([(memory_id, vector, fields)])

    def _newest(self, memory_id: str) -> Record:
        record = self.reader().memory(memory_id)
        assert record is not None
        return record

    def update(self, memory_id: str, vector: bytes | None = None, **fields: object) -> None:
        """With a vector: it replaces the old one; without: it stays."""
        old = self._newest(memory_id)
        at = Position(self.index + 1, 0)
        record = msgspec.structs.replace(old, updated=at, version=old.version + 1, **fields)
        self._put([PutRecord(self._with_vector(record, vector, at), old, b"", vector)])

    def drop_vector(self, memory_id: str) -> None:
        self.update(memory_id, dimension=None, vector_at=None)

    def delete(self, memory_id: str) -> None:
        self.update(memory_id, status="deleted", dimension=None, vector_at=None, tags=())

    def nothing(self) -> None:
        """An entry that changes no memory."""
        self._put([])


class Inline:
    """Does a chore at once."""

    def submit(self, work: Callable[[], None], done: Done) -> None:
        work()
        done(None)


class Manual:
    """Does a chore when the test says so: first its work, later its end on the loop."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], None], Done]] = []

    def submit(self, work: Callable[[], None], done: Done) -> None:
        self.waiting.append((work, done))

    def work(self) -> Done:
        work, done = self.waiting.pop(0)
        work()
        return done


class Threaded:
    """Does chores on its own thread; `pump` reports finished ones on the caller's."""

    def __init__(self) -> None:
        self._work: queue.Queue[tuple[Callable[[], None], Done] | None] = queue.Queue()
        self._done: queue.Queue[Done] = queue.Queue()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.finished = 0

    def submit(self, work: Callable[[], None], done: Done) -> None:
        self._work.put((work, done))

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            item[0]()
            self._done.put(item[1])

    def pump(self) -> None:
        while not self._done.empty():
            self._done.get()(None)
            self.finished += 1

    def close(self) -> None:
        self._work.put(None)
        self._thread.join()
