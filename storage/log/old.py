"""The log as earlier versions kept it, in a database: read once, to become segments (`docs/format.md`).

Tables `entries`: index -> entry; `memberships`: the indexes of those that are memberships, if there is one; `meta`:
`hard_state`, and `base` once the log was compacted or reset. Below the first index forgotten entries may stand.
As long as the database is there it is the log, and every segment beside it was left by a conversion that did not end.
It changes nothing. The rule that must hold: the log is whole and read as it was written, or `Corrupt` is raised.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar
from zlib import crc32

import msgspec
from msgspec import Struct

from raftmem.errors import Corrupt, FolderRefused
from raftmem.storage.lmdb.environment import DATA_FILE, LOCK_FILE, Environment, ReadTxn, Table
from raftmem.storage.log.contract import Append, HardState, LogEntry
from raftmem.storage.log.files import Files
from raftmem.storage.log.records import Checkpoint

_BATCH_BYTES: Final = 1 << 20
_TABLES: Final = 3
_MAP_BYTES_MIN: Final = 1 << 20
_key = struct.Struct(">Q")
_head = struct.Struct(">IQ")  # checksum, term
_sealed = struct.Struct(">QQ")  # index, term: what the checksum of an entry covers before the data
_checksum = struct.Struct(">I")
_T = TypeVar("_T")


class _Base(Struct, frozen=True, array_like=True):
    first_index: int
    members: LogEntry


_hard_state = msgspec.msgpack.Decoder(HardState)
_base = msgspec.msgpack.Decoder(_Base)


def is_old(folder: Path) -> bool:
    return (folder / DATA_FILE).exists()


def refuse_old(folder: Path) -> None:
    """Raises: FolderRefused for one that is to be read only."""
    if is_old(folder):
        raise FolderRefused(
            f"{folder}: holds a log as an earlier version wrote it; start the replica once, which makes it new"
        )


def remove_old(folder: Path, files: Files) -> None:
    """The segments are the log from here on. On disk when this returns."""
    (folder / LOCK_FILE).unlink(missing_ok=True)
    files.unlink(str(folder / DATA_FILE))
    files.sync_folder(folder)


@contextmanager
def old_log(folder: Path) -> Iterator[tuple[Checkpoint, int, Iterator[Append]]]:
    """What the first segment begins with, the last index, and all entries, some at a time. Raises: Corrupt."""
    size = (folder / DATA_FILE).stat().st_size
    env = Environment(folder, tables_max=_TABLES, durable=True, readonly=True, map_bytes=max(size, _MAP_BYTES_MIN))
    try:
        entries, meta = env.table("entries"), env.table("meta")
        txn = env.read()
        try:
            yield _read(env.path, txn, entries, meta)
        finally:
            txn.release()
    finally:
        env.close()


def _read(path: str, txn: ReadTxn, entries: Table, meta: Table) -> tuple[Checkpoint, int, Iterator[Append]]:
    oldest, newest = txn.at_or_after(entries, b""), txn.last_key(entries)
    raw_base, raw_state = txn.get(meta, b"base"), txn.get(meta, b"hard_state")
    base = None if raw_base is None else _record(path, "base (first index and its membership)", raw_base, _base)
    if raw_state is not None:
        hard_state = _record(path, "hard state (term and vote)", raw_state, _hard_state)
    elif newest is not None:  # term 0 and no vote would be a second vote in an old term
        raise Corrupt(path, "has entries but no hard state (term and vote)")
    else:
        hard_state = HardState(0, None)
    last = 0 if newest is None else _index(path, newest)
    if base is None:
        first = 0 if oldest == _key.pack(0) else 1
    else:
        first = base.first_index
        if first > last:
            raise Corrupt(path, f"ends at index {last} and begins at {first}")
    checkpoint = Checkpoint(None, hard_state, first, first - 1, None if base is None else base.members, ())
    return checkpoint, last, _batches(path, txn.ascending(entries, _key.pack(first)), first, last)


def _batches(path: str, items: Iterator[tuple[bytes, bytes]], first: int, last: int) -> Iterator[Append]:
    batch: list[LogEntry] = []
    batch_bytes, expected = 0, first
    for key, value in items:
        if key != _key.pack(expected):
            raise Corrupt(path, "entry is missing", index=expected)
        batch.append(_entry(path, expected, value))
        batch_bytes += len(value)
        expected += 1
        if batch_bytes > _BATCH_BYTES:
            yield Append(tuple(batch))
            batch, batch_bytes = [], 0
    if expected != last + 1:
        raise Corrupt(path, "entry is missing", index=expected)
    if batch:
        yield Append(tuple(batch))


def _index(path: str, key: bytes) -> int:
    if len(key) != _key.size:
        raise Corrupt(path, f"has a key of {len(key)} bytes")
    index: int = _key.unpack(key)[0]
    return index


def _entry(path: str, index: int, value: bytes) -> LogEntry:
    if len(value) < _head.size:
        raise Corrupt(path, f"entry holds {len(value)} bytes only", index=index)
    checksum, term = _head.unpack_from(value)
    data = value[_head.size :]
    if crc32(data, crc32(_sealed.pack(index, term))) != checksum:
        raise Corrupt(path, "entry has a wrong checksum", index=index)
    return LogEntry(index, term, data)


def _record(path: str, what: str, value: bytes, decoder: msgspec.msgpack.Decoder[_T]) -> _T:
    if len(value) < _checksum.size or _checksum.unpack_from(value)[0] != crc32(value[_checksum.size :]):
        raise Corrupt(path, f"has a {what} with a wrong checksum")
    try:
        return decoder.decode(value[_checksum.size :])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(path, f"has a {what} that does not decode ({error})") from error
