"""256-byte ADDs and GETs at 1, 16, 64 and 256 clients; prints rates, latencies and CPU per operation.

    python benchmarks/single.py                       starts three replicas in a temporary folder and measures them
    python benchmarks/single.py --url http://127.0.0.1:8101,http://127.0.0.1:8102    measures what runs there

The load comes from wrk (Debian: apt-get install wrk), which costs little beside what it measures. CPU is that of all
raftmem processes on this machine that were started here. Durations are per figure; the machine's noise is yours.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

VALUE_BYTES = 256
CLIENTS = (1, 16, 64, 256)
ADD = """
local n = 0
local id = tostring(math.random(1, 1000000000))
request = function()
  n = n + 1
  local body = '{"text":"' .. string.rep("x", %d) .. '","app_id":"bench","tags":["t%%d"]}'
  return wrk.format("POST", "/v1/memories", {["Content-Type"]="application/json"}, string.format(body, n %% 16))
end
"""
GET = """
local ids = {%s}
local n = 0
request = function()
  n = n + 1
  return wrk.format("GET", "/v1/memories/" .. ids[n %% #ids + 1] .. "%s")
end
"""
DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.status, e.connect + e.read + e.write + e.timeout))
end
"""


HEADER = f"{'work':22} {'clients':>7} {'per second':>10} {'p50 ms':>9} {'p99 ms':>9} {'CPU us':>8} {'errors':>7}"


class Figure(NamedTuple):
    """Times in milliseconds; `cpu_us`: CPU of all replicas per operation, microseconds (None: not ours to see)."""

    work: str
    clients: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float | None
    errors: int


class Group(NamedTuple):
    urls: list[str]
    pids: list[int]
    process: subprocess.Popen[str] | None


def start(folder: Path) -> Group:
    """Three replicas by `raftmem up` on free ports."""
    port = free_ports(3)
    process = subprocess.Popen(
        [sys.executable, "-m", "raftmem", "up", "--data", str(folder), "--port", str(port), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith('{"ready"') or '"ready": true' in line or '"ready":true' in line:
            ready = json.loads(line)
            leader_first = sorted(ready["replicas"], key=lambda replica: replica["id"] != ready["leader"])
            return Group([r["url"] for r in leader_first], [r["pid"] for r in ready["replicas"]], process)
    raise SystemExit("raftmem up ended before it was ready")


@contextmanager
def group_of(url: str | None) -> Iterator[Group]:
    """What runs at these addresses, the leader first; None: three replicas of our own, gone at the end."""
    if url is not None:
        yield Group(url.split(","), [], None)
        return
    with tempfile.TemporaryDirectory(prefix="raftmem-bench-") as folder:
        group = start(Path(folder))
        assert group.process is not None
        try:
            yield group
        finally:
            group.process.send_signal(signal.SIGINT)
            group.process.wait(timeout=30)


def free_ports(count: int) -> int:
    """The first of `count` consecutive ports that are free, with those 1000 above."""
    for port in range(21_000, 40_000, 10):
        try:
            for number in [port + i + offset for i in range(count) for offset in (0, 1000)]:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port
    raise SystemExit("no free ports")


def cpu_seconds(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def wrk(url: str, script: str, clients: int, seconds: float) -> tuple[int, float, float, float, int]:
    """(requests, seconds, p50 ms, p99 ms, errors)."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + DONE)
        file.flush()
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "10s", "-s", file.name, url]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", printed)
    if found is None:
        raise SystemExit(f"wrk printed no result:\n{printed}")
    requests, duration, p50, p99, status, broken = map(int, found.groups())
    return requests, duration / 1e6, p50 / 1000, p99 / 1000, status + broken


def measure(group: Group, work: str, url: str, script: str, clients: int, seconds: float) -> Figure:
    before = cpu_seconds(group.pids)
    requests, duration, p50, p99, errors = wrk(url, script, clients, seconds)
    used = cpu_seconds(group.pids) - before
    cpu = used / requests * 1e6 if group.pids and requests else None
    return Figure(work, clients, requests / duration, p50, p99, cpu, errors)


def some_ids(url: str, count: int = 1000) -> list[str]:
    with urllib.request.urlopen(f"{url}/v1/memories?limit={count}") as reply:
        return [memory["id"] for memory in json.load(reply)["memories"]]


def show(figure: Figure) -> None:
    cpu = "" if figure.cpu_us is None else f"{figure.cpu_us:8.0f}"
    print(
        f"{figure.work:22} {figure.clients:7} {figure.per_second:10.0f} {figure.p50_ms:9.2f} {figure.p99_ms:9.2f} "
        f"{cpu:>8} {figure.errors:7}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", help="addresses of a running group, the leader first; comma-separated")
    parser.add_argument("--seconds", type=float, default=4.0, help="per figure")
    parser.add_argument("--clients", default=",".join(map(str, CLIENTS)))
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("the load generator wrk is not installed; on Debian: apt-get install wrk")
    with group_of(arguments.url) as group:
        figures = run(group, [int(c) for c in arguments.clients.split(",")], arguments.seconds)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([figure._asdict() for figure in figures], indent=1))


def run(group: Group, clients: list[int], seconds: float) -> list[Figure]:
    print(HEADER)
    figures: list[Figure] = []
    leader, other = group.urls[0], group.urls[-1]
    for count in clients:
        figures.append(measure(group, "ADD at the leader", leader, ADD % VALUE_BYTES, count, seconds))
        show(figures[-1])
    if other != leader:
        figures.append(measure(group, "ADD at a follower", other, ADD % VALUE_BYTES, 64, seconds))
        show(figures[-1])
    ids = ",".join(f'"{memory_id}"' for memory_id in some_ids(leader))
    for count in clients:
        figures.append(measure(group, "GET lease, leader", leader, GET % (ids, ""), count, seconds))
        show(figures[-1])
    for level in ("linearizable", "eventual"):
        script = GET % (ids, f"?consistency={level}")
        figures.append(measure(group, f"GET {level}", leader, script, 64, seconds))
        show(figures[-1])
    if other != leader:
        figures.append(measure(group, "GET lease, follower", other, GET % (ids, ""), 64, seconds))
        show(figures[-1])
    return figures


if __name__ == "__main__":
    main()
