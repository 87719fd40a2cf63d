"""LMDB for the stores: environments, tables, transactions. The only file that imports `lmdb`.

Every error of the library leaves here as one of ours: no room is `OSError(ENOSPC)`, no free descriptor is
`OSError(EMFILE)` or `OSError(ENFILE)`, a damaged file is `Corrupt`, everything else is `StorageFailed`. A file whose
end is missing (`CutShort`) is refused before a page of it is touched. Rule: a `WriteTxn` lives on one thread; a
`ReadTxn` may move to another thread, but two threads never use it at once.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

import lmdb

from raftmem.errors import Corrupt, CutShort, FolderRefused, RestartNeeded, StorageFailed, shortage
from raftmem.limits import DISK_HARD_BYTES, LMDB_READERS_MAX, MAP_BYTES
from raftmem.storage.lmdb.page_check import META_BYTES_MIN, Replaced, UnknownLayout, page_beyond

Table: TypeAlias = "lmdb._Database"
Item = tuple[bytes, bytes]

DATA_FILE: Final = "data.mdb"
LOCK_FILE: Final = "lock.mdb"
_LOOKS_MAX: Final = 1000  # at a file that a writer in another process is changing
_DAMAGED: Final = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)


def translate(path: str, error: lmdb.Error) -> Exception:
    """Our error for one of the library's.

    ENOSPC at commit may be tried again although it can come from the sync: the next try writes all of its pages
    anew, and what earlier transactions promised was synced before. A short write, the first answer of a disk that
    becomes full, is EIO to the library (`mdb_page_flush` in mdb.c). A page that could not be written in place, the
    meta page of a commit, is put back as it was by the library, which then refuses all else (`mdb_env_write_meta`).
    """
    is_short = error.code == errno.EIO and _is_full(path)
    is_full = isinstance(error, lmdb.MapFullError) or is_short
    wanted = shortage(path, errno.ENOSPC if is_full else error.code, error)
    if wanted is not None:
        return wanted
    if isinstance(error, lmdb.PanicError):
        return RestartNeeded(f"{path}: a commit could not be finished ({error}); this replica stops, start it again")
    if isinstance(error, _DAMAGED):
        return Corrupt(path, f"is damaged ({error})")
    after = "look at the disk, then restart the machine or replace this replica: lost pages may show until then"
    return StorageFailed(f"{path}: {error}; this replica stops; {after}")


def _is_full(path: str) -> bool:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize < DISK_HARD_BYTES


class ReadTxn:
    """A snapshot of one environment. Keys and prefixes are compared as bytes."""

    def __init__(self, path: str, txn: "lmdb.Transaction[bytes]") -> None:
        self._path = path
        self._txn = txn
        self._get = txn.get

    def get(self, table: Table, key: bytes) -> bytes | None:
        try:
            return self._get(key, None, table)
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def count(self, table: Table) -> int:
        try:
            return self._txn.stat(table)["entries"]
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def last_key(self, table: Table) -> bytes | None:
        try:
            cursor = self._txn.cursor(table)
            return cursor.key() if cursor.last() else None
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def at_or_after(self, table: Table, key: bytes) -> bytes | None:
        """The first key >= `key`."""
        try:
            cursor = self._txn.cursor(table)
            return cursor.key() if cursor.set_range(key) else None
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def at_or_before(self, table: Table, key: bytes) -> bytes | None:
        """The last key <= `key`."""
        try:
            cursor = self._txn.cursor(table)
            return cursor.key() if _seek_down(cursor, key) else None
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def ascending(self, table: Table, start: bytes = b"") -> Iterator[Item]:
        """Items with key >= `start`; lazy."""
        try:
            cursor = self._txn.cursor(table)
            if cursor.set_range(start):
                yield from cursor.iternext(True, True)
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def descending(self, table: Table, start: bytes) -> Iterator[Item]:
        """Items with key <= `start`, greatest first; lazy."""
        try:
            cursor = self._txn.cursor(table)
            if _seek_down(cursor, start):
                yield from cursor.iterprev(True, True)
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def keys(self, table: Table, start: bytes, *, descending: bool = False) -> Iterator[bytes]:
        """Keys from `start` on, without their values; lazy."""
        try:
            cursor = self._txn.cursor(table)
            if _seek_down(cursor, start) if descending else cursor.set_range(start):
                yield from cursor.iterprev(True, False) if descending else cursor.iternext(True, False)
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def release(self) -> None:
        """A second call has no effect."""
        self._txn.abort()


def _seek_down(cursor: "lmdb.Cursor[bytes]", key: bytes) -> bool:
    if not cursor.set_range(key):
        return cursor.last()
    return cursor.key() == key or cursor.prev()


class WriteTxn(ReadTxn):
    """The one write transaction of an environment; sees what it wrote."""

    def __init__(self, path: str, txn: "lmdb.Transaction[bytes]") -> None:
        super().__init__(path, txn)
        self._put = txn.put

    def commit(self) -> None:
        """Commit. The transaction is over even if this raises: then nothing was changed."""
        try:
            self._txn.commit()
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        try:
            self._put(key, value, True, True, False, table)
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def append(self, table: Table, key: bytes, value: bytes) -> None:
        """Put a key that is greater than every key of the table. Raises: StorageFailed if it is not."""
        try:
            appended = self._put(key, value, True, False, True, table)
        except lmdb.Error as error:
            raise translate(self._path, error) from error
        if not appended:
            raise StorageFailed(f"{self._path}: key {key.hex()} does not follow the last one; a bug, please report it")

    def add(self, table: Table, key: bytes, value: bytes) -> bool:
        """Put a key that is not there; False if it was."""
        try:
            return self._put(key, value, True, False, False, table)
        except lmdb.Error as error:
            raise translate(self._path, error) from error

    def delete(self, table: Table, key: bytes) -> bool:
        """Delete a key; True if it was there."""
        try:
            return self._txn.delete(key, b"", table)
        except lmdb.Error as error:
            raise translate(self._path, error) from error


class Environment:
    """One LMDB folder. `durable`: every commit is synced; otherwise only `sync` is.

    `readonly`: takes part in the reader table, so that it may stand beside a writer in another process.
    `is_file`: `folder` is a copy, one file that nobody writes any more; readonly, and no reader table is kept.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tables_max: int,
        durable: bool,
        readonly: bool = False,
        is_file: bool = False,
        map_bytes: int = MAP_BYTES,
    ) -> None:
        self.path = str(folder if is_file else folder / DATA_FILE)
        if readonly and not os.path.exists(self.path):
            raise FolderRefused(f"{folder}: holds no database; give the folder of a replica that has run")
        self._check_begun(readonly=readonly)
        try:
            self._env = lmdb.open(
                str(folder),
                subdir=not is_file,
                lock=not is_file,
                map_size=map_bytes,
                readonly=readonly,
                sync=durable,
                metasync=durable,
                create=not readonly,
                max_dbs=tables_max,
                max_readers=LMDB_READERS_MAX,
            )
            self._env.reader_check()  # forget the readers of killed processes: they would keep old pages for ever
        except lmdb.Error as error:
            raise translate(self.path, error) from error
        self._readonly = readonly
        try:
            self._check_length()
        except BaseException:
            self._env.close()
            raise

    def _check_begun(self, *, readonly: bool) -> None:
        """The library takes an empty file for a new one, and makes it."""
        there = os.path.getsize(self.path) if os.path.exists(self.path) else 0
        if 0 < there < META_BYTES_MIN or (readonly and there == 0):
            raise CutShort(self.path, f"is cut short: {there} bytes, less than any database has")

    def _check_length(self) -> None:
        """A page beyond the end of the file is not an error to the library but a signal that kills the process.

        One that is not in use may be missing there: taken and given back in one transaction, it was never written.
        """
        needed, there = self._bytes_used(), os.path.getsize(self.path)
        if there < needed and self._lacks_a_page():
            raise CutShort(self.path, f"is cut short: {there} bytes, its pages need {needed}")

    def _lacks_a_page(self) -> bool:
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            page_bytes = self._env.stat()["psize"]
            for _ in range(_LOOKS_MAX):
                with self._env.begin() as txn, suppress(Replaced):  # a writer in another process keeps its pages
                    return page_beyond(file, page_bytes=page_bytes, transaction=txn.id()) is not None
            return True
        except UnknownLayout as error:
            raise Corrupt(self.path, f"cannot be checked: {error}") from error
        except lmdb.Error as error:
            raise translate(self.path, error) from error
        finally:
            os.close(file)

    def moved(self, folder: Path) -> None:
        """Use the folder's new name; open files stay open."""
        self.path = str(folder / DATA_FILE)

    def table(self, name: str) -> Table:
        """Made if it is missing and this environment may write. Raises: Corrupt."""
        try:
            return self._env.open_db(name.encode(), create=not self._readonly)
        except lmdb.NotFoundError as error:
            raise Corrupt(self.path, f"has no table {name}") from error
        except lmdb.Error as error:
            raise translate(self.path, error) from error

    def read(self) -> ReadTxn:
        """The newest committed state; release it."""
        try:
            return ReadTxn(self.path, self._env.begin())
        except lmdb.Error as error:
            raise translate(self.path, error) from error

    def begin(self) -> WriteTxn:
        """The write transaction; there is one at a time. Commit or release it, on this thread."""
        try:
            return WriteTxn(self.path, self._env.begin(write=True))
        except lmdb.Error as error:
            raise translate(self.path, error) from error

    @contextmanager
    def write(self) -> Iterator[WriteTxn]:
        """Commits when the block ends, changes nothing when it or the commit raises."""
        txn = self.begin()
        try:
            yield txn
        except BaseException:
            txn.release()
            raise
        txn.commit()

    def copy(self, descriptor: int) -> None:
        """Everything that is committed as of now, without free pages, to the end of an empty file; not synced.

        Any thread, while others write; the library copies without the interpreter's lock. A transaction that was
        never finished may have left pages that are neither used nor free: then the copy is made page by page.
        """
        try:
            try:
                self._env.copyfd(descriptor, compact=True)
            except lmdb.IncompatibleError:
                self._copy_pages(descriptor)
        except lmdb.Error as error:
            raise translate(self.path, error) from error

    def _copy_pages(self, descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        self._env.copyfd(descriptor, compact=False)
        if os.fstat(descriptor).st_size < self._bytes_used():  # pages at the end that were never written
            os.ftruncate(descriptor, self._bytes_used())

    def _bytes_used(self) -> int:
        pages: int = self._env.info()["last_pgno"] + 1
        return pages * self._env.stat()["psize"]

    def sync(self) -> None:
        """Everything committed is on disk when this returns."""
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            raise translate(self.path, error) from error

    def close(self) -> None:
        self._env.close()
