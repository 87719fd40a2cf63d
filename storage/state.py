"""The state on disk: an LMDB environment of its own that the log can rebuild, so its commits are not synced.

Rule: records, indexes, event, outcome and head of every entry change in one transaction; a kill of the process
leaves some whole entry's state. After a stop of the machine the clean mark decides whether it is trusted; what is
not is discarded at open, and `head` is 0 again. Tables: `state_tables.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raftmem.digest import GENESIS_HEAD
from raftmem.errors import Corrupt, FolderRefused, StorageFailed
from raftmem.limits import LIST_SCAN_ROWS_MAX, MAP_BYTES
from raftmem.records import Head
from raftmem.storage.lmdb_env import Environment, ReadTxn
from raftmem.storage.mark import StateMark
from raftmem.storage.state_read import LmdbReader
from raftmem.storage.state_tables import (
    DECODE_ERRORS,
    FORMAT_KEY,
    FORMAT_VERSION,
    HEAD_KEY,
    Tables,
    decode_head,
    encode,
    open_tables,
)
from raftmem.storage.state_write import LmdbWriter


class SharedReader(LmdbReader):
    """The reader that a store hands out on the loop thread and moves on after every write of its own."""

    def renew(self, txn: ReadTxn, head: Head) -> None:
        self._txn.release()
        self._txn, self._head = txn, head

    def release(self) -> None:
        """Nothing: it belongs to the store."""


class LmdbStateStore:
    """Writes and `read` on the loop thread; a `read_private` snapshot may go to another thread until released.

    `readonly`: a look at what another process may be writing; `read` stays at the moment of opening.
    """

    def __init__(
        self,
        path: Path,
        *,
        mark: StateMark | None = None,
        readonly: bool = False,
        map_bytes: int = MAP_BYTES,
        rows_max: int = LIST_SCAN_ROWS_MAX,
    ) -> None:
        self._mark = mark
        if mark is not None and not readonly:
            mark.discard_untrusted()
        tables_max = len(Tables._fields)
        self._env = Environment(path, tables_max=tables_max, durable=False, readonly=readonly, map_bytes=map_bytes)
        self._rows_max = rows_max
        self._readonly = readonly
        try:
            self._tables = open_tables(self._env)
            txn = self._env.read()
            self._check_format(txn)
            self._shared = SharedReader(
                txn, self._tables, path=self._env.path, rows_max=rows_max, head=self._load_head(txn)
            )
        except BaseException:
            self._env.close()
            raise

    @property
    def path(self) -> str:
        """The file that holds the state."""
        return self._env.path

    def head(self) -> Head:
        return self._shared.head

    @contextmanager
    def write(self) -> Iterator[LmdbWriter]:
        if self._readonly:
            raise StorageFailed(f"{self.path}: was opened to be read only")
        if self._mark is not None:
            self._mark.begin()
        before = self._shared.head
        with self._env.write() as txn:
            writer = LmdbWriter(txn, self._tables, path=self.path, rows_max=self._rows_max, head=before)
            yield writer
            if before.index == 0:
                txn.put(self._tables.meta, FORMAT_KEY, encode(FORMAT_VERSION))
            writer.finish()
        self._shared.renew(self._env.read(), writer.head)

    def read(self) -> SharedReader:
        return self._shared

    def read_private(self) -> LmdbReader:
        txn = self._env.read()
        return LmdbReader(txn, self._tables, path=self.path, rows_max=self._rows_max, head=self._load_head(txn))

    def close(self, *, clean: bool) -> None:
        if clean and not self._readonly:
            self._env.sync()
            if self._mark is not None:
                self._mark.finish()
        self._env.close()

    def _check_format(self, txn: ReadTxn) -> None:
        raw = txn.get(self._tables.meta, FORMAT_KEY)
        if raw is not None and raw != encode(FORMAT_VERSION):
            raise FolderRefused(
                f"{self.path}: was written in another format than {FORMAT_VERSION}; use the program that wrote it"
            )

    def _load_head(self, txn: ReadTxn) -> Head:
        raw = txn.get(self._tables.meta, HEAD_KEY)
        if raw is None:
            return GENESIS_HEAD
        try:
            return decode_head(raw)
        except DECODE_ERRORS as error:
            raise Corrupt(self.path, f"head of the state does not decode ({error})") from error
