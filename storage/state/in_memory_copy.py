"""The bytes of an in-memory state, and back: the in-memory snapshots are made of them.

One line an entry: length u32, then MessagePack of (row, changes, head). Lines are only appended, so a copy is a prefix
of one growing text, and the cost of a copy is the part that is new. A state is made from these bytes alone.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator

import msgspec

from raftmem.errors import Corrupt
from raftmem.model.records import Change, Head, Step
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.contract import EventRow
from raftmem.storage.state.copy_rules import difference

Line = tuple[EventRow, tuple[Change, ...], Head]

_length = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Line).decode


class InMemoryFiles:
    """The contents of a folder of snapshots over all lives of a replica. `bytes_max` simulates a full disk.

    `partial`: what has come so far, of the meta it belongs to.
    """

    def __init__(self, *, bytes_max: int | None = None) -> None:
        self.bytes_max = bytes_max
        self.listed: dict[SnapshotMeta, bytes] = {}
        self.partial: tuple[SnapshotMeta, bytearray] | None = None

    def bytes_held(self) -> int:
        return sum(map(len, self.listed.values())) + (0 if self.partial is None else len(self.partial[1]))


class GrowingCopy:
    """The lines of one state so far, and their checksum."""

    def __init__(self) -> None:
        self.entries = 0
        self._text = bytearray()
        self._hash = hash_of(b"")

    def extend(self, lines: Iterable[Line]) -> None:
        start = len(self._text)
        for line in lines:
            raw = _encode(line)
            self._text += _length.pack(len(raw))
            self._text += raw
            self.entries += 1
        self._hash.update(memoryview(self._text)[start:].tobytes())

    def finished(self) -> tuple[bytes, bytes]:
        """The bytes as of now, and their BLAKE2b-256."""
        return bytes(self._text), self._hash.copy().digest()


def hash_of(data: bytes) -> "hashlib.blake2b":
    return hashlib.blake2b(data, digest_size=32)


def lines_of(data: bytes, meta: SnapshotMeta, *, last_only: bool = False) -> Iterator[tuple[EventRow, Step, Head]]:
    """Raises: Corrupt when the bytes are no copy."""
    offset = 0
    try:
        while offset < len(data):
            size: int = _length.unpack_from(data, offset)[0]
            offset += _length.size
            if not last_only or offset + size >= len(data):
                row, changes, head = _decode(data[offset : offset + size])
                yield row, Step(row.result, changes), head
            offset += size
    except (msgspec.DecodeError, UnicodeDecodeError, struct.error) as error:
        raise Corrupt("snapshot in memory", f"does not decode ({error})", index=meta.index) from error


def doubt(meta: SnapshotMeta, data: bytes) -> str | None:
    """The problem of the bytes as a whole or of the last entry, in words; None if they are sound."""
    if len(data) != meta.size:
        return f"has {len(data)} bytes, not {meta.size}"
    if hash_of(data).digest() != meta.checksum:
        return "has another checksum than its manifest"
    try:
        for row, _, head in lines_of(data, meta, last_only=True):
            return difference(meta, head, row)
    except Corrupt as error:
        return f"is no state ({error})"
    return "is no state (it is empty)"
