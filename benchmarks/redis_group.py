"""A Redis master and two replicas, `appendfsync always`, each write followed by WAIT 1: a comparison without consensus.

There is no election, and the loss of the master can lose acknowledged writes. The figures show what the same machine
does for a store without those promises, over its own protocol.
"""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

from benchmarks.connection import Broken
from benchmarks.processes import free_ports, started, until

NODES: Final = ("master", "replica1", "replica2")


class RedisGroup:
    """A running master with its replicas."""

    name = "redis"
    leader = NODES[0]

    def __init__(self, folder: Path, port: int, stack: ExitStack) -> None:
        self.urls = [f"redis://127.0.0.1:{port + place}" for place in range(len(NODES))]
        self.pids: dict[str, int] = {}
        for place, node in enumerate(NODES):
            (folder / node).mkdir(parents=True)
            command = ["redis-server", "--port", str(port + place), "--bind", "127.0.0.1", "--dir", str(folder / node)]
            command += [
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--save",
                "",
                "--repl-diskless-sync-delay",
                "0",
            ]
            if place:
                command += ["--replicaof", "127.0.0.1", str(port)]
            log = ["--logfile", str(folder / f"{node}.txt")]
            process = stack.enter_context(started([*command, *log], log=folder / f"{node}.err"))
            self.pids[node] = process.pid

    def is_ready(self) -> bool:
        async def look() -> bool:
            connection = await RedisConnection.open(self.urls[0])
            try:
                return await connection.ask(command("WAIT", "2", "100"), replies=1) == [b":2"]
            finally:
                connection.close()

        try:
            return asyncio.run(look())
        except OSError:
            return False


@contextmanager
def redis_group(folder: Path) -> Iterator[RedisGroup]:
    """Raises: NotStarted."""
    with ExitStack() as stack:
        group = RedisGroup(folder / "redis", free_ports(len(NODES)), stack)
        until(group.is_ready, seconds=30.0, what="Redis")
        yield group


def version() -> str:
    printed = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    return printed.partition("v=")[2].partition(" ")[0]


def command(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)


def set_and_wait(number: int, value: str) -> bytes:
    """Two commands whose second answers once the write is on one replica."""
    return command("SET", f"bench:{number:07}", value) + command("WAIT", "1", "1000")


class RedisConnection(asyncio.Protocol):
    """Simple replies only: status, error, integer; `ask` for one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = b""
        self._wanted = 0
        self._waiting: asyncio.Future[list[bytes]] | None = None

    @classmethod
    async def open(cls, url: str) -> "RedisConnection":
        address = urlsplit(url)
        place = address.hostname or "", address.port or 0
        _, connection = await asyncio.get_running_loop().create_connection(cls, *place)
        return connection

    def ask(self, sent: bytes, *, replies: int) -> "asyncio.Future[list[bytes]]":
        """The lines of that many replies. Raises (from the future): Broken."""
        assert self._transport is not None
        self._wanted = replies
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(sent)
        return self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own do not say what they are

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer.count(b"\r\n") < self._wanted or self._waiting is None:
            return
        *lines, self._buffer = self._buffer.split(b"\r\n", self._wanted)
        waiting, self._waiting = self._waiting, None
        waiting.set_result(lines)

    def connection_lost(self, exc: Exception | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(Broken(f"the connection was lost: {exc or 'closed by the other side'}"))
