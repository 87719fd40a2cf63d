"""The process of the watchers: it watches streams of raftmem or etcd, and says how late each write arrived.

A write carries the time of its sending. The first line of standard input is JSON, the streams. The process prints a
line for each stream once it watches it. When its standard input ends, it prints the result as a line of JSON. It looks
at the times only, so that it costs little beside the servers.
"""

import asyncio
import base64
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
import uvloop
from msgspec import Struct

from benchmarks.connection import Connection, request
from benchmarks.processes import ROOT

FOLLOWS: Final = "follows"
END_WAIT_S: Final = 60.0
_SENT: Final = re.compile(rb'"text":"sent (\d+)"')
_SENT_ENCODED: Final = re.compile(rb'"value":"(c2VudC[A-Za-z0-9+/=]*)"')  # base64 of "sent …"


class Stream(Struct, frozen=True):
    """The stream to ask for."""

    url: str
    method: str
    path: str
    body: str = ""


class Heard(Struct):
    """`late`: seconds from sending to hearing, of each that carried its time."""

    bytes: int = 0
    late: list[float] = msgspec.field(default_factory=list)


def mark() -> str:
    """A text that carries its time."""
    return f"sent {time.monotonic_ns()}"


def times(piece: bytes) -> list[int]:
    """Of the marks in what came, ns. A mark that is cut in two by a read is not found, which loses its sample."""
    plain = [int(found) for found in _SENT.findall(piece)]
    return plain or [int(base64.b64decode(found)[5:]) for found in _SENT_ENCODED.findall(piece)]


async def follow(streams: Sequence[Stream]) -> Heard:
    """Until the standard input ends."""
    heard, connections = Heard(), []

    def listen(data: bytes) -> None:
        now = time.monotonic_ns()
        heard.bytes += len(data)
        heard.late += [(now - sent) / 1e9 for sent in times(data)]

    for stream in streams:
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begun(data: bytes, first: "asyncio.Future[None]" = first) -> None:
            if not first.done():
                if not data.startswith(b"HTTP/1.1 200"):
                    first.set_exception(ConnectionError(f"a watcher was refused: {data[:200]!r}"))
                    return
                first.set_result(None)
            listen(data)

        connection = await Connection.open(stream.url)
        headers = "Accept: application/x-ndjson\r\n"
        connection.listen(request(stream.method, stream.path, stream.body, headers=headers), begun)
        connections.append(connection)
        await first
        print(FOLLOWS, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for connection in connections:
        connection.close()
    return heard


class Watchers:
    """The process, from outside. `heard` once it has ended."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.heard = Heard()

    def end(self) -> None:
        said, _ = self._process.communicate("", timeout=END_WAIT_S)
        self.heard = msgspec.json.decode(said.splitlines()[-1], type=Heard)


@contextmanager
def watching(streams: Sequence[Stream]) -> Iterator[Watchers]:
    """All of them follow from here on. Raises: ConnectionError."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.watchers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(streams).decode() + "\n")
        process.stdin.flush()
        for _ in streams:
            if process.stdout.readline().strip() != FOLLOWS:
                raise ConnectionError("a watcher was refused")
        watchers = Watchers(process)
        yield watchers
        if process.poll() is None:
            watchers.end()
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    wanted = msgspec.json.decode(sys.stdin.readline(), type=list[Stream])
    print(msgspec.json.encode(uvloop.run(follow(wanted))).decode(), flush=True)
