"""Files whose end is gone: never a signal from a library, never a refusal of a file that only looks short."""

import os
from pathlib import Path

import lmdb
import pytest
from log_world import everything, marked, members, newest, small_log
from storage_world import World, ids, put, store

from raftmem.errors import CutShort
from raftmem.model.digest import GENESIS_HEAD
from raftmem.storage.log.contract import Append, HardState
from raftmem.storage.log.files import segment_numbers, segment_path
from raftmem.storage.state.clean_mark import StateMark
from raftmem.storage.state.contract import Query
from raftmem.storage.state.store import LmdbStateStore

MAP_BYTES = 64 << 20


# --- the log -------------------------------------------------------------------------------------------
def filled(folder: Path) -> tuple[object, ...]:
    """Over some segments; what it holds."""
    log = small_log(folder)
    log.commit([HardState(1, "n1"), Append((members(1),))])
    for index in range(2, 22, 2):
        log.commit([Append((marked(index), marked(index + 1)))])
    log.commit([HardState(2, "n2")])
    whole = everything(log)
    log.close()
    return whole


@pytest.mark.parametrize("which", ["first", "second", "newest"])
def test_a_log_cut_anywhere_is_refused_in_words_or_whole(tmp_path: Path, which: str) -> None:
    whole = filled(tmp_path / "log")
    numbers = segment_numbers(tmp_path / "log")
    assert len(numbers) > 3
    file = Path(
        segment_path(tmp_path / "log", {"first": numbers[0], "second": numbers[1], "newest": numbers[-1]}[which])
    )
    content = file.read_bytes()
    needed = max(content.rfind(b"RMok"), content.rfind(b"RMgo")) + 36  # up to there the log is, after it only room
    assert (needed == len(content)) == (which != "newest")
    for length in range(len(content)):
        for readonly in (True, False):
            file.write_bytes(content[:length])
            if length < needed:
                with pytest.raises(CutShort, match=f"{file}: is cut short: {length} bytes"):
                    small_log(tmp_path / "log", readonly=readonly)
                assert file.read_bytes() == content[:length]
            else:
                log = small_log(tmp_path / "log", readonly=readonly)
                assert everything(log) == whole
                assert list(log.verify()) == []
                log.close()


def test_a_log_cut_while_its_replica_was_killed_is_refused_too(tmp_path: Path) -> None:
    log = small_log(tmp_path / "log")
    log.commit([Append((members(1), marked(2)))])
    file = newest(tmp_path / "log")
    content = file.read_bytes()
    for length in range(content.rfind(b"RMok") + 36):
        file.write_bytes(content[:length])
        with pytest.raises(CutShort, match=f"is cut short: {length} bytes"):
            small_log(tmp_path / "log", readonly=True)
    log.close()


# --- databases -----------------------------------------------------------------------------------------
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
