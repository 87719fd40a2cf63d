"""A replica's data folder, opened to be looked at: read only, and beside a running replica only with `--live`.

It never changes what it reads. Without `--live` a read lock keeps a replica from starting on the folder meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from raftmem.cli.exits import CommandFailed
from raftmem.errors import BadRequest, FolderRefused, FutureIndex, IndexCompacted
from raftmem.replica.replay import entries_of
from raftmem.storage.folder import ReadLock, read_identity
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.log.store import SegmentLogStore
from raftmem.storage.snapshots.store import FileSnapshotStore
from raftmem.storage.state.contract import StateReader
from raftmem.storage.state.store import LmdbStateStore

CHUNK_BYTES = 4 << 20  # of the log, read at a time


class DataFolder(NamedTuple):
    """`reader`: None when nothing was applied here yet. The log's newest entries may not be committed."""

    path: Path
    log: SegmentLogStore
    reader: StateReader | None

    @property
    def applied_index(self) -> int:
        return 0 if self.reader is None else self.reader.head.index

    def state(self) -> StateReader:
        """Raises: CommandFailed when there is none."""
        if self.reader is None:
            raise CommandFailed(
                f"{self.path}: nothing was applied here yet; start the replica, or use `raftmem replay`"
            )
        return self.reader

    @property
    def first_logged(self) -> int:
        """Where the log begins: 1, or what it was compacted to. What is below stands in the state's event table."""
        return max(1, self.log.first_index())

    def history(self, last: int) -> Iterator[LogEntry]:
        """Every entry from index 1 to `last`, below the log's beginning as the state keeps it. Raises: Corrupt."""
        first = self.first_logged
        if first > 1:
            yield from entries_of(self.state().events(1, min(first, last + 1)))
        yield from self.entries(first, last)

    def entries(self, first: int, last: int) -> Iterator[LogEntry]:
        """Entries of the log, first <= index <= last. Raises: Corrupt."""
        while first <= last:
            chunk = self.log.read(first, last + 1, CHUNK_BYTES)
            if not chunk:
                return
            yield from chunk
            first = chunk[-1].index + 1


@contextmanager
def open_to_read(path: Path, *, live: bool) -> Iterator[DataFolder]:
    """Raises: BadRequest for a folder that is no replica's, FolderRefused when one runs on it and `live` is false."""
    if not path.is_dir() or (identity := read_identity(path)) is None:
        raise BadRequest(f"{path} is not a replica's data folder; give one such as .raftmem/n1", parameter="--data")
    if not identity.ready:
        raise BadRequest(f"{path}: never became a member's, so there is nothing to read yet", parameter="--data")
    try:
        lock = None if live else ReadLock(path)
    except FolderRefused as error:
        raise CommandFailed(f"{error}, or add --live to read beside it") from error
    try:
        log = SegmentLogStore(path / "log", readonly=True)
        try:
            has_state = (path / "state" / "data.mdb").exists()
            state = LmdbStateStore(path / "state", readonly=True) if has_state else None
            try:
                yield DataFolder(path, log, None if state is None or state.head().index == 0 else state.read())
            finally:
                if state is not None:
                    state.close(clean=False)
        finally:
            log.close()
    finally:
        if lock is not None:
            lock.close()


def snapshots_of(path: Path) -> FileSnapshotStore:
    """The snapshots in a replica's folder, to be looked at; beside a running replica too. Raises: BadRequest."""
    if not path.is_dir() or read_identity(path) is None:
        raise BadRequest(f"{path} is not a replica's data folder; give one such as .raftmem/n1", parameter="--data")
    return FileSnapshotStore(path / "snapshots", None)


def check_at(at: int | None, reader: StateReader) -> int:
    """Return the index to show: `at`, or the newest. Raises: FutureIndex, IndexCompacted."""
    head = reader.head.index
    if at is None:
        return head
    if at > head:
        raise FutureIndex(at, head)
    if at < reader.oldest_index():
        raise IndexCompacted(at, reader.oldest_index())
    return at
