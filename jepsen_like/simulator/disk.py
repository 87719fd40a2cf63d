"""The disk of one replica: log, state and snapshots in one folder, which outlives its crashes.

Fault model: a commit of the log is on disk whole when it returns; a crash before that leaves nothing of it (with
`atomic` off, any part of it), a crash right after it leaves all, though nobody was told. A full disk refuses and
changes nothing. A failed sync may have written or not, and nothing may be written after it. The state is not synced:
what is settled of it survives a kill of the process, and all is gone after a stop of the machine. A wiped folder is a
new disk.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from jepsen_like.simulator.oracles import Referee
from jepsen_like.simulator.sometimes import Sometimes
from raftmem.errors import StorageFailed
from raftmem.storage.log.contract import Append, HardState, LogEntry, LogStore, LogWrite, Reset
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.snapshots.contract import SnapshotStore
from raftmem.storage.snapshots.in_memory import InMemorySnapshotStore
from raftmem.storage.state.contract import StateStore
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.in_memory_copy import InMemoryFiles


class WatchedLog:
    """A log whose every write the referee sees before it happens."""

    atomic = True  # off: what a crash leaves of a commit is any part of it

    def __init__(self, name: str, inner: LogStore, referee: Referee, sometimes: Sometimes) -> None:
        self.inner = inner
        self.full = False
        self.sync_fails: bool | None = None  # the next sync fails, and the pages were written or were not
        self.tears: Callable[[], None] | None = None  # ends this life in the middle of the next commit
        self.tear_share = 0.0
        self.began_anew = False  # the last commit made the log begin at a snapshot
        self.torn = False  # something was torn since the last start
        self.failed = False  # a sync of this life failed
        self._name = name
        self._referee = referee
        self._sometimes = sometimes

    def restarted(self) -> None:
        """A new life begins with what is on disk."""
        if self.torn:
            self._sometimes.saw("torn tail")
        self.failed = self.torn = False
        self.sync_fails = self.tears = None

    def hard_state(self) -> HardState:
        return self.inner.hard_state()

    def first_index(self) -> int:
        return self.inner.first_index()

    def last_index(self) -> int:
        return self.inner.last_index()

    def is_empty(self) -> bool:
        return self.inner.is_empty()

    def memberships(self) -> list[LogEntry]:
        return self.inner.memberships()

    def read(self, start: int, stop: int, bytes_max: int | None = None) -> list[LogEntry]:
        return self.inner.read(start, stop, bytes_max)

    def commit(self, writes: Sequence[LogWrite]) -> None:
        if self.failed:
            raise self._referee.fail(f"{self._name} writes its log again after a failed sync")
        if self.full:
            self._sometimes.saw("full disk")
            raise OSError(errno.ENOSPC, "no room left on this disk")
        if self.tears is not None:
            self._tear(self.tears, writes)
        if self.sync_fails is not None:
            self._fail(writes, written=self.sync_fails)
        self.began_anew = any(isinstance(write, Reset) for write in writes)
        self._referee.writes(self._name, self.inner, writes)
        self.inner.commit(writes)

    def _tear(self, crash: Callable[[], None], writes: Sequence[LogWrite]) -> None:
        self.torn = any(isinstance(write, Append) for write in writes)
        if not self.atomic:
            self.inner.commit(writes[: int(self.tear_share * len(writes))])
        self.tears = None
        crash()
        raise StorageFailed("the machine died in the middle of it")

    def _fail(self, writes: Sequence[LogWrite], *, written: bool) -> None:
        if written:
            self._referee.writes(self._name, self.inner, writes)
            self.inner.commit(writes)
        self.failed = True
        self._sometimes.saw("failed sync")
        raise StorageFailed("fsync: input/output error")

    def close(self) -> None:
        self.inner.close()


class Folder(Struct):
    """The identity that a data folder holds beside log, state and snapshots."""

    folder_id: str
    birth: str
    known_births: dict[str, str] = msgspec.field(default_factory=dict)  # of the folders that it was connected with


NewLog = Callable[[LogStore], WatchedLog]


class Disk(Protocol):
    """`log` may be read while the replica is down."""

    @property
    def folder(self) -> Folder: ...

    @property
    def log(self) -> WatchedLog: ...

    @property
    def state(self) -> StateStore: ...

    @property
    def snapshots(self) -> SnapshotStore: ...

    def open(self, *, power_lost: bool) -> None:
        """For a new life, after a kill of the process or a stop of the machine."""
        ...

    def close(self) -> None:
        """Never used again."""
        ...


NewDisk = Callable[[str, Folder, NewLog], Disk]


class MemoryDisk:
    """The in-memory twins."""

    def __init__(self, folder: Folder, log: NewLog) -> None:
        self.folder = folder
        self.log = log(InMemoryLogStore())
        self._files = InMemoryFiles()
        self.state = self._new_state()
        self.snapshots = InMemorySnapshotStore(self._files, self.state)

    def _new_state(self) -> InMemoryStateStore:
        return InMemoryStateStore(snapshots=self._files, has_room=lambda: not self.log.full)

    def open(self, *, power_lost: bool) -> None:
        self.log.restarted()
        if power_lost:
            self.state = self._new_state()
            if self._files.partial is not None:
                part = self._files.partial[1]
                del part[len(part) // 2 :]
        else:
            self.state.close(clean=False)
        self.snapshots = InMemorySnapshotStore(self._files, self.state)

    def close(self) -> None:
        """Nothing is held."""
