"""Who waits for an index is told when it is applied, and leaves nothing behind when the wait ends earlier."""

from machine_world import command, noop

from raftmem.replica.apply_loop import Replica
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex


def replica() -> Replica:
    return Replica(InMemoryStateStore(), InMemoryVectorIndex())


def test_who_waits_is_told_in_the_order_of_the_indexes() -> None:
    one, told = replica(), list[int]()
    for index in (3, 1, 2, 1):
        one.when_applied(index, lambda index=index: told.append(index))
    one.apply([LogEntry(index, 1, command([noop()], time=0)) for index in (1, 2)])
    assert told == [1, 1, 2]
    one.apply([LogEntry(3, 1, command([noop()], time=0))])
    assert told == [1, 1, 2, 3]


def test_waits_that_end_early_leave_nothing_behind() -> None:
    one, told = replica(), list[int]()

    def tell() -> None:
        told.append(1)

    for index in range(1000, 6000):
        one.when_applied(index, tell)
        one.forget_applied(index, tell)
    one.when_applied(1, tell)
    assert len(one._awaited) < 40  # what a caller cannot see must not grow
    one.apply([LogEntry(1, 1, command([noop()], time=0))])
    assert told == [1]
