"""The rules of a log: what a batch of writes makes of it. Pure; both log stores use them, so both refuse alike.

Refused are a gap, a term that goes back, a second vote in one term, a log without its first entry, and a base whose
membership is not the one in force there: each would break Raft, and none can be undone once it is on disk.
The rule that must hold: indexes run from the first without a gap.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, assert_never

from raftmem.errors import StorageFailed
from raftmem.model import codec
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry, LogWrite, Reset, Truncate

_MEMBERSHIP: Final = bytes([codec.MEMBERSHIP])


class LogEnd(NamedTuple):
    """A log after some writes: of the entries of before `first` to `kept` (none if `first` is above), then `appended`.

    `base`: the membership entry in force at `first`, once the log was compacted or reset; until then the log holds it.
    `listed`: the membership entries in the log, oldest first; the same object as long as they do not change.
    """

    first: int
    kept: int
    hard_state: HardState
    base: LogEntry | None = None
    listed: tuple[LogEntry, ...] = ()
    appended: tuple[LogEntry, ...] = ()

    @property
    def last_index(self) -> int:
        return self.kept + len(self.appended)

    @property
    def is_empty(self) -> bool:
        return self.first > self.last_index

    def memberships(self) -> list[LogEntry]:
        """As `LogStore.memberships`."""
        base = self.base
        if base is None:
            return list(self.listed)
        return [base, *(entry for entry in self.listed if entry.index > base.index)]

    def stored(self) -> "LogEnd":
        """The same log once the writes are done: nothing more to append."""
        return LogEnd(self.first, self.last_index, self.hard_state, self.base, self.listed)


EMPTY: Final = LogEnd(1, 0, HardState(0, None))


def is_membership(data: bytes) -> bool:
    return data[:1] == _MEMBERSHIP


def follow(end: LogEnd, writes: Sequence[LogWrite]) -> LogEnd:
    """The end after all writes, in order. Raises: StorageFailed for a batch that no correct caller makes."""
    for write in writes:
        match write:
            case Append():
                end = _append(end, write.entries)
            case Truncate():
                end = _truncate(end, write.index)
            case HardState():
                _check_vote(end.hard_state, write)
                end = LogEnd(end.first, end.kept, write, end.base, end.listed, end.appended)
            case Compact():
                end = _compact(end, write.first_index, write.members)
            case Reset():
                end = _reset(end, write.entry, write.members)
            case _:
                assert_never(write)
    return end


def _append(end: LogEnd, entries: tuple[LogEntry, ...]) -> LogEnd:
    first, kept, hard_state, base, listed, appended = end
    expected = kept + len(appended) + 1
    if expected == first and entries and entries[0].index == 0:  # an empty log, of a replica that joins
        first, kept, expected = 0, -1, 0
    for entry in entries:
        if entry.index != expected:
            raise StorageFailed(f"append of index {entry.index} to a log that ends at {expected - 1}; a gap")
        expected += 1
        if entry.data[:1] == _MEMBERSHIP:
            listed = (*listed, entry)
    return LogEnd(first, kept, hard_state, base, listed, appended + entries)


def _truncate(end: LogEnd, index: int) -> LogEnd:
    """Only a log that still begins with its bootstrap may be emptied; any other keeps its first entry."""
    if index <= (0 if end.base is None else end.first):
        raise StorageFailed(f"truncation at index {index}; the log begins at {end.first}")
    if index > end.last_index:
        return end
    appended = end.appended[: max(0, index - 1 - end.kept)]
    listed = tuple(entry for entry in end.listed if entry.index < index)
    return LogEnd(end.first, min(end.kept, index - 1), end.hard_state, end.base, listed, appended)


def _compact(end: LogEnd, first: int, members: LogEntry) -> LogEnd:
    if first <= end.first:
        return end
    if first > end.last_index:
        raise StorageFailed(f"compaction up to index {first}; the log ends at {end.last_index}")
    _check_members(members, first)
    in_force = [entry for entry in end.memberships() if entry.index <= first]
    if in_force and in_force[-1] != members:
        raise StorageFailed(
            f"compaction up to index {first} with the membership of {members.index}; in force is {in_force[-1].index}"
        )
    listed = tuple(entry for entry in end.listed if entry.index >= first)
    appended = end.appended[max(0, first - 1 - end.kept) :]
    return LogEnd(first, max(end.kept, first - 1), end.hard_state, members, listed, appended)


def _reset(end: LogEnd, entry: LogEntry, members: LogEntry) -> LogEnd:
    if entry.index < 1:
        raise StorageFailed(f"reset to index {entry.index}; no snapshot ends there")
    _check_members(members, entry.index)
    listed = (entry,) if is_membership(entry.data) else ()
    if listed and entry != members:
        raise StorageFailed(f"reset to the membership of index {entry.index} with that of {members.index}")
    return LogEnd(entry.index, entry.index - 1, end.hard_state, members, listed, (entry,))


def _check_members(members: LogEntry, first: int) -> None:
    if members.index > first or not is_membership(members.data):
        raise StorageFailed(f"entry {members.index} is no membership that is in force at index {first}")


def _check_vote(old: HardState, new: HardState) -> None:
    if new.term < old.term:
        raise StorageFailed(f"hard state would go back from term {old.term} to {new.term}")
    if new.term == old.term and old.vote is not None and new.vote != old.vote:
        raise StorageFailed(f"vote for {old.vote} in term {old.term} would become a vote for {new.vote}")
