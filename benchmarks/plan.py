"""The parts that are measured, in their order, and which of them the short form takes."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from benchmarks.bench import Bench
from benchmarks.parts import (
    batches,
    coordination,
    elections,
    failover,
    layers,
    mixed,
    openloop,
    reads,
    restarts,
    searches,
    sizes,
    snapshots,
    watching,
    writes,
)


class Part(NamedTuple):
    """`in_short`: also in the form of five minutes, there with fewer rounds or smaller data."""

    name: str
    says: str
    run: Callable[[Bench], None]
    in_short: bool = True


PARTS: Final = (
    Part("adds", "single ADDs beside etcd's puts and Redis' SET + WAIT", writes.adds),
    Part("gets", "GETs at each level beside etcd's range", reads.gets),
    Part("updates", "updates conditional on the version", writes.updates),
    Part("locks", "lock acquire and release, each client its own", coordination.locks),
    Part("tasks", "task claim and complete", coordination.tasks),
    Part("batches", "batches of 100 until all three replicas have applied them", batches.batches),
    Part("watches", "a hundred watchers: how soon they hear, what they cost", watching.watches),
    Part("searches", "top-10 among 10k and 100k vectors beside bare FAISS", searches.searches),
    Part("mixed", "nine reads for each write, writes ten to a batch", mixed.mixed),
    Part("openloop", "arrivals at half load, latency from the time that was meant", openloop.open_loops),
    Part("failover", "the longest time without a write after kill -9 of the leader", failover.failovers),
    Part("layers", "what each layer under a request costs by itself", layers.layers),
    Part("restarts", "seconds from start to ready with a long log", restarts.restarts),
    Part("sizes", "throughput, memory and disk with 10k, 100k and 1,000k memories", sizes.sizes, in_short=False),
    Part("handovers", "a contended lock from hand to hand", coordination.hand_overs, in_short=False),
    Part("snapshots", "taking and installing a snapshot beside writes", snapshots.snapshots, in_short=False),
    Part("httpsearch", "the same searches over HTTP", searches.http_searches, in_short=False),
    Part("elections", "elections for nothing under full load", elections.elections),
)


def chosen(names: Sequence[str], *, is_full: bool) -> list[Part]:
    """Those that were named, in the order of the plan; else those of the form."""
    if names:
        return [part for part in PARTS if part.name in names]
    return [part for part in PARTS if part.in_short or is_full]
