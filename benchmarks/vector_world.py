"""Vectors as a replica holds them, without HTTP and consensus, and the same rows in bare FAISS.

App n of a hundred has a hundredth of the rows, each of two users half of them.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import faiss
import numpy as np
from numpy.typing import NDArray

from raftmem.model.commands import Actor, Scope
from raftmem.model.records import Head, Position, PutRecord, Record, Result, Step
from raftmem.storage.state.contract import EventRow, Query
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.vectors.contract import VectorQuery
from raftmem.storage.vectors.index import FaissVectorIndex

DIMENSION: Final = 384
BATCH: Final = 100  # memories of one entry
TOP: Final = 10
Floats = NDArray[np.float32]
Among = NDArray[np.bool_]
# How many of the rows: the query that says so, and the same for bare FAISS by the number of the row.
SHARES: Final[dict[str, tuple[Query, Callable[[NDArray[np.int64]], Among] | None]]] = {
    "of all": (Query(), None),
    "50 %": (Query(scope=(("user_id", "even"),)), lambda numbers: numbers % 2 == 1),
    "1 %": (Query(scope=(("app_id", "app7"),)), lambda numbers: numbers % 100 == 7),
}


class Inline:
    """Chores at once; their time is measured apart."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        start = time.perf_counter()
        work()
        self.seconds += time.perf_counter() - start
        done(None)


def some_vectors(rows: int) -> Floats:
    return np.random.default_rng(1).standard_normal((rows, DIMENSION), dtype=np.float32)


def scope(number: int) -> tuple[str, str]:
    """App and user of a row."""
    return f"app{number % 100}", "even" if number % 2 else "odd"


def entry(index: int, start: int, vectors: list[bytes]) -> Step:
    changes = []
    for seq, vector in enumerate(vectors):
        number, at = start + seq, Position(index, seq)
        app, user = scope(number)
        record = Record(
            *(f"memory-{number}", 1, "active", at, at, Scope(app_id=app, user_id=user), "text", None, b"{}", b""),
            *(("tag",), Actor("agent", "a"), 0, 0),
            dimension=len(vector) // 4,
            vector_at=at,
        )
        changes.append(PutRecord(record, None, b"", vector))
    return Step(Result(), tuple(changes))


class Stored:
    """Rows applied as entries are. `apply_us`: what one costs the loop; `flush_s`: all chores beside it."""

    def __init__(self, vectors: Floats, folder: Path) -> None:
        self._store, executor = InMemoryStateStore(), Inline()
        self._executor = executor
        self.index = FaissVectorIndex(folder, executor=executor, snapshot=self._store.read_private)
        applying = 0.0
        for number, start in enumerate(range(0, len(vectors), BATCH), start=1):
            step = entry(number, start, [row.tobytes() for row in vectors[start : start + BATCH]])
            with self._store.write() as writer:
                writer.put(EventRow(number, 1, b"", step.result, b""), step, Head(number, 1, number, b""))
            begun = time.perf_counter()
            self.index.apply(number, [step])
            applying += time.perf_counter() - begun
        self.apply_us = (applying - executor.seconds) / len(vectors) * 1e6
        self.flush_s = executor.seconds
        self.reader = self._store.read()

    def search(self, probe: Floats, *, query: Query) -> object:
        """The whole cost of a request below HTTP: the work on the loop, and the search itself."""
        search = self.index.prepare(VectorQuery(probe.tobytes(), TOP, 0.0, query), self.reader)
        if not search.scan_now():
            search.scan()
        return search.hits(self.reader)

    def saved_and_opened(self, folder: Path) -> dict[str, float]:
        """Seconds to save the index, to open what was saved, and to make it again from the state."""
        snapshot, executor = self._store.read_private, self._executor
        begun = time.perf_counter()
        self.index.save()
        saved = time.perf_counter()
        FaissVectorIndex.open(folder, self.reader, executor=executor, snapshot=snapshot)
        opened = time.perf_counter()
        FaissVectorIndex.open(folder / "none", self.reader, executor=executor, snapshot=snapshot)
        return {"save_s": saved - begun, "open_s": opened - saved, "rebuild_s": time.perf_counter() - opened}


class Bare:
    """FAISS alone: a flat inner-product index of the same rows, chosen among by a bitmap, on one thread."""

    def __init__(self, vectors: Floats) -> None:
        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        self._rows = np.arange(len(vectors))

    def searching(self, share: str) -> Callable[[Floats], object]:
        among = SHARES[share][1]
        if among is None:
            return lambda probe: self._index.search(probe[None], TOP)
        bits = np.packbits(among(self._rows), bitorder="little")
        chosen = faiss.SearchParameters()
        chosen.sel = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))

        def search(probe: Floats, kept: object = bits) -> object:  # the selector does not keep its bits
            assert kept is not None
            return self._index.search(probe[None], TOP, params=chosen)

        return search
