"""The log on disk against kills, flipped bytes, failing writes and a reader beside it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import lmdb
import pytest

from raftmem.errors import Corrupt, FolderRefused, StorageFailed
from raftmem.storage.contracts import Append, HardState, LogEntry, LogWrite, Truncate
from raftmem.storage.log import LmdbLogStore

KILLS = 4


def marked(index: int) -> LogEntry:
    """Its data can be found in the file: a unique pattern."""
    return LogEntry(index, 1, b"<entry %06d>" % index * 8)


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
    assert [index for index, _ in log.verify()] == [31]
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


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt, match="damaged"):
        LmdbLogStore(tmp_path / "log")
