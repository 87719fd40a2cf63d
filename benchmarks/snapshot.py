"""Snapshots beside a running replica: how long a copy and an install take, and how long the loop is held up by them.

    python benchmarks/snapshot.py [--state-mb 200] [--vectors 50000] [--dimension 384]

A state on disk is filled through the machine. Then, on a loop that writes all the time and wakes every millisecond: a
snapshot is taken, received by a second replica, prepared there and installed. Prints seconds, and the longest time by
which a timer of the loop came late. Last: the vector index from the state alone, and from a saved one.
"""

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import uvloop

from raftmem import codec
from raftmem.clock import SystemClock
from raftmem.commands import Actor, Add, Content, Draft, Fields, Header, Member, Members
from raftmem.errors import Stop
from raftmem.node import GC_THRESHOLDS, SWITCH_SECONDS
from raftmem.replica import Replica
from raftmem.runtime import AsyncioLoop, ThreadExecutor
from raftmem.snapshots import SnapshotKeeper
from raftmem.storage.contracts import LogEntry, StateReader, VectorIndex
from raftmem.storage.folder import Folder, open_folder
from raftmem.storage.snapshot import FileSnapshotStore
from raftmem.storage.state import LmdbStateStore
from raftmem.storage.vectors import FaissVectorIndex

CLUSTER = "00be4c40"
TEXT_BYTES = 1000
GROUP = 500
CHUNK_BYTES = 1 << 20
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


class Bench:
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


async def later(done: Callable[[None], None]) -> None:
    await asyncio.sleep(2)
    done(None)


async def measured(what: str, ask: Callable[[Callable[[T], None]], object], writing: Replica | None) -> T:
    """While `writing` takes about 2,000 entries a second."""
    gaps, running = Gaps(), True

    async def write() -> None:
        while running and writing is not None:
            writing.apply([entry(writing.applied + 1, 0), entry(writing.applied + 2, 0)])
            await asyncio.sleep(0.001)

    writer = asyncio.ensure_future(write())
    began = time.perf_counter()
    result = await until_done(ask)
    took = time.perf_counter() - began
    running = False
    await writer
    gaps.stop()
    print(f"{what}: {took:.2f} s, the loop at most {gaps.longest * 1000:.1f} ms late")
    return result


async def run(folder: Path, arguments: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    one, other = Bench(folder / "one", loop), Bench(folder / "other", loop)
    one.replica.apply([one.members])
    began, vectors = time.perf_counter(), arguments.vectors
    while os.path.getsize(one.state.path) < arguments.state_mb << 20 or vectors > 0:
        batch = [
            entry(one.replica.applied + 1 + place, arguments.dimension if place < vectors else 0)
            for place in range(GROUP)
        ]
        vectors -= GROUP
        one.replica.apply(batch)
        await asyncio.sleep(0)
    size = os.path.getsize(one.state.path) >> 20
    print(f"{one.replica.applied} entries, a state of {size} MB, made in {time.perf_counter() - began:.0f} s")
    await measured("nothing but writes", lambda done: asyncio.ensure_future(later(done)), one.replica)
    meta = await measured("take", one.keeper.take, one.replica)
    assert meta is not None
    there = await until_done(partial(other.keeper.begin, meta))
    began = time.perf_counter()
    while there < meta.size:
        data = await until_done(partial(one.keeper.read, meta, there, CHUNK_BYTES))
        assert data is not None
        there = await until_done(partial(other.keeper.write, meta, there, data))
    print(f"send {meta.size >> 20} MB: {time.perf_counter() - began:.2f} s")
    assert await measured("prepare (check, copy, vectors)", partial(other.keeper.prepare, meta), one.replica)
    gaps = Gaps()
    await asyncio.sleep(0)
    began = time.perf_counter()
    other.keeper.install(meta)
    took = time.perf_counter() - began
    await asyncio.sleep(0.5)
    gaps.stop()
    print(f"install: {took * 1000:.2f} ms on the loop; with what it lets go, {gaps.longest * 1000:.1f} ms late")
    compare_indexes(one)
    one.close()
    other.close()


def compare_indexes(one: Bench) -> None:
    reader = one.state.read()
    began = time.perf_counter()
    built = one.index(reader)
    print(f"vector index from the state: {time.perf_counter() - began:.2f} s")
    began = time.perf_counter()
    built.save()
    took = time.perf_counter() - began
    size = sum(path.stat().st_size for path in one.folder.vectors_path.iterdir()) >> 20
    began = time.perf_counter()
    FaissVectorIndex.open(one.folder.vectors_path, reader, executor=one.chores, snapshot=one.state.read_private)
    loaded = time.perf_counter() - began
    print(f"vector index saved: {took:.2f} s, {size} MB more to ship, {loaded:.2f} s to load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--state-mb", type=int, default=60)
    parser.add_argument("--vectors", type=int, default=5000)
    parser.add_argument("--dimension", type=int, default=384)
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with tempfile.TemporaryDirectory(prefix="raftmem-bench-") as name:
        uvloop.run(run(Path(name), arguments))


if __name__ == "__main__":
    main()
