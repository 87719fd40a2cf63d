"""Pairs that belong together: a lock acquired and released, a task claimed and completed.

etcd's equivalent of the first: a lease granted, the key put with that lease if it is not there, the key deleted.
"""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Final

import msgspec
import uvloop

from benchmarks.bench import Bench, Run, roles
from benchmarks.connection import Connection, opened, request
from benchmarks.etcd_group import LEASE_S
from benchmarks.load import Step
from benchmarks.measures import Sample, sample_of
from benchmarks.parts.stepping import places, stepping
from benchmarks.processes import cpu_seconds, since
from benchmarks.raftmem_group import RaftmemGroup
from benchmarks.systems import RAFTMEM, ask_json, encoded

LOCK: Final = "lock acquire + release"
HAND_OVER: Final = "lock hand-over"
TASK: Final = "task claim + complete"
CLIENTS: Final = 64
WAITERS: Final = 50
TXN_MAX: Final = 128  # operations of one transaction
TASKS_A_SECOND: Final = 6000  # more than are ever claimed: a queue that runs dry is an error
_TOKEN: Final = re.compile(rb'"token":(\d+)')
_LEASE: Final = re.compile(rb'"ID":"(\d+)"')
_TASK: Final = re.compile(rb'"tasks":\[\{"id":"([^"]+)"')


def locks(bench: Bench) -> None:
    """Every client has a lock of its own."""
    bench.refresh()
    for clients in (1, CLIENTS) if bench.options.is_full else (CLIENTS,):
        for at in places(bench):
            runs: dict[str, Run] = {RAFTMEM: stepping(bench, bench.raftmem, _lock, clients, at)}
            if bench.etcd is not None:
                runs["etcd"] = stepping(bench, bench.etcd, _leased_key, clients, at)
            bench.race(bench.point(LOCK, clients, at, "pairs"), runs)


def _lock(connection: Connection, number: int) -> Step:
    path, owner = f"/v1/locks/bench/{number}", f"bench-{number}"
    acquire = request("POST", f"{path}/acquire", msgspec.json.encode({"owner": owner, "ttl_ms": 10_000}))

    async def step() -> bool:
        grant = await connection.ask(acquire)
        found = _TOKEN.search(grant.body)
        if not grant.is_ok or found is None:
            return False
        body = f'{{"owner":"{owner}","token":{found[1].decode()}}}'
        return (await connection.ask(request("POST", f"{path}/release", body))).is_ok

    return step


def _leased_key(connection: Connection, number: int) -> Step:
    name = encoded(f"lock/{number}")
    grant = request("POST", "/v3/lease/grant", f'{{"TTL":{LEASE_S}}}')
    delete = request("POST", "/v3/kv/deleterange", f'{{"key":"{name}"}}')

    async def step() -> bool:
        lease = await connection.ask(grant)
        found = _LEASE.search(lease.body)
        if not lease.is_ok or found is None:
            return False
        body = (
            f'{{"compare":[{{"key":"{name}","target":"CREATE","create_revision":"0"}}],"success":[{{"requestPut":'
            f'{{"key":"{name}","value":"{name}","lease":"{found[1].decode()}"}}}}]}}'
        )
        taken = await connection.ask(request("POST", "/v3/kv/txn", body))
        given = await connection.ask(delete)
        return b'"succeeded":true' in taken.body and b'"deleted":"1"' in given.body

    return step


def tasks(bench: Bench) -> None:
    """One task at a time for each client, from one queue that was filled before."""
    bench.refresh()
    clients = CLIENTS
    for at in places(bench):
        measure = stepping(bench, bench.raftmem, _worker, clients, at)
        filled = _after(lambda: _fill(bench.raftmem, TASKS_A_SECOND // 2 * (bench.options.seconds + 1)), measure)
        bench.race(bench.point(TASK, clients, at, "pairs"), {RAFTMEM: filled}, rounds=bench.fewer(2))


def _after(first: Callable[[], None], then: Run) -> Run:
    def run() -> Sample:
        first()
        return then()

    return run


def _fill(group: RaftmemGroup, wanted: int) -> None:
    """So many tasks more, in whole transactions."""
    for _ in range(wanted // TXN_MAX):
        task = {"op": "TASK_ADD", "queue": "bench", "payload": {"text": "x" * 200}}
        ask_json(f"{group.urls[0]}/v1/txn", {"then": [task] * TXN_MAX})


def _worker(connection: Connection, number: int) -> Step:
    body = msgspec.json.encode({"queues": ["bench"], "worker": f"w-{number}", "ttl_ms": 60_000})
    claim = request("POST", "/v1/tasks/claim", body)

    async def step() -> bool:
        claimed = await connection.ask(claim)
        task, token = _TASK.search(claimed.body), _TOKEN.search(claimed.body)
        if not claimed.is_ok or task is None or token is None:
            return False
        done = f'{{"token":{token[1].decode()},"result":"done"}}'
        completed = await connection.ask(request("POST", f"/v1/tasks/{task[1].decode()}/complete", done))
        return completed.is_ok

    return step


def hand_overs(bench: Bench) -> None:
    """Fifty wait for one lock and hold it for no time: from the release being sent to the next holder hearing of it."""
    bench.refresh()
    run = _hand_over(bench, bench.raftmem)
    bench.race(bench.point(HAND_OVER, WAITERS, "leader", "hand-overs"), {RAFTMEM: run})


def _hand_over(bench: Bench, group: RaftmemGroup) -> Run:
    async def measure() -> Sample:
        seconds, released = bench.options.seconds, 0.0
        taken: list[float] = []
        errors = 0
        began = time.perf_counter()

        async def client(connection: Connection, number: int) -> None:
            nonlocal released, errors
            wanted = {"owner": f"waiter-{number}", "ttl_ms": 10_000, "wait_ms": 60_000}
            acquire = request("POST", "/v1/locks/contended/acquire", msgspec.json.encode(wanted))
            while time.perf_counter() < began + seconds:
                grant = await connection.ask(acquire)
                found = _TOKEN.search(grant.body)
                if not grant.is_ok or found is None:
                    errors += 1
                    return
                if released:
                    taken.append(time.perf_counter() - released)
                body = f'{{"owner":"waiter-{number}","token":{found[1].decode()}}}'
                released = time.perf_counter()
                errors += not (await connection.ask(request("POST", "/v1/locks/contended/release", body))).is_ok

        pids = roles(group)
        before = cpu_seconds(pids)
        async with opened(group.urls[:1], WAITERS) as connections:
            await asyncio.gather(*(client(one, number) for number, one in enumerate(connections)))
        took = time.perf_counter() - began
        return sample_of(taken, took=took, cpu=since(before, cpu_seconds(pids)), errors=errors)

    return lambda: uvloop.run(measure())
