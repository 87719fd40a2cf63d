"""Locks, tasks and watching, as clients see them; prints rates and latencies.

    python benchmarks/coordination.py                  starts three replicas in a temporary folder and measures them
    python benchmarks/coordination.py --url http://127.0.0.1:8101,http://127.0.0.1:8102    measures what runs there

    pairs      acquire and release of one lock per client, over and over
    hand-over  many waiters of one lock: from the release being sent to the next holder hearing of it
    tasks      claim and complete, one task at a time per client
    watch      from the reply to a write to its event at a watcher of another replica

The load is one process with plain connections of its own, since what it asks next depends on the last answer; it costs
some 40 us a request, on the same cores.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from single import HEADER, Figure, Group, cpu_seconds, group_of, show

Json = dict[str, object]


class Connection:
    """One kept-alive connection. Knows just enough HTTP for our own replies, which all carry a length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> "Connection":
        address = urlsplit(url)
        return cls(*await asyncio.open_connection(address.hostname, address.port, limit=1 << 22))

    async def ask(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        text = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        self._writer.write(f"{head}\r\n".encode() + text)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return int(answer[9:12]), json.loads(await self.reader.readexactly(int(length)))

    async def stream(self, path: str) -> None:
        """Ask for a stream of lines; they are read from `reader` afterwards."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n".encode())
        await self.reader.readuntil(b"\r\n\r\n")

    def close(self) -> None:
        self._writer.close()


class Tally:
    """What the clients of one piece of work have seen."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.errors = 0

    def count(self, began: float, *statuses: int) -> None:
        if all(200 <= status < 300 for status in statuses):
            self.seconds.append(time.perf_counter() - began)
        else:
            self.errors += 1

    def figure(self, group: Group, work: str, clients: int, took: float, cpu: float) -> Figure:
        done = sorted(self.seconds)
        if not done:
            raise SystemExit(f"{work}: nothing succeeded, {self.errors} errors")
        return Figure(
            work,
            clients,
            len(done) / took,
            done[len(done) // 2] * 1000,
            done[len(done) * 99 // 100] * 1000,
            cpu / len(done) * 1e6 if group.pids else None,
            self.errors,
        )


async def measure(group: Group, work: str, clients: int, one: Callable[[int, Tally], Awaitable[None]]) -> Figure:
    """`one(number, tally)` is one client, for as long as it likes."""
    tally, began, cpu = Tally(), time.perf_counter(), cpu_seconds(group.pids)
    await asyncio.gather(*(one(number, tally) for number in range(clients)))
    return tally.figure(group, work, clients, time.perf_counter() - began, cpu_seconds(group.pids) - cpu)


async def pairs(group: Group, clients: int, seconds: float) -> Figure:
    until = time.perf_counter() + seconds

    async def one(number: int, tally: Tally) -> None:
        connection, owner = await Connection.open(group.urls[0]), f"bench-{number}"
        path = f"/v1/locks/bench/{number}"
        while time.perf_counter() < until:
            began = time.perf_counter()
            taken, grant = await connection.ask("POST", f"{path}/acquire", {"owner": owner, "ttl_ms": 10_000})
            given, _ = await connection.ask("POST", f"{path}/release", {"owner": owner, "token": grant.get("token")})
            tally.count(began, taken, given)
        connection.close()

    return await measure(group, "acquire + release", clients, one)


async def hand_over(group: Group, clients: int, sections: int) -> Figure:
    """Every waiter holds for no time; what is timed is only from one holder to the next."""
    left, released = sections, 0.0

    async def one(number: int, tally: Tally) -> None:
        nonlocal left, released
        connection, owner = await Connection.open(group.urls[0]), f"waiter-{number}"
        wanted: Json = {"owner": owner, "ttl_ms": 10_000, "wait_ms": 60_000}
        while left > 0:
            status, grant = await connection.ask("POST", "/v1/locks/contended/acquire", wanted)
            if released:
                tally.count(released, status)
            left -= 1
            released = time.perf_counter()
            await connection.ask("POST", "/v1/locks/contended/release", {"owner": owner, "token": grant.get("token")})
        connection.close()

    return await measure(group, "hand-over", clients, one)


async def tasks(group: Group, clients: int, count: int) -> Figure:
    async def add(number: int, tally: Tally) -> None:
        connection = await Connection.open(group.urls[0])
        for at in range(number, count, clients):
            began = time.perf_counter()
            status, _ = await connection.ask("POST", "/v1/tasks", {"queue": "bench", "payload": {"n": at}})
            tally.count(began, status)
        connection.close()

    show(await measure(group, "task add", clients, add))

    async def work(number: int, tally: Tally) -> None:
        connection = await Connection.open(group.urls[0])
        claim: Json = {"queues": ["bench"], "worker": f"w-{number}", "ttl_ms": 30_000}
        while True:
            began = time.perf_counter()
            claimed, answer = await connection.ask("POST", "/v1/tasks/claim", claim)
            found = answer.get("tasks")
            if not isinstance(found, list) or not found:
                break
            task = found[0]
            completed, _ = await connection.ask(
                "POST", f"/v1/tasks/{task['id']}/complete", {"token": task["token"], "result": "done"}
            )
            tally.count(began, claimed, completed)
        connection.close()

    return await measure(group, "claim + complete", clients, work)


async def watch(group: Group, writes: int) -> Figure:
    """From the reply to the event: below zero when the event came first, which counts as zero."""
    watcher, writer = await Connection.open(group.urls[-1]), await Connection.open(group.urls[0])
    await watcher.stream("/v1/watch?app_id=watched")
    seen: dict[str, float] = {}
    all_seen = asyncio.Event()

    async def read() -> None:
        while len(seen) < writes:
            size = int(await watcher.reader.readline(), 16)
            piece = await watcher.reader.readexactly(size + 2)
            now = time.perf_counter()
            for line in piece.splitlines():
                item = json.loads(line) if line else {}
                for event in item.get("events", ()):
                    seen[event["memory_id"]] = now
        all_seen.set()

    reading = asyncio.create_task(read())
    tally, answered = Tally(), {}
    began, cpu = time.perf_counter(), cpu_seconds(group.pids)
    for number in range(writes):
        status, _ = await writer.ask("POST", "/v1/memories", {"id": f"w-{number}", "text": "x", "app_id": "watched"})
        answered[f"w-{number}"] = time.perf_counter()
        tally.errors += status != 201
    await asyncio.wait_for(all_seen.wait(), 30)
    took, cpu = time.perf_counter() - began, cpu_seconds(group.pids) - cpu
    await reading
    tally.seconds = [max(0.0, seen[memory] - answered[memory]) for memory in answered]
    watcher.close()
    writer.close()
    return tally.figure(group, "watch, other replica", 1, took, cpu)


async def run(group: Group, clients: int, seconds: float) -> list[Figure]:
    print(HEADER)
    figures: list[Figure] = []
    for figure in (
        pairs(group, 1, seconds / 2),
        pairs(group, clients, seconds),
        hand_over(group, 50, int(seconds * 500)),
        tasks(group, clients, int(seconds * 1500)),
        watch(group, int(seconds * 100)),
    ):
        figures.append(await figure)
        show(figures[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", help="addresses of a running group, the leader first; comma-separated")
    parser.add_argument("--seconds", type=float, default=4.0, help="per figure, about")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    with group_of(arguments.url) as group:
        figures = uvloop.run(run(group, arguments.clients, arguments.seconds))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([figure._asdict() for figure in figures], indent=1))


if __name__ == "__main__":
    main()
