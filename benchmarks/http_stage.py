"""CPU of one HTTP request by itself: the connection, the app and a state in memory, without socket, log and disk.

    python -m benchmarks.http_stage [--against CHECKOUT] [--rounds 6]

With `--against` the same is run in another checkout, in turns (A B A B ...), each round in a process of its own; the
ratios of the rounds that stand beside each other are printed, with their median.
"""

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from raftmem.api.app import create_app
from raftmem.machine.run import step_entry
from raftmem.model import codec
from raftmem.model.commands import Draft
from raftmem.server.server import HttpServer
from raftmem.service.interface import Point, ReadOptions, Written
from raftmem.storage.state.in_memory import InMemoryStateStore

REQUESTS: Final = 6_000
ROUNDS: Final = 6
_HEAD: Final = b"host: 127.0.0.1:8101\r\naccept: */*\r\naccept-encoding: gzip, deflate\r\nuser-agent: stage\r\n"
_BODY: Final = b'{"text":"the deploy of tuesday is frozen","tags":["deploy"],"app_id":"shop"}'
KINDS: Final[dict[str, bytes]] = {
    "GET": b"GET /v1/memories/m?consistency=eventual HTTP/1.1\r\n%b\r\n" % _HEAD,
    "ADD": b"POST /v1/memories HTTP/1.1\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    % (_HEAD, len(_BODY), _BODY),
}


class _Service:
    """As much of a service as these requests need: the machine over a state in memory."""

    node_id, cluster, term = "n1", "5f2a9c01/1", 3
    leader_id, leader_url = "n1", "http://127.0.0.1:8101"

    def __init__(self) -> None:
        self._store = InMemoryStateStore()
        self._ids = 0

    def new_id(self) -> str:
        self._ids += 1
        return f"01939c0a-0000-7000-8000-{self._ids:012d}"

    async def write(self, draft: Draft, *, timeout_ms: int) -> Written:  # noqa: ARG002  # it waits for nothing
        index = self._store.head().index + 1
        body = codec.encode_draft(draft, bytes)
        with self._store.write() as writer:
            data = codec.seal(body, time=index * 1_000_000, wall_ms=1_795_165_200_120 + index * 1000)
            applied = step_entry(writer, index, self.term, data)
        return Written(applied.row, applied.entry, self._store.read(), replayed=False)

    def read_now(self, options: ReadOptions) -> Point:
        return Point(self._store.read(), self._store.head().index, options.level.value)

    def still_holds(self, _point: Point) -> bool:
        return True


class _Wire(asyncio.Transport):
    """Counts replies and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.replies = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.replies += bytes(data).count(b"HTTP/1.1 20")

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""


async def _measure(kind: str, count: int) -> float:
    """Microseconds of CPU a request."""
    server = HttpServer(create_app(_Service()), drain_seconds=1)  # type: ignore[arg-type]  # it needs no more of one
    make: Callable[[], asyncio.Protocol] = server.config.http  # type: ignore[assignment]  # our own factory
    connection, wire = make(), _Wire()
    connection.connection_made(wire)
    turn = asyncio.sleep

    async def send(request: bytes, times: int) -> None:
        before = wire.replies
        for _ in range(times):
            connection.data_received(request)
            await turn(0)
        while wire.replies < before + times:
            await turn(0)

    await send(KINDS["ADD"].replace(b'{"text"', b'{"id":"m","text"').replace(b"length: 76", b"length: 85"), 1)
    await send(KINDS[kind], count // 10)
    gc.collect()
    gc.disable()
    began = time.process_time()
    await send(KINDS[kind], count)
    used = time.process_time() - began
    connection.connection_lost(None)
    return used / count * 1e6


def _round(checkout: Path, kind: str, count: int) -> float:
    command = [sys.executable, str(Path(__file__).resolve()), "--once", kind, "--requests", str(count)]
    environ = {**os.environ, "PYTHONPATH": str(checkout)}
    return float(subprocess.run(command, cwd=checkout, env=environ, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--once", choices=sorted(KINDS), help="measure one kind here, and print the figure alone")
    asked = parser.parse_args()
    if asked.once:
        print(asyncio.run(_measure(asked.once, asked.requests)))
        return
    here = Path(__file__).resolve().parents[1]
    for kind in KINDS:
        own, other = list[float](), list[float]()
        for _ in range(asked.rounds):
            if asked.against is not None:
                other.append(_round(asked.against.resolve(), kind, asked.requests))
            own.append(_round(here, kind, asked.requests))
        line = f"{kind}: {statistics.median(own):.1f} us of CPU a request"
        if other:
            ratios = sorted(one / two for one, two in zip(own, other, strict=True))
            line += f", against {statistics.median(other):.1f}: ratio {statistics.median(ratios):.3f}"
            line += f" ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(line, flush=True)


if __name__ == "__main__":
    main()
