"""The peer port on loopback: who is let in, and what breaks a connection (authenticated-peers as far as it goes)."""

import asyncio
import random
import socket
from collections.abc import Callable, Coroutine

import msgspec
import pytest

from raftmem.limits import FRAME_BYTES_MAX
from raftmem.raft import frames, peers
from raftmem.raft import messages as m
from raftmem.raft.frames import Bye, Hello
from raftmem.raft.peers import PeerEvents, Peers

PATIENCE = 10.0
Event = tuple[str, str, bytes]


class Draw:
    def random(self) -> float:
        return 0.5

    def bytes(self, count: int) -> bytes:
        return random.Random(0).randbytes(count)


class Node:
    """One end of the peer port, with what it was told in a queue."""

    def __init__(self, name: str, addresses: dict[str, int], births: dict[str, str] | None = None) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.births = {} if births is None else births
        self.peers = Peers(
            me=hello(name, ""),
            addresses={peer: ("127.0.0.1", port) for peer, port in addresses.items()},
            events=PeerEvents(
                receive=self._receive,
                connected=lambda peer: self.events.put_nowait(("connected", peer, b"")),
                disconnected=lambda peer: self.events.put_nowait(("disconnected", peer, b"")),
            ),
            bound={"n2": "folder-n2"},
            known_birth=self.births.get,
            remember=self.births.__setitem__,
            randomness=Draw(),
        )

    def _receive(self, peer: str, data: bytes) -> bool:
        try:
            m.decode(data)
        except msgspec.DecodeError:
            return False
        self.events.put_nowait(("received", peer, data))
        return True

    async def next(self) -> Event:
        return await asyncio.wait_for(self.events.get(), PATIENCE)


class Raw:
    """A peer played by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, message: Hello | Bye) -> None:
        self.writer.write(frames.frame(frames.encode(message)))

    async def hear(self) -> Hello | Bye:
        size = await asyncio.wait_for(self.reader.readexactly(4), PATIENCE)
        return frames.decode_greeting(await self.reader.readexactly(int.from_bytes(size)))

    async def is_closed(self) -> bool:
        """True once the other end has closed; what still comes before is passed over."""
        try:
            while await asyncio.wait_for(self.reader.read(1 << 20), PATIENCE):
                pass
        except ConnectionError:
            return True
        return True


def hello(name: str, to: str) -> Hello:
    return Hello(
        "raftmem-peer",
        1,
        "c1",
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


def with_node(test: Callable[[Node, int], Coroutine[None, None, None]], births: dict[str, str] | None = None) -> None:
    """Run `test` against n1, which dials nobody."""

    async def run() -> None:
        connection, port = listening()
        node = Node("n1", {"n2": 1, "n3": 1}, births)
        await node.peers.start(connection)
        try:
            await test(node, port)
        finally:
            await node.peers.stop()

    asyncio.run(run())


async def dial(port: int) -> Raw:
    return Raw(*await asyncio.open_connection("127.0.0.1", port))


async def join(port: int, name: str = "n2") -> Raw:
    raw = await dial(port)
    raw.say(hello(name, "n1"))
    assert await raw.hear() == hello("n1", name)
    return raw


def test_two_voters_find_each_other_and_speak_and_find_each_other_again() -> None:
    async def run() -> None:
        first, first_port = listening()
        second, second_port = listening()
        one, two = Node("n1", {"n2": second_port}), Node("n2", {"n1": first_port})
        await two.peers.start(second)  # dials before anybody listens
        await one.peers.start(first)
        assert await one.next() == ("connected", "n2", b"")
        assert await two.next() == ("connected", "n1", b"")
        assert one.births == {"n2": "birth-n2"}
        one.peers.send("n2", m.encode(m.Refuse(7)))
        assert await two.next() == ("received", "n1", m.encode(m.Refuse(7)))
        await one.peers.stop()
        assert await two.next() == ("disconnected", "n1", b"")
        again = socket.create_server(("127.0.0.1", first_port))
        one = Node("n1", {"n2": second_port})
        await one.peers.start(again)
        assert await two.next() == ("connected", "n1", b"")
        await one.peers.stop()
        await two.peers.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cluster_id": "c2"}, "cluster c2"),
        ({"node_id": "n9"}, "not another voter"),
        ({"to_node_id": "n3"}, "wants n3"),
        ({"folder_id": "restored"}, "folder-n2, not restored"),
        ({"birth": "second"}, "birth-n2, not second"),
        ({"election_timeout_ms": 1}, "election_timeout_ms 1"),
        ({"protocol": 9}, "protocol 9"),
    ],
)
def test_a_greeting_that_does_not_fit_is_answered_with_the_reason_and_closed(
    change: dict[str, object], words: str
) -> None:
    async def run(node: Node, port: int) -> None:
        raw = await dial(port)
        raw.say(msgspec.structs.replace(hello("n2", "n1"), **change))
        answer = await raw.hear()
        assert isinstance(answer, Bye)
        assert words in answer.reason
        assert await raw.is_closed()
        assert node.events.empty()
        assert not node.peers.is_connected("n2")

    with_node(run, {"n2": "birth-n2"})


@pytest.mark.parametrize(
    "raw_bytes",
    [
        pytest.param((frames.HELLO_BYTES_MAX + 1).to_bytes(4) + b"x", id="a greeting beyond its bound"),
        pytest.param(frames.frame(b"GET / HTTP/1.1"), id="no greeting"),
        pytest.param(frames.frame(m.encode(m.Vote(9, 9, 9))), id="a message before the greeting"),
        pytest.param(
            frames.frame(frames.encode(Bye("abcd")).replace(b"abcd", b"\xff\xfe\xff\xfe")), id="a greeting of bad text"
        ),
    ],
)
def test_what_a_stranger_says_closes_the_connection_and_counts_for_nothing(raw_bytes: bytes) -> None:
    async def run(node: Node, port: int) -> None:
        raw = await dial(port)
        raw.writer.write(raw_bytes)
        assert await raw.is_closed()
        assert node.events.empty()

    with_node(run)


@pytest.mark.parametrize(
    "raw_bytes",
    [
        pytest.param((FRAME_BYTES_MAX + 1).to_bytes(4), id="beyond its bound"),
        pytest.param(frames.frame(b"\xc1 garbled"), id="garbled"),
        pytest.param(frames.frame(frames.encode(hello("n3", "n1"))), id="a second greeting"),
    ],
)
def test_a_bad_frame_of_a_voter_closes_its_connection(raw_bytes: bytes) -> None:
    async def run(node: Node, port: int) -> None:
        raw = await join(port)
        raw.writer.write(frames.frame(m.encode(m.Refuse(1))) + raw_bytes + frames.frame(m.encode(m.Refuse(2))))
        assert await node.next() == ("connected", "n2", b"")
        assert await node.next() == ("received", "n2", m.encode(m.Refuse(1)))
        assert await node.next() == ("disconnected", "n2", b"")
        assert await raw.is_closed()
        assert node.events.empty()

    with_node(run)


def test_a_connection_that_replaces_another_closes_it() -> None:
    async def run(node: Node, port: int) -> None:
        old = await join(port)
        new = await join(port)
        assert await old.is_closed()
        old.writer.write(frames.frame(m.encode(m.Refuse(1))))
        new.writer.write(frames.frame(m.encode(m.Refuse(2))))
        told = [await node.next() for _ in range(4)]
        assert [event[0] for event in told] == ["connected", "disconnected", "connected", "received"]
        assert told[-1] == ("received", "n2", m.encode(m.Refuse(2)))
        assert node.peers.is_connected("n2")

    with_node(run)


def test_a_reader_that_is_too_slow_is_cut() -> None:
    async def run(node: Node, port: int) -> None:
        await join(port)
        assert await node.next() == ("connected", "n2", b"")
        for _ in range(8):
            node.peers.send("n2", bytes(FRAME_BYTES_MAX))
        assert await node.next() == ("disconnected", "n2", b"")
        assert not node.peers.is_connected("n2")

    with_node(run)


def test_a_caller_that_says_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "HANDSHAKE_SECONDS", 0.01)

    async def run(node: Node, port: int) -> None:
        raw = await dial(port)
        assert await raw.is_closed()
        assert node.events.empty()

    with_node(run)


def test_whoever_answers_at_the_address_of_another_is_refused() -> None:
    async def run() -> None:
        refusals: asyncio.Queue[Hello | Bye] = asyncio.Queue()

        async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            raw = Raw(reader, writer)
            assert await raw.hear() == hello("n3", "n1")
            raw.say(hello("n2", "n3"))
            refusals.put_nowait(await raw.hear())
            writer.close()

        server = await asyncio.start_server(impostor, "127.0.0.1", 0)
        node = Node("n3", {"n1": server.sockets[0].getsockname()[1]})
        connection, _ = listening()
        await node.peers.start(connection)
        answer = await asyncio.wait_for(refusals.get(), PATIENCE)
        assert isinstance(answer, Bye)
        assert "n2 answers at the address of n1" in answer.reason
        assert node.events.empty()
        await node.peers.stop()
        server.close()

    asyncio.run(run())


def test_what_is_sent_to_nobody_is_lost() -> None:
    async def run(node: Node, port: int) -> None:  # noqa: ARG001
        node.peers.send("n3", b"x")
        assert not node.peers.is_connected("n3")

    with_node(run)
