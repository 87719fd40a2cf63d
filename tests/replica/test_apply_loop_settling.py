"""What is applied is settled for many entries at once, and a disk without room is seen by nobody who reads."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from raftmem.errors import Corrupt, StorageFailed
from raftmem.limits import UNSETTLED_BYTES_MAX, UNSETTLED_ENTRIES_MAX
from raftmem.machine.run import Applied
from raftmem.model import codec
from raftmem.model.commands import Actor, Add, Content, Draft, Fields, Header
from raftmem.replica.apply_loop import Replica
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.state.in_memory import InMemoryStateStore, InMemoryWriter
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex


class Disk(InMemoryStateStore):
    """Counts what is settled; `rooms` says of each time whether there is room (there is when it is empty)."""

    def __init__(self) -> None:
        self.rooms: list[bool] = []
        self.writes: list[bool] = []
        self.settles = 0
        self.breaks = False
        self.refuses = 0  # so many writes find no room to begin
        super().__init__(has_room=lambda: self.rooms.pop(0) if self.rooms else True)

    def settle(self) -> None:
        if self.breaks:
            self._take_back()
            raise StorageFailed("the disk is broken")
        super().settle()
        self.settles += 1

    @contextmanager
    def write(self) -> Iterator[InMemoryWriter]:
        if self.refuses:
            self.refuses -= 1
            raise OSError(errno.ENOSPC, "no room left on this disk")
        with super().write() as writer:
            yield writer
            if self.writes and not self.writes.pop(0):
                raise OSError(errno.ENOSPC, "no room left on this disk")


class Told:
    """An observer."""

    def __init__(self) -> None:
        self.indexes: list[int] = []

    def applied(self, entries: Sequence[Applied]) -> None:
        self.indexes += [one.row.index for one in entries]

    def installed(self) -> None:
        raise AssertionError("nothing was installed")


def one(index: int, text: str = "x") -> LogEntry:
    operation = Add(f"m{index}", Fields())
    draft = Draft(Header(Actor("agent", "a"), f"r{index}", (operation,)), (Content(text=text),))
    return LogEntry(index, 1, codec.seal(codec.encode_draft(draft, lambda count: b"s" * count), time=index, wall_ms=0))


def some(start: int, stop: int) -> list[LogEntry]:
    return [one(index) for index in range(start, stop)]


def test_many_entries_are_settled_together_and_no_more_wait_than_may() -> None:
    disk = Disk()
    replica = Replica(disk, InMemoryVectorIndex())
    replica.apply(some(1, UNSETTLED_ENTRIES_MAX))
    replica.apply([one(UNSETTLED_ENTRIES_MAX)])
    assert disk.settles == 0
    replica.apply([one(UNSETTLED_ENTRIES_MAX + 1)])
    assert disk.settles == 1
    disk.close(clean=False)
    assert disk.head().index == UNSETTLED_ENTRIES_MAX


def test_large_entries_are_settled_sooner() -> None:
    disk = Disk()
    replica = Replica(disk, InMemoryVectorIndex())
    replica.apply([one(1, "x" * UNSETTLED_BYTES_MAX)])
    replica.apply([one(2)])
    assert disk.settles == 1


def test_nothing_is_settled_twice() -> None:
    disk = Disk()
    replica = Replica(disk, InMemoryVectorIndex())
    replica.settle()
    replica.apply(some(1, 4))
    replica.settle()
    replica.settle()
    assert (disk.settles, replica.private_reader().head.index) == (1, 3)


def test_without_room_to_settle_nobody_sees_a_difference_and_it_goes_on_when_there_is_room() -> None:
    disk, told, heard = Disk(), Told(), list[int]()
    replica = Replica(disk, InMemoryVectorIndex())
    replica.observers.append(told)
    replica.apply(some(1, 3))
    replica.settle()
    replica.when_entry(4, lambda applied: heard.append(applied.row.index))
    replica.apply(some(3, 6))
    head = replica.head
    disk.rooms = [False, False]
    for _ in range(2):
        with pytest.raises(OSError, match="no room"):
            replica.settle()
        assert (replica.head, disk.head(), replica.reader().head) == (head, head, head)
        memory = replica.reader().memory("m5")
        assert memory is not None
    replica.apply(some(6, 8))
    replica.settle()
    assert (told.indexes, heard) == ([1, 2, 3, 4, 5, 6, 7], [4])
    disk.close(clean=False)
    assert disk.head() == replica.head
    twin = Replica(InMemoryStateStore(), InMemoryVectorIndex())
    twin.apply(some(1, 8))
    assert twin.head.digest == replica.head.digest


def test_without_room_to_apply_what_waits_is_not_applied_and_what_was_is_there_still() -> None:
    disk, told = Disk(), Told()
    replica = Replica(disk, InMemoryVectorIndex())
    replica.observers.append(told)
    replica.apply(some(1, 4))
    head = replica.head
    disk.writes = [False, True]
    with pytest.raises(OSError, match="no room"):
        replica.apply(some(4, 6))
    assert (replica.head, disk.head(), told.indexes) == (head, head, [1, 2, 3])
    replica.apply(some(4, 6))
    assert told.indexes == [1, 2, 3, 4, 5]


def test_a_bound_that_is_reached_without_room_changes_nothing() -> None:
    disk = Disk()
    replica = Replica(disk, InMemoryVectorIndex())
    replica.apply(some(1, UNSETTLED_ENTRIES_MAX + 1))
    disk.rooms = [False]
    with pytest.raises(OSError, match="no room"):
        replica.apply([one(UNSETTLED_ENTRIES_MAX + 1)])
    assert replica.applied == UNSETTLED_ENTRIES_MAX
    replica.apply([one(UNSETTLED_ENTRIES_MAX + 1)])
    assert replica.applied == UNSETTLED_ENTRIES_MAX + 1


def test_after_a_failure_that_is_no_want_of_room_nothing_is_claimed_that_cannot_be_shown() -> None:
    disk = Disk()
    replica = Replica(disk, InMemoryVectorIndex())
    replica.apply(some(1, 3))
    replica.settle()
    replica.apply(some(3, 5))
    disk.breaks = True
    with pytest.raises(StorageFailed, match="broken"):
        replica.private_reader()
    assert (replica.applied, replica.head, replica.reader().head.index) == (2, disk.head(), 2)


def test_no_room_before_anything_was_written_pauses_and_does_not_end_the_replica() -> None:
    disk = Disk()
    disk.refuses = 2
    replica = Replica(disk, InMemoryVectorIndex())
    for _ in range(2):
        with pytest.raises(OSError, match="no room"):
            replica.apply(some(1, 3))
    replica.apply(some(1, 3))
    assert replica.applied == 2


def test_a_state_that_cannot_be_made_again_ends_the_replica() -> None:
    disk = Disk()
    replica = Replica(disk, InMemoryVectorIndex())
    replica.apply(some(1, 4))
    disk.writes = [False, False]
    with pytest.raises(StorageFailed, match="free some disk"):
        replica.apply([one(4)])


def test_a_state_that_is_another_one_when_it_is_made_again_ends_the_replica() -> None:
    disk = Disk()
    replica = Replica(disk, InMemoryVectorIndex())
    entries = some(1, 4)
    replica.apply(entries)
    replica._unsettled[1] = one(2, "another text")
    disk.rooms = [False]
    with pytest.raises(Corrupt, match="another one"):
        replica.settle()
