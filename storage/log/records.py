"""The bytes of a log segment (`docs/format.md`): frames, and the records in them.

A frame is one commit. Its header has a checksum of its own and one over the heads of its records. The head of a record
has a checksum over the rest of the record, which every read checks. Integers are big-endian. A *mark* and a *seal* are
headers alone: everything before them is on disk, and after a seal the log continues in the next segment.
Unknown bytes are refused. The rule that must hold: a record is read exactly as it was written, or `Corrupt` is raised.
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar, assert_never
from zlib import crc32

import msgspec
from msgspec import Struct

from raftmem.errors import Corrupt, StorageFailed
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry, LogWrite, Reset, Truncate
from raftmem.storage.log.rules import LogEnd, is_membership

FRAME: Final = b"RMfr"
MARK: Final = b"RMok"
SEAL: Final = b"RMgo"
_KINDS: Final = (FRAME, MARK, SEAL)

ENTRY: Final = 1
MEMBERSHIP: Final = 2
TRUNCATE: Final = 3
HARD_STATE: Final = 4
COMPACT: Final = 5
CHECKPOINT: Final = 6

header_layout = struct.Struct(">4sQQQI")  # kind, salt, sequence, bytes of the records, checksum of their heads
_checksum = struct.Struct(">I")
head_layout = struct.Struct(">IIIQQ")  # checksum, then as below
_sealed = struct.Struct(">IIQQ")  # kind, bytes of the data, index, term: what the checksum covers before the data
_salt = struct.Struct(">Q")
_encode = msgspec.msgpack.Encoder().encode
_T = TypeVar("_T")

HEADER_BYTES: Final = header_layout.size + _checksum.size
HEAD_BYTES: Final = head_layout.size
SALT_AT: Final = len(FRAME)  # where the salt stands in a header

salt_bytes = _salt.pack


class Header(NamedTuple):
    kind: bytes
    salt: int
    sequence: int
    payload_bytes: int
    heads_checksum: int


class Record(NamedTuple):
    """`number`: an index of the log, if it has one. `at`: where its head begins in what was read."""

    checksum: int
    kind: int
    size: int
    number: int
    term: int
    at: int


class Checkpoint(Struct, frozen=True, array_like=True):
    """The first record of a segment: the whole log at that moment, except its entries.

    `previous`: number of the segment before, and where its frames end; None: no older segment counts. `last`: the last
    index then, one below `first` when there is no entry.
    """

    previous: tuple[int, int] | None
    hard_state: HardState
    first: int
    last: int
    base: LogEntry | None
    listed: tuple[LogEntry, ...]

    def end(self) -> LogEnd:
        return LogEnd(self.first, self.last, self.hard_state, self.base, self.listed)


_checkpoint = msgspec.msgpack.Decoder(Checkpoint)
_hard_state = msgspec.msgpack.Decoder(HardState)
_members = msgspec.msgpack.Decoder(LogEntry)


# --- writing --------------------------------------------------------------------------------------
def pack_header(kind: bytes, salt: int, sequence: int, payload_bytes: int = 0, heads_checksum: int = 0) -> bytes:
    raw = header_layout.pack(kind, salt, sequence, payload_bytes, heads_checksum)
    return raw + _checksum.pack(crc32(raw))


def pack_frame(salt: int, sequence: int, writes: Sequence[LogWrite]) -> tuple[bytes, dict[int, int]]:
    """The bytes of a frame, and index -> offset of its entries (of each index the last). It takes no reset."""
    heads: list[bytes] = []
    parts: list[bytes] = [b""]
    places: dict[int, int] = {}
    at = HEADER_BYTES
    for write in writes:
        if isinstance(write, Append):
            for entry in write.entries:
                data = entry.data
                index = entry.index
                sealed = _sealed.pack(MEMBERSHIP if is_membership(data) else ENTRY, len(data), index, entry.term)
                head = _checksum.pack(crc32(data, crc32(sealed))) + sealed
                heads.append(head)
                parts += (head, data)
                places[index] = at
                at += HEAD_BYTES + len(data)
        else:
            head, data = _packed(*_plain(write))
            heads.append(head)
            parts += (head, data)
            at += HEAD_BYTES + len(data)
    parts[0] = pack_header(FRAME, salt, sequence, at - HEADER_BYTES, crc32(b"".join(heads)))
    return b"".join(parts), places


def pack_checkpoint(salt: int, sequence: int, number: int, checkpoint: Checkpoint) -> bytes:
    head, data = _packed(CHECKPOINT, number, _encode(checkpoint))
    return b"".join((pack_header(FRAME, salt, sequence, len(head) + len(data), crc32(head)), head, data))


def _packed(kind: int, index: int, data: bytes) -> tuple[bytes, bytes]:
    sealed = _sealed.pack(kind, len(data), index, 0)
    return _checksum.pack(crc32(data, crc32(sealed))) + sealed, data


def _plain(write: Truncate | HardState | Compact | Reset) -> tuple[int, int, bytes]:
    match write:
        case Truncate():
            return TRUNCATE, write.index, b""
        case HardState():
            return HARD_STATE, 0, _encode(write)
        case Compact():
            return COMPACT, write.first_index, _encode(write.members)
        case Reset():
            raise StorageFailed("a reset begins a segment and is no record; a bug, please report it")
        case _:
            assert_never(write)


# --- reading --------------------------------------------------------------------------------------
def read_header(content: bytes, at: int) -> Header | None:
    """The header at `at`; None if there is no whole one."""
    if at < 0 or at + HEADER_BYTES > len(content):
        return None
    header = Header(*header_layout.unpack_from(content, at))
    stop = at + header_layout.size
    if header.kind not in _KINDS or _checksum.unpack_from(content, stop)[0] != crc32(content[at:stop]):
        return None
    return header


def read_records(content: bytes, at: int, header: Header) -> list[Record] | None:
    """The records of the frame whose header begins at `at`; None if their heads are not those that were written. Their
    data are not checked."""
    at += HEADER_BYTES
    stop = at + header.payload_bytes
    found: list[Record] = []
    heads_checksum = 0
    while at + HEAD_BYTES <= stop:
        checksum, kind, size, number, term = head_layout.unpack_from(content, at)
        found.append(Record(checksum, kind, size, number, term, at))
        heads_checksum = crc32(content[at : at + HEAD_BYTES], heads_checksum)
        at += HEAD_BYTES + size
    return found if at == stop and heads_checksum == header.heads_checksum else None


def is_sound(content: bytes, record: Record) -> bool:
    stop = record.at + HEAD_BYTES + record.size
    return stop <= len(content) and crc32(content[record.at + 4 : stop]) == record.checksum


def data_of(path: str, content: bytes, record: Record, index: int | None) -> bytes:
    """Checked. `index`: of the log, to be named."""
    if not is_sound(content, record):
        raise Corrupt(path, f"{name_of(record.kind)} has a wrong checksum", index=index)
    return content[record.at + HEAD_BYTES : record.at + HEAD_BYTES + record.size]


def unpack_entry(path: str, index: int, content: bytes, at: int) -> LogEntry:
    """Entry `index`, whose head begins there. Raises: Corrupt."""
    if at + HEAD_BYTES > len(content):
        raise Corrupt(path, "entry is cut off", index=index)
    checksum, kind, size, stored, term = head_layout.unpack_from(content, at)
    start = at + HEAD_BYTES
    data = content[start : start + size]
    if crc32(data, crc32(content[at + 4 : start])) != checksum or stored != index or kind not in (ENTRY, MEMBERSHIP):
        raise Corrupt(path, "entry has a wrong checksum", index=index)
    return LogEntry(index, term, data)


def unpack_write(path: str, content: bytes, record: Record, index: int) -> LogWrite:
    """The write of a record that is no entry. `index`: the next one of the log, for the message."""
    data = data_of(path, content, record, index)
    match record.kind:
        case k if k == TRUNCATE:
            return Truncate(record.number)
        case k if k == HARD_STATE:
            return _decoded(path, data, _hard_state)
        case k if k == COMPACT:
            return Compact(record.number, _decoded(path, data, _members))
        case kind:
            raise Corrupt(path, f"holds a record of kind {kind}, which this program does not know", index=index)


def unpack_checkpoint(path: str, content: bytes, record: Record) -> Checkpoint:
    return _decoded(path, data_of(path, content, record, None), _checkpoint)


def _decoded(path: str, data: bytes, decoder: msgspec.msgpack.Decoder[_T]) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(path, f"holds a record that does not decode ({error})") from error


def name_of(kind: int) -> str:
    return _NAMES.get(kind, "record")


_NAMES: Final = {
    ENTRY: "entry",
    MEMBERSHIP: "entry",
    HARD_STATE: "hard state (term and vote)",
    COMPACT: "compaction",
    CHECKPOINT: "checkpoint",
}
