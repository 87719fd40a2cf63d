"""kill -9 of the leader while twelve clients write: the longest time in which no write succeeded.

A client that fails or waits for more than a second goes on with the next replica after a moment, as a client library
does. The killed one is started again before the next kill.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import uvloop

from benchmarks import etcd_group, raftmem_group
from benchmarks.bench import Bench, Run
from benchmarks.connection import Connection, request
from benchmarks.etcd_group import EtcdGroup
from benchmarks.measures import Sample
from benchmarks.raftmem_group import RaftmemGroup
from benchmarks.systems import RAFTMEM

FAILOVER: Final = "failover"
CLIENTS: Final = 12
BEFORE_S: Final = 1.0
AFTER_S: Final = 1.5  # of writing after the first success: a second gap counts as well
GIVE_UP_S: Final = 30.0
PATIENCE_S: Final = 1.0
PAUSE_S: Final = 0.02
KILLS: Final = 30
KILLS_SHORT: Final = 3


def failovers(bench: Bench) -> None:
    runs: dict[str, Run] = {RAFTMEM: _raftmem(bench.raftmem)}
    if bench.etcd is not None:
        runs["etcd"] = _etcd(bench.etcd)
    kills = KILLS if bench.options.is_full else KILLS_SHORT
    bench.race(bench.point(FAILOVER, CLIENTS, "spread", "writes", compared="gap_s"), runs, rounds=kills)
    bench.refresh()


def longest_gap(successes: Sequence[float], killed: float) -> float:
    """Between two times that follow each other, the second after the kill. Raises: ValueError if there is none."""
    return max(later - earlier for earlier, later in pairwise(sorted(successes)) if later > killed)


def _raftmem(group: RaftmemGroup) -> Run:
    requests = [request(one.method, one.path, one.body) for one in raftmem_group.add_requests()]

    def run() -> Sample:
        group.settle()
        victim = group.pids[group.leader]
        return uvloop.run(_measure(group.urls, requests, lambda: os.kill(victim, signal.SIGKILL)))

    return run


def _etcd(group: EtcdGroup) -> Run:
    requests = [request(one.method, one.path, one.body) for one in etcd_group.put_requests(keys=1000)]

    def run() -> Sample:
        etcd_group.settle(group)
        victim = group.leader
        try:
            return uvloop.run(_measure(group.urls, requests, lambda: group.kill(victim)))
        finally:
            group.start(victim)
            etcd_group.settle(group)

    return run


async def _measure(urls: Sequence[str], requests: Sequence[bytes], kill: Callable[[], None]) -> Sample:
    successes: list[float] = []
    errors, asked_last = 0, 0.0  # when the latest of those that have succeeded was sent
    is_over = False

    async def client(number: int) -> None:
        nonlocal errors, asked_last
        place, at = number, number
        while not is_over:
            try:
                connection = await Connection.open(urls[place % len(urls)])
            except OSError:
                errors += 1
                place += 1
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                while not is_over:
                    at = (at + 1) % len(requests)
                    sent = time.perf_counter()
                    if not (await asyncio.wait_for(connection.ask(requests[at]), PATIENCE_S)).is_ok:
                        break
                    successes.append(time.perf_counter())
                    asked_last = max(asked_last, sent)
            except (OSError, TimeoutError):
                errors += 1
            connection.close()
            place += 1
            await asyncio.sleep(PAUSE_S)

    began = time.perf_counter()
    clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
    await asyncio.sleep(BEFORE_S)
    killed = time.perf_counter()
    kill()
    while asked_last <= killed:  # what was sent before may have been committed by the dead leader
        await asyncio.sleep(0.005)
        if time.perf_counter() > killed + GIVE_UP_S:
            break
    await asyncio.sleep(AFTER_S)
    is_over = True
    await asyncio.wait(clients, timeout=PATIENCE_S * 2)
    return Sample(
        operations=len(successes),
        seconds=time.perf_counter() - began,
        errors=errors,
        more={"gap_s": longest_gap(successes, killed)},
    )
