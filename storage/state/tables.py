"""The tables of the state environment and the bytes of their keys (`docs/format.md`).

Rule: no part of a key can be taken for another, and no name is too long for LMDB's 511 bytes. A user's string enters
a key as a BLAKE2b-128 hash, but for short ids of memories (`id_key`), which are often made in the order of time: the
rows that are born together lie together. The full string stands in the value and is compared there.

A *row* is one life of one memory, from ADD to the tombstone: its created position, index u64 and seq u16.

    ids         id_key(id) -> row, row, id    the newest row of the id, and its first
    heads       row -> Record                 its newest version
    versions    row, updated -> Record        versions that were overwritten
    vectors     row, vector_at -> float32     never removed
    duplicates  hash(sha256, scope), row ->   active memories only
    postings    hash(label), row ->           every scope id and tag that the row ever carried; never removed
    expiry      expires, row ->               active memories only
    events      index -> term, data, result, digest
    subjects    id_key(id), index, seq ->     the outcomes that concern an id, but for the ADD that began its first row
    keys        hash(actor, key) -> IdempotencyRow
    key_order   index -> hash(actor, key)
    meta        head, format

Coordination has four tables. Their names on disk are older than the words of the code (`CoordinationTables`):

    things          key -> CoordinationRow             the row in force
    thing_versions  key, position -> CoordinationRow   each version of a VERSIONED kind, empty: it went; never removed
    marks           index key -> key                   `coordination_rows.index_keys` makes them
    contents        position -> JSON text              what the operation there brought; never removed
"""

import struct
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from raftmem.errors import FolderRefused
from raftmem.model.commands import Actor, Scope
from raftmem.model.coordination_rows import CoordinationRow
from raftmem.model.records import Head, IdempotencyRow, Position, Record, Result
from raftmem.storage.lmdb.environment import Environment, Table

FORMAT_VERSION: Final = 2
HEAD_KEY: Final = b"head"
FORMAT_KEY: Final = b"format"
HASH_BYTES: Final = 16
ROW_BYTES: Final = 10
_LABELS_CACHED: Final = 8192  # hashes of scope ids and tags kept in memory
_PLAIN_ID_BYTES_MAX: Final = 64
_HASHED: Final = b"\xff"  # no UTF-8 begins with it
_TIME_ZERO: Final = 1 << 63  # times before 0 sort first too

_position = struct.Struct(">QH")
_index = struct.Struct(">Q")

encode = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(Record).decode
decode_head = msgspec.msgpack.Decoder(Head).decode
decode_key = msgspec.msgpack.Decoder(IdempotencyRow).decode
decode_row = msgspec.msgpack.Decoder(CoordinationRow).decode
decode_event = msgspec.msgpack.Decoder(tuple[int, bytes, Result, bytes]).decode
DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError)


class CoordinationTables(NamedTuple):
    rows: Table
    row_versions: Table
    index_keys: Table
    contents: Table


class Tables(NamedTuple):
    ids: Table
    heads: Table
    versions: Table
    vectors: Table
    duplicates: Table
    postings: Table
    expiry: Table
    events: Table
    subjects: Table
    keys: Table
    key_order: Table
    meta: Table
    coordination: CoordinationTables


_PLAIN: Final = Tables._fields[:-1]
_COORDINATION: Final = ("things", "thing_versions", "marks", "contents")  # as on disk
TABLES_MAX: Final = len(_PLAIN) + len(_COORDINATION)


def open_tables(env: Environment) -> Tables:
    """Missing tables are made if `env` may write. Raises: FolderRefused for another format, Corrupt."""
    tables = Tables._make([*map(env.table, _PLAIN), CoordinationTables._make(map(env.table, _COORDINATION))])
    txn = env.read()
    try:
        raw = txn.get(tables.meta, FORMAT_KEY)
    finally:
        txn.release()
    if raw not in (None, encode(FORMAT_VERSION)):
        raise FolderRefused(
            f"{env.path}: was written in another format than {FORMAT_VERSION}; use the program that wrote it"
        )
    return tables


def entry_key(index: int) -> bytes:
    return _index.pack(index)


def index_of(key: bytes) -> int:
    index: int = _index.unpack_from(key)[0]
    return index


def position_key(position: Position) -> bytes:
    return _position.pack(position.index, position.seq)


def position_of(key: bytes, offset: int = 0) -> Position:
    return Position(*_position.unpack_from(key, offset))


def key_after(key: bytes) -> bytes:
    """The next key of the same width. No row, and no position under a hash, is all ones."""
    return (int.from_bytes(key, "big") + 1).to_bytes(len(key), "big")


def key_before(key: bytes) -> bytes:
    """The key before. No row is all zeros: indexes begin at 1."""
    return (int.from_bytes(key, "big") - 1).to_bytes(len(key), "big")


def time_key(time: int) -> bytes:
    return _index.pack(time + _TIME_ZERO)


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=HASH_BYTES).digest()


def id_key(memory_id: str) -> bytes:
    """The id and a zero byte; of one that is long, or holds a zero byte itself, its hash behind 0xff."""
    name = memory_id.encode()
    if len(name) > _PLAIN_ID_BYTES_MAX or b"\0" in name:
        return _HASHED + _hash(name)
    return name + b"\0"


@lru_cache(_LABELS_CACHED)
def label_hash(kind: str, value: str) -> bytes:
    """`kind`: a field of Scope, or `tag`."""
    return _hash(encode((kind, value)))


def content_hash(sha256: bytes, scope: Scope) -> bytes:
    return _hash(encode((sha256, scope)))


def idempotency_hash(actor: Actor, key: str) -> bytes:
    return _hash(encode((actor.type, actor.id, key)))


def labels(record: Record) -> set[bytes]:
    """The hashes under which a version is found: its scope ids that are set, and its tags."""
    scope = record.scope
    found = {label_hash("tag", tag) for tag in record.tags}
    if scope.app_id is not None:
        found.add(label_hash("app_id", scope.app_id))
    if scope.user_id is not None:
        found.add(label_hash("user_id", scope.user_id))
    if scope.agent_id is not None:
        found.add(label_hash("agent_id", scope.agent_id))
    if scope.run_id is not None:
        found.add(label_hash("run_id", scope.run_id))
    return found
