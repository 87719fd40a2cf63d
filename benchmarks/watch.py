"""Many watchers of one replica: what they cost the writes that they follow, and how soon they hear of a write.

    python benchmarks/watch.py                     starts three replicas in a temporary folder and measures them
    python benchmarks/watch.py --watchers 100 --seconds 8

    ADD                   64 clients write at the leader, nobody watches
    ADD, narrow           the same while each watcher there follows an app_id of its own; the writes go round them
    ADD, wide             the same while all of them follow everything
    delivery              one client writes now and then: from its request to the event at each watcher that shows it

The load comes from wrk (Debian: apt-get install wrk), the watchers are one process of their own that reads and does
not look, on the same cores: what they cost is in the figures too. Figures without watchers stand before and after, so
that the machine's own noise shows.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop
from coordination import Connection, Json
from single import Group, cpu_seconds, group_of, wrk

ADD = """
local n = 0
request = function()
  n = n + 1
  local body = '{"text":"' .. string.rep("x", 256) .. '","app_id":"app-' .. (n %% %d) .. '"}'
  return wrk.format("POST", "/v1/memories", {["Content-Type"]="application/json"}, body)
end
"""
_SENT = re.compile(rb'"text":"sent (\d+)"')


class Figure(NamedTuple):
    """Times in milliseconds. `heard`: bytes that all watchers together were sent. `cpu_us`: as in `single.py`."""

    work: str
    watchers: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float | None
    heard: int


# --- the watchers' process ------------------------------------------------------------------------------
class Seen:
    """What all streams together were sent, and how late what says when it was sent has come."""

    def __init__(self) -> None:
        self.heard = 0
        self.late: list[float] = []


async def follow(url: str, query: str, seen: Seen) -> None:
    """Read one stream."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 20)
    writer.write(f"GET /v1/watch?{query} HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    print("follows", flush=True)
    while piece := await reader.read(1 << 20):
        seen.heard += len(piece)
        seen.late += [time.monotonic() - int(sent) / 1e9 for sent in _SENT.findall(piece)]


async def watchers(url: str, queries: list[str]) -> None:
    """Until the standard input ends; then what was seen, as a line of JSON."""
    seen = Seen()
    tasks = [asyncio.create_task(follow(url, query, seen)) for query in queries]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    print(json.dumps({"heard": seen.heard, "late": seen.late}), flush=True)


class Watchers:
    """The process that watches, from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.heard = 0
        self.late: list[float] = []

    def end(self) -> None:
        said, _ = self._process.communicate("", timeout=60)
        seen = json.loads(said.splitlines()[-1])
        self.heard, self.late = seen["heard"], seen["late"]


@contextmanager
def watching(url: str, queries: list[str]) -> Iterator[Watchers]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--watch", json.dumps([url, queries])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for _ in queries:
        if process.stdout.readline() != "follows\n":
            raise SystemExit("a watcher was refused")
    one = Watchers(process)
    try:
        yield one
        one.end()
    finally:
        process.kill()
        process.wait()


# --- figures --------------------------------------------------------------------------------------------
def adds(group: Group, work: str, queries: list[str], apps: int, seconds: float) -> Figure:
    """At the leader, which serves the watchers too."""
    with watching(group.urls[0], queries) as those:
        before = cpu_seconds(group.pids)
        requests, took, p50, p99, errors = wrk(group.urls[0], ADD % apps, 64, seconds)
        cpu = (cpu_seconds(group.pids) - before) / requests * 1e6 if group.pids else None
        if errors:
            raise SystemExit(f"{work}: {errors} of {requests} writes failed")
    return Figure(work, len(queries), requests / took, p50, p99, cpu, those.heard)


def delivery(group: Group, work: str, queries: list[str], seconds: float) -> Figure:
    """Writes at the leader, twenty a second; the watchers are at another replica."""

    async def write(count: int) -> None:
        connection = await Connection.open(group.urls[0])
        for number in range(count):
            body: Json = {"text": f"sent {time.monotonic_ns()}", "app_id": f"app-{number % len(queries)}"}
            status, _ = await connection.ask("POST", "/v1/memories", body)
            assert status == 201, status
            await asyncio.sleep(0.05)
        connection.close()

    before = cpu_seconds(group.pids)
    with watching(group.urls[-1], queries) as those:
        uvloop.run(write(int(seconds * 20)))
        time.sleep(1)  # what is under way arrives
    late = sorted(those.late)
    cpu = (cpu_seconds(group.pids) - before) / len(late) * 1e6 if group.pids else None
    p50, p99 = late[len(late) // 2] * 1000, late[len(late) * 99 // 100] * 1000
    return Figure(work, len(queries), len(late) / seconds, p50, p99, cpu, those.heard)


def show(figure: Figure) -> None:
    cpu = "" if figure.cpu_us is None else f"{figure.cpu_us:8.0f}"
    print(
        f"{figure.work:22} {figure.watchers:8} {figure.per_second:10.0f} {figure.p50_ms:9.2f} {figure.p99_ms:9.2f} "
        f"{cpu:>8} {figure.heard / 1e6:9.1f}",
        flush=True,
    )


def run(group: Group, count: int, seconds: float) -> list[Figure]:
    print(f"{'work':22} {'watchers':>8} {'per second':>10} {'p50 ms':>9} {'p99 ms':>9} {'CPU us':>8} {'MB heard':>9}")
    narrow, wide = [f"app_id=app-{number}" for number in range(count)], ["" for _ in range(count)]
    figures: list[Figure] = []
    for measure in (
        lambda: adds(group, "ADD", [], count, seconds),
        lambda: adds(group, "ADD, narrow", narrow, count, seconds),
        lambda: adds(group, "ADD", [], count, seconds),
        lambda: adds(group, "ADD, wide", wide, count, seconds),
        lambda: adds(group, "ADD", [], count, seconds),
        lambda: delivery(group, "delivery", ["app_id=app-0"], seconds),
        lambda: delivery(group, "delivery, narrow", narrow, seconds),
        lambda: delivery(group, "delivery, wide", wide, seconds),
    ):
        figures.append(measure())
        show(figures[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", help="addresses of a running group, the leader first; comma-separated")
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=4.0, help="per figure")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--watch", help=argparse.SUPPRESS)  # this is the watchers' process
    arguments = parser.parse_args()
    if arguments.watch is not None:
        uvloop.run(watchers(*json.loads(arguments.watch)))
        return
    with group_of(arguments.url) as group:
        figures = run(group, arguments.watchers, arguments.seconds)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([figure._asdict() for figure in figures], indent=1))


if __name__ == "__main__":
    main()
