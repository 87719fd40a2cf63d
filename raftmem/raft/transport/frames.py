"""Frames of the peer port, and the handshake that every connection begins with.

Frame: length u32 big-endian, then that many bytes; without TLS they end with a MAC (`secret`). Once both ends are
authenticated, each sends a `Hello` first; a `Bye` says why not, and may also end a connection later. A replica that is
about to join sends an `Ask` instead, and is answered with a `Hello` that tells it which group this is. Rule: a replica
that is heard belongs to this very cluster and incarnation, was not removed from it, and speaks for the data folder that
is known by its id. The membership here may not name it yet.
"""

import struct
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from raftmem.limits import FRAME_BYTES_MAX, NAME_BYTES_MAX
from raftmem.raft.transport.secret import Challenge, Response

PROTOCOL_VERSION: Final = 1
MAGIC: Final = "raftmem-peer"
HELLO_BYTES_MAX: Final = 8192
_REPLACE: Final = "an emptied or restored folder does not vote under its old id: replace the member"

_length = struct.Struct(">I")
Name = Annotated[str, Meta(max_length=NAME_BYTES_MAX)]
Url = Annotated[str, Meta(max_length=2048)]


class Hello(Struct, frozen=True, array_like=True, tag="hello"):
    """A greeting: sender, receiver, and what must be the same at both ends (obligations no-amnesia, one-timing)."""

    magic: Name
    protocol: int
    cluster_id: Name
    incarnation: int
    node_id: Name
    to_node_id: Name
    folder_id: Name
    birth: Name
    genesis: Annotated[
        bytes, Meta(max_length=32)
    ]  # hash of the entry that made the group: its bootstrap, or its last recovery
    election_timeout_ms: int
    clock_drift_ppm: int
    rest_url: Url
    version: Name


class Bye(Struct, frozen=True, array_like=True, tag="bye"):
    """I will not talk to you, because. `removed`: the group has removed you, for good."""

    reason: Annotated[str, Meta(max_length=2048)]
    removed: bool = False


class Ask(Struct, frozen=True, array_like=True, tag="ask"):
    """The question which group this is.

    It comes from a replica that holds the secret or a certificate, and is not in the group yet.
    """

    node_id: Name
    to_node_id: Name


class FrameTooLarge(ValueError):
    """A peer announced a frame beyond its bound: that connection is closed."""


encode = msgspec.msgpack.Encoder().encode
_greeting: msgspec.msgpack.Decoder[Hello | Bye | Ask] = msgspec.msgpack.Decoder(Hello | Bye | Ask)
_handshake: msgspec.msgpack.Decoder[Challenge | Response | Bye] = msgspec.msgpack.Decoder(Challenge | Response | Bye)
_BYE: Final = encode(Bye(""))[1:5]  # its tag, after the byte that says how many fields there are


def decode_greeting(data: bytes) -> Hello | Bye | Ask:
    """Raises: msgspec.DecodeError."""
    try:
        return _greeting.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:  # what msgspec lets through of bad text and deep nesting
        raise msgspec.DecodeError(str(error)) from error


def decode_handshake(data: bytes) -> Challenge | Response | Bye:
    """Raises: msgspec.DecodeError."""
    try:
        return _handshake.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def farewell(data: bytes) -> Bye | None:
    """The Bye, if this frame is one: it may stand wherever a message is due. Raises: msgspec.DecodeError."""
    if not data.startswith(_BYE, 1):
        return None
    greeting = decode_greeting(data)
    return greeting if isinstance(greeting, Bye) else None


def frame(data: bytes) -> bytes:
    return _length.pack(len(data)) + data


class Unframer:
    """Bytes in, whole frames out. `bytes_max` bounds what one frame may announce."""

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises: FrameTooLarge."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _length.size:
                (size,) = _length.unpack_from(buffer, start)
                if size > self.bytes_max:
                    raise FrameTooLarge(f"a frame of {size} bytes; at most {self.bytes_max}")
                end = start + _length.size + size
                if len(buffer) < end:
                    break
                whole = bytes(memoryview(buffer)[start + _length.size : end])
                start = end
                yield whole
        finally:
            del buffer[:start]


def objection(
    mine: Hello, theirs: Hello, *, is_removed: bool, bound_folder: str | None, known_birth: str | None
) -> Bye | None:
    """Judge a greeting. The answer to a peer that is refused, in words for its operator; None when it is accepted.

    `is_removed`: a committed entry has removed this id. `bound_folder`: the folder that the membership in force gives
    it, if it names it. `known_birth`: of the folder with which a member of this id was first met.
    """
    bye = unspoken(theirs)
    if bye is not None:
        return bye
    if (theirs.cluster_id, theirs.incarnation) != (mine.cluster_id, mine.incarnation):
        return Bye(
            f"belongs to cluster {theirs.cluster_id}/{theirs.incarnation}, "
            f"this is {mine.cluster_id}/{mine.incarnation}; check its peer addresses"
        )
    if is_removed:
        return gone(theirs.node_id)
    if theirs.node_id == mine.node_id:
        return Bye(f"calls itself {mine.node_id}, as this replica does; no two may have one id")
    if theirs.to_node_id != mine.node_id:
        return Bye(f"wants {theirs.to_node_id}, this is {mine.node_id}; check the peer addresses")
    if theirs.genesis != mine.genesis:
        return Bye("was made by another bootstrap or recovery; its log is not a continuation of this one")
    if bound_folder is not None and theirs.folder_id != bound_folder:
        return Bye(f"{theirs.node_id} is bound to data folder {bound_folder}, not {theirs.folder_id}; {_REPLACE}")
    if known_birth is not None and theirs.birth != known_birth:
        return Bye(f"{theirs.node_id} is known by a data folder born {known_birth}, not {theirs.birth}; {_REPLACE}")
    timing = (mine.election_timeout_ms, mine.clock_drift_ppm)
    if (theirs.election_timeout_ms, theirs.clock_drift_ppm) != timing:
        return Bye(
            f"has election_timeout_ms {theirs.election_timeout_ms} and clock_drift_ppm {theirs.clock_drift_ppm}, "
            f"this replica {timing[0]} and {timing[1]}; they must be the same everywhere"
        )
    return None


def unspoken(theirs: Hello | Challenge) -> Bye | None:
    """The answer to a peer that speaks another protocol."""
    if (theirs.magic, theirs.protocol) == (MAGIC, PROTOCOL_VERSION):
        return None
    return Bye(f"speaks {theirs.magic} protocol {theirs.protocol}, this is {MAGIC} protocol {PROTOCOL_VERSION}")


def gone(node: str) -> Bye:
    """The answer to a removed replica."""
    return Bye(f"{node} was removed from this cluster; ids never come back, so join under a new one", removed=True)
