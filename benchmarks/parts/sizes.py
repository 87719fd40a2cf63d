"""Throughput with 10,000, 100,000 and 1,000,000 memories of 1 KB, and their cost in memory and on disk.

There is a group for each size. All groups run at the same time and are measured in turns: figures that were taken
minutes apart would say more of the machine than of the size. ADDs make a group grow a little while they are measured.
"""

from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks import raftmem_group
from benchmarks.bench import Bench, Run
from benchmarks.measures import Point, Sample
from benchmarks.parts.reads import GET, query
from benchmarks.parts.writes import ADD
from benchmarks.processes import disk_bytes, resident_mb
from benchmarks.raftmem_group import RaftmemGroup
from benchmarks.raftmem_group import raftmem_group as start_raftmem
from benchmarks.systems import RAFTMEM

STORED: Final = "stored"
SIZES: Final = (10_000, 100_000, 1_000_000)
SIZES_SHORT: Final = (10_000, 100_000)
TEXT_BYTES: Final = 1000
BATCH: Final = 400  # of 1 KB, within the bytes of one request
STEP: Final = 100_000
CLIENTS: Final = 64
ALLOWED_FACTOR: Final = 1.2
ALLOWED_MB: Final = 300


def sizes(bench: Bench) -> None:
    with ExitStack() as stack:
        groups: dict[int, RaftmemGroup] = {}
        for size in SIZES if bench.options.is_full else SIZES_SHORT:
            folder = stack.enter_context(bench.scratch(f"size-{size}"))
            groups[size] = stack.enter_context(start_raftmem(folder))
            for start in range(0, size, STEP):
                bench.say(f"storing {size:,} memories of 1 KB: {start:,} so far")
                stop = min(start + STEP, size)
                raftmem_group.store(groups[size], start, stop, size=TEXT_BYTES, batch=BATCH)
        _race(bench, GET, groups)
        for size, group in groups.items():
            point = bench.point(STORED, size, "all", counted="memories")
            point.samples[RAFTMEM] = [_held(group, node, size, number) for number, node in enumerate(group.pids)]
        _race(bench, ADD, groups)


def _race(bench: Bench, work: str, groups: dict[int, RaftmemGroup]) -> None:
    """Into a point for each size, so that they can be told apart."""
    for group in groups.values():
        group.settle()
    points = {size: bench.point(f"{work}, size", size, "leader", counted="memories") for size in groups}
    runs: dict[str, Run] = {}
    for size, group in groups.items():
        if work == GET:
            requests = partial(raftmem_group.get_requests, query("lease", index=0), among=size)
            file = bench.file(f"get-{size}", requests)
        else:
            file = bench.file("raftmem-add", raftmem_group.add_requests)
        runs[str(size)] = bench.wrk_run(group, file, clients=CLIENTS, at="leader")
    race = Point(work=f"{work}, sizes in turns", clients=CLIENTS, at="leader")
    bench.race(race, runs)
    for size, point in points.items():
        point.samples[RAFTMEM] = race.samples.pop(str(size), [])


def _held(group: RaftmemGroup, node: str, size: int, number: int) -> Sample:
    """`of_allowed`: of 1.2 times the bytes of the memories and 300 MB, what the process holds that is no page cache;
    `with_cache_of_allowed`: what it holds altogether.

    Each replica stands as a round.
    """
    memory = resident_mb(group.pids[node])
    allowed = ALLOWED_FACTOR * size * TEXT_BYTES / 1e6 + ALLOWED_MB
    disk = disk_bytes(group.folder / node)
    more = {
        **memory,
        "of_allowed": memory["anonymous_mb"] / allowed,
        "with_cache_of_allowed": (memory["anonymous_mb"] + memory["file_mb"]) / allowed,
        "disk_bytes_a_memory": disk / size,
    }
    return Sample(operations=0, seconds=0, more=more, round=number)
