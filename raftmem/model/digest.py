"""The rolling digest: one hash a log index that pins the log, the outcomes and the state (`docs/format.md`).

`digest(n) = H(digest(n-1), index, term, prefix and header, H(slot)..., outcomes, changes)`, where changes hold
content by its hash, so that a later redaction of content leaves the chain verifiable.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Final

import msgspec

from raftmem.model.codec import PREFIX_BYTES, Entry
from raftmem.model.records import Change, Head, Outcome, PutContent, PutRecord, PutRow, Record, Result, Step

DIGEST_BYTES: Final = 32
_pack = struct.Struct(">QQI").pack
_length = struct.Struct(">I").pack
_encode = msgspec.msgpack.Encoder().encode


def _hasher(person: bytes) -> Callable[[bytes], bytes]:
    """BLAKE2b under one personalisation. A copy of a hasher that is set up is made faster than a new one."""
    copy = hashlib.blake2b(digest_size=DIGEST_BYTES, person=person).copy

    def digest_of(data: bytes) -> bytes:
        h = copy()
        h.update(data)
        return h.digest()

    return digest_of


_content_hash: Final = _hasher(b"raftmem.content")
_slot_hash: Final = _hasher(b"raftmem.slot")
_entry_hash: Final = _hasher(b"raftmem.digest")
_NO_SLOT: Final = b"\0" * DIGEST_BYTES
GENESIS: Final = _hasher(b"raftmem.genesis")(b"")  # digest(0)
GENESIS_HEAD: Final = Head(index=0, term=0, time=0, digest=GENESIS)  # the state before the first entry


def content_hash(salt: bytes, record: Record, vector: bytes | None) -> bytes:
    """The hash of one version's content: salt, text, value, metadata, sha256 and the vector that it sets."""
    content = _encode((salt, record.text, record.value, record.metadata, record.sha256, vector))
    return _content_hash(content)


def _canonical(change: Change) -> object:
    if isinstance(change, PutRecord):
        bare = msgspec.structs.replace(change.record, text=None, value=None, metadata=b"", sha256=b"")
        return ("record", bare, change.content_hash)
    if isinstance(change, PutRow):
        return ("thing", change.key, change.new)
    if isinstance(change, PutContent):
        return ("content", change.at)
    return change


def _told(result: Result) -> object:
    """Outcomes on memories in the ten fields that they have had since the first version."""
    return [[_outcome(outcome) for outcome in result.outcomes], result.replay_of]


def _outcome(outcome: Outcome) -> object:
    return msgspec.structs.astuple(outcome)[:-1] if outcome.about is None else outcome


def digest(previous: bytes, *, index: int, term: int, raw: bytes, entry: Entry, step: Step) -> bytes:
    """digest(index), given digest(index - 1) and what the machine said of the entry. 32 bytes."""
    header, slots = entry.header_bytes, entry.slots
    hashes = b"".join([_NO_SLOT if slot is None else _slot_hash(slot) for slot in slots])
    tail = _encode((_told(step.result), [_canonical(change) for change in step.changes]))
    counts = _pack(index, term, len(header))
    return _entry_hash(b"".join((previous, counts, raw[:PREFIX_BYTES], header, _length(len(slots)), hashes, tail)))
