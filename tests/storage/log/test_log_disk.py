"""The log on disk against kills, flipped bytes, failing writes and a reader beside it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from log_world import everything, marked, members, newest, small_log

from raftmem.errors import Corrupt, CutShort, FolderRefused, StorageFailed
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry, LogWrite, Reset, Truncate
from raftmem.storage.log.files import Files, index_path, segment_numbers, segment_path
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.log.records import HEADER_BYTES, MARK, pack_header, read_header
from raftmem.storage.log.store import SegmentLogStore

KILLS = 4


def filled(folder: Path, last: int) -> Path:
    log = SegmentLogStore(folder)
    log.commit([HardState(1, "n1"), Append(tuple(map(marked, range(1, last + 1))))])
    log.close()
    return newest(folder)


def flip(file: Path, pattern: bytes) -> None:
    raw = bytearray(file.read_bytes())
    assert raw.count(pattern) == 1
    raw[raw.find(pattern) + len(pattern) // 2] ^= 0x10
    file.write_bytes(raw)


WRITER = """
    import os, sys
    from pathlib import Path
    from raftmem.storage.log.contract import Append, HardState, LogEntry
    from raftmem.storage.log.store import SegmentLogStore

    log = SegmentLogStore(Path(sys.argv[1]))
    last, term = log.last_index(), log.hard_state().term
    while True:
        term += 1
        entries = tuple(LogEntry(last + 1 + i, term, b"%d/" % (last + 1 + i) * 20) for i in range(7))
        log.commit([HardState(term, "n1"), Append(entries)])
        last += 7
        os.write(1, b"%d %d\\n" % (last, term))
"""


class Traced(Files):
    """Remembers what was asked of the disk, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pwrite(self, file: int, data: bytes, at: int) -> int:
        self.calls.append("mark" if data[:4] in (b"RMok", b"RMgo") else "frame" if data[:2] == b"RM" else "room")
        return super().pwrite(file, data, at)

    def fdatasync(self, file: int) -> None:
        self.calls.append("sync")
        super().fdatasync(file)

    def rename(self, old: str, new: str) -> None:
        self.calls.append("rename")
        super().rename(old, new)

    def sync_folder(self, path: Path, folder: int) -> None:
        self.calls.append("sync folder")
        super().sync_folder(path, folder)


def test_a_commit_is_one_write_and_one_sync_and_then_a_mark(tmp_path: Path) -> None:
    files = Traced()
    log = SegmentLogStore(tmp_path / "log", files=files)
    files.calls.clear()
    size = newest(tmp_path / "log").stat().st_size
    for index in range(1, 100):
        log.commit([HardState(index, None), Append((marked(index),))])
    assert files.calls == ["frame", "sync", "mark"] * 99
    assert newest(tmp_path / "log").stat().st_size == size
    log.close()


def test_room_is_made_in_the_sync_of_a_frame_and_before_a_frame_that_does_not_fit(tmp_path: Path) -> None:
    files = Traced()
    log = SegmentLogStore(tmp_path / "log", room_bytes=1000, files=files)
    for size, calls in (
        (600, ["room", "frame", "sync", "mark"]),
        (5000, ["room", "sync", "room", "frame", "sync", "mark"]),
    ):
        files.calls.clear()
        log.commit([Append((LogEntry(log.last_index() + 1, 1, b"\0" * size),))])
        assert files.calls == calls
    log.close()


def test_a_full_segment_is_sealed_when_the_next_one_is_on_disk(tmp_path: Path) -> None:
    files = Traced()
    log = small_log(tmp_path / "log", files=files)
    while segment_numbers(tmp_path / "log") == [1]:
        files.calls.clear()
        log.commit([Append((marked(log.last_index() + 1),))])
    assert files.calls == ["room", "frame", "mark", "sync", "rename", "sync folder", "mark", "sync"]
    log.close()


def test_what_was_reported_before_a_kill_is_there(tmp_path: Path) -> None:
    for kill in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "log")], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        reported = [writer.stdout.readline() for _ in range(5 + 11 * kill)]
        os.kill(writer.pid, signal.SIGKILL)
        reported += writer.stdout.readlines()
        writer.wait()
        last, term = map(int, next(line for line in reversed(reported) if line.endswith(b"\n")).split())

        log = SegmentLogStore(tmp_path / "log")
        assert log.last_index() in (last, last + 7), "one batch may be on disk and not yet reported"
        assert log.hard_state().term == term + (log.last_index() - last) // 7
        entries = log.read(1, log.last_index() + 1)
        assert [entry.data for entry in entries] == [b"%d/" % index * 20 for index in range(1, log.last_index() + 1)]
        assert list(log.verify()) == []
        log.close()


def entry(index: int) -> LogEntry:
    return members(index) if index % 10 == 1 else marked(index)


def step(number: int) -> list[LogWrite]:
    """One step of a log's life, the same in every process: five entries more, by appends or by a snapshot."""
    last = number * 5
    state = HardState(number, "n1")
    if number % 7 == 6:
        return [state, Reset(entry(last + 5), members(last // 10 * 10 + 1))]
    more = Append(tuple(map(entry, range(last + 1, last + 6))))
    return [state, more, Compact(last - 2, members((last - 3) // 10 * 10 + 1))] if number % 7 > 2 else [state, more]


STEPPER = """
    import os, sys
    from pathlib import Path

    sys.path[:0] = sys.argv[2].split(os.pathsep)
    from log_world import small_log
    from test_log_disk import step

    log = small_log(Path(sys.argv[1]))
    number = log.last_index() // 5
    while True:
        log.commit(step(number))
        number += 1
        os.write(1, b"%d\\n" % number)
"""


def test_a_kill_leaves_compactions_and_resets_done_or_not_begun(tmp_path: Path) -> None:
    """What the killed process wrote must be what the twin holds after as many steps, or one more."""
    imports = f"{Path(__file__).parent}{os.pathsep}{Path(__file__).parents[2] / 'worlds'}"
    command = [sys.executable, "-c", textwrap.dedent(STEPPER), str(tmp_path / "log"), imports]
    twin, done = InMemoryLogStore(), 0
    for kill in range(KILLS):
        writer = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        reported = [writer.stdout.readline() for _ in range(3 + 13 * kill)]
        os.kill(writer.pid, signal.SIGKILL)
        reported += writer.stdout.readlines()
        writer.wait()
        log = small_log(tmp_path / "log")
        reached = log.last_index() // 5
        assert reached - int(next(line for line in reversed(reported) if line.endswith(b"\n"))) in (0, 1)
        while done < reached:
            twin.commit(step(done))
            done += 1
        assert everything(log) == everything(twin)
        assert list(log.verify()) == []
        log.close()


def test_segments_below_the_first_index_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = small_log(folder)
    log.commit([Append((members(1),))])
    for index in range(2, 61):
        log.commit([Append((marked(index),))])
    before = segment_numbers(folder)
    assert len(before) > 10
    log.commit([Compact(50, members(1))])
    left = segment_numbers(folder)
    assert 0 < len(left) < 6
    assert left[-1] in (before[-1], before[-1] + 1)
    assert {file.name for file in folder.glob("*.index")} == {
        Path(index_path(folder, number)).name for number in left[:-1]
    }
    assert log.read(0, 51) == [marked(50)]
    log.commit([Reset(marked(100), members(1))])
    assert len(segment_numbers(folder)) == 1
    log.close()


def test_what_a_crash_left_over_is_removed_at_open_and_not_by_a_look(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = small_log(folder)
    log.commit([Append((members(1), *map(marked, range(2, 10))))])
    first = Path(segment_path(folder, 1)).read_bytes()
    for index in range(10, 30):
        log.commit([Append((marked(index),))])
    log.commit([Compact(29, members(1))])
    log.close()
    left = segment_numbers(folder)
    leftovers = {Path(segment_path(folder, 1)): first, Path(index_path(folder, 1)): b"", newest(folder): b"x"}
    leftovers = {file if content != b"x" else Path(f"{file}.new"): content for file, content in leftovers.items()}
    for file, content in leftovers.items():
        file.write_bytes(content)
    beside = small_log(folder, readonly=True)
    assert beside.read(0, 99) == [marked(29)]
    assert list(beside.verify()) == []
    assert all(file.exists() for file in leftovers)
    log = small_log(folder)
    assert log.read(0, 99) == [marked(29)]
    log.close()
    assert segment_numbers(folder) == left
    assert not any(file.exists() for file in leftovers)


def test_an_index_file_that_is_lost_or_damaged_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = small_log(folder)
    log.commit([Append((members(1),))])
    for index in range(2, 31):
        log.commit([Truncate(index), Append((marked(index), marked(index + 1)))])
    before = everything(log)
    log.close()
    saved = {file: file.read_bytes() for file in folder.glob("*.index")}
    assert len(saved) > 3
    other = saved[Path(index_path(folder, 2))]
    for damage in (None, b"", other[:-1], bytes([other[0] ^ 1]) + other[1:], other):
        for file in saved:
            if damage is None:
                file.unlink()
            else:
                file.write_bytes(damage)
        for readonly in (True, False):
            log = small_log(folder, readonly=readonly)
            assert everything(log) == before
            assert list(log.verify()) == []
            log.close()
        assert {file: file.read_bytes() for file in folder.glob("*.index")} == saved


@pytest.mark.parametrize("gone", ["first", "middle", "newest"])
def test_a_missing_segment_is_a_stop_that_names_it(tmp_path: Path, gone: str) -> None:
    folder = tmp_path / "log"
    log = small_log(folder)
    log.commit([Append((members(1),))])
    for index in range(2, 31):
        log.commit([Append((marked(index),))])
    log.close()
    numbers = segment_numbers(folder)
    file = Path(segment_path(folder, {"first": numbers[0], "middle": numbers[3], "newest": numbers[-1]}[gone]))
    file.unlink()
    with pytest.raises(Corrupt, match=f"{file}: segment is missing"):
        small_log(folder)
    beside = small_log(folder, readonly=True)
    assert len(list(beside.verify())) == 1
    with pytest.raises(Corrupt):
        beside.last_index()
    beside.close()


def test_a_segment_that_a_crash_left_without_its_seal_gets_it_at_the_next_open(tmp_path: Path) -> None:
    """Else nobody would notice that the one after it is missing."""
    folder = tmp_path / "log"
    log = small_log(folder)
    for index in range(1, 20):
        log.commit([Append((marked(index),))])
    log.close()
    before = Path(segment_path(folder, segment_numbers(folder)[-2]))
    sealed = before.read_bytes()
    header = read_header(sealed, sealed.rfind(b"RMgo"))
    assert header is not None
    before.write_bytes(sealed[:-HEADER_BYTES] + pack_header(MARK, header.salt, header.sequence) + bytes(300))
    small_log(folder).close()
    assert before.read_bytes() == sealed
    newest(folder).unlink()
    with pytest.raises(Corrupt, match="segment is missing"):
        small_log(folder)


def test_a_segment_under_another_name_is_a_stop(tmp_path: Path) -> None:
    file = filled(tmp_path / "log", 3)
    file.rename(segment_path(tmp_path / "log", 7))
    with pytest.raises(Corrupt, match="is segment 1, under a wrong name"):
        SegmentLogStore(tmp_path / "log")


def test_a_membership_that_was_changed_is_a_stop(tmp_path: Path) -> None:
    log = SegmentLogStore(tmp_path / "log")
    log.commit([Append((members(1), marked(2), members(3), marked(4)))])
    log.close()
    flip(newest(tmp_path / "log"), b"members 3")
    with pytest.raises(Corrupt, match="wrong checksum at index 3"):
        SegmentLogStore(tmp_path / "log")


def test_a_flipped_byte_stops_the_read_with_file_and_index(tmp_path: Path) -> None:
    file = filled(tmp_path / "log", 50)
    flip(file, b"<entry 000031>" * 8)
    log = SegmentLogStore(tmp_path / "log")
    assert log.read(1, 31) == [marked(index) for index in range(1, 31)]
    assert log.read(32, 51) == [marked(index) for index in range(32, 51)]
    for start, stop in ((31, 32), (1, 51)):
        with pytest.raises(Corrupt) as stopped:
            log.read(start, stop)
        assert (stopped.value.path, stopped.value.index) == (str(file), 31)
        assert str(file) in str(stopped.value)
        assert "index 31" in str(stopped.value)
    assert list(log.verify()) == [(31, "entry has a wrong checksum")]
    assert log.path_of(31) == str(file)
    log.close()


def test_a_frame_that_was_changed_is_a_stop_with_its_place(tmp_path: Path) -> None:
    log = SegmentLogStore(tmp_path / "log")
    log.commit([HardState(1, "n1"), Append((marked(1), marked(2)))])
    log.commit([HardState(2, "n2"), Append((marked(3),))])
    log.close()
    flip(newest(tmp_path / "log"), b"\x92\x02\xa2n2")
    with pytest.raises(Corrupt, match=r"hard state \(term and vote\) has a wrong checksum at index 3"):
        SegmentLogStore(tmp_path / "log")
    log = SegmentLogStore(tmp_path / "log", readonly=True)
    assert [index for index, _ in log.verify()] == [3]
    for look in (log.hard_state, log.last_index, log.memberships, lambda: log.read(1, 2)):
        with pytest.raises(Corrupt):
            look()
    log.close()


def test_the_first_entries_bring_a_hard_state_with_them(tmp_path: Path) -> None:
    log = SegmentLogStore(tmp_path / "log")
    log.commit([Append((marked(1),))])
    log.close()
    log = SegmentLogStore(tmp_path / "log")
    assert log.hard_state() == HardState(0, None)
    log.close()


FAILING = """
    import resource, sys
    from pathlib import Path
    from raftmem.errors import StorageFailed
    from raftmem.storage.log.contract import Append, LogEntry
    from raftmem.storage.log.store import SegmentLogStore

    log = SegmentLogStore(Path(sys.argv[1]))
    log.commit([Append((LogEntry(1, 1, b"first"),))])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
    said = []
    for data in (b"x" * (1 << 18), b"small"):
        try:
            log.commit([Append((LogEntry(2, 1, data),))])
        except StorageFailed as error:
            said.append(str(error))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert len(said) == 2, said
    assert "takes no write after a failed one" in said[1], said
    assert log.last_index() == 1
"""


def test_after_a_write_that_the_disk_refused_nothing_more_is_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FAILING), str(tmp_path / "log")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    log = SegmentLogStore(tmp_path / "log")
    assert [entry.data for entry in log.read(1, 9)] == [b"first"]
    log.close()


LIVE = """
    import sys
    from pathlib import Path
    from raftmem.storage.log.store import SegmentLogStore

    log = SegmentLogStore(Path(sys.argv[1]), readonly=True)
    for _ in sys.stdin:
        print(log.last_index(), len(log.read(1, 99)), log.hard_state().term, flush=True)
"""


def test_a_readonly_view_follows_a_writer_in_another_process(tmp_path: Path) -> None:
    log = SegmentLogStore(tmp_path / "log")
    log.commit([HardState(1, None), Append((marked(1),))])
    viewer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(LIVE), str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert viewer.stdin is not None
    assert viewer.stdout is not None
    said = []
    batches: tuple[list[LogWrite], ...] = (
        [],
        [HardState(2, None), Append((marked(2), marked(3)))],
        [Truncate(3)],
    )
    for writes in batches:
        log.commit(writes)
        viewer.stdin.write("look\n")
        viewer.stdin.flush()
        said.append(viewer.stdout.readline().split())
    viewer.stdin.close()
    viewer.wait()
    log.close()
    assert said == [["1", "1", "1"], ["3", "3", "2"], ["2", "2", "2"]]


def test_looks_beside_a_writer_find_no_damage_and_see_whole_batches(tmp_path: Path) -> None:
    """Frames that are half written, segments that come and go: none of that is damage."""
    log = small_log(tmp_path / "log")
    log.commit([HardState(1, None), Append((members(1), *map(marked, range(2, 6))))])
    failed: list[BaseException] = []

    def write() -> None:
        try:
            for term in range(2, 200):
                last = log.last_index()
                more = tuple(LogEntry(last + 1 + n, term, b"%d" % term * 50) for n in range(5))
                if term % 50 == 0:
                    log.commit([HardState(term, None), Reset(LogEntry(last + 5, term, b"reset"), members(1))])
                elif term % 10 == 0:
                    log.commit([HardState(term, None), Append(more), Compact(last, members(1))])
                else:
                    log.commit([HardState(term, None), Append(more)])
        except BaseException as error:  # told to the test, which fails with it
            failed.append(error)
            raise

    writer = threading.Thread(target=write)
    beside = small_log(tmp_path / "log", readonly=True)
    writer.start()
    looks = 0
    while writer.is_alive():
        assert beside.last_index() % 5 == 0
        seen = beside.read(0, 10_000)
        assert [entry.index for entry in seen] == list(range(seen[0].index, seen[-1].index + 1))
        assert seen[-1].index % 5 == 0
        looks += 1
    writer.join()
    assert failed == []
    assert looks > 3
    assert everything(beside) == everything(log)
    log.close()


def test_a_readonly_view_writes_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "log", 3)
    log = SegmentLogStore(tmp_path / "log", readonly=True)
    with pytest.raises(StorageFailed):
        log.commit([Append((marked(1),))])
    log.close()


def test_a_readonly_view_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderRefused, match="holds no log"):
        SegmentLogStore(tmp_path / "log", readonly=True)
    assert not (tmp_path / "log").exists()


def test_reads_beside_the_writer_thread_see_whole_batches(tmp_path: Path) -> None:
    log = SegmentLogStore(tmp_path / "log")
    rounds = 60

    def write() -> None:
        for term in range(1, rounds + 1):
            log.commit([Truncate(1), Append(tuple(LogEntry(index, term, b"x") for index in range(1, 6)))])

    writer = threading.Thread(target=write)
    writer.start()
    seen: set[tuple[int, ...]] = set()
    while writer.is_alive():
        seen.add(tuple(entry.term for entry in log.read(1, 6)))
    writer.join()
    log.close()
    assert all(len(set(terms)) <= 1 and len(terms) in (0, 5) for terms in seen)


def test_reads_beside_compactions_see_no_gap(tmp_path: Path) -> None:
    log = small_log(tmp_path / "log")
    log.commit([Append((members(1), *map(marked, range(2, 11))))])
    failed: list[Exception] = []

    def write() -> None:
        try:
            for last in range(11, 300):
                log.commit([Append((marked(last),)), Compact(last - 4, members(1))])
            log.commit([Reset(marked(400), members(1))])
        except Exception as error:  # told to the test, which fails with it
            failed.append(error)
            raise

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        seen = [entry.index for entry in log.read(log.first_index() - 3, 1000)]
        assert seen == list(range(seen[0], seen[-1] + 1))
    writer.join()
    assert failed == []
    assert log.read(0, 1000) == [marked(400)]
    log.close()


@pytest.mark.parametrize(
    ("content", "error"), [(b"not a segment" * 1000, Corrupt), (b"", CutShort), (b"RMfr", CutShort)]
)
def test_a_file_that_is_no_segment_is_corrupt(tmp_path: Path, content: bytes, error: type[Corrupt]) -> None:
    (tmp_path / "log").mkdir()
    Path(segment_path(tmp_path / "log", 1)).write_bytes(content)
    with pytest.raises(error):
        SegmentLogStore(tmp_path / "log")
    assert Path(segment_path(tmp_path / "log", 1)).read_bytes() == content


def test_a_closed_log_takes_no_write(tmp_path: Path) -> None:
    log = SegmentLogStore(tmp_path / "log")
    log.close()
    log.close()
    with pytest.raises(StorageFailed):
        log.commit([Append((marked(1),))])
