"""The log on disk: an LMDB environment of its own, synced at every commit (`docs/format.md`).

Tables: `entries`: index u64 -> CRC-32 of (index, term, data) u32, term u64, data; `meta`: `hard_state` -> CRC-32
u32 and MessagePack. Integers are big-endian. It refuses gaps, damaged records, and any write after a failed one.
The rule that must hold: what `commit` returned from is on disk, in order, without a gap, or `Corrupt` is raised.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from raftmem.errors import Corrupt, Stop, StorageFailed
from raftmem.limits import MAP_BYTES
from raftmem.storage.contracts import HardState, LogEntry, LogWrite
from raftmem.storage.lmdb_env import Environment, ReadTxn, WriteTxn
from raftmem.storage.log_rules import FIRST_INDEX, LogEnd, follow

_key = struct.Struct(">Q")
_head = struct.Struct(">IQ")  # checksum, term
_sealed = struct.Struct(">QQ")  # what the checksum covers before the data
_checksum = struct.Struct(">I")
_HARD_STATE: Final = b"hard_state"
_encode = msgspec.msgpack.Encoder().encode
_hard_state = msgspec.msgpack.Decoder(HardState)


def _crc(index: int, term: int, data: bytes | memoryview) -> int:
    return zlib.crc32(data, zlib.crc32(_sealed.pack(index, term)))


class LmdbLogStore:
    """Reads from any thread, commits from one. `readonly` follows a log that another process may be writing.

    Raises (at open): Corrupt for a gap or a lost hard state (readonly says so at each look, and `verify` lists all);
        FolderRefused for a readonly open of nothing.
    """

    def __init__(self, path: Path, *, readonly: bool = False, map_bytes: int = MAP_BYTES) -> None:
        self._env = Environment(path, tables_max=2, durable=True, readonly=readonly, map_bytes=map_bytes)
        self._entries = self._env.table("entries")
        self._meta = self._env.table("meta")
        self._readonly = readonly
        self._failed: Stop | None = None
        try:
            self._end = LogEnd(0, HardState(0, None)) if readonly else self._load()
        except BaseException:
            self._env.close()
            raise

    @property
    def path(self) -> str:
        """The file that holds the log."""
        return self._env.path

    @property
    def is_durable(self) -> bool:
        """Whether `commit` syncs; anything else would make Raft's promises lies."""
        return self._env.is_durable

    def hard_state(self) -> HardState:
        return self._now().hard_state

    def first_index(self) -> int:
        return FIRST_INDEX

    def last_index(self) -> int:
        return self._now().kept

    def read(self, start: int, stop: int, bytes_max: int | None = None) -> list[LogEntry]:
        found: list[LogEntry] = []
        taken = 0
        txn = self._env.read()
        try:
            stop = min(stop, self._last(txn) + 1)
            expected = max(start, FIRST_INDEX)
            items = txn.ascending(self._entries, _key.pack(expected)) if expected < stop else iter(())
            for key, value in items:
                entry = self._entry(key, value, expected)
                taken += len(entry.data)
                if found and bytes_max is not None and taken > bytes_max:
                    break
                found.append(entry)
                expected += 1
                if expected >= stop:
                    break
        finally:
            txn.release()
        return found

    def commit(self, writes: Sequence[LogWrite]) -> None:
        if self._failed is not None:
            raise StorageFailed(f"{self.path}: takes no write after a failed one ({self._failed})")
        try:
            before = self._end
            after = follow(before, writes)
            with self._env.write() as txn:
                self._store(txn, before, after)
        except Stop as error:
            self._failed = error  # a failed sync is never retried: the pages may be gone
            raise
        self._end = LogEnd(after.last_index, after.hard_state)

    def _store(self, txn: WriteTxn, before: LogEnd, after: LogEnd) -> None:
        for index in range(after.kept + 1, before.kept + 1):
            if not txn.delete(self._entries, _key.pack(index)):
                raise Corrupt(self.path, "entry to be truncated is missing", index=index)
        for entry in after.appended:
            checksum = _crc(entry.index, entry.term, entry.data)
            txn.append(self._entries, _key.pack(entry.index), _head.pack(checksum, entry.term) + entry.data)
        if before.hard_state != after.hard_state or before.kept == 0:
            raw = _encode(after.hard_state)
            txn.put(self._meta, _HARD_STATE, _checksum.pack(zlib.crc32(raw)) + raw)

    def verify(self) -> Iterator[tuple[int, str]]:
        """Every problem of the log as (index, what); index 0 stands for the hard state. Nothing when it is sound."""
        txn = self._env.read()
        try:
            try:
                self._read_hard_state(txn)
            except Corrupt as error:
                yield 0, str(error)
            expected = FIRST_INDEX
            for key, value in txn.ascending(self._entries):
                index = _key.unpack(key)[0] if len(key) == _key.size else expected
                if index > expected:
                    yield expected, f"entries {expected} to {index - 1} are missing"
                try:
                    self._entry(key, value, index)
                except Corrupt as error:
                    yield index, str(error)
                expected = index + 1
        finally:
            txn.release()

    def close(self) -> None:
        self._env.close()

    def _now(self) -> LogEnd:
        return self._load() if self._readonly else self._end

    def _load(self) -> LogEnd:
        txn = self._env.read()
        try:
            last = self._last(txn)
            if txn.count(self._entries) != last:
                raise Corrupt(self.path, f"holds {txn.count(self._entries)} entries but ends at index {last}")
            return LogEnd(last, self._read_hard_state(txn))
        finally:
            txn.release()

    def _last(self, txn: ReadTxn) -> int:
        key = txn.last_key(self._entries)
        if key is None:
            return 0
        if len(key) != _key.size:
            raise Corrupt(self.path, f"has a key of {len(key)} bytes")
        index: int = _key.unpack(key)[0]
        return index

    def _read_hard_state(self, txn: ReadTxn) -> HardState:
        """Never term 0 and no vote beside entries: that would be a second vote in an old term."""
        raw = txn.get(self._meta, _HARD_STATE)
        if raw is None:
            if txn.count(self._entries):
                raise Corrupt(self.path, "has entries but no hard state (term and vote)")
            return HardState(0, None)
        if len(raw) < _checksum.size or _checksum.unpack_from(raw)[0] != zlib.crc32(raw[_checksum.size :]):
            raise Corrupt(self.path, "has a hard state (term and vote) with a wrong checksum")
        try:
            return _hard_state.decode(raw[_checksum.size :])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corrupt(self.path, f"has a hard state (term and vote) that does not decode ({error})") from error

    def _entry(self, key: bytes, value: bytes, expected: int) -> LogEntry:
        if key != _key.pack(expected):
            raise Corrupt(self.path, "entry is missing", index=expected)
        if len(value) < _head.size:
            raise Corrupt(self.path, f"entry holds {len(value)} bytes only", index=expected)
        checksum, term = _head.unpack_from(value)
        data = value[_head.size :]
        if _crc(expected, term, data) != checksum:
            raise Corrupt(self.path, "entry has a wrong checksum", index=expected)
        return LogEntry(expected, term, data)
