"""The contract of a state store, in LMDB or in memory.

Two implementations stand side by side and pass the same contract tests. It knows no network, no consensus, no HTTP.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from msgspec import Struct

from raftmem.model.records import Head, Position, Record, Result, Step, View
from raftmem.storage.snapshots.contract import SnapshotMeta


class EventRow(Struct, frozen=True, array_like=True):
    """One applied entry as the event table keeps it. `data`: the entry's bytes."""

    index: int
    term: int
    data: bytes
    result: Result
    digest: bytes


class Query(NamedTuple):
    """A selection of memories. `scope`: (field name, id) pairs that must all be equal. `tags`: all must be there.

    `accept`: a further condition on the record (the parsed filter), or None. `conditions`: how many it has, so how
    often it looks at the content of a record.
    """

    scope: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    memory_type: str | None = None
    status: str = "active"
    accept: Callable[[Record], bool] | None = None
    conditions: int = 0


class Bounds(NamedTuple):
    """The limits of one page: rows, and bytes of their content. A page looks at one row at least."""

    rows: int
    bytes: int


class Page(NamedTuple):
    """`after`: (created index, id) to go on from, None when no further record matches.

    A page may hold fewer records than asked for and still go on: one page looks at a bounded number of rows, and of
    bytes. `looked`: how many rows it looked at.
    """

    records: list[Record]
    after: tuple[int, str] | None
    looked: int = 0


class StateReader(View, Protocol):
    """A consistent snapshot of the state, as of `head`; see `StateStore.read` and `read_private` for how long."""

    def oldest_index(self) -> int:
        """The lowest index that can still be read (`at`, events, digest): 1 until a retention policy exists."""
        ...

    def memories(
        self,
        query: Query,
        *,
        at: int | None,
        after: tuple[int, str] | None,
        limit: int,
        descending: bool = False,
        bounds: Bounds | None = None,
    ) -> Page:
        """Oldest created index first, then id (or the reverse); as the state was after entry `at`.

        `bounds`: what the page may look at; None: as many rows as the store was opened for.
        """
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


class PreparedState(Protocol):
    """A state made from a snapshot, beside the one in force. `reader`: for building what is derived from it."""

    @property
    def head(self) -> Head: ...

    def reader(self) -> StateReader:
        """Release it before the state is discarded or takes its place."""
        ...

    def discard(self) -> None:
        """Close the state that is not in force: this one, or, once it took its place, the one that it replaced.

        Blocking; any thread. A state that others still read is closed with its last reader.
        """
        ...


class StateStore(Protocol):
    def head(self) -> Head: ...

    def write(self) -> AbstractContextManager[StateWriter]:
        """`read` sees what was put when the block ends. It is not settled then: a kill may take it back.

        A block that raises leaves nothing, and what was not settled before it is taken back too.
        """
        ...

    def settle(self) -> None:
        """Settle: all that was written outlives a kill when this returns. Not synced: the log rebuilds it.

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
        """Make the prepared state the one in force. Loop thread, and quick: readers of the old one stay whole until
        released, and `discard` of the prepared one closes it, off the loop."""
        ...

    def close(self, *, clean: bool) -> None:
        """`clean`: settle, sync and leave the clean mark; else what is not settled is taken back, as by a kill."""
        ...
