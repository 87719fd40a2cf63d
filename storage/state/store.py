"""The state on disk: an LMDB environment whose commits are not synced. The log, or a snapshot and the log after it, can
make it again.

Rule: records, indexes, event, outcome and head of an entry change in one LMDB transaction. One transaction takes in
several writes until it is settled, and readers on the loop thread read inside it. So a kill of the process leaves the
whole state of the last settled entry, and a page that many entries touch is written once. After a stop of the machine
the clean mark decides whether the state is trusted. An untrusted state, and one whose file was cut short, is discarded
at open, and `head` is 0 again. Tables: `tables.py`.

A state made from a snapshot is prepared in a folder beside (`.next-N`). Two renames put it in place (the old one
becomes `.old-N`). A kill in between leaves the old state, the new one, or none; none is head 0 and is restored at
open.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from raftmem.errors import Corrupt, CutShort, StorageFailed
from raftmem.limits import LIST_SCAN_ROWS_MAX, MAP_BYTES
from raftmem.model.records import Head
from raftmem.storage.atomic_file import sync_folder
from raftmem.storage.lmdb.environment import DATA_FILE, Environment, ReadTxn, WriteTxn
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.clean_mark import StateMark
from raftmem.storage.state.contract import PreparedState
from raftmem.storage.state.copy import copy_checked, state_file
from raftmem.storage.state.copy_rules import difference
from raftmem.storage.state.environment import PrivateReader, StateEnvironment
from raftmem.storage.state.read import LmdbReader
from raftmem.storage.state.tables import FORMAT_KEY, FORMAT_VERSION, TABLES_MAX, Tables, encode
from raftmem.storage.state.write import LmdbWriter

log = logging.getLogger("raftmem.storage")
_NEXT: Final = ".next-"
_OLD: Final = ".old-"


class SharedReader(LmdbReader):
    """The reader that a store hands out on the loop thread and moves on after every write of its own."""

    def renew(self, txn: ReadTxn, head: Head) -> None:
        if txn is not self._txn:
            self._txn.release()
        self._txn, self._head = txn, head

    def move(self, txn: ReadTxn, head: Head, tables: Tables) -> None:
        """To another environment."""
        self.renew(txn, head)
        self._tables = tables

    def release(self) -> None:
        """No effect: it belongs to the store."""


class PreparedLmdbState:
    """A state in a folder beside the one in force. `opened`: what it would let go of; the store swaps it."""

    def __init__(self, opened: StateEnvironment, folder: Path, meta: SnapshotMeta) -> None:
        self.opened: StateEnvironment | None = opened
        self.folder = folder
        reader = opened.reader()
        try:
            self._head = reader.head
            self.wrong = difference(meta, reader.head, reader.event(reader.head.index))
        finally:
            reader.release()

    @property
    def head(self) -> Head:
        return self._head

    def reader(self) -> PrivateReader:
        assert self.opened is not None, "it was discarded"
        return self.opened.reader()

    def discard(self) -> None:
        opened, self.opened = self.opened, None
        if opened is not None:
            opened.retire(self.folder)


class LmdbStateStore:
    """Writes and `read` on the loop thread; a `read_private` snapshot may go to another thread until released.

    `readonly`: a look at what another process may be writing; `read` stays at the moment of opening.
    `snapshots`: the folder whose listed snapshots may be prepared.
    """

    def __init__(
        self,
        path: Path,
        *,
        mark: StateMark | None = None,
        readonly: bool = False,
        map_bytes: int = MAP_BYTES,
        rows_max: int = LIST_SCAN_ROWS_MAX,
        snapshots: Path | None = None,
    ) -> None:
        self._folder = path
        self._mark = mark
        self._map_bytes = map_bytes
        self._rows_max = rows_max
        self._readonly = readonly
        self._snapshots = snapshots
        self._made = 0  # prepared so far: each has folder names of its own
        self._unsettled: WriteTxn | None = None  # what was written since it was settled last
        if not readonly:
            _remove_leftovers(path)
            if mark is not None:
                mark.discard_untrusted()
        self._open = self._first_environment()
        try:
            txn = self._open.env.read()
            self._shared = SharedReader(
                txn, self._open.tables, path=self.path, rows_max=rows_max, head=self._open.load_head(txn)
            )
        except BaseException:
            self._open.leave()
            raise

    def _first_environment(self) -> StateEnvironment:
        """Its rows have no checksums of their own: nothing of a file that lacks pages is used."""
        try:
            return self._environment(self._folder)
        except CutShort as error:
            if self._readonly or self._mark is None:
                raise
            log.warning("%s: %s; the state is discarded and made again", error.path, error.what)
            self._mark.discard_damaged()
            return self._environment(self._folder)

    def _environment(self, folder: Path) -> StateEnvironment:
        env = Environment(
            folder, tables_max=TABLES_MAX, durable=False, readonly=self._readonly, map_bytes=self._map_bytes
        )
        return StateEnvironment(env, rows_max=self._rows_max)

    @property
    def path(self) -> str:
        """The file that holds the state."""
        return self._open.env.path

    def head(self) -> Head:
        return self._shared.head

    @contextmanager
    def write(self) -> Iterator[LmdbWriter]:
        if self._readonly:
            raise StorageFailed(f"{self.path}: was opened to be read only")
        if self._mark is not None:
            self._mark.begin()
        before, tables = self._shared.head, self._open.tables
        txn = self._unsettled
        if txn is None:
            txn = self._unsettled = self._open.env.begin()
        try:
            writer = LmdbWriter(txn, tables, path=self.path, rows_max=self._rows_max, head=before)
            yield writer
            if before.index == 0 and txn.get(tables.meta, FORMAT_KEY) is None:
                txn.put(tables.meta, FORMAT_KEY, encode(FORMAT_VERSION))
            writer.finish()
        except BaseException:
            self._take_back()
            raise
        self._shared.renew(txn, writer.head)

    def settle(self) -> None:
        txn = self._unsettled
        if txn is None:
            return
        try:
            txn.commit()
        except BaseException:
            self._take_back()
            raise
        self._unsettled = None
        self._shared.renew(self._open.env.read(), self._shared.head)

    def _take_back(self) -> None:
        """Drop everything unsettled; readers go back to the settled state."""
        txn, self._unsettled = self._unsettled, None
        if txn is not None:
            settled = self._open.env.read()
            self._shared.renew(settled, self._open.load_head(settled))
            txn.release()

    def read(self) -> SharedReader:
        return self._shared

    def read_private(self) -> PrivateReader:
        if self._unsettled is not None:
            raise StorageFailed(f"{self.path}: a private reader before all is settled; a bug, please report it")
        return self._open.reader()

    # --- snapshots ----------------------------------------------------------------------------------
    def copy(self, descriptor: int) -> None:
        """Copy the settled state into an empty file; not synced. Any thread, while this one writes on."""
        self._open.copy(descriptor)

    def prepare(self, meta: SnapshotMeta) -> PreparedLmdbState:
        if self._snapshots is None:
            raise StorageFailed(f"{self.path}: was opened without a folder of snapshots")
        if self._mark is not None:
            self._mark.begin()  # here and not in `replace`: it is a sync
        self._made += 1
        source, folder = state_file(self._snapshots, meta), self._beside(_NEXT)
        folder.mkdir()
        try:
            copy_checked(source, folder / DATA_FILE, meta)
            sync_folder(folder)
            opened = self._environment(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # it needs descriptors too; leftovers go at the next open
            raise
        prepared = PreparedLmdbState(opened, folder, meta)
        if prepared.wrong is not None:
            prepared.discard()
            raise Corrupt(str(source), prepared.wrong)
        return prepared

    def replace(self, prepared: PreparedState) -> None:
        """The folders' new names are not synced: the mark says unclean, so a stop of the machine discards the state."""
        assert isinstance(prepared, PreparedLmdbState), "it was prepared by this store"
        new, old = prepared.opened, self._open
        assert new is not None, "it was not discarded"
        self._take_back()
        aside = self._beside(_OLD)
        try:
            os.rename(self._folder, aside)
            os.rename(prepared.folder, self._folder)
        except OSError as error:
            raise StorageFailed(f"{self._folder}: the new state cannot take its place ({error})") from error
        old.env.moved(aside)
        new.env.moved(self._folder)
        txn = new.env.read()
        self._shared.move(txn, new.load_head(txn), new.tables)
        self._open, prepared.opened, prepared.folder = new, old, aside

    def _beside(self, kind: str) -> Path:
        return self._folder.with_name(f"{self._folder.name}{kind}{self._made}")

    def close(self, *, clean: bool) -> None:
        if not clean:
            self._take_back()
        elif not self._readonly:
            self.settle()
            self._open.env.sync()
            if self._mark is not None:
                self._mark.finish()
        self._open.env.close()


def _remove_leftovers(path: Path) -> None:
    """Remove what a killed process was preparing, or had replaced."""
    for kind in (_NEXT, _OLD):
        for left in path.parent.glob(f"{path.name}{kind}*"):
            shutil.rmtree(left)
