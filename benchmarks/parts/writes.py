"""Single ADDs beside etcd's puts and Redis' SETs with WAIT, and updates that are conditional on a version."""

import re
from typing import Final

import msgspec
import uvloop

from benchmarks import etcd_group, raftmem_group, redis_group
from benchmarks.bench import Bench, Run, roles
from benchmarks.connection import Connection, request
from benchmarks.load import WARM_UP_S, Step, closed_loop
from benchmarks.measures import Sample
from benchmarks.parts.stepping import places, stepping
from benchmarks.redis_group import RedisConnection, RedisGroup
from benchmarks.systems import KEYS, RAFTMEM, encoded, values

ADD: Final = "ADD"
UPDATE: Final = "UPDATE by version"
ON_ALL: Final = 64
_VERSION: Final = re.compile(rb'"version":(\d+)')
_REVISION: Final = re.compile(rb'"revision":"(\d+)"')


def adds(bench: Bench) -> None:
    bench.refresh()
    ours = bench.file("raftmem-add", raftmem_group.add_requests)
    theirs = bench.file("etcd-put", etcd_group.put_requests)
    for clients in bench.options.clients:
        runs = {RAFTMEM: bench.wrk_run(bench.raftmem, ours, clients=clients, at="leader")}
        if bench.etcd is not None:
            runs["etcd"] = bench.wrk_run(bench.etcd, theirs, clients=clients, at="leader")
        if bench.redis is not None:
            runs["redis"] = redis_sets(bench, bench.redis, clients)
        once = () if bench.options.is_full else ("redis",)
        bench.race(bench.point(ADD, clients, "leader"), runs, once=once)
    for clients in (ON_ALL, 256) if bench.options.is_full else (ON_ALL,):
        runs = {RAFTMEM: bench.wrk_run(bench.raftmem, ours, clients=clients, at="spread")}
        if bench.etcd is not None:
            runs["etcd"] = bench.wrk_run(bench.etcd, theirs, clients=clients, at="spread")
        bench.race(bench.point(ADD, clients, "spread"), runs, rounds=bench.fewer(2))


def redis_sets(bench: Bench, group: RedisGroup, clients: int) -> Run:
    texts = values()

    async def measure() -> Sample:
        connections = [await RedisConnection.open(group.urls[0]) for _ in range(clients)]

        def client(number: int, connection: RedisConnection) -> Step:
            at = number * KEYS // clients

            async def step() -> bool:
                nonlocal at
                at = (at + 1) % KEYS
                said = await connection.ask(redis_group.set_and_wait(at, texts[at % len(texts)]), replies=2)
                return said[0] == b"+OK" and said[1] in (b":1", b":2")

            return step

        steps = [client(number, connection) for number, connection in enumerate(connections)]
        try:
            return await closed_loop(steps, seconds=bench.options.seconds, pids=roles(group), warm_up_s=WARM_UP_S)
        finally:
            for connection in connections:
                connection.close()

    return lambda: uvloop.run(measure())


def updates(bench: Bench) -> None:
    """Each client changes keys of its own, only if they are still as it last saw them."""
    bench.refresh()
    for clients in (1, ON_ALL) if bench.options.is_full else (ON_ALL,):
        for at in places(bench):
            runs = {RAFTMEM: stepping(bench, bench.raftmem, _patch, clients, at)}
            if bench.etcd is not None:
                runs["etcd"] = stepping(bench, bench.etcd, _compare_and_put, clients, at)
            bench.race(bench.point(UPDATE, clients, at), runs, rounds=bench.fewer(2))


def _patch(connection: Connection, number: int) -> Step:
    path, version, at = f"/v1/memories/{raftmem_group.key(number)}", b"", 0
    bodies = [msgspec.json.encode({"text": text}) for text in values()]

    async def step() -> bool:
        nonlocal version, at
        if not version:
            version = _first(_VERSION, (await connection.ask(request("GET", path))).body)
        at = (at + 1) % len(bodies)
        condition = f'If-Match: "{version.decode()}"\r\n'
        reply = await connection.ask(request("PATCH", path, bodies[at], headers=condition))
        version = _first(_VERSION, reply.body) if reply.is_ok else b""
        return reply.is_ok

    return step


def _compare_and_put(connection: Connection, number: int) -> Step:
    name, revision, at = etcd_group.key(number), b"", 0
    texts = [encoded(text) for text in values()]
    read = request("POST", "/v3/kv/range", f'{{"key":"{name}"}}')

    async def step() -> bool:
        nonlocal revision, at
        if not revision:
            found = (await connection.ask(read)).body
            revision = _first(re.compile(rb'"mod_revision":"(\d+)"'), found)
        at = (at + 1) % len(texts)
        body = (
            f'{{"compare":[{{"key":"{name}","target":"MOD","mod_revision":"{revision.decode()}"}}],'
            f'"success":[{{"requestPut":{{"key":"{name}","value":"{texts[at]}"}}}}]}}'
        )
        reply = await connection.ask(request("POST", "/v3/kv/txn", body))
        is_done = reply.is_ok and b'"succeeded":true' in reply.body
        revision = _first(_REVISION, reply.body) if is_done else b""
        return is_done

    return step


def _first(pattern: "re.Pattern[bytes]", text: bytes) -> bytes:
    found = pattern.search(text)
    assert found is not None, text[:200]
    return found[1]
