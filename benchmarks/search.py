"""Vector search beside bare FAISS, and what one vector costs the event loop when it is applied.

    python benchmarks/search.py [--rows 10000 100000] [--dimension 384]

Prints CPU milliseconds for a top-10 and their ratio (medians of searches made in turn): without a filter, with scope
filters of 50 % and 1 %, and with a metadata filter of 50 %; bare FAISS (IndexFlatIP, a bitmap) does the same search
over the same rows without state, records or ties.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from raftmem.commands import Actor, Scope
from raftmem.filters import parse
from raftmem.records import Head, Position, PutRecord, Record, Result, Step
from raftmem.storage.contracts import EventRow, Hit, Query, StateReader, VectorQuery
from raftmem.storage.state import LmdbStateStore
from raftmem.storage.vectors import FaissVectorIndex

BATCH = 100  # memories of one entry


class Inline:
    """Chores at once; their time is measured apart."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        start = time.perf_counter()
        work()
        self.seconds += time.perf_counter() - start
        done(None)


def entry(index: int, start: int, vectors: list[bytes]) -> Step:
    changes = []
    for seq, vector in enumerate(vectors):
        number, at = start + seq, Position(index, seq)
        scope = Scope(app_id=f"app{number % 100}", user_id="even" if number % 2 else "odd")
        metadata = b'{"env":"prod"}' if number % 2 else b'{"env":"dev"}'
        record = Record(
            *(f"memory-{number}", 1, "active", at, at, scope, "text", None, metadata, b"", ("tag",)),
            *(Actor("agent", "a"), 0, 0),
            dimension=len(vector) // 4,
            vector_at=at,
        )
        changes.append(PutRecord(record, None, b"", vector))
    return Step(Result(), tuple(changes))


def medians_ms(repeats: int, *runs: Callable[[], object]) -> list[float]:
    """Of each, made in turn, so that all meet the same machine. CPU of this thread."""
    taken: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, times in zip(runs, taken, strict=True):
            start = time.thread_time()
            run()
            times.append(time.thread_time() - start)
    return [statistics.median(times) * 1e3 for times in taken]


def bare(vectors: np.ndarray) -> Callable[[np.ndarray], Callable[[], object]]:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    probe = np.ascontiguousarray(vectors[:1])

    def among(mask: np.ndarray) -> Callable[[], object]:
        bits = np.packbits(mask, bitorder="little")
        chosen = faiss.SearchParameters()
        selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        chosen.sel = selector
        return lambda: (index.search(probe, 10, params=chosen), bits, selector)

    return among


def find(index: FaissVectorIndex, query: VectorQuery, reader: StateReader) -> list[Hit]:
    """All of a search, on this thread."""
    search = index.prepare(query, reader)
    if not search.scan_now():
        search.scan()
    hits = search.hits(reader)
    return search.further()() if hits is None else hits


def measure(rows: int, dimension: int, folder: Path) -> None:
    vectors = np.random.default_rng(1).standard_normal((rows, dimension), dtype=np.float32)
    store, executor = LmdbStateStore(folder / "state"), Inline()
    index = FaissVectorIndex(folder, executor=executor, snapshot=store.read_private)
    applying = 0.0
    for number, start in enumerate(range(0, rows, BATCH), start=1):
        step = entry(number, start, [row.tobytes() for row in vectors[start : start + BATCH]])
        with store.write() as writer:
            writer.put(EventRow(number, 1, b"", step.result, b""), step, Head(number, 1, number, b""))
        begun = time.perf_counter()
        index.apply(number, [step])
        applying += time.perf_counter() - begun
    loop_us = (applying - executor.seconds) / rows * 1e6
    print(f"\n{rows} x {dimension}: apply {loop_us:.2f} us a vector on the loop, {executor.seconds:.2f} s in flushes")
    reader, numbers, faiss_among = store.read(), np.arange(rows), bare(vectors)
    odd = parse({"field": "metadata.env", "op": "eq", "value": "prod"}).matches
    cases = (
        ("no filter", Query(), numbers >= 0),
        ("scope 50 %", Query(scope=(("user_id", "even"),)), numbers % 2 == 1),
        ("scope 1 %", Query(scope=(("app_id", "app7"),)), numbers % 100 == 7),
        ("metadata 50 %", Query(accept=odd), numbers % 2 == 1),
    )
    for name, query, among in cases:
        asked = VectorQuery(vectors[0].tobytes(), 10, 0.0, query)
        repeats = 40 if rows > 50_000 else 200
        ours, beside = medians_ms(repeats, lambda asked=asked: find(index, asked, reader), faiss_among(among))
        print(f"  {name:14} {ours:7.3f} ms   bare FAISS {beside:7.3f} ms   ratio {ours / beside:.2f}")
    begun = time.perf_counter()
    index.save()
    saved = time.perf_counter()
    FaissVectorIndex.open(folder, reader, executor=executor, snapshot=store.read_private)
    opened = time.perf_counter()
    FaissVectorIndex.open(folder / "none", reader, executor=executor, snapshot=store.read_private)
    rebuilt = time.perf_counter()
    store.close(clean=False)
    print(f"  save {saved - begun:.2f} s, open {opened - saved:.2f} s, open by rebuild {rebuilt - opened:.2f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dimension", type=int, default=384)
    options = parser.parse_args()
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            measure(rows, options.dimension, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
