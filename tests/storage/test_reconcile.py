"""State and log looked at together, before a replica starts from them."""

import msgspec
import pytest
from storage_world import Entry, World, put, store

from raftmem.errors import Corrupt
from raftmem.model import codec
from raftmem.storage.log.contract import Append, Compact, LogEntry, Reset
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.reconcile import check_open
from raftmem.storage.state.in_memory import InMemoryStateStore

MEMBERS = LogEntry(0, 0, bytes([codec.MEMBERSHIP]) + b"voters")


def entries(count: int) -> list[Entry]:
    world = World()
    return [world.entry(put(f"m{number}")) for number in range(count)]


def log_of(made: list[Entry]) -> InMemoryLogStore:
    log = InMemoryLogStore()
    log.commit([Append(tuple(LogEntry(row.index, row.term, row.data) for row, _, _ in made))])
    return log


def state_of(made: list[Entry]) -> InMemoryStateStore:
    state = InMemoryStateStore()
    store(state, *made)
    return state


@pytest.mark.parametrize("applied", [0, 1, 4, 5])
def test_a_state_within_its_log_is_fine(applied: int) -> None:
    made = entries(5)
    assert not check_open(log_of(made), state_of(made[:applied]), path="n1")


@pytest.mark.parametrize(("applied", "behind"), [(0, True), (1, True), (2, True), (3, False), (5, False)])
def test_a_state_behind_a_compacted_log_must_be_restored(applied: int, behind: bool) -> None:
    made = entries(5)
    log = log_of(made)
    log.commit([Compact(3, MEMBERS)])
    assert check_open(log, state_of(made[:applied]), path="n1") == behind


def test_after_a_reset_the_state_stands_at_the_first_index_or_must_be_restored() -> None:
    made = entries(5)
    log = log_of(made[:2])
    row, _, _ = made[4]
    log.commit([Reset(LogEntry(row.index, row.term, row.data), MEMBERS)])
    assert check_open(log, state_of(made[:2]), path="n1")
    assert not check_open(log, state_of(made), path="n1")


@pytest.mark.parametrize("applied", [0, 2, 3])
def test_the_first_entry_of_a_replica_that_joins_is_no_part_of_its_state(applied: int) -> None:
    made = entries(3)
    log = InMemoryLogStore()
    log.commit([Append((MEMBERS, *(LogEntry(row.index, row.term, row.data) for row, _, _ in made)))])
    assert not check_open(log, state_of(made[:applied]), path="n1")


def test_a_state_beside_a_replica_that_only_joins_is_a_stop() -> None:
    log = InMemoryLogStore()
    log.commit([Append((MEMBERS,))])
    assert not check_open(log, state_of([]), path="n1")
    with pytest.raises(Corrupt, match="log ends at index 0"):
        check_open(log, state_of(entries(1)), path="n1")


def test_a_state_beyond_the_log_is_a_stop() -> None:
    made = entries(5)
    with pytest.raises(Corrupt, match="log ends at index 4") as stopped:
        check_open(log_of(made[:4]), state_of(made), path="n1")
    assert (stopped.value.index, stopped.value.path) == (5, "n1")


def test_an_empty_log_is_a_stop() -> None:
    with pytest.raises(Corrupt, match="no entry"):
        check_open(InMemoryLogStore(), InMemoryStateStore(), path="n1")


@pytest.mark.parametrize("changes", [{"term": 9}, {"data": b"another entry"}])
def test_another_entry_under_the_head_is_a_stop(changes: dict[str, object]) -> None:
    made = entries(5)
    row, step, head = made[2]
    other = [*made[:2], (msgspec.structs.replace(row, **changes), step, head)]
    with pytest.raises(Corrupt, match="different entries") as stopped:
        check_open(log_of(made), state_of(other), path="n1")
    assert stopped.value.index == 3


@pytest.mark.parametrize("changes", [{"term": 9}, {"digest": b"d" * 32}])
def test_a_head_that_is_not_its_event_s_is_a_stop(changes: dict[str, object]) -> None:
    made = entries(3)
    row, step, head = made[2]
    made[2] = (row, step, msgspec.structs.replace(head, **changes))
    with pytest.raises(Corrupt, match="newest event"):
        check_open(log_of(made), state_of(made), path="n1")
