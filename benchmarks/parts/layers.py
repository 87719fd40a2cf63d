"""The cost of each layer under a request by itself: the codec, the log's commit, apply, and HTTP with next to no work.

The layers run in this process, on the same disk, with the code that a replica runs; HTTP is a GET that waits for
nothing. `at once` is how many entries one commit or one tick of apply takes: their shared cost is why throughput grows
with load.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench
from benchmarks.measures import Point, Sample, sample_of
from benchmarks.parts.reads import query
from benchmarks.parts.restarts import entry, first_entry
from benchmarks.raftmem_group import get_requests
from benchmarks.report import LAYER
from benchmarks.systems import RAFTMEM, values
from raftmem.model import codec
from raftmem.replica.apply_loop import Replica
from raftmem.storage.log.contract import Append, HardState, LogEntry
from raftmem.storage.log.store import SegmentLogStore
from raftmem.storage.state.store import LmdbStateStore
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex

TOGETHER: Final = (1, 16, 64)
ENTRIES: Final = 4096
SYNCS: Final = 200
SYNCED_BYTES: Final = 4096
HTTP_CLIENTS: Final = 64


def layers(bench: Bench) -> None:
    with bench.scratch("layers") as folder:
        _in_process(bench, folder)
    bench.say("layers: the codec, the log and apply are measured")
    file = bench.file("raftmem-get-eventual", lambda: get_requests(query("eventual", index=0)))
    run = bench.wrk_run(bench.raftmem, file, clients=HTTP_CLIENTS, at="leader")
    point = bench.point(f"{LAYER}HTTP and one read (GET eventual)", HTTP_CLIENTS, "leader", "requests")
    bench.race(point, {RAFTMEM: run})


def _in_process(bench: Bench, folder: Path) -> None:
    texts = values()
    entries = [entry(index, texts[index % len(texts)]) for index in range(2, ENTRIES + 2)]
    one = partial(_point, bench, together=1)
    one("encode an ADD").samples[RAFTMEM] = [_each(lambda at: entry(at + 2, texts[at % len(texts)]), ENTRIES)]
    one("decode an ADD").samples[RAFTMEM] = [_each(lambda at: codec.decode(entries[at].data), ENTRIES)]
    one("fdatasync of 4 KB").samples[RAFTMEM] = [_syncs(folder / "synced")]
    for together in TOGETHER:
        with _log(folder / f"log-{together}") as commit:
            point = _point(bench, "synced commit to the log", together)
            point.samples[RAFTMEM] = [_groups(commit, entries[: SYNCS * together], together)]
        with _replica(folder / f"state-{together}") as replica:
            point = _point(bench, "apply", together)
            point.samples[RAFTMEM] = [_groups(replica.apply, entries, together)]


def _point(bench: Bench, what: str, together: int) -> Point:
    return bench.point(f"{LAYER}{what}", together, "one", "entries", counted="at once")


def _each(work: Callable[[int], object], count: int) -> Sample:
    began, own = time.perf_counter(), time.process_time()
    for at in range(count):
        work(at)
    used, took = time.process_time() - own, time.perf_counter() - began
    return Sample(operations=count, seconds=took, cpu={"process": used / count * 1e6})


def _groups(work: Callable[[list[LogEntry]], object], entries: list[LogEntry], together: int) -> Sample:
    """Latency is that of a group, CPU that of an entry."""
    taken, began, own = list[float](), time.perf_counter(), time.process_time()
    for start in range(0, len(entries), together):
        at = time.perf_counter()
        work(entries[start : start + together])
        taken.append(time.perf_counter() - at)
    used, took = time.process_time() - own, time.perf_counter() - began
    return sample_of(taken, took=took, cpu={"process": used}, errors=0, each=together)


def _syncs(path: Path) -> Sample:
    """Appended, as a log is."""
    block, taken = b"\1" * SYNCED_BYTES, list[float]()
    began, own = time.perf_counter(), time.process_time()
    with path.open("ab", buffering=0) as file:
        for _ in range(SYNCS):
            at = time.perf_counter()
            file.write(block)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - at)
    used = time.process_time() - own
    return sample_of(taken, took=time.perf_counter() - began, cpu={"process": used}, errors=0)


@contextmanager
def _log(path: Path) -> Iterator[Callable[[list[LogEntry]], object]]:
    log = SegmentLogStore(path)
    log.commit([Append((first_entry(0),)), HardState(1, "n1")])
    try:
        yield lambda entries: log.commit([Append(tuple(entries))])
    finally:
        log.close()


@contextmanager
def _replica(path: Path) -> Iterator[Replica]:
    """Its state on disk, its vectors in memory: no ADD here has one."""
    state = LmdbStateStore(path)
    replica = Replica(state, InMemoryVectorIndex())
    replica.apply([first_entry(0)])
    try:
        yield replica
    finally:
        state.close(clean=True)
