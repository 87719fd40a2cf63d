"""Commands to bytes and back: the only file that knows the format of a log entry (`docs/format.md`).

Entry = prefix (18 bytes: kind, format version, log time, wall time) + body (msgpack).
A decoded entry keeps the exact bytes of its header and slots, because the digest is taken over them.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from raftmem.errors import Corrupt
from raftmem.model.commands import Content, Draft, Header, Members

FORMAT_VERSION: Final = 1
COMMAND: Final = 0  # the numbers are PySyncObj's own for its first byte
NO_OP: Final = 1
MEMBERSHIP: Final = 2
SALT_BYTES: Final = 16

_prefix = struct.Struct(">BBqq")
PREFIX_BYTES: Final = _prefix.size


class _Body(Struct, frozen=True, array_like=True):
    header: bytes
    slots: tuple[bytes | None, ...]


_encode = msgspec.msgpack.Encoder().encode
_body = msgspec.msgpack.Decoder(_Body)
_header = msgspec.msgpack.Decoder(Header)
_content = msgspec.msgpack.Decoder(Content)
_members = msgspec.msgpack.Decoder(Members)
_fingerprint = msgspec.json.Encoder(order="sorted")


class Entry(Struct, frozen=True):
    """One decoded log entry.

    `time`: log time, microseconds. `wall_ms`: the proposer's wall clock, for people.
    `header`: None for Raft's own entries. `salts[i]`, `contents[i]` belong to `header.operations[i]`.
    """

    kind: int
    time: int
    wall_ms: int
    header: Header | None
    contents: tuple[Content | None, ...]
    salts: tuple[bytes, ...]
    header_bytes: bytes
    slots: tuple[bytes | None, ...]
    members: Members | None = None


def encode_draft(draft: Draft, salt: Callable[[int], bytes]) -> bytes:
    """The body of a command. `salt(n)` gives n random bytes; every slot has its own."""
    slots = tuple([None if content is None else salt(SALT_BYTES) + _encode(content) for content in draft.contents])
    return _encode(_Body(_encode(draft.header), slots))


def seal(body: bytes, *, kind: int = COMMAND, time: int, wall_ms: int) -> bytes:
    """A body becomes an entry: the leader adds both times."""
    return _prefix.pack(kind, FORMAT_VERSION, time, wall_ms) + body


def no_op(*, time: int, wall_ms: int) -> bytes:
    """The first entry of a new leader."""
    return seal(b"", kind=NO_OP, time=time, wall_ms=wall_ms)


def members_body(members: Members) -> bytes:
    """The body of a membership entry."""
    return _encode(members)


def membership(members: Members, *, time: int, wall_ms: int) -> bytes:
    return seal(members_body(members), kind=MEMBERSHIP, time=time, wall_ms=wall_ms)


def times(entry: bytes) -> tuple[int, int]:
    """(log time in microseconds, wall time in milliseconds) of an encoded entry."""
    _, _, time, wall_ms = _prefix.unpack_from(entry)
    return time, wall_ms


def decode(entry: bytes, *, index: int | None = None) -> Entry:
    """Raises: Corrupt when the bytes are not an entry of this format (never on what `encode_draft` made)."""
    try:
        kind, version, time, wall_ms = _prefix.unpack_from(entry)
        if version != FORMAT_VERSION:
            raise Corrupt(
                "log entry", f"has format version {version}, this program knows {FORMAT_VERSION}", index=index
            )
        if kind == COMMAND:
            body = _body.decode(memoryview(entry)[PREFIX_BYTES:])
            header = _header.decode(body.header)
            if len(body.slots) != len(header.operations):
                raise Corrupt("log entry", "has another number of slots than operations", index=index)
            slots = body.slots
            contents = tuple([None if s is None else _content.decode(memoryview(s)[SALT_BYTES:]) for s in slots])
            salts = tuple([b"" if s is None else s[:SALT_BYTES] for s in slots])
            return Entry(kind, time, wall_ms, header, contents, salts, body.header, slots)
        if kind == MEMBERSHIP:
            raw = entry[PREFIX_BYTES:]
            return Entry(kind, time, wall_ms, None, (), (), raw, (), _members.decode(raw))
        if kind == NO_OP and len(entry) == PREFIX_BYTES:
            return Entry(kind, time, wall_ms, None, (), (), b"", ())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, struct.error) as error:
        raise Corrupt("log entry", f"does not decode ({error})", index=index) from error
    raise Corrupt("log entry", f"has unknown kind {kind}", index=index)


def check_body(body: bytes) -> Draft:
    """Refuse a body that a peer sent and that would not decode; else what it says. Raises: Corrupt."""
    entry = decode(seal(body, time=0, wall_ms=0))
    assert entry.header is not None, "a command has a header"
    return Draft(entry.header, entry.contents)


def fingerprint(
    *,
    method: str,
    path: str,
    query: list[tuple[str, str]],
    if_match: str | None,
    if_none_match: str | None,
    body: object,
) -> bytes:
    """32 bytes that are equal for equal requests: the idempotency fingerprint.

    Over compact JSON with sorted keys of `[method, path, sorted query, If-Match, If-None-Match, decoded body]`.
    """
    text = _fingerprint.encode([method, path, sorted(query), if_match, if_none_match, body])
    return hashlib.blake2b(text, digest_size=32, person=b"raftmem.idem.v1").digest()
