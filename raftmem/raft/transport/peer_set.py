"""Connections to the other replicas: one per pair, to every member that the membership in force names.

A replica that names another dials it while they are not connected: a pair meets whichever side knows the other, in
whatever role. Of two that dial each other the greater id's dial is kept: it tries first, and the lesser gives its own
try up. A connection counts after its other end was authenticated, by TLS or by the group's secret, and both greetings
were checked (`frames.objection`); a replica of this cluster that the membership here does not name yet may connect,
within a bound. What is sent to a peer that is not connected is lost, as Raft allows.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from raftmem.limits import PEER_STRANGERS_MAX
from raftmem.model.addresses import split_address
from raftmem.model.commands import Member, Members
from raftmem.raft.transport import connection as timing
from raftmem.raft.transport import frames
from raftmem.raft.transport.connection import PeerConnection
from raftmem.raft.transport.dialer import Address, Dialer
from raftmem.raft.transport.frames import Ask, Bye, Hello
from raftmem.raft.transport.listener import Listener
from raftmem.raft.transport.secret import PeerSecret
from raftmem.raft.transport.tls import PeerTls
from raftmem.runtime.interfaces import Randomness

log = logging.getLogger("raftmem.peers")
CONNECT_SECONDS = 2.0
LESSER_SECONDS = 0.5  # how much longer the lesser id waits before it dials
SETTLED_SECONDS = 1.0  # the connection that we dialled is not replaced by a call that crossed it, for so long
STARTING_SECONDS: Final = 5.0  # after the start: members that refuse are likely to be starting too
STRANGER: Final = "a stranger"
STRANGERS_SILENT_SECONDS: Final = 1.0  # between two lines in the log about them


class PeerEvents:
    """The events that the network tells: consensus has the first three methods (structural, see `Consensus`).

    `removed(node, reason)`: that member says that the group has removed this replica.
    """

    def __init__(
        self,
        *,
        receive: Callable[[str, bytes], bool],
        connected: Callable[[str], None],
        disconnected: Callable[[str], None],
        removed: Callable[[str, str], None],
    ) -> None:
        self.receive = receive
        self.connected = connected
        self.disconnected = disconnected
        self.removed = removed


class PeerSet:
    """The network of one replica. Everything runs on the loop's thread.

    `addresses`: (host, port) of members, in place of those in the membership. `known_birth(node)`: the birth of the
    folder that a member was first met with, `remember(node, birth)` is on disk when it returns.
    """

    def __init__(
        self,
        *,
        me: Hello,
        events: PeerEvents,
        known_birth: Callable[[str], str | None],
        remember: Callable[[str, str], None],
        randomness: Randomness,
        addresses: Mapping[str, Address] | None = None,
        tls: PeerTls | None = None,
        secret: PeerSecret | None = None,
    ) -> None:
        """`secret` counts where TLS is off. Raises: ValueError without either: anybody could forge the log then."""
        if tls is None and secret is None:
            raise ValueError("peers are authenticated by TLS or by a shared secret")
        self._me = me
        self._events = events
        self._known_birth = known_birth
        self._remember = remember
        self._randomness = randomness
        self._addresses = addresses or {}
        self._tls = tls
        self._secret = secret if tls is None else None
        self._loop = asyncio.get_running_loop()
        self._is_running = False
        self._named: dict[str, Member] = {}
        self._voters: frozenset[str] = frozenset()
        self._removed: frozenset[str] = frozenset()
        self._connections: dict[str, PeerConnection] = {}
        self._greetings: dict[str, Hello] = {}
        self._complaints: dict[str, str] = {}
        self._strangers_silent_until = 0.0
        self._starting_until = self._loop.time() + STARTING_SECONDS
        self._open: set[PeerConnection] = set()
        self._dials: dict[str, Dialer] = {}
        self._accepting = Listener(
            make=lambda: PeerConnection(self, self._loop, None, secret=self._secret),
            complain=lambda reason: self._complain(STRANGER, reason),
            tls=tls,
        )

    # --- used by the node ----------------------------------------------------------------------------
    async def start(self, listening: socket.socket) -> None:
        """Listen, and dial every member that is named. The socket is ours from here on."""
        self._is_running = True
        self._accepting.start(listening)
        self._redial()

    async def stop(self) -> None:
        self._is_running = False
        await self._accepting.stop()
        await asyncio.gather(*(dial.stop() for dial in self._dials.values()))
        for connection in list(self._open):
            connection.close()

    def set_members(self, members: Members) -> None:
        """The membership in force: at the start, and whenever it changes. No event comes from within this call.

        A connection to a replica that is named no more stays until its removal is committed: it must hear of that.
        """
        both = (*members.voters, *members.learners)
        self._named = {member.id: member for member in both if member.id != self._me.node_id}
        self._voters = frozenset(member.id for member in members.voters if member.id != self._me.node_id)
        self._forget_strangers()
        for node in self._complaints.keys() - self._named.keys() - {STRANGER}:
            del self._complaints[node]
        self._redial()
        for connection in self._connections.values():
            self._loop.call_soon(self._look_again, connection)

    def set_removed(self, ids: Iterable[str]) -> None:
        """Replicas whose removal is committed: they are told, and not heard again. No event comes from within."""
        self._removed = frozenset(ids)
        self._redial()
        for connection in self._connections.values():
            self._loop.call_soon(self._look_again, connection)

    def send(self, peer: str, data: bytes) -> None:
        connection = self._connections.get(peer)
        if connection is not None:
            connection.write(data)

    def greeting(self, peer: str) -> Hello | None:
        """The greeting of a member when it last connected."""
        return self._greetings.get(peer)

    def is_connected(self, peer: str) -> bool:
        return peer in self._connections

    # --- used by the connections -----------------------------------------------------------------------------
    def opened(self, connection: PeerConnection) -> None:
        self._open.add(connection)

    def hello(self, to_node: str) -> Hello:
        return msgspec.structs.replace(self._me, to_node_id=to_node)

    def random(self, count: int) -> bytes:
        return self._randomness.bytes(count)

    def may_greet(self, connection: PeerConnection) -> bool:
        dial = self._dials.get(connection.expected or "")
        if dial is None or connection.expected is None or connection.expected in self._connections:
            connection.close()
            return False
        bye = self._misnamed(connection, connection.expected)
        if bye is not None:
            self._complain(connection.expected, bye.reason)
            connection.part(bye)
            return False
        dial.pending = connection
        return True

    def greeted(self, connection: PeerConnection, greeting: Hello) -> bool:
        node = greeting.node_id
        bye = self._objection(connection, greeting)
        if bye is None and connection.expected is None and not self._takes(node):
            connection.close()
            return False
        if bye is None:
            bye = self._acquaint(greeting)
        if bye is not None:
            self._complain(node, bye.reason)
            connection.part(bye)
            return False
        self._greetings[node] = greeting
        return True

    def asked(self, connection: PeerConnection, ask: Ask) -> None:
        """The certificate, where there is one, must be for the replica that asks."""
        bye = self._misnamed(connection, ask.node_id)
        if bye is None and connection.expected is None:
            connection.write(frames.encode(self.hello(ask.node_id)))
            connection.close()
        else:
            connection.part(bye or Bye("was called, and is not to ask"))

    def joined(self, connection: PeerConnection) -> None:
        assert connection.peer is not None
        node = connection.peer
        dial = self._dials.get(node)
        if dial is not None:
            own, dial.pending = dial.pending, None
            if own is connection:
                dial.is_unanswered = False
            elif own is not None:
                own.close(abort=True)
        old = self._connections.get(node)
        if old is not None:
            self._drop(old)
            old.close(abort=True)
        self._connections[node] = connection
        self._events.connected(node)

    def heard(self, connection: PeerConnection, data: bytes) -> bool:
        assert connection.peer is not None
        if not connection.is_confirmed:
            connection.is_confirmed = True
            self._complaints.pop(connection.peer, None)  # nothing is wrong with it: what goes wrong next is news
        return self._events.receive(connection.peer, data)

    def refused(self, connection: PeerConnection, bye: Bye) -> None:
        """A Bye counts as the word of its sender only if that is authentic, and a voter as far as we know voters."""
        node = connection.peer or connection.expected
        self._complain(node or STRANGER, f"refuses this replica: {bye.reason}")
        is_believed = connection.is_authentic and (node in self._voters or not self._voters)
        if node is not None and bye.removed and is_believed:
            self._events.removed(node, bye.reason)

    def broken(self, connection: PeerConnection, error: Exception) -> None:
        self._complain(connection.peer or connection.expected or STRANGER, f"closes the connection: {error}")

    def left(self, connection: PeerConnection) -> None:
        self._open.discard(connection)
        dial = self._dials.get(connection.expected or "")
        if dial is not None and dial.pending is connection:
            dial.pending, dial.is_unanswered = None, True
        self._drop(connection)

    # --- who may talk ------------------------------------------------------------------------------------
    def _objection(self, connection: PeerConnection, greeting: Hello) -> Bye | None:
        node = greeting.node_id
        member = self._named.get(node)
        bye = frames.objection(
            self._me,
            greeting,
            is_removed=node in self._removed,
            bound_folder=None if member is None else member.folder_id,
            known_birth=self._birth_of(member, node),
        )
        if bye is None and connection.expected is not None and node != connection.expected:
            bye = Bye(f"{node} answers at the address of {connection.expected}")
        return bye or self._misnamed(connection, node)

    def _birth_of(self, member: Member | None, node: str) -> str | None:
        """As the membership has it, else as this replica first met it."""
        return self._known_birth(node) if member is None or member.birth is None else member.birth

    def _misnamed(self, connection: PeerConnection, node: str) -> Bye | None:
        if connection.names is None or node in connection.names:
            return None
        return Bye(f"its certificate is for {', '.join(sorted(connection.names)) or 'nobody'}, not for {node}")

    def _acquaint(self, greeting: Hello) -> Bye | None:
        """Remember a member when it is first met; strangers only within their bound, and not on disk."""
        node = greeting.node_id
        if node in self._named:
            if self._known_birth(node) is None:
                self._remember(node, greeting.birth)
            return None
        if len(self._connections.keys() - self._named.keys() - {node}) >= PEER_STRANGERS_MAX:
            return Bye(f"{PEER_STRANGERS_MAX} replicas that the membership does not name are connected already")
        return None

    def _takes(self, node: str) -> bool:
        """Whether to accept an inbound connection while another exists or is being dialled.

        Nobody calls while connected: so a call says that its connection is gone there, unless the calls crossed.
        """
        old = self._connections.get(node)
        if old is not None:
            return old.expected is None or self._loop.time() - old.joined_at > SETTLED_SECONDS
        dial = self._dials.get(node)
        if dial is None or dial.pending is None or self._me.node_id < node:
            return True
        return dial.is_unanswered  # whoever answers there may not be this node

    def _look_again(self, connection: PeerConnection) -> None:
        """Check each connection again: the membership has changed since its greeting."""
        node = connection.peer
        if node is None or self._connections.get(node) is not connection:
            return
        bye = self._objection(connection, self._greetings[node]) or self._acquaint(self._greetings[node])
        if bye is not None:
            self._complain(node, bye.reason)
            connection.part(bye)
            self._drop(connection)

    def _drop(self, connection: PeerConnection) -> None:
        """It counts no more."""
        if connection.peer is not None and self._connections.get(connection.peer) is connection:
            del self._connections[connection.peer]
            self._forget_strangers()
            self._events.disconnected(connection.peer)

    def _forget_strangers(self) -> None:
        for node in self._greetings.keys() - self._named.keys() - self._connections.keys():
            del self._greetings[node]

    def _complain(self, node: str, reason: str) -> None:
        """Once a reason: a dial is tried again and again. Names of strangers are not kept."""
        node = node if node in self._named else STRANGER
        now = self._loop.time()
        if node == STRANGER and now < self._strangers_silent_until:
            return  # whoever can call could fill the log
        if self._complaints.get(node) != reason:
            self._complaints[node] = reason
            if node == STRANGER:
                self._strangers_silent_until = now + STRANGERS_SILENT_SECONDS
            log.warning("no connection with %s: %s", node, "".join(c if c.isprintable() else "?" for c in reason))

    # --- dialling ------------------------------------------------------------------------------------------
    def _redial(self) -> None:
        """One dial for each member that is named, at its address; the others end."""
        if not self._is_running:
            return
        wanted: dict[str, Address] = {}
        for node, member in self._named.items():
            address = None if node in self._removed else self._address(member)
            if address is not None:
                wanted[node] = address
        for node, dial in list(self._dials.items()):
            if wanted.get(node) != dial.address:
                del self._dials[node]
                dial.cancel()
                connection = self._connections.get(node)
                if node in wanted and connection is not None and connection.expected is not None:
                    self._loop.call_soon(connection.close)  # to be met where it is said to be now
        for node, address in wanted.items():
            if node not in self._dials:
                self._dials[node] = self._dial(node, address)

    def _address(self, member: Member) -> Address | None:
        if member.id in self._addresses:
            return self._addresses[member.id]
        try:
            return split_address(member.peer_url, name=f"peer of {member.id}")
        except ValueError as error:
            self._complain(member.id, str(error))
            return None

    def _dial(self, node: str, address: Address) -> Dialer:
        dial = Dialer(
            address=address,
            patience=LESSER_SECONDS if self._me.node_id < node else 0.0,
            connect=lambda address: self._connect(node, address),
            current=lambda: self._connections.get(node),
            randomness=self._randomness,
        )
        dial.start()
        return dial

    async def _connect(self, node: str, address: Address) -> PeerConnection | None:
        host, port = address
        connection = PeerConnection(self, self._loop, node, secret=self._secret)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self._tls is None:
                    await self._loop.create_connection(lambda: connection, host, port)
                else:
                    await self._loop.create_connection(
                        lambda: connection,
                        host,
                        port,
                        ssl=self._tls.client(),
                        server_hostname="",  # the certificate is checked for the node's id
                        ssl_shutdown_timeout=timing.HANDSHAKE_SECONDS,
                    )
        except OSError as error:  # a timeout, and whatever TLS objects to, too
            if isinstance(error, ConnectionRefusedError) and self._loop.time() < self._starting_until:
                return None  # it is tried again soon, and said if it is still so
            reason = error.strerror or str(error) or "no answer in time"
            self._complain(node, f"cannot connect to {host}:{port}: {reason}")
            return None
        return connection
