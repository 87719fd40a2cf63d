"""The tables of the log on disk, looked at within one transaction: where it begins and ends, and whether it is whole.

`entries`: index -> entry; `memberships`: the indexes of those that are memberships; `meta`: `hard_state`, and `base`
once the log was compacted or reset. Entries may stand below the first index that a base names: they are forgotten.
It changes nothing. The rule that must hold: a log is whole and read as it was written, or `Corrupt` is raised.
"""

from collections.abc import Iterator
from typing import Final

from raftmem.errors import Corrupt
from raftmem.storage.contracts import HardState, LogEntry
from raftmem.storage.lmdb_env import Environment, ReadTxn, Table
from raftmem.storage.log_records import (
    DATA_AT,
    Base,
    index_key,
    index_of,
    unpack_base,
    unpack_entry,
    unpack_hard_state,
)
from raftmem.storage.log_rules import LogEnd, is_membership

HARD_STATE: Final = b"hard_state"
BASE: Final = b"base"
TABLES: Final = 3


class LogTables:
    """`memberships`: None in a readonly look at a log that was written before there was this table."""

    def __init__(self, env: Environment, *, readonly: bool) -> None:
        self.path = env.path
        self.entries = env.table("entries")
        self.meta = env.table("meta")
        self.memberships: Table | None = None
        try:
            self.memberships = env.table("memberships")
        except Corrupt:
            if not readonly:
                raise

    # --- where it begins and ends --------------------------------------------------------------------
    def range(self, txn: ReadTxn) -> tuple[int, int]:
        """First and last index; (1, 0) when it is empty."""
        return self._first(txn, self._base(txn)), self._last(txn)

    def end(self, txn: ReadTxn) -> LogEnd:
        """Without `listed`, which takes longest. Raises: Corrupt for a wrong count, a lost hard state or base."""
        base = self._base(txn)
        first, last = self._first(txn, base), self._last(txn)
        count = txn.count(self.entries)
        if count != last - min(first, self.oldest(txn)) + 1 or (base is not None and first > last):
            raise Corrupt(self.path, f"holds {count} entries but ends at index {last} and begins at {first}")
        return LogEnd(first, last, self._hard_state(txn), None if base is None else base.members)

    def whole(self, txn: ReadTxn) -> LogEnd:
        """With them. Raises: Corrupt for one that is damaged or missing, too."""
        return self.end(txn)._replace(listed=self.listed(txn))

    def oldest(self, txn: ReadTxn) -> int:
        """The lowest index in the table, forgotten or not; 1 when there is none."""
        key = txn.at_or_after(self.entries, b"")
        return 1 if key is None else index_of(self.path, key)

    def _first(self, txn: ReadTxn, base: Base | None) -> int:
        """Without a base a log begins with its bootstrap, or at 0 with what a replica that joins begins with."""
        if base is not None:
            return base.first_index
        return 0 if txn.at_or_after(self.entries, b"") == index_key(0) else 1

    def _last(self, txn: ReadTxn) -> int:
        key = txn.last_key(self.entries)
        return 0 if key is None else index_of(self.path, key)

    def _base(self, txn: ReadTxn) -> Base | None:
        raw = txn.get(self.meta, BASE)
        return None if raw is None else unpack_base(self.path, raw)

    def _hard_state(self, txn: ReadTxn) -> HardState:
        """Never term 0 and no vote beside entries: that would be a second vote in an old term."""
        raw = txn.get(self.meta, HARD_STATE)
        if raw is not None:
            return unpack_hard_state(self.path, raw)
        if txn.count(self.entries):
            raise Corrupt(self.path, "has entries but no hard state (term and vote)")
        return HardState(0, None)

    # --- memberships ---------------------------------------------------------------------------------
    def is_unlisted(self, txn: ReadTxn) -> bool:
        """Written before there was the table of memberships: a log that still has its bootstrap lists that at least."""
        if txn.get(self.meta, BASE) is not None or txn.count(self.entries) == 0:
            return False
        return self.memberships is None or txn.count(self.memberships) == 0

    def _scan(self, txn: ReadTxn) -> Iterator[int]:
        """Indexes of memberships, found by reading the whole log."""
        for key, value in txn.ascending(self.entries):
            if is_membership(value[DATA_AT : DATA_AT + 1]):
                yield index_of(self.path, key)

    def listed(self, txn: ReadTxn) -> tuple[LogEntry, ...]:
        """The membership entries in the log, oldest first."""
        return tuple(self._membership(txn, index) for index in self._listed_indexes(txn))

    def _listed_indexes(self, txn: ReadTxn) -> list[int]:
        if self.memberships is None or self.is_unlisted(txn):
            return list(self._scan(txn))
        return [index_of(self.path, key) for key in txn.keys(self.memberships, b"")]

    def _membership(self, txn: ReadTxn, index: int) -> LogEntry:
        raw = txn.get(self.entries, index_key(index))
        if raw is None:
            raise Corrupt(self.path, "membership is missing", index=index)
        entry = unpack_entry(self.path, index, raw)
        if not is_membership(entry.data):
            raise Corrupt(self.path, "entry is listed as a membership and is none", index=index)
        return entry

    # --- the whole -----------------------------------------------------------------------------------
    def problems(self, txn: ReadTxn) -> Iterator[tuple[int, str]]:
        """As `LmdbLogStore.verify`."""
        try:
            self._hard_state(txn)
        except Corrupt as error:
            yield 0, error.what
        try:
            base, listed = self._base(txn), set(self._listed_indexes(txn))
        except Corrupt as error:
            yield 0, error.what
            return  # where the log begins, or with which members, is not known
        expected = first = self._first(txn, base)
        for key, value in txn.ascending(self.entries, index_key(first)):
            try:
                index = index_of(self.path, key)
            except Corrupt as error:
                yield expected, error.what
                return
            if index > expected:
                yield expected, f"entries {expected} to {index - 1} are missing"
            problem = self._problem(index, value, base, listed)
            if problem is not None:
                yield index, problem
            expected = index + 1
        if base is not None and expected == first:
            yield first, "entry is missing, the first of the log"
        for index in sorted(index for index in listed if not first <= index < expected):
            yield index, "is listed as a membership and is not in the log"

    def _problem(self, index: int, value: bytes, base: Base | None, listed: set[int]) -> str | None:
        try:
            entry = unpack_entry(self.path, index, value)
        except Corrupt as error:
            return error.what
        if is_membership(entry.data) != (index in listed):
            return "is a membership that is not listed, or the reverse"
        in_force = base is not None and (index == base.members.index or (index == base.first_index and index in listed))
        if base is not None and in_force and entry != base.members:
            return "is a membership that differs from the one in force where the log begins"
        return None
