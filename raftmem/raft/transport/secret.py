"""The shared secret of a group: both ends of a connection prove it, then every frame carries a MAC.

The dialer sends a `Challenge`, the other end answers with a `Response` that proves the secret, and the dialer's first
sealed frame proves it in turn. Proofs and keys are keyed BLAKE2b over both nonces, both ids and the direction, so that
an answer fits no other connection, and a frame no other place in its own: each MAC covers all frames before it in its
direction too. It authenticates and does not encrypt; for that there are certificates (`tls`).
"""

import hashlib
import hmac
import struct
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from raftmem.limits import NAME_BYTES_MAX

SECRET_BYTES_MIN: Final = 16
SECRET_BYTES_MAX: Final = 4096
NONCE_BYTES: Final = 32
PROOF_BYTES: Final = 32
MAC_BYTES: Final = 16
HANDSHAKE_BYTES_MAX: Final = 1024

_length = struct.Struct(">I")
_Name = Annotated[str, Meta(max_length=NAME_BYTES_MAX)]
_Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
_Proof = Annotated[bytes, Meta(min_length=PROOF_BYTES, max_length=PROOF_BYTES)]


class Challenge(Struct, frozen=True, array_like=True, tag="challenge"):
    """The dialer's first words: who it says it is, whom it means, and a nonce."""

    magic: _Name
    protocol: int
    node_id: _Name
    to_node_id: _Name
    nonce: _Nonce


class Response(Struct, frozen=True, array_like=True, tag="response"):
    """The answer to a challenge proves the secret, and says nothing else before the dialer has proved it too."""

    nonce: _Nonce
    proof: _Proof


class Forged(ValueError):
    """A proof or a MAC is not of this group's secret: that connection is closed, and nothing of it counts."""


encode = msgspec.msgpack.Encoder().encode


class Seal:
    """One direction of a connection. Frames are sealed, or opened, in the order in which they go over it."""

    def __init__(self, key: bytes) -> None:
        self._running = hashlib.blake2b(key=key, digest_size=MAC_BYTES)

    def seal(self, data: bytes) -> bytes:
        """A whole frame: length, data, MAC."""
        frame = _length.pack(len(data) + MAC_BYTES) + data
        self._running.update(frame)
        return frame + self._running.digest()

    def open(self, sealed: bytes) -> bytes:
        """The sealed content of a frame without its length. Raises: Forged."""
        data = sealed[:-MAC_BYTES]
        self._running.update(_length.pack(len(sealed)) + data)
        if not hmac.compare_digest(self._running.digest(), sealed[-MAC_BYTES:]):
            raise Forged("a frame without the MAC of this connection")
        return data


class Seals(NamedTuple):
    """Of one end of a connection."""

    sending: Seal
    receiving: Seal


class PeerSecret:
    """The secret that all replicas of a group share. `text`: what its file holds, without the white space around it."""

    def __init__(self, text: bytes) -> None:
        """Raises: ValueError when it is too short to be a secret, or too long."""
        if not SECRET_BYTES_MIN <= len(text) <= SECRET_BYTES_MAX:
            raise ValueError(f"{len(text)} bytes; a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")
        self._key = hashlib.blake2b(text, person=b"raftmem peer", digest_size=32).digest()

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose, the same on every replica; they tell nothing of the secret or of other purposes."""
        return self._mac(b"derived", purpose.encode())

    def respond(self, challenge: Challenge, *, nonce: bytes) -> tuple[Response, Seals]:
        """As the end that was dialled."""
        talk = encode((challenge, nonce))
        response = Response(nonce, self._mac(b"response", talk))
        return response, Seals(Seal(self._mac(b"answering", talk)), Seal(self._mac(b"dialling", talk)))

    def accept(self, challenge: Challenge, response: Response) -> Seals:
        """As the end that has dialled. Raises: Forged when the other end does not know the secret."""
        talk = encode((challenge, response.nonce))
        if not hmac.compare_digest(response.proof, self._mac(b"response", talk)):
            raise Forged("it answers under another peer secret")
        return Seals(Seal(self._mac(b"dialling", talk)), Seal(self._mac(b"answering", talk)))

    def _mac(self, role: bytes, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self._key, person=role, digest_size=32).digest()
