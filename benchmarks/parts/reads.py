"""GETs of one among 10,000 memories at each level, beside etcd's linearizable and serializable range of one key."""

from typing import Final

from benchmarks import etcd_group, raftmem_group
from benchmarks.bench import Bench, Run
from benchmarks.measures import At
from benchmarks.systems import KEYS

GET: Final = "GET"
LEVELS: Final = ("lease", "linearizable", "session", "bounded", "eventual")
STALENESS_MS: Final = 1000
ON_ALL: Final = 64


def query(level: str, *, index: int) -> str:
    """`index`: what a session has written; it is there, so nobody waits for it."""
    more = {"session": f"&min_index={index}", "bounded": f"&max_staleness_ms={STALENESS_MS}"}
    return f"?consistency={level}{more.get(level, '')}"


def name(level: str) -> str:
    return f"raftmem {level}"


def gets(bench: Bench) -> None:
    bench.refresh()
    for clients in (1, ON_ALL, 256) if bench.options.is_full else (1, ON_ALL):
        everything = clients == ON_ALL or bench.options.is_full
        levels = LEVELS if everything else ("lease",)
        bench.race(bench.point(GET, clients, "leader"), _runs(bench, levels, clients, "leader"))
        if everything:
            spread = LEVELS if bench.options.is_full else ("lease", "eventual")
            bench.race(bench.point(GET, clients, "spread"), _runs(bench, spread, clients, "spread"))


def _runs(bench: Bench, levels: tuple[str, ...], clients: int, at: At) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for level in levels:
        system, asked = bench.raftmem, query(level, index=bench.last_index)
        file = bench.file(f"raftmem-get-{level}", lambda asked=asked: raftmem_group.get_requests(asked))
        runs[name(level)] = bench.wrk_run(system, file, clients=clients, at=at)
    if bench.etcd is not None:
        for level in ("linearizable", "serializable"):
            numbers, serializable = raftmem_group.some_keys(KEYS), level == "serializable"
            file = bench.file(
                f"etcd-range-{level}",
                lambda numbers=numbers, it=serializable: etcd_group.range_requests(numbers, serializable=it),
            )
            runs[f"etcd {level}"] = bench.wrk_run(bench.etcd, file, clients=clients, at=at)
    return runs
