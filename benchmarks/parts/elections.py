"""Full load for a while, and how often the term rose: no replica died, so each rise was an election for nothing.

Two loads of 64 clients run at once on the same cores, one that ADDs and one that reads, over all three replicas. The
full form takes ten minutes, in which snapshots are taken as well.
"""

from typing import Final

from benchmarks import raftmem_group, wrk
from benchmarks.bench import Bench
from benchmarks.measures import Sample
from benchmarks.parts.reads import query
from benchmarks.systems import RAFTMEM

LOADED: Final = "full load"
CLIENTS: Final = 64
SECONDS: Final = 600
SECONDS_SHORT: Final = 15


def elections(bench: Bench) -> None:
    bench.refresh()
    seconds = SECONDS if bench.options.is_full else SECONDS_SHORT
    adds = bench.file("raftmem-add", raftmem_group.add_requests)
    gets = bench.file("raftmem-get-lease", lambda: raftmem_group.get_requests(query("lease", index=0)))
    group = bench.raftmem
    bench.say(f"{seconds} s of ADDs and GETs by {CLIENTS} clients each")

    def run() -> Sample:
        before = group.term
        with wrk.running(group.urls, gets, clients=CLIENTS, seconds=seconds) as reading:
            written = wrk.run(group.urls, adds, clients=CLIENTS, seconds=seconds)
            read = wrk.parse(reading.communicate()[0])
        return Sample(
            operations=written.requests + read.requests,
            seconds=written.seconds,
            p50_ms=written.p50_ms,
            p99_ms=written.p99_ms,
            p999_ms=written.p999_ms,
            worst_ms=written.worst_ms,
            errors=written.errors + read.errors,
            more={
                "elections": group.term - before,
                "adds_a_second": written.requests / written.seconds,
                "minutes": seconds / 60,
            },
        )

    bench.race(bench.point(LOADED, CLIENTS, "spread"), {RAFTMEM: run}, rounds=1)
