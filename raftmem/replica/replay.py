"""Replay: the same machine over a log, into an empty or older state, up to any index.

A log that does not follow the state is refused (Corrupt). It must hold that a replay reaches the digests that the live
replica stored: `verify` computes them again from the entries alone and returns the first index that differs.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile
from typing import Final, NamedTuple

from msgspec import Struct

from raftmem.machine.run import step_entry
from raftmem.model.records import Head
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.state.contract import EventRow, StateStore

COMMIT_ENTRIES: Final = 1000  # entries of one state transaction: bounds its dirty pages

Progress = Callable[[int], None]


class Difference(Struct, frozen=True):
    """The first index whose stored digest is not what its entry and all before it come to."""

    index: int
    stored: bytes
    computed: bytes


class Verified(NamedTuple):
    """`head`: how far the comparison went. `difference`: None when every digest up to there agrees."""

    head: Head
    difference: Difference | None


def entries_of(rows: Iterable[EventRow]) -> Iterator[LogEntry]:
    """The log as the event table keeps it."""
    return (LogEntry(row.index, row.term, row.data) for row in rows)


def replay(
    source: Iterable[LogEntry], store: StateStore, until: int | None = None, progress: Progress | None = None
) -> Head:
    """Apply what `store` does not hold yet, up to and with index `until` (None: all). Returns the new head.

    `progress` is called with the index reached after every `COMMIT_ENTRIES` entries. Raises: Corrupt.
    """
    return _run(source, store, until, progress, None).head


def verify(
    source: Iterable[LogEntry],
    stored: Callable[[int], bytes | None],
    store: StateStore,
    until: int | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Replay into `store` (a scratch one, or one known to be good) and compare with the digests of `stored`.

    `stored(index)`: the digest that was stored for this index; None (not applied there) ends the comparison.
    Raises: Corrupt.
    """
    return _run(source, store, until, progress, stored)


def _run(
    source: Iterable[LogEntry],
    store: StateStore,
    until: int | None,
    progress: Progress | None,
    stored: Callable[[int], bytes | None] | None,
) -> Verified:
    start = store.head().index
    upto = source if until is None else takewhile(lambda entry: entry.index <= until, source)
    wanted = (entry for entry in upto if entry.index > start)
    while batch := list(islice(wanted, COMMIT_ENTRIES)):
        with store.write() as writer:
            for entry in batch:
                expected = None if stored is None else stored(entry.index)
                if stored is not None and expected is None:
                    break
                computed = step_entry(writer, entry.index, entry.term, entry.data).row.digest
                if expected is not None and computed != expected:
                    return Verified(writer.head, Difference(entry.index, expected, computed))
        head = store.head()
        if progress is not None:
            progress(head.index)
        if head.index < batch[-1].index:
            break
    return Verified(store.head(), None)
