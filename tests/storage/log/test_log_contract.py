"""What every log store promises: one suite, run over the store on disk and its twin in memory."""

import errno
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_world import SmallDisk, everything, members, small_log

from raftmem.errors import StorageFailed
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry, LogStore, LogWrite, Reset, Truncate
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.log.store import SegmentLogStore

Open = Callable[[], LogStore]
ROOM_BYTES = 1 << 20


def entry(index: int, term: int = 1, data: bytes | None = None) -> LogEntry:
    return LogEntry(index, term, b"entry %d of term %d" % (index, term) if data is None else data)


def append(first: int, last: int, term: int = 1) -> Append:
    return Append(tuple(entry(index, term) for index in range(first, last + 1)))


def disk_log(folder: Path) -> SegmentLogStore:
    """Of small segments, on a small disk."""
    return small_log(folder, files=SmallDisk(folder, ROOM_BYTES))


@pytest.fixture(params=["memory", "disk"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the one log of the test; again: after closing it, as a restart does."""
    in_memory = InMemoryLogStore(bytes_max=ROOM_BYTES)
    opened: list[LogStore] = []

    def open_again() -> LogStore:
        for log in opened:
            log.close()
        on_disk = request.param == "disk"
        opened.append(disk_log(tmp_path / "log") if on_disk else in_memory)
        return opened[-1]

    yield open_again
    for log in opened:
        log.close()


class TestLogContract:
    def test_a_new_log_is_empty(self, reopen: Open) -> None:
        log = reopen()
        assert (log.first_index(), log.last_index()) == (1, 0)
        assert log.hard_state() == HardState(0, None)
        assert log.read(1, 100) == []
        assert log.is_empty()
        assert log.memberships() == []

    def test_what_was_committed_is_there_after_a_restart(self, reopen: Open) -> None:
        reopen().commit([HardState(3, "n2"), append(1, 5)])
        log = reopen()
        assert log.last_index() == 5
        assert log.hard_state() == HardState(3, "n2")
        assert log.read(1, 6) == list(append(1, 5).entries)

    def test_entries_come_back_with_their_very_bytes(self, reopen: Open) -> None:
        entries = (entry(1, data=b""), entry(2, 2**63, b"\0" * 5000), entry(3, 2**64 - 1, bytes(range(256)) * 300))
        reopen().commit([Append(entries)])
        assert tuple(reopen().read(1, 4)) == entries

    def test_a_batch_is_taken_in_its_order(self, reopen: Open) -> None:
        log = reopen()
        log.commit(
            [append(1, 9), Truncate(4), append(4, 6, term=2), HardState(2, None), Truncate(6), HardState(2, "n1")]
        )
        for restarted in (False, True):
            seen = reopen() if restarted else log
            assert seen.read(1, 99) == [*append(1, 3).entries, *append(4, 5, term=2).entries]
            assert seen.hard_state() == HardState(2, "n1")

    @pytest.mark.parametrize("cut", [1, 2, 10, 11, 99])
    def test_truncation_removes_an_entry_and_all_that_follow(self, reopen: Open, cut: int) -> None:
        log = reopen()
        log.commit([append(1, 10)])
        log.commit([Truncate(cut)])
        assert log.last_index() == min(10, cut - 1)
        assert reopen().read(1, 99) == list(append(1, min(10, cut - 1)).entries)

    def test_after_truncation_other_entries_take_the_indexes(self, reopen: Open) -> None:
        log = reopen()
        log.commit([append(1, 10)])
        log.commit([Truncate(5), append(5, 6, term=2)])
        log.commit([append(7, 7, term=3)])
        expected = [*append(1, 4).entries, *append(5, 6, term=2).entries, *append(7, 7, term=3).entries]
        assert reopen().read(1, 99) == expected

    @pytest.mark.parametrize(
        ("start", "stop", "expected"),
        [
            (1, 11, (1, 10)),
            (3, 6, (3, 5)),
            (0, 3, (1, 2)),
            (8, 99, (8, 10)),
            (6, 6, None),
            (7, 2, None),
            (11, 20, None),
        ],
    )
    def test_read_gives_the_range_that_is_there(
        self, reopen: Open, start: int, stop: int, expected: tuple[int, int] | None
    ) -> None:
        log = reopen()
        log.commit([append(1, 10)])
        assert log.read(start, stop) == ([] if expected is None else list(append(*expected).entries))

    @pytest.mark.parametrize(("bytes_max", "count"), [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (1000, 5)])
    def test_read_stops_at_its_bytes_but_gives_one_entry(self, reopen: Open, bytes_max: int, count: int) -> None:
        log = reopen()
        log.commit([Append(tuple(entry(index, data=b"x" * 100) for index in range(1, 6)))])
        assert len(log.read(1, 6, bytes_max)) == count

    @pytest.mark.parametrize(
        "bad",
        [
            append(5, 5),
            append(3, 3),
            append(0, 0),
            Append((entry(4), entry(6))),
            Truncate(0),
            HardState(1, "n1"),
            HardState(2, "n3"),
            HardState(2, None),
            Compact(5, members(1)),
            Compact(2, entry(1)),
            Compact(2, members(3)),
            Reset(entry(0), members(0)),
            Reset(entry(9), members(10)),
            Reset(entry(9), entry(8)),
            Reset(members(9), members(8)),
        ],
    )
    def test_what_would_break_raft_is_refused_and_ends_the_writing(self, reopen: Open, bad: LogWrite) -> None:
        log = reopen()
        log.commit([HardState(2, "n2"), append(1, 3)])
        with pytest.raises(StorageFailed):
            log.commit([append(4, 4), bad] if isinstance(bad, Truncate | Compact | Reset) else [bad])
        with pytest.raises(StorageFailed):
            log.commit([append(4, 4)])
        assert log.read(1, 99) == list(append(1, 3).entries)
        assert log.hard_state() == HardState(2, "n2")

    def test_no_room_changes_nothing_and_what_fits_is_taken_later(self, reopen: Open) -> None:
        log = reopen()
        log.commit([HardState(1, None), append(1, 3)])
        large = Append(tuple(entry(index, data=b"x" * (ROOM_BYTES // 2)) for index in range(4, 9)))
        for _ in range(2):
            with pytest.raises(OSError, match="no room") as refused:
                log.commit([HardState(2, "n1"), large])
            assert refused.value.errno == errno.ENOSPC
            assert (log.last_index(), log.hard_state()) == (3, HardState(1, None))
        log.commit([HardState(2, "n1"), append(4, 5)])
        assert reopen().read(1, 99) == list(append(1, 5).entries)

    def test_an_empty_batch_changes_nothing(self, reopen: Open) -> None:
        log = reopen()
        log.commit([])
        assert (log.last_index(), log.hard_state()) == (0, HardState(0, None))

    # --- where a log begins --------------------------------------------------------------------------
    def test_a_replica_that_joins_begins_at_index_0(self, reopen: Open) -> None:
        log = reopen()
        log.commit([Append((members(0),))])
        assert everything(log) == ((0, 0, False), HardState(0, None), [members(0)], [members(0)])
        log = reopen()
        log.commit([Append((members(1), entry(2)))])
        log.commit([Truncate(2)])
        assert everything(reopen()) == (
            (0, 1, False),
            HardState(0, None),
            [members(0), members(1)],
            [members(0), members(1)],
        )

    @pytest.mark.parametrize("first", [2, 3, 10])
    def test_compaction_keeps_its_index_as_the_first_and_all_above(self, reopen: Open, first: int) -> None:
        log = reopen()
        log.commit([HardState(1, "n1"), Append((members(1),)), append(2, 10)])
        log.commit([Compact(first, members(1))])
        kept = list(append(first, 10).entries)
        for restarted in (False, True):
            seen = reopen() if restarted else log
            assert everything(seen) == ((first, 10, False), HardState(1, "n1"), [members(1)], kept)

    def test_compaction_that_is_not_above_the_first_index_is_nothing(self, reopen: Open) -> None:
        log = reopen()
        log.commit([Compact(1, members(1))])
        assert log.is_empty()
        log.commit([Append((members(1),)), append(2, 9), Compact(5, members(1))])
        before = everything(log)
        log.commit([Compact(5, members(1)), Compact(2, entry(99))])
        assert everything(log) == before

    def test_a_compacted_log_goes_on_and_is_cut_above_its_first_entry(self, reopen: Open) -> None:
        log = reopen()
        log.commit([Append((members(1),)), append(2, 9), Compact(7, members(1)), append(10, 11), Truncate(8)])
        log.commit([append(8, 12, term=2), Compact(11, members(1)), Truncate(12)])
        assert everything(reopen()) == ((11, 11, False), HardState(0, None), [members(1)], [entry(11, 2)])

    @pytest.mark.parametrize(
        "writes",
        [[Compact(4, members(1)), Truncate(4)], [Compact(4, members(1)), Truncate(2)], [Compact(4, members(3))]],
    )
    def test_the_first_entry_of_a_compacted_log_is_never_cut_and_its_membership_is_the_one_in_force(
        self, reopen: Open, writes: list[LogWrite]
    ) -> None:
        log = reopen()
        log.commit([Append((members(1),)), append(2, 9)])
        before = everything(log)
        with pytest.raises(StorageFailed):
            log.commit(writes)
        assert everything(log) == before == everything(reopen())

    @pytest.mark.parametrize("index", [3, 5, 9, 10, 11, 40])
    def test_a_reset_leaves_one_entry_and_the_hard_state(self, reopen: Open, index: int) -> None:
        log = reopen()
        log.commit([HardState(7, "n1"), Append((members(1),)), append(2, 9), Compact(5, members(1))])
        log.commit([Reset(entry(index, 6), members(2, 5))])
        for restarted in (False, True):
            seen = reopen() if restarted else log
            assert everything(seen) == (
                (index, index, False),
                HardState(7, "n1"),
                [members(2, 5)],
                [entry(index, 6)],
            )
        reopen().commit([append(index + 1, index + 3, term=7), Truncate(index + 3)])
        assert reopen().read(0, 99) == [entry(index, 6), *append(index + 1, index + 2, term=7).entries]

    def test_memberships_are_the_one_in_force_at_the_first_index_and_those_in_the_log(self, reopen: Open) -> None:
        log = reopen()
        log.commit([Append((members(1), entry(2), members(3), entry(4), members(5), entry(6), members(7)))])
        steps: list[tuple[LogWrite, list[int]]] = [
            (Truncate(7), [1, 3, 5]),
            (Compact(2, members(1)), [1, 3, 5]),
            (Compact(3, members(3)), [3, 5]),
            (Compact(4, members(3)), [3, 5]),
            (Append((members(7),)), [3, 5, 7]),
            (Truncate(5), [3]),
            (Append((entry(5, 2), members(6, 1))), [3, 6]),
            (Reset(members(20), members(20)), [20]),
            (Append((entry(21), members(22))), [20, 22]),
            (Reset(entry(30), members(22)), [22]),
        ]
        for write, indexes in steps:
            log.commit([write])
            assert log.memberships() == [members(index) for index in indexes], write
            log = reopen()
            assert log.memberships() == [members(index) for index in indexes], write

    def test_compaction_makes_room(self, reopen: Open) -> None:
        log = reopen()
        log.commit([Append((members(1),))])
        with pytest.raises(OSError, match="no room"):  # noqa: PT012 (each goes one further)
            for index in range(2, 100):
                log.commit([Append((entry(index, data=b"x" * (ROOM_BYTES // 8)),))])
        last = log.last_index()
        log.commit([Compact(last, members(1))])
        for term in range(1, last + 2):  # what was compacted goes by segments, once another is begun
            log.commit([HardState(term, None)])
        log.commit([Append((entry(last + 1, data=b"x" * (ROOM_BYTES // 2)),))])
        assert reopen().last_index() == last + 1


# --- any writes at all ----------------------------------------------------------------------------------
Draw = tuple[str, int, int]
PLAN = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["append", "append", "append", "truncate", "compact", "reset", "term", "broken"]),
            st.integers(0, 9),
            st.integers(0, 4),
        ),
        max_size=4,
    ),
    max_size=12,
)


class Author:
    """Makes writes that fit the log as it is after those made before, from small numbers; a `broken` one does not."""

    def __init__(self) -> None:
        self.log = InMemoryLogStore()
        self.term = 1

    def batch(self, plan: Sequence[Draw]) -> list[LogWrite]:
        writes: list[LogWrite] = []
        for draw in plan:
            write = self.write(*draw)
            writes.append(write)
            if draw[0] == "broken":
                break
            self.log.commit([write])
        return writes

    def write(self, kind: str, far: int, many: int) -> LogWrite:
        first, last = self.log.first_index(), self.log.last_index()
        start = far % 2 if self.log.is_empty() else last + 1
        if kind == "append" or (kind != "broken" and self.log.is_empty()):
            return Append(tuple(self.entry(start + n, (far + n) % 3 == 0 or n == start) for n in range(many + 1)))
        at = min(first + far, last)
        in_force = next((found for found in reversed(self.log.memberships()) if found.index <= at), members(0))
        match kind:
            case "truncate":
                return Truncate(at + 1)
            case "compact":
                return Compact(at, in_force)
            case "reset":
                entry = self.entry(max(1, last + far - 4), many == 0)
                return Reset(entry, entry if many == 0 else members(entry.index - 1, self.term))
            case "term":
                self.term += 1
                return HardState(self.term, None if many else "n1")
            case _:
                return (
                    Append((self.entry(last + 2, False),)),
                    Truncate(0),
                    Compact(last + 2, in_force),
                    Reset(self.entry(last + 1, False), self.entry(last, False)),
                    Reset(members(last + 1), members(last)),
                )[many]

    def entry(self, index: int, is_membership: bool) -> LogEntry:
        return members(index, self.term) if is_membership else entry(index, self.term)


@settings(max_examples=200, deadline=None)
@given(plan=PLAN)
def test_any_writes_give_the_same_in_memory_and_on_disk_and_after_a_restart(plan: list[list[Draw]]) -> None:
    author, in_memory = Author(), InMemoryLogStore()
    with tempfile.TemporaryDirectory() as folder:
        on_disk = disk_log(Path(folder) / "log")
        for number, drawn in enumerate(plan):
            batch = author.batch(drawn)
            said = [commit(log, batch) for log in (in_memory, on_disk)]
            assert said[0] == said[1]
            assert everything(in_memory) == everything(on_disk)
            broken = any(draw[0] == "broken" for draw in drawn)
            assert broken == (said[0] is not None)
            if broken:
                break
            assert everything(in_memory) == everything(author.log)
            if number % 3 == 2:
                on_disk.close()
                on_disk = disk_log(Path(folder) / "log")
        assert list(on_disk.verify()) == []
        on_disk.close()
        beside = SegmentLogStore(Path(folder) / "log", readonly=True)
        assert everything(beside) == everything(in_memory)
        beside.close()
        on_disk = disk_log(Path(folder) / "log")
        assert everything(on_disk) == everything(in_memory)
        on_disk.close()


def commit(log: LogStore, writes: Sequence[LogWrite]) -> str | None:
    """How it was refused."""
    try:
        log.commit(writes)
    except StorageFailed as error:
        return str(error)
    return None
