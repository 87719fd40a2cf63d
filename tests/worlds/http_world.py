"""The HTTP server on a real socket, with an app that echoes, and clients that send bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from raftmem.api.http.exchange import Disconnected, Exchange, Header
from raftmem.api.http.problems import KINDS
from raftmem.errors import RaftmemError
from raftmem.limits import CONNECTIONS_MAX
from raftmem.server.server import HttpServer
from raftmem.server.shared import Served as AppOnServer

PATIENCE = 20.0
T = TypeVar("T")
Answer = Callable[["Exchange"], Awaitable[None]]


async def text(exchange: Exchange, body: bytes, status: int = 200) -> None:
    await exchange.reply(status, b"content-length: %d\r\n" % len(body), body)


async def echo(exchange: Exchange) -> None:
    """Answers method, path, query and the length of the body."""
    size = len(await exchange.body())
    await text(exchange, b"%b %b %b %d" % (exchange.method.encode(), exchange.path, exchange.query, size))


class App:
    """The app of a server. `answer` serves every request. `seen`, `headers`: filled with those of each request."""

    def __init__(
        self, answer: Answer = echo, *, seen: list[str] | None = None, headers: list[Header] | None = None
    ) -> None:
        self._answer = answer
        self._seen = seen
        self._headers = headers
        self.served = 0

    async def serve(self, exchange: Exchange) -> None:
        self.served += 1
        if self._seen is not None:
            self._seen.append(f"{exchange.method} {exchange.path.decode()}")
        if self._headers is not None:
            self._headers.extend(exchange.headers)
        with suppress(Disconnected):
            await self._answer(exchange)

    async def refuse(self, exchange: Exchange, error: RaftmemError) -> None:
        await text(exchange, str(error).encode(), KINDS[error.code].status)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def until(self, end: bytes) -> bytes:
        return await asyncio.wait_for(self._reader.readuntil(end), PATIENCE)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await asyncio.wait_for(self._reader.read(), PATIENCE)

    async def some(self, count: int) -> bytes:
        """At most so many bytes, as they come."""
        return await asyncio.wait_for(self._reader.read(count), PATIENCE)

    def is_ended(self) -> bool:
        """The server has closed."""
        return self._reader.at_eof() or self._reader.exception() is not None

    def end(self) -> None:
        """Send no more, and still read."""
        self._writer.write_eof()

    def leave(self) -> None:
        self._writer.transport.abort()


class Silent(asyncio.Transport):
    """Takes nothing and says nothing."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""


class Served:
    def __init__(self, server: HttpServer, port: int) -> None:
        self.server = server
        self._port = port

    async def connect(self, client: str = "127.0.0.1") -> Client:
        """`client`: the address that the connection comes from."""
        opened = asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24, local_addr=(client, 0))
        return Client(*await opened)

    async def connect_silent(self, client: str, kept: int = 4096) -> Client:
        """A connection that takes about `kept` bytes until it is read."""
        sending = socket.socket()
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kept)
        sending.setblocking(False)
        sending.bind((client, 0))
        await asyncio.get_running_loop().sock_connect(sending, ("127.0.0.1", self._port))
        return Client(*await asyncio.open_connection(sock=sending, limit=1))

    async def ask(self, data: bytes) -> bytes:
        """Send, then read until the server closes."""
        client = await self.connect()
        await client.send(data)
        answer = await client.rest()
        client.leave()
        return answer


@asynccontextmanager
async def serving(app: AppOnServer, *, connections_max: int = CONNECTIONS_MAX) -> AsyncIterator[Served]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(app, drain_seconds=1, connections_max=connections_max)
    running = asyncio.create_task(server.serve(sockets=[listening]))
    yield Served(server, listening.getsockname()[1])
    server.should_exit = True
    await asyncio.wait_for(running, PATIENCE)


def run(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)


def bodies(answer: bytes) -> list[bytes]:
    """The bodies of replies in a row, each with a length."""
    found: list[bytes] = []
    while answer:
        head, _, answer = answer.partition(b"\r\n\r\n")
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append(answer[:size])
        answer = answer[size:]
    return found
