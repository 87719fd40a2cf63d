"""GETs of one among 10,000 memories at each level, beside etcd's linearizable and serializable range of one key."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from benchmarks import etcd_group, raftmem_group
from benchmarks.bench import Bench, Run
from benchmarks.measures import At
from benchmarks.systems import KEYS
from benchmarks.wrk import Request

GET: Final = "GET"
LEVELS: Final = ("lease", "linearizable", "session", "bounded", "eventual")
ETCD_LEVELS: Final = ("etcd linearizable", "etcd serializable")
STALENESS_MS: Final = 1000
ON_ALL: Final = 64


def query(level: str, *, index: int) -> str:
    """`index`: that of a session's last write. It is applied already, so no read waits for it."""
    more = {"session": f"&min_index={index}", "bounded": f"&max_staleness_ms={STALENESS_MS}"}
    return f"?consistency={level}{more.get(level, '')}"


def name(level: str) -> str:
    return f"raftmem {level}"


def gets(bench: Bench) -> None:
    """The short form asks at every level only on the leader and with 64 clients."""
    bench.refresh()
    if bench.options.is_full:
        for clients in (1, ON_ALL, 256):
            for at in ("leader", "spread"):
                bench.race(bench.point(GET, clients, at), _runs(bench, (*LEVELS, *ETCD_LEVELS), clients, at))
        return
    some = ("lease", "etcd linearizable")
    bench.race(bench.point(GET, 1, "leader"), _runs(bench, some, 1, "leader"), rounds=bench.fewer(2))
    once = (name("session"), name("bounded"))
    bench.race(bench.point(GET, ON_ALL, "leader"), _runs(bench, (*LEVELS, *ETCD_LEVELS), ON_ALL, "leader"), once=once)
    bench.race(bench.point(GET, ON_ALL, "spread"), _runs(bench, some, ON_ALL, "spread"))


def _runs(bench: Bench, levels: Sequence[str], clients: int, at: At) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for level in levels:
        if not level.startswith("etcd "):
            asked = query(level, index=bench.last_index)
            file = bench.file(f"raftmem-get-{level}", partial(raftmem_group.get_requests, asked))
            runs[name(level)] = bench.wrk_run(bench.raftmem, file, clients=clients, at=at)
        elif bench.etcd is not None:
            serializable = level == "etcd serializable"
            file = bench.file(f"range-{level}".replace(" ", "-"), partial(range_requests, serializable=serializable))
            runs[level] = bench.wrk_run(bench.etcd, file, clients=clients, at=at)
    return runs


def range_requests(*, serializable: bool) -> list[Request]:
    return etcd_group.range_requests(raftmem_group.some_keys(KEYS), serializable=serializable)
