"""One open LMDB environment of a state: its tables, its readers, and the number of its users.

A store may switch to another environment while searches still read the old one. The rule that must hold: an environment
is closed and its folder removed only after its last reader has released it, on whatever thread.
"""

import shutil
import threading
from pathlib import Path

from raftmem.errors import Corrupt, StorageFailed
from raftmem.limits import LIST_SCAN_ROWS_MAX
from raftmem.model.digest import GENESIS_HEAD
from raftmem.model.records import Head
from raftmem.storage.lmdb.environment import Environment, ReadTxn
from raftmem.storage.state.read import LmdbReader
from raftmem.storage.state.tables import DECODE_ERRORS, HEAD_KEY, decode_head, open_tables


class PrivateReader(LmdbReader):
    """A moment of one environment, kept open by it until released."""

    def __init__(self, opened: "StateEnvironment", txn: ReadTxn, head: Head) -> None:
        super().__init__(txn, opened.tables, path=opened.env.path, rows_max=opened.rows_max, head=head)
        self._opened: StateEnvironment | None = opened

    def release(self) -> None:
        """A second call has no effect."""
        opened, self._opened = self._opened, None
        if opened is not None:
            super().release()
            opened.leave()


class StateEnvironment:
    """Its maker is its first user until `leave`. Raises (at open): FolderRefused for another format, Corrupt."""

    def __init__(self, env: Environment, *, rows_max: int = LIST_SCAN_ROWS_MAX) -> None:
        self.env = env
        self.rows_max = rows_max
        self._users = 1
        self._lock = threading.Lock()
        self._remove: Path | None = None
        try:
            self.tables = open_tables(env)
        except BaseException:
            env.close()
            raise

    def reader(self) -> PrivateReader:
        """As of now; release it."""
        self.enter()
        try:
            txn = self.env.read()
            return PrivateReader(self, txn, self.load_head(txn))
        except BaseException:
            self.leave()
            raise

    def load_head(self, txn: ReadTxn) -> Head:
        raw = txn.get(self.tables.meta, HEAD_KEY)
        if raw is None:
            return GENESIS_HEAD
        try:
            return decode_head(raw)
        except DECODE_ERRORS as error:
            raise Corrupt(self.env.path, f"head of the state does not decode ({error})") from error

    def copy(self, descriptor: int) -> None:
        """As `Environment.copy`; what is copied stays open until it is done."""
        self.enter()
        try:
            self.env.copy(descriptor)
        finally:
            self.leave()

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                raise StorageFailed(f"{self.env.path}: is closed already; a bug, please report it")
            self._users += 1

    def leave(self) -> None:
        """The last one closes it: that may take a while with a large state."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        self.env.close()
        if self._remove is not None:
            # What cannot be removed now is removed as a leftover when the store is opened again.
            shutil.rmtree(self._remove, ignore_errors=True)

    def retire(self, folder: Path) -> None:
        """Its owner leaves; `folder`, where it lies, is removed with it."""
        self._remove = folder
        self.leave()
