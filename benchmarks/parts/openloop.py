"""Arrivals at random times at half of what each system can do; latency counts from the time that was meant.

A closed loop cannot show this. There a client waits for its answer before it asks again, so that a stall is counted
once, and not by all requests that would have arrived meanwhile.
"""

from collections.abc import Sequence
from typing import Final

import uvloop

from benchmarks import etcd_group, raftmem_group, wrk
from benchmarks.bench import Bench, Run, roles
from benchmarks.connection import opened, request
from benchmarks.load import arrivals, open_loop
from benchmarks.measures import Sample, spread
from benchmarks.parts.reads import GET, query
from benchmarks.parts.writes import ADD
from benchmarks.systems import KEYS, RAFTMEM, System

FULL: Final = 64  # clients of the closed loop whose half is taken
CONNECTIONS: Final = 128
SHARE: Final = 0.5


def open_loops(bench: Bench) -> None:
    bench.refresh()
    ours, theirs = raftmem_group.add_requests(), etcd_group.put_requests()
    runs = {RAFTMEM: _run(bench, bench.raftmem, ADD, RAFTMEM, ours)}
    if bench.etcd is not None:
        runs["etcd"] = _run(bench, bench.etcd, ADD, "etcd", theirs)
    bench.race(
        bench.point(f"{ADD}, open loop at half load", CONNECTIONS, "leader", compared="p99_ms"),
        runs,
        rounds=bench.fewer(2),
    )
    ours = raftmem_group.get_requests(query("lease", index=0))
    theirs = etcd_group.range_requests(raftmem_group.some_keys(KEYS), serializable=False)
    runs = {"raftmem lease": _run(bench, bench.raftmem, GET, "raftmem lease", ours)}
    if bench.etcd is not None:
        runs["etcd linearizable"] = _run(bench, bench.etcd, GET, "etcd linearizable", theirs)
    bench.race(
        bench.point(f"{GET}, open loop at half load", CONNECTIONS, "leader", compared="p99_ms"),
        runs,
        rounds=bench.fewer(2),
    )


def _run(bench: Bench, system: System, work: str, name: str, requests: Sequence[wrk.Request]) -> Run:
    sent = [request(one.method, one.path, one.body) for one in requests]

    async def measure(rate: float) -> Sample:
        async with opened(system.urls[:1], CONNECTIONS) as connections:
            plan = arrivals(rate, bench.options.seconds, seed=2)
            return await open_loop(connections, sent, plan, pids=roles(system))

    def run() -> Sample:
        return uvloop.run(measure(_full(bench, system, work, name, requests) * SHARE))

    return run


def _full(bench: Bench, system: System, work: str, name: str, requests: Sequence[wrk.Request]) -> float:
    """Of a closed loop in this run; measured now if it was not."""
    point = bench.point(work, FULL, "leader")
    if name not in point.samples:
        file = bench.file(f"{name} {work}", lambda: requests)
        point.samples[name] = [bench.wrk_run(system, file, clients=FULL, at="leader")()]
    found = spread(point.values(name, "per_second"))
    assert found is not None
    return found.middle
