"""Databases whose end is gone: never a signal from the library, never a refusal of a file that only looks short."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from storage_world import World, ids, put, store

from raftmem import codec
from raftmem.digest import GENESIS_HEAD
from raftmem.errors import CutShort
from raftmem.storage.contracts import Append, Compact, HardState, LogEntry, Query
from raftmem.storage.log import LmdbLogStore
from raftmem.storage.mark import StateMark
from raftmem.storage.state import LmdbStateStore

MAP_BYTES = 64 << 20
PAGE_BYTES = 4096


def entry(index: int, *, size: int) -> LogEntry:
    return LogEntry(index, 1, b"%d/" % index + b"x" * (size if index % 5 else 3 * size))


def members(index: int) -> LogEntry:
    return LogEntry(index, 1, bytes([codec.MEMBERSHIP]) + b"members")


def small(folder: Path) -> None:
    log = LmdbLogStore(folder, map_bytes=MAP_BYTES)
    log.commit([HardState(1, "n1"), Append((members(1), *(entry(k, size=100) for k in range(2, 9))))])
    log.close()


def compacted(folder: Path) -> None:
    """With branch pages, values in pages of their own, and free pages throughout the file."""
    log = LmdbLogStore(folder, map_bytes=MAP_BYTES, sweep_entries=40)
    log.commit([HardState(1, "n1"), Append((members(1),))])
    for last in range(1, 400, 20):
        log.commit([Append(tuple(entry(k, size=900) for k in range(last + 1, last + 21)))])
    log.commit([Compact(200, members(1))])
    for last in range(401, 412):
        log.commit([Append((entry(last + 1, size=40),))])
    log.close()


OPENED_AT_EVERY_LENGTH = """
    import os, shutil, sys
    from pathlib import Path
    from raftmem.errors import CutShort
    from raftmem.storage.contracts import Append, LogEntry
    from raftmem.storage.log import LmdbLogStore

    def opened(folder, readonly):
        try:
            log = LmdbLogStore(folder, readonly=readonly, map_bytes=64 << 20)
        except CutShort as error:
            assert "log/data.mdb: is cut short: " in str(error), error
            return 1
        try:
            assert list(log.verify()) == []
            assert log.read(0, 1000) == whole
            if not readonly:
                last = log.last_index()
                for index in range(last + 1, last + 40, 20):
                    log.commit([Append(tuple(LogEntry(k, 1, b"y" * 3000) for k in range(index, index + 20)))])
                assert list(log.verify()) == []
        finally:
            log.close()
        return 0

    folder = Path(sys.argv[1])
    (folder / "log" / "lock.mdb").unlink(missing_ok=True)
    log = LmdbLogStore(folder / "log", readonly=True, map_bytes=64 << 20)
    whole = log.read(0, 1000)
    log.close()
    content = (folder / "log" / "data.mdb").read_bytes()
    lengths = {length for page in range(0, len(content), 4096) for length in (page, page + 100, page + 4000)}
    ends = {}
    for length in sorted(lengths - {0}):
        for readonly in (True, False):
            copy = folder / "copy" / "log"
            copy.mkdir(parents=True)
            (copy / "data.mdb").write_bytes(content[:length])
            child = os.fork()
            if child == 0:
                os._exit(opened(copy, readonly))
            ends.setdefault(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), []).append(length)
            if readonly:
                assert (copy / "data.mdb").read_bytes() == content[:length]
            shutil.rmtree(folder / "copy")
    print({end: len(lengths) for end, lengths in ends.items()})
    assert set(ends) <= {0, 1}, ends
    assert max(ends[1]) >= len(content) // 2
"""


@pytest.mark.parametrize("fill", [small, compacted])
def test_a_log_cut_anywhere_is_refused_in_words_or_whole(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    fill(tmp_path / "log")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(OPENED_AT_EVERY_LENGTH), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def leave_loose_pages(folder: Path, table: bytes) -> None:
    """Taken and given back in one transaction: the last pages of the database are not in the file, which is sound."""
    with lmdb.open(str(folder), max_dbs=20, map_size=MAP_BYTES) as env:
        db = env.open_db(table)
        for count in (8, 40):
            keys = [b"\xff" * 7 + bytes([number]) for number in range(count)]
            with env.begin(write=True) as txn:
                for key in keys:
                    txn.put(key, b"x" * 30_000, db=db)
                for key in reversed(keys):
                    txn.delete(key, db=db)
        used = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    assert (folder / "data.mdb").stat().st_size < used


def cut(folder: Path, *, kept: float) -> int:
    """How long the file is then."""
    file = folder / "data.mdb"
    length = int(file.stat().st_size * kept)
    os.truncate(file, length)
    return length


def test_a_sound_log_whose_last_pages_were_never_written_is_served(tmp_path: Path) -> None:
    compacted(tmp_path / "log")
    leave_loose_pages(tmp_path / "log", b"entries")
    for readonly in (True, False):
        log = LmdbLogStore(tmp_path / "log", readonly=readonly, map_bytes=MAP_BYTES)
        assert list(log.verify()) == []
        assert len(log.read(0, 1000)) == log.last_index() - 199
        log.close()


def test_a_readonly_log_that_is_empty_is_refused_and_stays_so(tmp_path: Path) -> None:
    small(tmp_path / "log")
    cut(tmp_path / "log", kept=0)
    with pytest.raises(CutShort, match=r"log/data.mdb: is cut short: 0 bytes"):
        LmdbLogStore(tmp_path / "log", readonly=True)
    assert (tmp_path / "log" / "data.mdb").stat().st_size == 0


# --- the state -------------------------------------------------------------------------------------------
def mark(folder: Path, boot_id: str = "boot 1") -> StateMark:
    return StateMark(folder / "state.json", folder / "state", boot_id=boot_id)


def opened(folder: Path, boot_id: str = "boot 1") -> LmdbStateStore:
    return LmdbStateStore(folder / "state", mark=mark(folder, boot_id), map_bytes=MAP_BYTES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a state that was closed cleanly."""
    state, world = opened(tmp_path), World()
    for number in range(30):
        store(state, world.entry(put(f"m{number}", text="x" * 5000)))
    state.close(clean=True)
    return tmp_path


@pytest.mark.parametrize("kept", [0.0, 0.0001, 0.1, 0.5, 0.95])
def test_a_state_that_was_cut_short_is_empty_at_open_and_not_trusted_after_a_machine_stop(
    folder: Path, kept: float
) -> None:
    cut(folder / "state", kept=kept)
    state, world = opened(folder), World()
    assert state.head() == GENESIS_HEAD
    assert ids(state.read(), Query()) == []
    store(state, world.entry(put("n")))
    state.close(clean=False)
    assert opened(folder).head().index == 1
    assert opened(folder, "boot 2").head() == GENESIS_HEAD


def test_a_sound_state_whose_last_pages_were_never_written_is_kept(folder: Path) -> None:
    leave_loose_pages(folder / "state", b"heads")
    state = opened(folder)
    assert state.head().index == 30
    assert len(ids(state.read(), Query())) == 30
    state.close(clean=True)


def test_a_look_at_a_state_that_was_cut_short_is_refused_and_changes_nothing(folder: Path) -> None:
    length = cut(folder / "state", kept=0.5)
    content = (folder / "state" / "data.mdb").read_bytes()
    with pytest.raises(CutShort, match=f"state/data.mdb: is cut short: {length} bytes, its pages need"):
        LmdbStateStore(folder / "state", readonly=True)
    assert (folder / "state" / "data.mdb").read_bytes() == content
    assert mark(folder).trusted()
