"""Connections to the other voters: asyncio, one per pair, the greater id dials. Bytes in order, or a broken connection.

A connection counts only after both greetings were checked (`frames.objection`). One that replaces another closes it.
What is sent to a peer that is not connected is lost, as Raft allows; what piles up too high breaks the connection.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import msgspec

from raftmem.limits import FRAME_BYTES_MAX, PEER_BUFFER_BYTES_MAX
from raftmem.raft import frames
from raftmem.raft.frames import Bye, Hello, Unframer
from raftmem.seams import Randomness

log = logging.getLogger("raftmem.peers")
CONNECT_SECONDS = 2.0
HANDSHAKE_SECONDS = 2.0
SILENT_SECONDS = 10  # bytes unacknowledged, or no life sign of an idle peer, for this long: the host is gone
BACKOFF_SECONDS = (0.05, 1.0)


class PeerEvents:
    """What the network tells: consensus has these three methods (structural, see `Consensus`)."""

    def __init__(
        self,
        *,
        receive: Callable[[str, bytes], bool],
        connected: Callable[[str], None],
        disconnected: Callable[[str], None],
    ) -> None:
        self.receive = receive
        self.connected = connected
        self.disconnected = disconnected


@runtime_checkable
class _Pipe(Protocol):
    """What is used of a transport; uvloop's are no subclasses of asyncio's."""

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def is_closing(self) -> bool: ...
    def get_extra_info(self, name: str) -> object: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


@runtime_checkable
class _Options(Protocol):
    """A socket, as either loop shows it."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def _tune(connection: _Options) -> None:
    """Frames leave at once, and a host that vanished is noticed: else TCP would hold its connection for minutes."""
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_SECONDS // 2),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    ):
        connection.setsockopt(level, option, value)


class _Wire(asyncio.Protocol):
    """One TCP connection. `peer`: None until both greetings are checked; `expected`: whom we dialled."""

    def __init__(self, peers: "Peers", expected: str | None) -> None:
        self._peers = peers
        self._expected = expected
        self._unframer = Unframer(frames.HELLO_BYTES_MAX)
        self._transport: _Pipe | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._corked: list[bytes] = []
        self._corked_bytes = 0
        self._confirmed = False  # a message has come: the other end accepted our greeting too
        self.peer: str | None = None
        self.closed = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, _Pipe)
        self._transport = transport
        connection = transport.get_extra_info("socket")
        if isinstance(connection, _Options):
            _tune(connection)
        self._deadline = self._loop.call_later(HANDSHAKE_SECONDS, self._too_slow)
        if self._expected is not None:
            self.write(frames.encode(self._peers.hello(self._expected)))

    def data_received(self, data: bytes) -> None:
        try:
            for whole in self._unframer.feed(data):
                if self._transport is None:
                    return
                if self.peer is None:
                    self._greeted(whole)
                elif not self._heard(self.peer, whole):
                    self.close()
        except (frames.FrameTooLarge, msgspec.DecodeError) as error:
            log.warning("closing the connection to %s: %s", self.peer or "a stranger", error)
            self.close()

    def _heard(self, peer: str, data: bytes) -> bool:
        if not self._confirmed:
            reason = frames.refusal(data)
            if reason is not None:
                self._peers.complain(peer, f"refuses this replica: {reason}")
                return False
            self._confirmed = True
            self._peers.confirmed(peer)
        return self._peers.events.receive(peer, data)

    def _greeted(self, data: bytes) -> None:
        greeting = frames.decode_greeting(data)
        if isinstance(greeting, Bye):
            self._peers.complain(self._expected or "a stranger", f"refuses this replica: {greeting.reason}")
            self.close()
            return
        reason = self._peers.judge(greeting, self._expected)
        if reason is not None:
            self._peers.complain(greeting.node_id, reason)
            self.write(frames.encode(Bye(reason)))
            self.close()
            return
        if self._expected is None:
            self.write(frames.encode(self._peers.hello(greeting.node_id)))
        if self._deadline is not None:
            self._deadline.cancel()
        self._unframer.bytes_max = FRAME_BYTES_MAX
        self.peer = greeting.node_id
        self._peers.joined(self, greeting)

    def _too_slow(self) -> None:
        if self.peer is None:
            self.close()

    def write(self, data: bytes) -> None:
        """Send a frame, with all others of this turn of the loop; past a bound, break the connection instead."""
        transport = self._transport
        if transport is None:
            return
        if self._corked_bytes + transport.get_write_buffer_size() > PEER_BUFFER_BYTES_MAX:
            log.warning("%s reads too slowly; breaking the connection", self.peer)
            self.close(abort=True)
            return
        if not self._corked:
            self._loop.call_soon(self._uncork)
        self._corked.append(frames.frame(data))
        self._corked_bytes += len(data)

    def _uncork(self) -> None:
        corked, self._corked, self._corked_bytes = self._corked, [], 0
        if self._transport is not None and corked and not self._transport.is_closing():
            self._transport.write(b"".join(corked))

    def close(self, *, abort: bool = False) -> None:
        self._uncork()
        transport, self._transport = self._transport, None
        if transport is not None:
            if abort:
                transport.abort()
            else:
                transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the signature of asyncio
        self._transport = None
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        self._peers.left(self)


class Peers:
    """The network of one replica. `addresses`: (host, port) of every other voter.

    `bound`: the data folders that the membership names. `known_birth(node)`: the birth of the folder that a voter was
    first met with, `remember(node, birth)` is on disk when it returns.
    """

    def __init__(
        self,
        *,
        me: Hello,
        addresses: dict[str, tuple[str, int]],
        events: PeerEvents,
        bound: Mapping[str, str | None],
        known_birth: Callable[[str], str | None],
        remember: Callable[[str, str], None],
        randomness: Randomness,
    ) -> None:
        self.events = events
        self._me = me
        self._addresses = addresses
        self._voters = frozenset(addresses) | {me.node_id}
        self._bound = bound
        self._known_birth = known_birth
        self._remember = remember
        self._randomness = randomness
        self._wires: dict[str, _Wire] = {}
        self._greetings: dict[str, Hello] = {}
        self._complaints: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._server: asyncio.Server | None = None
        self._open: set[_Wire] = set()

    async def start(self, listening: socket.socket) -> None:
        """Listen, and dial every voter with a smaller id."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._wire(None), sock=listening)
        for node in sorted(self._addresses):
            if node < self._me.node_id:
                self._tasks.append(asyncio.create_task(self._dial(node), name=f"dial {node}"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._server is not None:
            self._server.close()
        for wire in list(self._open):
            wire.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, peer: str, data: bytes) -> None:
        wire = self._wires.get(peer)
        if wire is not None:
            wire.write(data)

    def greeting(self, peer: str) -> Hello | None:
        """What a voter said of itself when it last connected."""
        return self._greetings.get(peer)

    def is_connected(self, peer: str) -> bool:
        return peer in self._wires

    # --- used by the wires -------------------------------------------------------------------------
    def hello(self, to_node: str) -> Hello:
        return msgspec.structs.replace(self._me, to_node_id=to_node)

    def judge(self, greeting: Hello, expected: str | None) -> str | None:
        if expected is not None and greeting.node_id != expected:
            return f"{greeting.node_id} answers at the address of {expected}"
        known = self._known_birth(greeting.node_id)
        bound = self._bound.get(greeting.node_id)
        reason = frames.objection(self._me, greeting, voters=self._voters, bound_folder=bound, known_birth=known)
        if reason is None and known is None:
            self._remember(greeting.node_id, greeting.birth)
        return reason

    def complain(self, node: str, reason: str) -> None:
        """Once a reason: a dial is tried again and again."""
        node = node if node in self._voters else "a stranger"  # names of strangers are not kept
        if self._complaints.get(node) != reason:
            self._complaints[node] = reason
            log.warning("no connection with %s: %s", node, reason)

    def joined(self, wire: _Wire, greeting: Hello) -> None:
        node = greeting.node_id
        old = self._wires.pop(node, None)
        if old is not None:
            old.close(abort=True)
            self.events.disconnected(node)
        self._greetings[node] = greeting
        self._wires[node] = wire
        self.events.connected(node)

    def confirmed(self, node: str) -> None:
        """Nothing is wrong with it any more: what goes wrong next is news."""
        self._complaints.pop(node, None)

    def left(self, wire: _Wire) -> None:
        self._open.discard(wire)
        if wire.peer is not None and self._wires.get(wire.peer) is wire:
            del self._wires[wire.peer]
            self.events.disconnected(wire.peer)

    def _wire(self, expected: str | None) -> _Wire:
        wire = _Wire(self, expected)
        self._open.add(wire)
        return wire

    async def _dial(self, node: str) -> None:
        """Keep one connection to a voter, with backoff between tries."""
        host, port = self._addresses[node]
        loop = asyncio.get_running_loop()
        shortest, longest = BACKOFF_SECONDS
        wait = shortest
        while True:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, wire = await loop.create_connection(lambda: self._wire(node), host, port)
            except OSError as error:  # a timeout too
                self.complain(node, f"cannot connect to {host}:{port}: {error.strerror or error}")
            else:
                await wire.closed
                if wire.peer is not None:
                    wait = shortest
            await asyncio.sleep(wait * (0.5 + self._randomness.random()))
            wait = min(longest, wait * 2)
