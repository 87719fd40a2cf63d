"""What a batch of log writes comes to: pure, shared by both log stores, so that they refuse alike.

It refuses a gap, a term that goes back and a second vote in one term: each would break Raft, and none can be
undone once it is on disk. The rule that must hold: indexes run from 1 without a gap.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, assert_never

from raftmem.errors import StorageFailed
from raftmem.storage.contracts import Append, HardState, LogEntry, LogWrite, Truncate

FIRST_INDEX: Final = 1  # nothing removes the front of the log yet


class LogEnd(NamedTuple):
    """The end of a log after some writes: entries 1..`kept` of before, then `appended`."""

    kept: int
    hard_state: HardState
    appended: tuple[LogEntry, ...] = ()

    @property
    def last_index(self) -> int:
        return self.kept + len(self.appended)


def follow(end: LogEnd, writes: Sequence[LogWrite]) -> LogEnd:
    """The end after all writes, in order. Raises: StorageFailed for a batch that no correct caller makes."""
    kept, hard_state = end.kept, end.hard_state
    appended = list(end.appended)
    for write in writes:
        match write:
            case Append(entries=entries):
                for entry in entries:
                    if entry.index != kept + len(appended) + 1:
                        last = kept + len(appended)
                        raise StorageFailed(f"append of index {entry.index} to a log that ends at {last}; a gap")
                    appended.append(entry)
            case Truncate(index=index):
                if index < FIRST_INDEX:
                    raise StorageFailed(f"truncation at index {index}; the log begins at {FIRST_INDEX}")
                kept = min(kept, index - 1)
                del appended[max(0, index - 1 - kept) :]
            case HardState():
                _check_vote(hard_state, write)
                hard_state = write
            case _:
                assert_never(write)
    return LogEnd(kept, hard_state, tuple(appended))


def _check_vote(old: HardState, new: HardState) -> None:
    if new.term < old.term:
        raise StorageFailed(f"hard state would go back from term {old.term} to {new.term}")
    if new.term == old.term and old.vote is not None and new.vote != old.vote:
        raise StorageFailed(f"vote for {old.vote} in term {old.term} would become a vote for {new.vote}")
