"""The seams of the storage: what a log store, a state store and a vector index must do, whoever implements them.

Two implementations of each stand side by side (LMDB, FAISS or files, and an in-memory twin) and pass the same contract
tests. This module knows no network, no consensus and no HTTP.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from msgspec import Struct

from raftmem.records import Head, Position, Record, Result, Step, View


# --- the log --------------------------------------------------------------------------------------
class LogEntry(Struct, frozen=True, array_like=True):
    index: int
    term: int
    data: bytes


class HardState(Struct, frozen=True, array_like=True):
    """Raft's term and vote. `vote`: a node id, or None."""

    term: int
    vote: str | None


class Append(Struct, frozen=True, array_like=True):
    """Consecutive entries, the first right after the last index of the log."""

    entries: tuple[LogEntry, ...]


class Truncate(Struct, frozen=True, array_like=True):
    """Remove entry `index` and all that follow."""

    index: int


class Compact(Struct, frozen=True, array_like=True):
    """Remove every entry below `first_index`, which stays as the first. Nothing if it is not above the first.

    `members`: the membership entry in force at `first_index`.
    """

    first_index: int
    members: LogEntry


class Reset(Struct, frozen=True, array_like=True):
    """The whole log becomes `entry` alone: the last one of an installed snapshot. The hard state stays.

    `members`: the membership entry in force at `entry`.
    """

    entry: LogEntry
    members: LogEntry


LogWrite = Append | Truncate | HardState | Compact | Reset


class LogStore(Protocol):
    """index -> (term, checksum, bytes), the hard state, and the membership in force where the log begins. No gaps.

    A log that is not empty always keeps its first entry: at index 1 (the bootstrap), at index 0 (a replica that
    joins: a membership without voters), or the one up to which it was compacted or reset.
    Every read checks the checksum and raises Corrupt naming the file and the index.
    """

    def hard_state(self) -> HardState: ...

    def first_index(self) -> int:
        """1 for an empty log."""
        ...

    def last_index(self) -> int:
        """0 for an empty log (`is_empty` tells it from one that holds index 0 alone)."""
        ...

    def is_empty(self) -> bool: ...

    def memberships(self) -> list[LogEntry]:
        """Every membership entry that matters, oldest first: the one in force at the first index (its own index may
        be lower), then those in the log. Empty for an empty log."""
        ...

    def read(self, start: int, stop: int, bytes_max: int | None = None) -> list[LogEntry]:
        """Entries start <= index < stop, as many as `bytes_max` allows but at least one, if there is one."""
        ...

    def commit(self, writes: Sequence[LogWrite]) -> None:
        """All writes, in order, in one transaction; on disk (fsync) when this returns. Writer thread only.

        Raises: OSError with ENOSPC when there was no room (nothing is changed), StorageFailed for all else.
        """
        ...

    def close(self) -> None: ...


# --- snapshots ------------------------------------------------------------------------------------
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

    A snapshot is listed only when it is whole, checked and on disk (fsync). Raises OSError ENOSPC when there is no
    room (nothing is listed), StorageFailed for a failed sync.
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
        """How many bytes are here now; `data` is ignored unless it begins there."""
        ...

    def finish(self, meta: SnapshotMeta) -> bool:
        """All bytes came: checked as a whole, synced, listed. One that is listed already is checked again.

        False: it is not what its meta says, and is gone.
        """
        ...

    def verify(self, meta: SnapshotMeta) -> str | None:
        """What is wrong with it, in words; None when it is sound. Reads all of it."""
        ...

    def drop(self, dropped: Collection[SnapshotMeta]) -> None:
        """These go, if they are still there; one that was listed since they were chosen stays."""
        ...


class PreparedState(Protocol):
    """A state made from a snapshot, beside the one in force. `reader`: what it holds, for building what is derived."""

    @property
    def head(self) -> Head: ...

    def reader(self) -> "StateReader":
        """Release it before the state is discarded or takes its place."""
        ...

    def discard(self) -> None:
        """Let go of what is not in force: this state, or, once it took its place, the one that it replaced.

        Blocking; any thread. What others still read goes with its last reader.
        """
        ...


# --- the state ------------------------------------------------------------------------------------
class EventRow(Struct, frozen=True, array_like=True):
    """One applied entry as the event table keeps it. `data`: the entry's bytes."""

    index: int
    term: int
    data: bytes
    result: Result
    digest: bytes


class Query(NamedTuple):
    """Which memories. `scope`: (field name, id) pairs that must all be equal. `tags`: all must be there.

    `accept`: a further condition on the record (the parsed filter), or None.
    """

    scope: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    memory_type: str | None = None
    status: str = "active"
    accept: Callable[[Record], bool] | None = None


class Page(NamedTuple):
    """`after`: (created index, id) to go on from, None when no further record matches.

    A page may hold fewer records than asked for and still go on: one page looks at a bounded number of rows.
    """

    records: list[Record]
    after: tuple[int, str] | None


class StateReader(View, Protocol):
    """A consistent snapshot of the state, as of `head`; see `StateStore.read` and `read_private` for how long."""

    def oldest_index(self) -> int:
        """The lowest index that can still be read (`at`, events, digest): 1 until a retention policy exists."""
        ...

    def memories(
        self, query: Query, *, at: int | None, after: tuple[int, str] | None, limit: int, descending: bool = False
    ) -> Page:
        """Oldest created index first, then id (or the reverse); as the state was after entry `at`."""
        ...

    def history(self, memory_id: str, *, after: Position | None, limit: int) -> list[Position]:
        """Positions of the events that concern this id (refused and NOOP too), oldest first, after `after`."""
        ...

    def event(self, index: int) -> EventRow | None: ...

    def events(self, start: int, stop: int, *, descending: bool = False) -> Iterable[EventRow]:
        """Rows with start <= index < stop; lazy."""
        ...

    def expiring(self, time: int, limit: int) -> list[tuple[str, int]]:
        """(id, version) of active memories whose `expires` <= `time` (log time), earliest first."""
        ...

    def vectors(self) -> Iterable[Record]:
        """Every active record that has a vector, in row order (for building and auditing the index)."""
        ...

    def release(self) -> None: ...


class StateWriter(View, Protocol):
    """One write transaction over any number of entries; a later entry sees the earlier ones."""

    def put(self, row: EventRow, step: Step, head: Head) -> None:
        """Store one entry's event row, its changes and the new head. `head.index` must be the old one + 1."""
        ...


class StateStore(Protocol):
    def head(self) -> Head: ...

    def write(self) -> AbstractContextManager[StateWriter]:
        """`read` sees what was put when the block ends. It is not settled then: a kill may take it back.

        A block that raises leaves nothing, and what was not settled before it is taken back too.
        """
        ...

    def settle(self) -> None:
        """What was written outlives a kill of this process when this returns. Not synced: the log rebuilds it.

        Raises: OSError with ENOSPC when there was no room, and what was not settled is taken back; StorageFailed.
        """
        ...

    def read(self) -> StateReader:
        """The shared reader, as of now: cheap, on the loop thread, good until the next write or the next await.

        The store moves it on with its own head, so it is never kept; `release` on it does nothing.
        """
        ...

    def read_private(self) -> StateReader:
        """A snapshot of one's own: stays as it is while the store goes on, may be used on one other thread.

        Opened on the loop thread when all is settled, released by its user as soon as it is done (an open one keeps
        old pages alive).
        """
        ...

    def prepare(self, meta: SnapshotMeta) -> PreparedState:
        """A copy of a listed snapshot, opened beside this state. Blocking; any thread. Raises: Corrupt, OSError."""
        ...

    def replace(self, prepared: PreparedState) -> None:
        """It becomes the state. Loop thread, and quick: readers of the old one stay whole until released, and
        `discard` of what was prepared lets go of it, off the loop."""
        ...

    def close(self, *, clean: bool) -> None:
        """`clean`: settle, sync and leave the clean mark; else what is not settled is taken back, as by a kill."""
        ...


# --- vectors --------------------------------------------------------------------------------------
class Hit(NamedTuple):
    """`score`: cosine, clamped to 0..1."""

    record: Record
    score: float


class VectorQuery(NamedTuple):
    """`vector`: float32 little-endian, not zero. `threshold`: inclusive."""

    vector: bytes
    top_k: int
    threshold: float
    query: Query


class Search(Protocol):
    """One search over what might be found when it was prepared: a scan, then `hits`, then perhaps `further`.

    Only the scan may take long. Whatever else reads a record stays on the loop, because a thread that takes the
    interpreter's lock for a moment, again and again, costs a busy loop more than those moments.
    """

    def scan_now(self) -> bool:
        """Scan at once, on the loop. False: it would take long, and was not begun; `scan` on another thread."""
        ...

    def scan(self) -> None:
        """Any thread."""
        ...

    def hits(self, reader: StateReader) -> list[Hit] | None:
        """Best first, ties by id; exact: equal to a float32 cosine over every candidate. Loop thread.

        `reader`: the state of the moment of `prepare`, or of a later one. None: the condition of the query on the
        record refused too many; ask `further`.
        """
        ...

    def further(self) -> Callable[[], list[Hit]]:
        """The same answer from as many candidates as it takes. Loop thread; what it returns is called once, on any
        thread."""
        ...


class VectorIndex(Protocol):
    """The active vectors, one index a dimension; equal to what the state says at `index`."""

    @property
    def index(self) -> int:
        """The log index that it reflects."""
        ...

    def apply(self, index: int, steps: Sequence[Step]) -> None:
        """Follow the state to `index`: new vectors appended, dead rows masked. Loop thread."""
        ...

    def prepare(self, query: VectorQuery, reader: StateReader) -> Search:
        """Fix what may be found as of now. Loop thread."""
        ...

    def audit(self, reader: StateReader) -> list[str]:
        """Differences to the vectors in the state, in words; empty when equal."""
        ...

    def save(self) -> None:
        """Leave a file that the next start can catch up from. Raises OSError."""
        ...
