"""The contract of a snapshot store, on disk or in memory.

Two implementations stand side by side and pass the same contract tests. It knows no network, no consensus, no HTTP.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from msgspec import Struct

from raftmem.storage.log.contract import LogEntry


class SnapshotMeta(Struct, frozen=True, array_like=True):
    """A consistent copy of the state, and what a log must know to begin at it. Equal metas are the same bytes.

    `index`, `term`, `entry`: of its last entry. `digest`: digest(index). `members`: the membership entry in force
    there. `size`, `checksum`: of the copy, bytes and BLAKE2b-256. `wall_ms`: when it was taken, for people.
    """

    index: int
    term: int
    size: int
    checksum: bytes
    digest: bytes
    entry: bytes
    members: LogEntry
    wall_ms: int

    @property
    def name(self) -> str:
        """Unique on one replica, sorts by index."""
        return f"{self.index:020d}-{self.term}-{self.checksum[:4].hex()}"


class SnapshotStore(Protocol):
    """Finished snapshots, and at most one that is being received. Blocking, one thread at a time.

    A snapshot is listed only when it is whole, checked and on disk (fsync). Each call raises OSError for a shortage of
    disk or descriptors (nothing is listed, and what was received stays), StorageFailed for a failed sync.
    """

    def all(self) -> list[SnapshotMeta]:
        """Newest first. Any thread."""
        ...

    def take(self, members_at: Callable[[int], LogEntry], wall_ms: int) -> SnapshotMeta:
        """Copy the state as it is now, while it goes on changing; listed when this returns.

        `members_at(index)`: the membership entry in force there; may be called from this thread. Raises LookupError
        when the log begins above it by now: then nothing is listed.
        """
        ...

    def read(self, meta: SnapshotMeta, offset: int, size: int) -> bytes:
        """Raises: FileNotFoundError when it was dropped."""
        ...

    def begin(self, meta: SnapshotMeta) -> int:
        """Go on receiving this one: how many of its bytes are here already (all: it is listed). Any other partial
        one is thrown away."""
        ...

    def write(self, meta: SnapshotMeta, offset: int, data: bytes) -> int:
        """Append a chunk and return the number of bytes here now; `data` is ignored unless it begins there."""
        ...

    def finish(self, meta: SnapshotMeta) -> bool:
        """All bytes came: checked as a whole, synced, listed. One that is listed already is checked again.

        False: it is not what its meta says, and is gone.
        """
        ...

    def verify(self, meta: SnapshotMeta) -> str | None:
        """The problem of a snapshot in words; None if it is sound. Reads all of it."""
        ...

    def drop(self, dropped: Collection[SnapshotMeta]) -> None:
        """Drop these, if they are still there; one that was listed since they were chosen stays."""
        ...
