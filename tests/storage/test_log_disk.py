"""The log on disk against kills, flipped bytes, failing writes and a reader beside it."""

import errno
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import zlib
from pathlib import Path

import lmdb
import msgspec
import pytest

from raftmem import codec
from raftmem.errors import Corrupt, FolderRefused, RestartNeeded, StorageFailed
from raftmem.storage.contracts import Append, Compact, HardState, LogEntry, LogStore, LogWrite, Reset, Truncate
from raftmem.storage.lmdb_env import WriteTxn
from raftmem.storage.log import LmdbLogStore
from raftmem.storage.memory_log import MemoryLogStore

KILLS = 4


def marked(index: int) -> LogEntry:
    """Its data can be found in the file: a unique pattern."""
    return LogEntry(index, 1, b"<entry %06d>" % index * 8)


def members(index: int) -> LogEntry:
    return LogEntry(index, 1, bytes([codec.MEMBERSHIP]) + b"members %d" % index)


def everything(log: LogStore) -> tuple[object, ...]:
    return log.first_index(), log.last_index(), log.hard_state(), log.memberships(), log.read(0, 10_000)


def stored(folder: Path, table: bytes) -> list[int]:
    """The indexes that really stand in the file."""
    with lmdb.open(str(folder), max_dbs=4) as env, env.begin() as txn:
        return [int.from_bytes(key) for key, _ in txn.cursor(env.open_db(table, txn))]


def filled(folder: Path, last: int) -> Path:
    log = LmdbLogStore(folder)
    log.commit([HardState(1, "n1"), Append(tuple(map(marked, range(1, last + 1))))])
    log.close()
    return folder / "data.mdb"


def flip(file: Path, pattern: bytes) -> None:
    raw = bytearray(file.read_bytes())
    places = [place for place in range(len(raw)) if raw.startswith(pattern, place)] if pattern in raw else []
    assert places, "the pattern must be in the file"
    for place in places:
        raw[place + len(pattern) // 2] ^= 0x10
    file.write_bytes(raw)


def edit(folder: Path, table: bytes, key: bytes, value: bytes | None) -> None:
    """Change one record behind the store's back; None removes it."""
    with lmdb.open(str(folder), max_dbs=4) as env, env.begin(write=True) as txn:
        db = env.open_db(table, txn)
        if value is None:
            txn.delete(key, db=db)
        else:
            txn.put(key, value, db=db)


WRITER = """
    import os, sys
    from pathlib import Path
    from raftmem.storage.contracts import Append, HardState, LogEntry
    from raftmem.storage.log import LmdbLogStore

    log = LmdbLogStore(Path(sys.argv[1]))
    last, term = log.last_index(), log.hard_state().term
    while True:
        term += 1
        entries = tuple(LogEntry(last + 1 + i, term, b"%d/" % (last + 1 + i) * 20) for i in range(7))
        log.commit([HardState(term, "n1"), Append(entries)])
        last += 7
        os.write(1, b"%d %d\\n" % (last, term))
"""


def test_a_commit_is_synced(tmp_path: Path) -> None:
    log = LmdbLogStore(tmp_path / "log")
    assert log.is_durable
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

        log = LmdbLogStore(tmp_path / "log")
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

    sys.path.insert(0, sys.argv[2])
    from raftmem.storage.log import LmdbLogStore
    from test_log_disk import step

    log = LmdbLogStore(Path(sys.argv[1]), sweep_entries=3)
    number = log.last_index() // 5
    while True:
        log.commit(step(number))
        number += 1
        os.write(1, b"%d\\n" % number)
"""


def test_a_kill_leaves_compactions_and_resets_done_or_not_begun(tmp_path: Path) -> None:
    """What the killed process wrote must be what the twin holds after as many steps, or one more."""
    command = [sys.executable, "-c", textwrap.dedent(STEPPER), str(tmp_path / "log"), str(Path(__file__).parent)]
    twin, done = MemoryLogStore(), 0
    for kill in range(KILLS):
        writer = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        reported = [writer.stdout.readline() for _ in range(3 + 13 * kill)]
        os.kill(writer.pid, signal.SIGKILL)
        reported += writer.stdout.readlines()
        writer.wait()
        log = LmdbLogStore(tmp_path / "log", sweep_entries=3)
        reached = log.last_index() // 5
        assert reached - int(next(line for line in reversed(reported) if line.endswith(b"\n"))) in (0, 1)
        while done < reached:
            twin.commit(step(done))
            done += 1
        assert everything(log) == everything(twin)
        assert list(log.verify()) == []
        log.close()


@pytest.mark.parametrize(
    "writes",
    [
        [HardState(2, "n2"), Compact(8, members(4)), Append((members(13),))],
        [HardState(2, "n2"), Reset(marked(8), members(7))],
        [HardState(2, "n2"), Reset(members(40), members(40)), Append((marked(41),))],
    ],
)
def test_whatever_write_fails_a_compaction_or_reset_is_whole_or_not_there(
    tmp_path: Path, writes: list[LogWrite], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the first write of the transaction, then at the second, and so on until there is room."""
    log, twin = LmdbLogStore(tmp_path / "log"), MemoryLogStore()
    for store in (log, twin):
        store.commit([HardState(1, "n1"), Append((members(1), marked(2), marked(3), members(4)))])
        store.commit([Append(tuple(map(marked, range(5, 13)))), Compact(3, members(1))])
    before, left = everything(twin), [0]

    def failing(name: str) -> None:
        real = getattr(WriteTxn, name)

        def write(*args: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "no room left")
            return real(*args)

        monkeypatch.setattr(WriteTxn, name, write)

    for name in ("put", "append", "delete"):
        failing(name)
    refused = 0
    while refused < 100:
        left[0] = refused
        try:
            log.commit(writes)
            break
        except OSError:
            refused += 1
        assert everything(log) == before
        log.close()
        log = LmdbLogStore(tmp_path / "log")
        assert everything(log) == before
    assert 3 < refused < 100
    log.close()
    log = LmdbLogStore(tmp_path / "log")
    twin.commit(writes)
    assert everything(log) == everything(twin)
    assert list(log.verify()) == []
    log.close()


def test_what_lies_below_the_first_index_is_swept_out_by_and_by(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = LmdbLogStore(folder, sweep_entries=10)
    log.commit([Append((members(1), *map(marked, range(2, 61))))])
    left = []
    log.commit([Compact(50, members(1))])
    for _ in range(4):
        log.close()
        left.append(stored(folder, b"entries")[0])
        log = LmdbLogStore(folder, sweep_entries=10)
        assert (log.first_index(), log.read(0, 51)) == (50, [marked(50)])
        assert list(log.verify()) == []
        log.commit([])
    log.commit([Append(tuple(map(marked, range(61, 70))))])
    assert left == [11, 21, 31, 41]
    assert log.read(0, 99) == [marked(index) for index in range(50, 70)]
    log.close()
    assert stored(folder, b"entries") == list(range(50, 70))


def test_many_entries_in_one_append_do_not_outrun_the_sweep(tmp_path: Path) -> None:
    log = LmdbLogStore(tmp_path / "log", sweep_entries=1)
    log.commit([Append((members(1), *map(marked, range(2, 31))))])
    log.commit([Compact(30, members(1)), Append(tuple(map(marked, range(31, 41))))])
    log.close()
    assert stored(tmp_path / "log", b"entries")[0] == 21


def old_log(folder: Path, *entries: LogEntry) -> None:
    """As the first version of this program left it: no table of memberships."""
    state = msgspec.msgpack.encode((1, "n1"))
    with lmdb.open(str(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        entries_db, meta_db = env.open_db(b"entries", txn), env.open_db(b"meta", txn)
        txn.put(b"hard_state", struct.pack(">I", zlib.crc32(state)) + state, db=meta_db)
        for entry in entries:
            sealed = zlib.crc32(entry.data, zlib.crc32(struct.pack(">QQ", entry.index, entry.term)))
            txn.put(struct.pack(">Q", entry.index), struct.pack(">IQ", sealed, entry.term) + entry.data, db=entries_db)


def test_a_log_of_the_first_version_opens_and_its_memberships_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    old_log(folder, members(1), marked(2), members(3), marked(4))
    beside = LmdbLogStore(folder, readonly=True)
    assert (beside.first_index(), beside.last_index(), beside.memberships()) == (1, 4, [members(1), members(3)])
    assert list(beside.verify()) == []
    beside.close()
    log = LmdbLogStore(folder)
    assert log.memberships() == [members(1), members(3)]
    log.commit([Truncate(4), Append((members(4),))])
    log.close()
    assert stored(folder, b"memberships") == [1, 3, 4]
    log = LmdbLogStore(folder)
    assert log.memberships() == [members(1), members(3), members(4)]
    assert log.hard_state() == HardState(1, "n1")
    log.close()


def compacted(folder: Path) -> None:
    log = LmdbLogStore(folder)
    log.commit([Append((members(1), marked(2), marked(3), members(4), marked(5)))])
    log.commit([Compact(3, members(1))])
    log.close()


@pytest.mark.parametrize(
    ("table", "key", "value", "what", "index"),
    [
        (b"meta", b"base", b"\0\0\0\0\x92\x03\xc0", "base .* checksum", 0),
        (b"meta", b"base", None, "holds 3 entries", 1),
        (b"entries", (3).to_bytes(8), None, "holds 2 entries", 3),
        (b"entries", (4).to_bytes(8), None, "holds 2 entries", 4),
        (b"entries", (4).to_bytes(8), b"damaged, and long enough", "checksum", 4),
        (b"memberships", (5).to_bytes(8), b"", "listed as a membership", 5),
        (b"memberships", (9).to_bytes(8), b"", "membership is missing", 9),
    ],
)
def test_damage_to_where_a_log_begins_or_to_its_memberships_is_a_stop_and_listed_by_verify(
    tmp_path: Path, table: bytes, key: bytes, value: bytes | None, what: str, index: int
) -> None:
    folder = tmp_path / "log"
    compacted(folder)
    edit(folder, table, key, value)
    with pytest.raises(Corrupt, match=what):
        LmdbLogStore(folder)
    beside = LmdbLogStore(folder, readonly=True)
    assert index in [found for found, _ in beside.verify()]
    with pytest.raises(Corrupt, match=what):
        beside.memberships()
    beside.close()


def test_a_log_of_which_only_forgotten_entries_are_left_is_a_stop(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = LmdbLogStore(folder, sweep_entries=1)
    log.commit([Append((members(1), marked(2), marked(3), marked(4)))])
    log.commit([Compact(3, members(1))])
    log.close()
    for index in (3, 4):
        edit(folder, b"entries", index.to_bytes(8), None)
    with pytest.raises(Corrupt, match="ends at index 2 and begins at 3"):
        LmdbLogStore(folder)
    beside = LmdbLogStore(folder, readonly=True)
    assert list(beside.verify()) == [(3, "entry is missing, the first of the log")]
    beside.close()


def test_a_membership_that_lost_its_place_in_the_list_is_found_by_verify(tmp_path: Path) -> None:
    compacted(tmp_path / "log")
    edit(tmp_path / "log", b"memberships", (4).to_bytes(8), None)
    log = LmdbLogStore(tmp_path / "log")
    assert [index for index, _ in log.verify()] == [4]
    log.close()


def test_a_flipped_byte_stops_the_read_with_file_and_index(tmp_path: Path) -> None:
    file = filled(tmp_path / "log", 50)
    flip(file, b"<entry 000031>" * 8)
    log = LmdbLogStore(tmp_path / "log")
    assert log.read(1, 31) == [marked(index) for index in range(1, 31)]
    assert log.read(32, 51) == [marked(index) for index in range(32, 51)]
    for start, stop in ((31, 32), (1, 51)):
        with pytest.raises(Corrupt) as stopped:
            log.read(start, stop)
        assert (stopped.value.path, stopped.value.index) == (str(file), 31)
        assert str(file) in str(stopped.value)
        assert "index 31" in str(stopped.value)
    assert list(log.verify()) == [(31, "entry has a wrong checksum")]
    log.close()


def test_a_term_that_was_changed_is_noticed(tmp_path: Path) -> None:
    filled(tmp_path / "log", 3)
    key = (2).to_bytes(8, "big")
    with lmdb.open(str(tmp_path / "log"), max_dbs=4) as env, env.begin() as txn:
        raw = txn.get(key, db=env.open_db(b"entries", txn))
    assert raw is not None
    edit(tmp_path / "log", b"entries", key, raw[:11] + b"\x07" + raw[12:])
    log = LmdbLogStore(tmp_path / "log")
    with pytest.raises(Corrupt, match="checksum at index 2"):
        log.read(1, 4)
    log.close()


def test_a_missing_entry_is_a_stop_at_open_and_listed_by_verify(tmp_path: Path) -> None:
    filled(tmp_path / "log", 9)
    edit(tmp_path / "log", b"entries", (4).to_bytes(8, "big"), None)
    edit(tmp_path / "log", b"entries", (5).to_bytes(8, "big"), None)
    with pytest.raises(Corrupt, match="7 entries but ends at index 9"):
        LmdbLogStore(tmp_path / "log")
    log = LmdbLogStore(tmp_path / "log", readonly=True)
    assert list(log.verify()) == [(4, "entries 4 to 5 are missing")]
    with pytest.raises(Corrupt) as stopped:
        log.read(1, 10)
    assert stopped.value.index == 4
    log.close()


@pytest.mark.parametrize("record", [None, b"", b"\0\0\0\0\x92\x00\xc0", b"\x01"])
def test_a_lost_or_damaged_hard_state_is_never_term_0(tmp_path: Path, record: bytes | None) -> None:
    filled(tmp_path / "log", 3)
    edit(tmp_path / "log", b"meta", b"hard_state", record)
    with pytest.raises(Corrupt, match="hard state"):
        LmdbLogStore(tmp_path / "log")
    log = LmdbLogStore(tmp_path / "log", readonly=True)
    assert [index for index, _ in log.verify()] == [0]
    log.close()


def test_the_first_entries_bring_a_hard_state_with_them(tmp_path: Path) -> None:
    log = LmdbLogStore(tmp_path / "log")
    log.commit([Append((marked(1),))])
    log.close()
    log = LmdbLogStore(tmp_path / "log")
    assert log.hard_state() == HardState(0, None)
    log.close()


FAILING = """
    import resource, sys
    from pathlib import Path
    from raftmem.errors import StorageFailed
    from raftmem.storage.contracts import Append, LogEntry
    from raftmem.storage.log import LmdbLogStore

    log = LmdbLogStore(Path(sys.argv[1]))
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
    log = LmdbLogStore(tmp_path / "log")
    assert [entry.data for entry in log.read(1, 9)] == [b"first"]
    log.close()


def fill_meta_pages(file: Path) -> None:
    """From now on no room is left for them, although the file need not grow."""
    for number in os.listdir("/proc/self/fd"):
        place = Path("/proc/self/fd", number)
        if place.exists() and place.readlink() == file:
            flags = Path("/proc/self/fdinfo", number).read_text().split("flags:")[1].split()[0]
            if int(flags, 8) & os.O_DSYNC:
                full = os.open("/dev/full", os.O_WRONLY)
                os.dup2(full, int(number))
                os.close(full)


def test_no_room_for_a_meta_page_is_a_stop_after_which_a_restart_goes_on(tmp_path: Path) -> None:
    log = LmdbLogStore(tmp_path / "log")
    log.commit([HardState(1, "n1"), Append((marked(1),))])
    fill_meta_pages(tmp_path / "log" / "data.mdb")
    with pytest.raises(OSError, match="no room") as refused:
        log.commit([Append((marked(2),))])
    assert refused.value.errno == errno.ENOSPC
    with pytest.raises(RestartNeeded, match=r"a commit could not be finished .* start it again"):
        log.commit([Append((marked(2),))])
    with pytest.raises(RestartNeeded):
        log.read(1, 2)
    log.close()
    log = LmdbLogStore(tmp_path / "log")
    assert log.read(1, 9) == [marked(1)]
    log.commit([Append((marked(2),))])
    assert list(log.verify()) == []
    log.close()


LIVE = """
    import sys
    from pathlib import Path
    from raftmem.storage.log import LmdbLogStore

    log = LmdbLogStore(Path(sys.argv[1]), readonly=True)
    for _ in sys.stdin:
        print(log.last_index(), len(log.read(1, 99)), log.hard_state().term, flush=True)
"""


def test_a_readonly_view_follows_a_writer_in_another_process(tmp_path: Path) -> None:
    log = LmdbLogStore(tmp_path / "log")
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


def test_a_readonly_view_writes_nothing(tmp_path: Path) -> None:
    filled(tmp_path / "log", 3)
    log = LmdbLogStore(tmp_path / "log", readonly=True)
    with pytest.raises(StorageFailed):
        log.commit([Append((marked(1),))])
    log.close()


def test_a_readonly_view_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderRefused, match="holds no database"):
        LmdbLogStore(tmp_path / "log", readonly=True)
    assert not (tmp_path / "log").exists()


def test_reads_beside_the_writer_thread_see_whole_batches(tmp_path: Path) -> None:
    log = LmdbLogStore(tmp_path / "log")
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
    log = LmdbLogStore(tmp_path / "log", sweep_entries=3)
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


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt, match="damaged"):
        LmdbLogStore(tmp_path / "log")
