"""The log on disk: an LMDB environment of its own, synced at every commit (`docs/format.md`).

The base says where a log begins that was compacted: what lies below is forgotten with the commit that wrote it, and
swept out by this and later commits, a bounded number of entries each. The tables stand in `log_tables.py`.
It refuses gaps, damaged records, and any write after a failed one.
The rule that must hold: what `commit` returned from is on disk, in order, without a gap, or `Corrupt` is raised.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from raftmem.errors import Corrupt, Stop, StorageFailed
from raftmem.limits import MAP_BYTES
from raftmem.storage.contracts import HardState, LogEntry, LogWrite
from raftmem.storage.lmdb_env import Environment, Table, WriteTxn
from raftmem.storage.log_records import Base, index_key, pack_entry, pack_record, unpack_entry
from raftmem.storage.log_rules import EMPTY, LogEnd, follow
from raftmem.storage.log_tables import BASE, HARD_STATE, TABLES, LogTables

SWEEP_ENTRIES: Final = 1000  # removed by one commit: some milliseconds, so that no append waits long behind it


class LmdbLogStore:
    """Reads from any thread, commits from one. `readonly` follows a log that another process may be writing.

    Raises (at open): Corrupt for a gap, or a lost hard state, base or membership (readonly says so at each look, and
        `verify` lists all); FolderRefused for a readonly open of nothing.
    """

    def __init__(
        self, path: Path, *, readonly: bool = False, map_bytes: int = MAP_BYTES, sweep_entries: int = SWEEP_ENTRIES
    ) -> None:
        self._env = Environment(path, tables_max=TABLES, durable=True, readonly=readonly, map_bytes=map_bytes)
        self._readonly = readonly
        self._sweep_entries = sweep_entries
        self._failed: Stop | None = None
        self._end = EMPTY
        self._oldest = EMPTY.first  # in the table; below the first index there may be forgotten entries
        try:
            self._tables = LogTables(self._env, readonly=readonly)
            if not readonly:
                self._load()
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
        return self._now().first

    def last_index(self) -> int:
        return self._now().kept

    def is_empty(self) -> bool:
        return self._now().is_empty

    def memberships(self) -> list[LogEntry]:
        if not self._readonly:
            return self._end.memberships()
        txn = self._env.read()
        try:
            return self._tables.whole(txn).memberships()
        finally:
            txn.release()

    def read(self, start: int, stop: int, bytes_max: int | None = None) -> list[LogEntry]:
        found: list[LogEntry] = []
        taken = 0
        txn = self._env.read()
        try:
            first, last = self._tables.range(txn)
            expected, stop = max(start, first), min(stop, last + 1)
            items = txn.ascending(self._tables.entries, index_key(expected)) if expected < stop else iter(())
            for key, value in items:
                if key != index_key(expected):
                    raise Corrupt(self.path, "entry is missing", index=expected)
                entry = unpack_entry(self.path, expected, value)
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
                oldest = self._store(txn, before, after)
        except Stop as error:
            self._failed = error  # a failed sync is never retried: the pages may be gone
            raise
        self._end, self._oldest = after.settled(), oldest

    def verify(self) -> Iterator[tuple[int, str]]:
        """Every problem from the first index on as (index, what); nothing when the log is sound.

        Index 0 also stands for the hard state and the base.
        """
        txn = self._env.read()
        try:
            yield from self._tables.problems(txn)
        finally:
            txn.release()

    def close(self) -> None:
        self._env.close()

    # --- writing -------------------------------------------------------------------------------------
    def _store(self, txn: WriteTxn, before: LogEnd, after: LogEnd) -> int:
        """The lowest index that stands in the table then."""
        tables = self._tables
        oldest = self._remove(txn, before, after)
        for entry in after.appended:
            txn.append(tables.entries, index_key(entry.index), pack_entry(entry))
        if after.listed is not before.listed:
            self._list(txn, before.listed, after.listed)
        if after.base is not None and (after.base is not before.base or after.first != before.first):
            txn.put(tables.meta, BASE, pack_record(Base(after.first, after.base)))
        if before.hard_state != after.hard_state or before.is_empty:
            txn.put(tables.meta, HARD_STATE, pack_record(after.hard_state))
        return oldest

    def _remove(self, txn: WriteTxn, before: LogEnd, after: LogEnd) -> int:
        """What was truncated goes at once; what lies below the first index bit by bit, unless a gap would follow."""
        start = self._oldest
        if start == after.first and after.kept == before.kept:
            return start
        top = min(before.kept, after.kept)
        self._delete(txn, max(start, top + 1), before.kept + 1)
        if after.kept > before.kept:
            self._delete(txn, start, top + 1)
            return after.first
        stop = min(after.first, start + max(self._sweep_entries, 2 * len(after.appended)))
        self._delete(txn, start, stop)
        return stop

    def _delete(self, txn: WriteTxn, start: int, stop: int) -> None:
        for index in range(start, stop):
            if not txn.delete(self._tables.entries, index_key(index)):
                raise Corrupt(self.path, "entry to be removed is missing", index=index)

    def _list(self, txn: WriteTxn, before: tuple[LogEntry, ...], after: tuple[LogEntry, ...]) -> None:
        table = self._memberships()
        old, new = {entry.index for entry in before}, {entry.index for entry in after}
        for index in sorted(old - new):
            txn.delete(table, index_key(index))
        for index in sorted(new - old):
            txn.put(table, index_key(index), b"")

    def _memberships(self) -> Table:
        if self._tables.memberships is None:
            raise StorageFailed(f"{self.path}: was opened to be read only")
        return self._tables.memberships

    # --- looking -------------------------------------------------------------------------------------
    def _now(self) -> LogEnd:
        """Of a readonly log without the memberships, which take longest."""
        if not self._readonly:
            return self._end
        txn = self._env.read()
        try:
            return self._tables.end(txn)
        finally:
            txn.release()

    def _load(self) -> None:
        self._list_old_memberships()
        txn = self._env.read()
        try:
            self._end = self._tables.whole(txn)
            self._oldest = self._tables.oldest(txn)
        finally:
            txn.release()

    def _list_old_memberships(self) -> None:
        """Once, for a log that was written before there was the table of memberships."""
        with self._env.write() as txn:
            if self._tables.is_unlisted(txn):
                self._list(txn, (), self._tables.listed(txn))
