"""Batches of 100 ADDs in one entry, until each of the three replicas has applied the last of them.

etcd's equivalent: a transaction of 100 puts, until each of the three nodes shows the last revision.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop

from benchmarks import etcd_group, raftmem_group
from benchmarks.bench import Bench, Run, roles
from benchmarks.connection import Connection, opened, request
from benchmarks.load import WARM_UP_S, Step, closed_loop
from benchmarks.measures import Sample
from benchmarks.systems import KEYS, RAFTMEM, System, encoded, values

BATCH: Final = "batch of 100"
SIZE: Final = 100
CLIENTS: Final = 16
BODIES: Final = 32
APPLIED_WAIT_MS: Final = 30_000
_INDEX: Final = re.compile(rb'"index":(\d+)')
_REVISION: Final = re.compile(rb'"revision":"(\d+)"')
# Until what was acknowledged with that number is there, on the replica of that connection.
Applied = Callable[[Connection, int], Awaitable[None]]


def batches(bench: Bench) -> None:
    bench.refresh()
    texts = values(SIZE)
    ours = [raftmem_group.batch_body(texts[turn:] + texts[:turn]) for turn in range(BODIES)]
    theirs = etcd_bodies(SIZE)
    for work, at in ((BATCH, "leader"), (f"{BATCH}, sent to all", "spread")):
        if at == "spread" and not bench.options.is_full:
            continue
        sent = [request("POST", "/v1/events", body) for body in ours]
        runs = {RAFTMEM: _run(bench, bench.raftmem, sent, _INDEX, raftmem_applied, at)}
        if bench.etcd is not None:
            sent = [request("POST", "/v3/kv/txn", body) for body in theirs]
            runs["etcd"] = _run(bench, bench.etcd, sent, _REVISION, etcd_applied, at)
        bench.race(bench.point(work, CLIENTS, "all", "events"), runs)


def etcd_bodies(size: int) -> list[str]:
    texts = [encoded(text) for text in values()]
    puts = [[((turn * size + n) % KEYS, texts[(turn + n) % len(texts)]) for n in range(size)] for turn in range(BODIES)]
    return [etcd_group.puts_body(one) for one in puts]


def _run(
    bench: Bench, system: System, sent: list[bytes], number: "re.Pattern[bytes]", applied: Applied, at: str
) -> Run:
    async def measure() -> Sample:
        last = 0

        def client(connection: Connection, at: int) -> Step:
            async def step() -> bool:
                nonlocal at, last
                at = (at + 1) % len(sent)
                reply = await connection.ask(sent[at])
                found = number.search(reply.body)
                if not reply.is_ok or found is None:
                    return False
                last = max(last, int(found[1]))
                return True

            return step

        async def settle() -> None:
            async with opened(system.urls, len(system.urls)) as watchers:
                for watcher in watchers:
                    await applied(watcher, last)

        urls = system.urls[:1] if at == "leader" else system.urls
        async with opened(urls, CLIENTS) as connections:
            steps = [client(connection, place) for place, connection in enumerate(connections)]
            return await closed_loop(
                steps,
                seconds=bench.options.seconds,
                pids=roles(system),
                warm_up_s=WARM_UP_S,
                each=SIZE,
                settle=settle,
            )

    return lambda: uvloop.run(measure())


async def raftmem_applied(connection: Connection, index: int) -> None:
    """The replica answers a session's read once it has applied the index."""
    query = f"?consistency=session&min_index={index}&timeout_ms={APPLIED_WAIT_MS}"
    reply = await connection.ask(request("GET", f"/v1/memories/{raftmem_group.key(0)}{query}"))
    assert reply.is_ok, reply.body[:300]


async def etcd_applied(connection: Connection, revision: int) -> None:
    """The node is asked for what it has itself until it has that."""
    look = request("POST", "/v3/kv/range", etcd_group.range_body(0, serializable=True))
    while True:
        found = _REVISION.search((await connection.ask(look)).body)
        if found is not None and int(found[1]) >= revision:
            return
