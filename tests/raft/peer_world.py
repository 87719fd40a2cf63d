"""The peer port on loopback: whole ends of it, peers played by hand, and both event loops."""

import asyncio
import random
import socket
from collections.abc import Callable, Coroutine
from typing import Final

import msgspec
import uvloop

from raftmem.model.commands import Member, Members
from raftmem.raft import messages as m
from raftmem.raft.transport import frames
from raftmem.raft.transport.frames import Ask, Bye, Hello
from raftmem.raft.transport.peer_set import PeerEvents, PeerSet
from raftmem.raft.transport.secret import NONCE_BYTES, Challenge, PeerSecret, Response, Seals
from raftmem.raft.transport.tls import PeerTls

PATIENCE: Final = 10.0
SECRET: Final = PeerSecret(b"a secret of the tests of the peer port")
NOWHERE: Final = 1  # a port that nobody listens on
LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
Event = tuple[str, str, bytes]


class Draw:
    def random(self) -> float:
        return 0.5

    def __init__(self) -> None:
        self._random = random.Random(0)

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


def members(
    ports: dict[str, int], *, learners: dict[str, int] | None = None, folders: dict[str, str] | None = None
) -> Members:
    def listed(of: dict[str, int]) -> tuple[Member, ...]:
        return tuple(
            Member(node, f"127.0.0.1:{port}", f"http://{node}", (folders or {}).get(node)) for node, port in of.items()
        )

    return Members("c1c1c1c1", 1, listed(ports), 1000, 500, listed(learners or {}))


class Node:
    """One end of the peer port, with what it was told in a queue. It listens on `port` once it is started."""

    def __init__(self, name: str, *, births: dict[str, str] | None = None, tls: PeerTls | None = None) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.births = {} if births is None else births
        self.callers: list[Raw] = []  # kept: a stream that nobody holds is closed
        self.listening, self.port = listening()
        self.draw = Draw()
        self.peers = PeerSet(
            me=hello(name, ""),
            events=PeerEvents(
                receive=self._receive,
                connected=lambda peer: self.events.put_nowait(("connected", peer, b"")),
                disconnected=lambda peer: self.events.put_nowait(("disconnected", peer, b"")),
                removed=lambda peer, reason: self.events.put_nowait(("removed", peer, reason.encode())),
            ),
            known_birth=self.births.get,
            remember=self.births.__setitem__,
            randomness=self.draw,
            tls=tls,
            secret=SECRET,
        )

    def _receive(self, peer: str, data: bytes) -> bool:
        try:
            m.decode(data)
        except msgspec.DecodeError:
            return False
        self.events.put_nowait(("received", peer, data))
        return True

    async def start(self, named: Members | None = None) -> "Node":
        if named is not None:
            self.peers.set_members(named)
        await self.peers.start(self.listening)
        return self

    async def next(self) -> Event:
        return await asyncio.wait_for(self.events.get(), PATIENCE)

    async def hears(self, other: "Node", name: str, message: m.Message) -> None:
        """What the other end sends arrives, and nothing has come before it."""
        other.peers.send(name, m.encode(message))
        kind, _, data = await self.next()
        assert (kind, data) == ("received", m.encode(message))


class Raw:
    """A peer played by hand. `seals`: once both ends have proved the secret."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.seals: Seals | None = None

    def send(self, data: bytes) -> None:
        """A frame, sealed if that is agreed."""
        self.writer.write(frames.frame(data) if self.seals is None else self.seals.sending.seal(data))

    def say(self, message: Hello | Bye | Ask | Challenge | Response) -> None:
        self.send(frames.encode(message))

    async def _frame(self) -> bytes:
        size = await asyncio.wait_for(self.reader.readexactly(4), PATIENCE)
        return await self.reader.readexactly(int.from_bytes(size))

    async def hear_data(self) -> bytes:
        assert self.seals is not None
        return self.seals.receiving.open(await self._frame())

    async def hear(self) -> Hello | Bye | Ask:
        data = await self._frame()
        return frames.decode_greeting(data if self.seals is None else self.seals.receiving.open(data))

    async def prove(self, me: str, to: str, *, secret: PeerSecret = SECRET) -> "Raw":
        """As the end that has dialled: the secret, before anything else."""
        challenge = Challenge(frames.MAGIC, frames.PROTOCOL_VERSION, me, to, bytes(NONCE_BYTES))
        self.say(challenge)
        response = frames.decode_handshake(await self._frame())
        assert isinstance(response, Response)
        self.seals = secret.accept(challenge, response)
        return self

    async def answer(self) -> "Raw":
        """As the end that was dialled."""
        challenge = frames.decode_handshake(await self._frame())
        assert isinstance(challenge, Challenge)
        response, seals = SECRET.respond(challenge, nonce=bytes(NONCE_BYTES))
        self.say(response)
        self.seals = seals
        return self

    async def is_closed(self) -> bool:
        """True once the other end has closed; what still comes before is passed over."""
        try:
            while await asyncio.wait_for(self.reader.read(1 << 20), PATIENCE):
                pass
        except ConnectionError:
            return True
        return True


class Impostor:
    """Listens and plays by hand whoever is called there."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[Raw] = asyncio.Queue()

    async def start(self) -> int:
        self._server = await asyncio.start_server(
            lambda reader, writer: self.calls.put_nowait(Raw(reader, writer)), "127.0.0.1", 0
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def next(self) -> Raw:
        return await asyncio.wait_for(self.calls.get(), PATIENCE)

    def stop(self) -> None:
        self._server.close()


def hello(name: str, to: str) -> Hello:
    return Hello(
        frames.MAGIC,
        frames.PROTOCOL_VERSION,
        "c1c1c1c1",
        1,
        name,
        to,
        f"folder-{name}",
        f"birth-{name}",
        b"b" * 32,
        1000,
        500,
        f"http://{name}",
        "1",
    )


def listening() -> tuple[socket.socket, int]:
    connection = socket.create_server(("127.0.0.1", 0))
    return connection, connection.getsockname()[1]


def run(test: Coroutine[None, None, None], loop: str = "uvloop") -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(test)


async def dial(port: int) -> Raw:
    """A call that has said nothing yet."""
    return Raw(*await asyncio.open_connection("127.0.0.1", port))


async def dial_as(port: int, name: str, to: str = "n1") -> Raw:
    """A call that has proved the secret, and has not greeted."""
    return await (await dial(port)).prove(name, to)


async def join(node: Node, name: str = "n2") -> Raw:
    """Call n1 as `name`, and be taken."""
    raw = await dial_as(node.port, name)
    raw.say(hello(name, "n1"))
    assert await raw.hear() == hello("n1", name)
    node.callers.append(raw)
    return raw


async def stop(*nodes: Node) -> None:
    for node in nodes:
        await node.peers.stop()
