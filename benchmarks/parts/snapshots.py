"""Snapshots beside a running replica: how long a copy and an install take, and how long they hold the loop up.

The machine fills a state on disk. Then a loop writes all the time and wakes every millisecond. Meanwhile a snapshot is
taken, received by a second replica, prepared there and installed. The figures are the seconds of each, and the longest
time by which a timer of the loop came late. At the end the vector index is made from the state alone, and from a saved
index.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import uvloop

from benchmarks.bench import Bench
from benchmarks.measures import Sample
from benchmarks.systems import RAFTMEM
from benchmarks.vector_world import DIMENSION
from raftmem.errors import Stop
from raftmem.model import codec
from raftmem.model.commands import Actor, Add, Content, Draft, Fields, Header, Member, Members
from raftmem.node import GC_THRESHOLDS, SWITCH_SECONDS
from raftmem.replica.apply_loop import Replica
from raftmem.replica.snapshot_keeper import SnapshotKeeper
from raftmem.runtime.system import AsyncioLoop, SystemClock, ThreadExecutor
from raftmem.storage.folder import Folder, open_folder
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.store import FileSnapshotStore
from raftmem.storage.state.contract import StateReader
from raftmem.storage.state.store import LmdbStateStore
from raftmem.storage.vectors.contract import VectorIndex
from raftmem.storage.vectors.index import FaissVectorIndex

CLUSTER: Final = "00be4c40"
TEXT_BYTES: Final = 1000
GROUP: Final = 500
CHUNK_BYTES: Final = 1 << 20
STATE_MB: Final = 200
STATE_MB_SHORT: Final = 60
VECTORS: Final = 50_000
VECTORS_SHORT: Final = 5000
RANDOM = np.random.default_rng(1)
T = TypeVar("T")


def entry(index: int, dimension: int) -> LogEntry:
    operation = Add(f"memory-{index}", Fields(app_id="bench", tags=(f"t{index % 16}",)))
    text = f"{index} " + "x" * TEXT_BYTES
    embedding = RANDOM.standard_normal(dimension, dtype=np.float32).tobytes() if dimension else None
    content = Content(text=text) if embedding is None else Content(text=text, embedding=embedding)
    draft = Draft(Header(Actor("agent", "bench"), f"r{index}", (operation,)), (content,))
    return LogEntry(index, 1, codec.seal(codec.encode_draft(draft, os.urandom), time=index, wall_ms=index))


def fail(error: Stop) -> None:
    raise SystemExit(str(error))


class Stores:
    """One replica in a folder, without consensus and HTTP."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.folder: Folder = open_folder(folder, node_id="n1", cluster_id=CLUSTER, folder_id="00" * 8, bootstrap=True)
        self.executor = ThreadExecutor("snapshots", loop)
        self.chores = ThreadExecutor("vectors", loop)
        snapshots = self.folder.snapshots_path
        self.state = LmdbStateStore(self.folder.state_path, mark=self.folder.state_mark(), snapshots=snapshots)
        self.replica = Replica(self.state, self.index(self.state.read()))
        self.store = FileSnapshotStore(snapshots, self.state)
        self.keeper = SnapshotKeeper(
            store=self.store,
            replica=self.replica,
            executor=self.executor,
            loop=AsyncioLoop(loop),
            clock=SystemClock(),
            members_at=lambda _index: self.members,
            holds=lambda _meta: True,
            vectors=self.index,
            on_failed=fail,
        )
        voter = Member("n1", "127.0.0.1:9101", "http://127.0.0.1:8101", "00" * 8)
        self.members = LogEntry(1, 0, codec.membership(Members(CLUSTER, 1, (voter,), 1000, 500), time=0, wall_ms=0))

    def index(self, reader: StateReader) -> VectorIndex:
        snapshot: Callable[[], StateReader] = self.state.read_private
        return FaissVectorIndex.build(self.folder.vectors_path, reader, executor=self.chores, snapshot=snapshot)

    def entries(self, dimension: int) -> Iterator[LogEntry]:
        while True:
            yield entry(self.replica.applied + 1, dimension)

    def close(self) -> None:
        self.executor.close()
        self.chores.close()
        self.state.close(clean=True)
        self.folder.close()


class Gaps:
    """A timer every millisecond; `longest` is by how much the worst came late."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.perf_counter() - began - 0.001)

    def stop(self) -> None:
        self._task.cancel()


async def until_done(ask: Callable[[Callable[[T], None]], object]) -> T:
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    ask(future.set_result)
    return await future


def _some_time(done: Callable[[None], None]) -> None:
    asyncio.get_running_loop().call_later(2, done, None)


class Told(dict[str, float]):
    """The figures as they come."""

    async def of(self, what: str, ask: Callable[[Callable[[T], None]], object], writing: Replica) -> T:
        """While `writing` takes about 2,000 entries a second."""
        gaps, running = Gaps(), True

        async def write() -> None:
            while running:
                writing.apply([entry(writing.applied + 1, 0), entry(writing.applied + 2, 0)])
                await asyncio.sleep(0.001)

        writer = asyncio.ensure_future(write())
        began = time.perf_counter()
        result = await until_done(ask)
        self[f"{what}_s"] = time.perf_counter() - began
        running = False
        await writer
        gaps.stop()
        self[f"{what}_late_ms"] = gaps.longest * 1000
        return result


async def run(folder: Path, *, state_mb: int, vectors: int) -> Told:
    loop, told = asyncio.get_running_loop(), Told()
    one, other = Stores(folder / "one", loop), Stores(folder / "other", loop)
    one.replica.apply([one.members])
    while os.path.getsize(one.state.path) < state_mb << 20 or vectors > 0:
        batch = [entry(one.replica.applied + 1 + place, DIMENSION if place < vectors else 0) for place in range(GROUP)]
        vectors -= GROUP
        one.replica.apply(batch)
        await asyncio.sleep(0)
    await told.of("only_writes", _some_time, one.replica)
    meta = await told.of("take", one.keeper.take, one.replica)
    assert meta is not None
    told["snapshot_mb"] = meta.size / 1e6
    there = await until_done(partial(other.keeper.begin, meta))
    began = time.perf_counter()
    while there < meta.size:
        data = await until_done(partial(one.keeper.read, meta, there, CHUNK_BYTES))
        assert data is not None
        there = await until_done(partial(other.keeper.write, meta, there, data))
    told["send_s"] = time.perf_counter() - began
    assert await told.of("prepare", partial(other.keeper.prepare, meta), one.replica)
    gaps = Gaps()
    await asyncio.sleep(0)
    began = time.perf_counter()
    other.keeper.install(meta)
    told["install_ms"] = (time.perf_counter() - began) * 1000
    await asyncio.sleep(0.5)
    gaps.stop()
    told["install_late_ms"] = gaps.longest * 1000
    _compare_indexes(one, told)
    one.close()
    other.close()
    return told


def _compare_indexes(one: Stores, told: Told) -> None:
    reader = one.state.read()
    began = time.perf_counter()
    built = one.index(reader)
    told["index_from_state_s"] = time.perf_counter() - began
    began = time.perf_counter()
    built.save()
    told["index_save_s"] = time.perf_counter() - began
    told["index_mb"] = sum(path.stat().st_size for path in one.folder.vectors_path.iterdir()) / 1e6
    began = time.perf_counter()
    FaissVectorIndex.open(one.folder.vectors_path, reader, executor=one.chores, snapshot=one.state.read_private)
    told["index_load_s"] = time.perf_counter() - began


def snapshots(bench: Bench) -> None:
    """As a replica runs: its switch interval and its collector."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        vectors = VECTORS if bench.options.is_full else VECTORS_SHORT
        state_mb = STATE_MB if bench.options.is_full else STATE_MB_SHORT
        with bench.scratch("snapshots") as folder:
            told = uvloop.run(run(folder, state_mb=state_mb, vectors=vectors))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    point = bench.point("snapshot", state_mb, "one", counted="MB of state")
    point.samples[RAFTMEM] = [Sample(operations=0, seconds=0, more=told)]
