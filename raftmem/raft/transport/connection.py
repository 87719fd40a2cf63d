"""One connection between two replicas: proofs, greetings, then frames in order, or a broken connection.

It authenticates: by TLS where that is on, else both ends prove the group's secret before either greets, and every
frame after that carries a MAC (`secret`). Who may talk is decided by its `Owner`. The end that dialled greets first,
the other end answers with a greeting of its own or with a Bye. What piles up too high for a slow reader breaks it.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import msgspec

from raftmem.limits import FRAME_BYTES_MAX, PEER_BUFFER_BYTES_MAX
from raftmem.raft.transport import frames, tls
from raftmem.raft.transport.frames import Ask, Bye, Hello, Unframer
from raftmem.raft.transport.secret import MAC_BYTES, NONCE_BYTES, Challenge, Forged, PeerSecret, Response, Seals

log = logging.getLogger("raftmem.peers")
_TLS_GREETING = b"\x16\x03"  # how a ClientHello begins (RFC 8446, 5.1)
HANDSHAKE_SECONDS = 2.0  # for the certificates, and again for the greetings
SILENT_SECONDS: Final = 10  # bytes unacknowledged, or no life sign of an idle peer, for this long: the host is gone


class Owner(Protocol):
    """The owner of a connection: it decides who may talk, and is told what comes."""

    def opened(self, connection: "PeerConnection") -> None: ...
    def may_greet(self, connection: "PeerConnection") -> bool:
        """True: this connection, which was dialled, is still wanted."""
        ...

    def greeted(self, connection: "PeerConnection", greeting: Hello) -> bool:
        """The other end's greeting came; False: the owner has closed this. It counts when `joined` is called."""
        ...

    def joined(self, connection: "PeerConnection") -> None: ...
    def refused(self, connection: "PeerConnection", bye: Bye) -> None: ...
    def heard(self, connection: "PeerConnection", data: bytes) -> bool:
        """A frame after the greetings; False: it is no message, and the connection is closed."""
        ...

    def broken(self, connection: "PeerConnection", error: Exception) -> None:
        """The connection breaks by itself before the greetings were through, or for bytes that are no frame."""
        ...

    def left(self, connection: "PeerConnection") -> None: ...
    def asked(self, connection: "PeerConnection", ask: Ask) -> None:
        """A replica that is not in the group yet wants to know which group this is. Answer, and close."""
        ...

    def hello(self, to_node: str) -> Hello: ...
    def random(self, count: int) -> bytes: ...


@runtime_checkable
class _Pipe(Protocol):
    """The methods that are used of a transport; uvloop's are no subclasses of asyncio's."""

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


class PeerConnection(asyncio.Protocol):
    """`expected`: whom we dialled. `peer`: None until both greetings are checked. `secret`: None where TLS is on.

    `names`: the ids that the other end's certificate names, None without TLS. `is_authentic`: the other end has proved
    that it belongs to the group; what it said before that is a stranger's word.
    """

    def __init__(
        self, owner: Owner, loop: asyncio.AbstractEventLoop, expected: str | None, *, secret: PeerSecret | None
    ) -> None:
        self.expected = expected
        self.peer: str | None = None
        self.names: frozenset[str] | None = None
        self.joined_at = 0.0
        self.is_authentic = False
        self.is_confirmed = False  # a message has come: the other end accepted our greeting too
        self._owner = owner
        self._loop = loop
        self._secret = secret
        self._challenge: Challenge | None = None
        self._seals: Seals | None = None
        self._frame: Callable[[bytes], bytes] = frames.frame
        self._unframer = Unframer(frames.HELLO_BYTES_MAX)
        self._transport: _Pipe | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._corked: list[bytes] = []
        self._corked_bytes = 0
        self._closed = asyncio.Event()

    async def over(self) -> None:
        """Until the connection is lost."""
        await self._closed.wait()

    def was_good(self) -> bool:
        """True once both ends have accepted each other."""
        return self.peer is not None and (self.expected is not None or self.is_confirmed)

    def is_unknown(self) -> bool:
        """Open, or about to be, and not greeted yet."""
        return self.peer is None and not self._closed.is_set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, _Pipe)
        self._transport = transport
        self._owner.opened(self)
        connection = transport.get_extra_info("socket")
        if isinstance(connection, _Options):
            _tune(connection)
        if transport.get_extra_info("sslcontext") is not None:
            self.names = tls.names(transport.get_extra_info("peercert"), self._owner.hello("").cluster_id)
            self.is_authentic = True
        self._deadline = self._loop.call_later(HANDSHAKE_SECONDS, self._too_slow)
        if self.expected is None or not self._owner.may_greet(self):
            return
        hello = self._owner.hello(self.expected)
        if self._secret is None:
            self.write(frames.encode(hello))
            return
        nonce = self._owner.random(NONCE_BYTES)
        self._challenge = Challenge(hello.magic, hello.protocol, hello.node_id, self.expected, nonce)
        self.write(frames.encode(self._challenge))

    def data_received(self, data: bytes) -> None:
        try:
            for whole in self._unframer.feed(data):
                if self._transport is None:
                    return
                self._arrived(whole)
        except (frames.FrameTooLarge, msgspec.DecodeError, Forged) as error:
            tls = self.peer is None and data.startswith(_TLS_GREETING)
            what = "it speaks TLS, this replica does not: set peer_cert, peer_key and peer_ca" if tls else str(error)
            self._owner.broken(self, ValueError(what))
            self.close()

    def _arrived(self, whole: bytes) -> None:
        if self._seals is not None:
            whole = self._seals.receiving.open(whole)
            self.is_authentic = True
        elif self._secret is not None:
            self._prove(self._secret, whole)
            return
        if self.peer is None:
            self._greeted(whole)
        else:
            self._heard(self.peer, whole)

    def _prove(self, secret: PeerSecret, data: bytes) -> None:
        """The challenge of a caller, or the response to ours. Raises: Forged, msgspec.DecodeError."""
        said = frames.decode_handshake(data)
        if isinstance(said, Bye):
            self._owner.refused(self, said)
            self.close()
        elif isinstance(said, Response) and self._challenge is not None:
            self._sealed_by(secret.accept(self._challenge, said))
            self.write(frames.encode(self._owner.hello(self._challenge.to_node_id)))
        elif isinstance(said, Challenge) and self._challenge is None:
            mine = self._owner.hello(said.node_id).node_id
            bye = frames.unspoken(said)
            if bye is None and said.to_node_id != mine:
                bye = Bye(f"wants {said.to_node_id}, this is {mine}; check the peer addresses")
            if bye is not None:
                self.part(bye)
                return
            self._challenge = said
            response, seals = secret.respond(said, nonce=self._owner.random(NONCE_BYTES))
            self.write(frames.encode(response))
            self._sealed_by(seals)
        else:
            raise msgspec.DecodeError("it answers a challenge that nobody made, or makes one when it is to answer")

    def _sealed_by(self, seals: Seals) -> None:
        """Every frame from here on carries a MAC, in both directions."""
        self._seals = seals
        self._frame = seals.sending.seal

    def _greeted(self, data: bytes) -> None:
        greeting = frames.decode_greeting(data)
        if isinstance(greeting, Bye):
            self._owner.refused(self, greeting)
            self.close()
        elif self.expected is None and self._challenge is not None and greeting.node_id != self._challenge.node_id:
            raise Forged(f"it calls itself {self._challenge.node_id} first, then {greeting.node_id}")
        elif isinstance(greeting, Ask):
            self._owner.asked(self, greeting)
        elif self._owner.greeted(self, greeting):
            if self.expected is None:
                self.write(frames.encode(self._owner.hello(greeting.node_id)))
            if self._deadline is not None:
                self._deadline.cancel()
            self._unframer.bytes_max = FRAME_BYTES_MAX + MAC_BYTES
            self.peer = greeting.node_id
            self.joined_at = self._loop.time()
            self._owner.joined(self)

    def _heard(self, peer: str, data: bytes) -> None:
        bye = frames.farewell(data)
        if bye is not None:
            self._owner.refused(self, bye)
            self.close()
        elif not self._owner.heard(self, data):
            log.warning("closing the connection to %s: what it says is no message", peer)
            self.close()

    def _too_slow(self) -> None:
        if self.peer is None:
            self.close(abort=True)

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
        self._corked.append(self._frame(data))
        self._corked_bytes += len(data)

    def _uncork(self) -> None:
        corked, self._corked, self._corked_bytes = self._corked, [], 0
        if self._transport is not None and corked and not self._transport.is_closing():
            self._transport.write(b"".join(corked))

    def part(self, bye: Bye) -> None:
        """Say why not, and close."""
        self.write(frames.encode(bye))
        self.close()

    def close(self, *, abort: bool = False) -> None:
        """Nothing is heard or sent any more; unless `abort`, what was written still leaves, within bounds."""
        self._uncork()
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if abort:
            transport.abort()
        else:
            transport.close()
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self._loop.call_later(HANDSHAKE_SECONDS, transport.abort)  # the other end may not read

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if exc is not None and self.peer is None and self._transport is not None:
            self._owner.broken(self, exc)
        self._transport = None
        self._closed.set()
        self._owner.left(self)
