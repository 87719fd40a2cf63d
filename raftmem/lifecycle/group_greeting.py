"""The greeting of a member, asked for by a replica that is about to join: which group this is, for sure.

It is asked over the peer port, and so only of and by those who hold the group's secret or a certificate. What the
REST port says of a group proves nothing, and never tells its genesis. Blocking.
"""

import socket
from collections.abc import Iterable
from typing import Final

import msgspec

from raftmem.errors import BadRequest, NoLeader
from raftmem.lifecycle.peer_credentials import Credentials
from raftmem.model.addresses import split_address
from raftmem.raft.transport import frames, tls
from raftmem.raft.transport.frames import MAGIC, PROTOCOL_VERSION, Ask, Bye, Hello
from raftmem.raft.transport.secret import NONCE_BYTES, Challenge, Forged, Response, Seals
from raftmem.runtime.interfaces import Randomness

ANSWER_S: Final = 5.0


class _Refused(Exception):
    """A member answered, and does not count this replica among its own."""


def ask_members(
    members: Iterable[tuple[str, str]], *, me: str, cluster_id: str, credentials: Credentials, randomness: Randomness
) -> Hello:
    """The greeting of the first of (id, peer address) that proves itself.

    Raises: BadRequest when one refuses the credentials of this replica, or cannot prove its own; NoLeader when no
    member was reached.
    """
    unreached: list[str] = []
    for node, address in members:
        try:
            return _ask(node, address, me, cluster_id, credentials, randomness)
        except (OSError, EOFError) as error:
            unreached.append(f"{node} at {address}: {error or 'it hung up'}")
        except (_Refused, Forged, ValueError) as error:
            raise BadRequest(
                f"{node} at {address} is not asked to take this replica in: {error}; check that both have the same "
                "peer secret, or certificates of one authority",
                parameter="peer_secret_file",
            ) from error
    raise NoLeader(f"no member was reached on its peer port: {'; '.join(unreached) or 'none is named'}; start it again")


def _ask(node: str, address: str, me: str, cluster_id: str, credentials: Credentials, randomness: Randomness) -> Hello:
    """Raises: OSError, EOFError, _Refused, Forged, ValueError."""
    with socket.create_connection(split_address(address, name=f"peer of {node}"), timeout=ANSWER_S) as plain:
        if credentials.tls is None:
            link = _Link(plain)
            link.prove(credentials, me, node, randomness)
            return link.question(me, node)
        with credentials.tls.client().wrap_socket(plain, server_hostname="") as secured:
            names = tls.names(secured.getpeercert(), cluster_id)
            if node not in names:
                raise _Refused(f"its certificate is for {', '.join(sorted(names)) or 'nobody'} of {cluster_id}")
            return _Link(secured).question(me, node)


class _Link:
    """Frames over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._seals: Seals | None = None

    def prove(self, credentials: Credentials, me: str, to: str, randomness: Randomness) -> None:
        assert credentials.secret is not None, "there is a secret where there is no certificate"
        challenge = Challenge(MAGIC, PROTOCOL_VERSION, me, to, randomness.bytes(NONCE_BYTES))
        self._send(frames.encode(challenge))
        said = frames.decode_handshake(self._receive())
        if isinstance(said, Bye):
            raise _Refused(said.reason)
        if not isinstance(said, Response):
            raise _Refused("it does not answer a challenge")
        self._seals = credentials.secret.accept(challenge, said)

    def question(self, me: str, to: str) -> Hello:
        self._send(frames.encode(Ask(me, to)))
        said = frames.decode_greeting(self._receive())
        if isinstance(said, Hello):
            return said
        raise _Refused(said.reason if isinstance(said, Bye) else "it asks back")

    def _send(self, data: bytes) -> None:
        self._connection.sendall(frames.frame(data) if self._seals is None else self._seals.sending.seal(data))

    def _receive(self) -> bytes:
        size = int.from_bytes(self._exactly(4))
        if size > frames.HELLO_BYTES_MAX:
            raise msgspec.DecodeError(f"a frame of {size} bytes")
        data = self._exactly(size)
        return data if self._seals is None else self._seals.receiving.open(data)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._connection.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data
