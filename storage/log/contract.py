"""The contract of a log store, on disk or in memory.

Two implementations stand side by side and pass the same contract tests. It knows no network, no consensus, no HTTP.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


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

        Raises: OSError for a shortage of disk or descriptors (nothing is changed), StorageFailed for all else.
        """
        ...

    def close(self) -> None: ...
