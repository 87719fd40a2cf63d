"""Nine reads for each write, as a group of agents works: reads of single memories, writes ten to a batch.

wrk reads over all three replicas as fast as it is answered, at the lease level (etcd: linearizable). Writes come at a
rate, a ninth of the reads that the last run had, in an open loop. Latencies are those of the reads; those of the
writes stand beside them.
"""

import time
from functools import partial
from pathlib import Path
from typing import Final

import uvloop

from benchmarks import raftmem_group, wrk
from benchmarks.bench import Bench, Run, roles
from benchmarks.connection import opened, request
from benchmarks.load import arrivals, open_loop
from benchmarks.measures import LOAD, Sample, per_operation
from benchmarks.parts.batches import etcd_bodies
from benchmarks.parts.reads import query, range_requests
from benchmarks.processes import cpu_seconds, since
from benchmarks.systems import RAFTMEM, System, values

MIXED: Final = "mixed 90/10"
CLIENTS: Final = 24  # that read; few, so that what is measured is not their queue
WRITERS: Final = 24
SIZE: Final = 10
READS_A_WRITE: Final = 9
FIRST_RATE: Final = 1000.0  # writes a second of the warm-up, from which the reads are first known


def mixed(bench: Bench) -> None:
    bench.refresh()
    texts = values(SIZE)
    ours = [request("POST", "/v1/events", raftmem_group.batch_body(texts))]
    file = bench.file("raftmem-get-lease", lambda: raftmem_group.get_requests(query("lease", index=0)))
    runs = {RAFTMEM: _run(bench, bench.raftmem, file, ours)}
    if bench.etcd is not None:
        theirs = [request("POST", "/v3/kv/txn", body) for body in etcd_bodies(SIZE)]
        file = bench.file("range-etcd-linearizable", partial(range_requests, serializable=False))
        runs["etcd"] = _run(bench, bench.etcd, file, theirs)
    bench.race(bench.point(MIXED, CLIENTS, "spread"), runs)


def _run(bench: Bench, system: System, reads: Path, writes: list[bytes]) -> Run:
    rate = 0.0

    async def write(seconds: float) -> Sample:
        async with opened(system.urls, WRITERS) as connections:
            plan = arrivals(rate / SIZE, seconds, seed=1)
            return await open_loop(connections, writes, plan, pids={}, each=SIZE)

    def once(seconds: int) -> Sample:
        nonlocal rate
        pids = roles(system)
        before, own = cpu_seconds(pids), time.process_time() + wrk.children_s()
        with wrk.running(system.urls, reads, clients=CLIENTS, seconds=seconds) as process:
            written = uvloop.run(write(seconds))
            read = wrk.parse(process.communicate()[0])
        used = {**since(before, cpu_seconds(pids)), LOAD: time.process_time() + wrk.children_s() - own}
        rate = read.requests / read.seconds / READS_A_WRITE
        operations = read.requests + written.operations
        return Sample(
            operations=operations,
            seconds=max(read.seconds, written.seconds),
            p50_ms=read.p50_ms,
            p99_ms=read.p99_ms,
            p999_ms=read.p999_ms,
            worst_ms=read.worst_ms,
            cpu=per_operation(used, operations),
            errors=read.errors + written.errors,
            more={
                "writes_percent": written.operations / operations * 100,
                "writes_p50_ms": written.p50_ms or 0.0,
                "writes_p99_ms": written.p99_ms or 0.0,
            },
        )

    def run() -> Sample:
        nonlocal rate
        if not rate:
            rate = FIRST_RATE
            once(1)
        return once(bench.options.seconds)

    return run
