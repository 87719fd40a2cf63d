"""What every log store promises: one suite, run over the store on disk and its twin in memory."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftmem.errors import StorageFailed
from raftmem.storage.contracts import Append, HardState, LogEntry, LogStore, Truncate
from raftmem.storage.log import LmdbLogStore
from raftmem.storage.memory_log import MemoryLogStore

Open = Callable[[], LogStore]
ROOM_BYTES = 1 << 20


def entry(index: int, term: int = 1, data: bytes | None = None) -> LogEntry:
    return LogEntry(index, term, b"entry %d of term %d" % (index, term) if data is None else data)


def append(first: int, last: int, term: int = 1) -> Append:
    return Append(tuple(entry(index, term) for index in range(first, last + 1)))


@pytest.fixture(params=["memory", "lmdb"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the one log of the test; again: after closing it, as a restart does."""
    in_memory = MemoryLogStore(bytes_max=ROOM_BYTES)
    opened: list[LogStore] = []

    def open_again() -> LogStore:
        for log in opened:
            log.close()
        on_disk = request.param == "lmdb"
        opened.append(LmdbLogStore(tmp_path / "log", map_bytes=2 * ROOM_BYTES) if on_disk else in_memory)
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
            Append((entry(4), entry(6))),
            Truncate(0),
            HardState(1, "n1"),
            HardState(2, "n3"),
            HardState(2, None),
        ],
    )
    def test_what_would_break_raft_is_refused_and_ends_the_writing(
        self, reopen: Open, bad: Append | Truncate | HardState
    ) -> None:
        log = reopen()
        log.commit([HardState(2, "n2"), append(1, 3)])
        with pytest.raises(StorageFailed):
            log.commit([append(4, 4), bad] if bad == Truncate(0) else [bad])
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
