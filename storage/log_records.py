"""The bytes of the log's records on disk (`docs/format.md`): entries, the hard state, and the base.

Integers are big-endian. It refuses what it did not write: every record begins with a CRC-32 of what follows, that of
an entry covers its index too. The rule that must hold: a record is read as it was written, or `Corrupt` is raised.
"""

import struct
import zlib
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from raftmem.errors import Corrupt
from raftmem.storage.contracts import HardState, LogEntry

_key = struct.Struct(">Q")
_head = struct.Struct(">IQ")  # checksum, term
_sealed = struct.Struct(">QQ")  # what the checksum of an entry covers before the data
_checksum = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode

DATA_AT: Final = _head.size  # where the data of an entry begin in its record

index_key = _key.pack
T = TypeVar("T")


class Base(Struct, frozen=True, array_like=True):
    """Where a log begins that was compacted or reset. `members`: the membership entry in force there."""

    first_index: int
    members: LogEntry


_hard_state = msgspec.msgpack.Decoder(HardState)
_base = msgspec.msgpack.Decoder(Base)


def index_of(path: str, key: bytes) -> int:
    if len(key) != _key.size:
        raise Corrupt(path, f"has a key of {len(key)} bytes")
    index: int = _key.unpack(key)[0]
    return index


def pack_entry(entry: LogEntry) -> bytes:
    return _head.pack(_crc(entry.index, entry.term, entry.data), entry.term) + entry.data


def unpack_entry(path: str, index: int, value: bytes) -> LogEntry:
    """What stands under `index`."""
    if len(value) < _head.size:
        raise Corrupt(path, f"entry holds {len(value)} bytes only", index=index)
    checksum, term = _head.unpack_from(value)
    data = value[_head.size :]
    if _crc(index, term, data) != checksum:
        raise Corrupt(path, "entry has a wrong checksum", index=index)
    return LogEntry(index, term, data)


def _crc(index: int, term: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(_sealed.pack(index, term)))


def pack_record(record: HardState | Base) -> bytes:
    raw = _encode(record)
    return _checksum.pack(zlib.crc32(raw)) + raw


def unpack_hard_state(path: str, value: bytes) -> HardState:
    return _unpack(path, "hard state (term and vote)", value, _hard_state)


def unpack_base(path: str, value: bytes) -> Base:
    return _unpack(path, "base (first index and its membership)", value, _base)


def _unpack(path: str, what: str, value: bytes, decoder: msgspec.msgpack.Decoder[T]) -> T:
    if len(value) < _checksum.size or _checksum.unpack_from(value)[0] != zlib.crc32(value[_checksum.size :]):
        raise Corrupt(path, f"has a {what} with a wrong checksum")
    try:
        return decoder.decode(value[_checksum.size :])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(path, f"has a {what} that does not decode ({error})") from error
