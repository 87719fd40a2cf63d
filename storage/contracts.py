"""The seams of the storage: what a log store, a state store and a vector index must do, whoever implements them.

Two implementations of each stand side by side (LMDB or FAISS, and an in-memory twin) and pass the same contract
tests. This module knows no network, no consensus and no HTTP.
"""

from collections.abc import Callable, Iterable, Sequence
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


LogWrite = Append | Truncate | HardState


class LogStore(Protocol):
    """index -> (term, checksum, bytes), the hard state and folder identity. 1-based, no gaps.

    Every read checks the checksum and raises Corrupt naming the file and the index.
    """

    def hard_state(self) -> HardState: ...

    def first_index(self) -> int: ...

    def last_index(self) -> int:
        """0 for an empty log."""
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
        """Commits when the block ends, leaves nothing when it raises. Not synced: the log rebuilds it."""
        ...

    def read(self) -> StateReader:
        """The shared reader, as of now: cheap, on the loop thread, good until the next write or the next await.

        The store moves it on with its own head, so it is never kept; `release` on it does nothing.
        """
        ...

    def read_private(self) -> StateReader:
        """A snapshot of one's own: stays as it is while the store goes on, may be used on one other thread.

        Opened on the loop thread, released by its user as soon as it is done (an open one keeps old pages alive).
        """
        ...

    def close(self, *, clean: bool) -> None:
        """`clean`: sync and leave the clean mark."""
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


class VectorIndex(Protocol):
    """The active vectors, one index a dimension; equal to what the state says at `index`."""

    @property
    def index(self) -> int:
        """The log index that it reflects."""
        ...

    def apply(self, index: int, steps: Sequence[Step]) -> None:
        """Follow the state to `index`: new vectors appended, dead rows masked. Loop thread."""
        ...

    def prepare(self, query: VectorQuery, reader: StateReader) -> Callable[[], list[Hit]]:
        """Fix what may be found as of now (loop thread); the returned search may run on another thread.

        Best first, ties by id; exact: equal to a float32 cosine over every candidate.
        """
        ...

    def audit(self, reader: StateReader) -> list[str]:
        """Differences to the vectors in the state, in words; empty when equal."""
        ...

    def save(self) -> None:
        """Leave a file that the next start can catch up from. Raises OSError."""
        ...
