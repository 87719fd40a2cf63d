"""Snapshots on disk against kills, damage, a full disk, and what reads on while a state is replaced."""

import errno
import hashlib
import os
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import lmdb
import msgspec
import pytest
from storage_world import World, ids, put, store

from raftmem.errors import Corrupt
from raftmem.model import codec
from raftmem.storage.log.contract import Append, Compact, LogEntry, Reset
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.reconcile import restore
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.snapshots.store import FileSnapshotStore
from raftmem.storage.state.clean_mark import StateMark
from raftmem.storage.state.contract import Query
from raftmem.storage.state.copy import state_file
from raftmem.storage.state.store import LmdbStateStore

MEMBERS = LogEntry(1, 0, bytes([codec.MEMBERSHIP]) + b"the members")


def members_at(_index: int) -> LogEntry:
    return MEMBERS


def mark(folder: Path, boot_id: str = "boot 1") -> StateMark:
    return StateMark(folder / "state.json", folder / "state", boot_id=boot_id)


def opened(folder: Path, boot_id: str = "boot 1") -> LmdbStateStore:
    return LmdbStateStore(folder / "state", mark=mark(folder, boot_id), snapshots=folder / "snapshots")


def fill(state: LmdbStateStore, world: World, count: int) -> None:
    store(state, *(world.entry(put(f"m{world.index}", tags=("t",)), put("counter")) for _ in range(count)))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def taken(tmp_path: Path) -> SnapshotMeta:
    """A folder whose state stands at 30, with one snapshot of index 20."""
    world, state = World(), opened(tmp_path)
    fill(state, world, 20)
    meta = FileSnapshotStore(tmp_path / "snapshots", state).take(members_at, 1700)
    fill(state, world, 10)
    state.close(clean=True)
    return meta


# --- taking -----------------------------------------------------------------------------------------
def test_a_copy_made_beside_writes_is_one_moment(tmp_path: Path) -> None:
    world, state = World(), opened(tmp_path)
    fill(state, world, 200)
    snapshots = FileSnapshotStore(tmp_path / "snapshots", state)
    metas: list[SnapshotMeta] = []

    def take() -> None:
        metas.extend(snapshots.take(members_at, 0) for _ in range(5))

    thread = threading.Thread(target=take)
    thread.start()
    while thread.is_alive():
        fill(state, world, 3)
    thread.join()
    for meta in metas:
        assert snapshots.verify(meta) is None
        prepared = state.prepare(meta)
        reader = prepared.reader()
        counter = reader.memory("counter")
        assert counter is not None
        assert counter.version == len(ids(reader, Query(tags=("t",)))) == reader.head.index == meta.index
        reader.release()
        prepared.discard()
    state.close(clean=True)


def test_a_disk_that_is_full_lists_nothing_and_leaves_nothing(tmp_path: Path, taken: SnapshotMeta) -> None:
    state, folder = opened(tmp_path), tmp_path / "snapshots"
    snapshots = FileSnapshotStore(folder, state)
    there = names(folder)
    (folder / "taking").symlink_to("/dev/full")
    with pytest.raises(OSError, match="no room left") as refused:
        snapshots.take(members_at, 0)
    assert refused.value.errno == errno.ENOSPC
    assert (snapshots.all(), names(folder)) == ([taken], there)
    assert snapshots.take(members_at, 0).index == 30
    state.close(clean=True)


def test_the_reserve_of_the_disk_is_left_alone(tmp_path: Path, taken: SnapshotMeta) -> None:
    state = opened(tmp_path)
    spare = 1000
    snapshots = FileSnapshotStore(tmp_path / "snapshots", state, spare_bytes=lambda: spare)
    with pytest.raises(OSError, match="may be used"):
        snapshots.take(members_at, 0)
    data = snapshots.read(taken, 0, taken.size)
    snapshots.drop(snapshots.all())
    assert snapshots.begin(taken) == 0
    with pytest.raises(OSError, match="may be used"):
        snapshots.write(taken, 0, data)
    assert snapshots.begin(taken) == 0
    spare = 1 << 40
    assert snapshots.write(taken, 0, data) == taken.size
    assert snapshots.finish(taken)
    state.close(clean=True)


@pytest.mark.usefixtures("taken")
def test_pages_that_were_lost_do_not_hinder_a_copy(tmp_path: Path) -> None:
    """Meta pages that count one page more than is used or free: the library refuses to compact such a file."""
    data = tmp_path / "state" / "data.mdb"
    pages = bytearray(data.read_bytes()) + bytes(4096)
    for page in (0, 1):
        place = page * 4096 + 16 + 8 + 16 + 2 * 48  # page header, magic, address and size, two roots: mdb.c MDB_meta
        (last,) = struct.unpack_from("<Q", pages, place)
        struct.pack_into("<Q", pages, place, last + 1)
    data.write_bytes(pages)
    refused = pytest.raises(lmdb.IncompatibleError)
    with lmdb.open(str(tmp_path / "state"), max_dbs=16) as env, open(tmp_path / "copy", "wb") as copy, refused:
        env.copyfd(copy.fileno(), compact=True)
    state = opened(tmp_path)
    snapshots = FileSnapshotStore(tmp_path / "snapshots", state)
    assert snapshots.verify(snapshots.take(members_at, 0)) is None
    state.close(clean=True)


# --- opening ----------------------------------------------------------------------------------------
def test_what_a_kill_left_goes_and_what_was_received_stays(tmp_path: Path, taken: SnapshotMeta) -> None:
    folder = tmp_path / "snapshots"
    there = names(folder)
    for left in ("taking", "0-1-unlisted.state", f"{taken.name}.manifest.new"):
        (folder / left).write_bytes(b"left")
    (folder / "0-1-coming.part").write_bytes(b"so far")
    state = opened(tmp_path)
    FileSnapshotStore(folder, None)
    assert len(names(folder)) == len(there) + 4, "a mere look changes nothing"
    snapshots = FileSnapshotStore(folder, state)
    assert (snapshots.all(), names(folder)) == ([taken], there | {"0-1-coming.part"})
    state.close(clean=True)


def cut_file(folder: Path, meta: SnapshotMeta) -> None:
    os.truncate(state_file(folder, meta), meta.size - 4096)


def lose_file(folder: Path, meta: SnapshotMeta) -> None:
    state_file(folder, meta).unlink()


def damage_manifest(folder: Path, meta: SnapshotMeta) -> None:
    path = folder / f"{meta.name}.manifest"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


def empty_manifest(folder: Path, meta: SnapshotMeta) -> None:
    (folder / f"{meta.name}.manifest").write_bytes(b"")


def of_a_later_format(folder: Path, meta: SnapshotMeta) -> None:
    raw = msgspec.msgpack.encode((2, meta))
    (folder / f"{meta.name}.manifest").write_bytes(hashlib.blake2b(raw, digest_size=16).digest() + raw)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut_file, "bytes, not"),
        (lose_file, "not there"),
        (damage_manifest, "damaged"),
        (empty_manifest, "damaged"),
        (of_a_later_format, "has format 2, this program knows 1"),
    ],
)
def test_what_is_damaged_is_not_listed_and_said(
    tmp_path: Path, taken: SnapshotMeta, harm: Callable[[Path, SnapshotMeta], None], said: str
) -> None:
    harm(tmp_path / "snapshots", taken)
    snapshots = FileSnapshotStore(tmp_path / "snapshots", None)
    assert snapshots.all() == []
    ((name, what),) = snapshots.damaged
    assert name == taken.name
    assert said in what


def test_verify_reads_every_byte(tmp_path: Path, taken: SnapshotMeta) -> None:
    snapshots = FileSnapshotStore(tmp_path / "snapshots", None)
    assert snapshots.verify(taken) is None
    path = state_file(tmp_path / "snapshots", taken)
    whole = path.read_bytes()
    for place in (0, taken.size // 2, taken.size - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert "checksum" in str(snapshots.verify(taken))
    cut_file(tmp_path / "snapshots", taken)
    assert "bytes, not" in str(snapshots.verify(taken))
    lose_file(tmp_path / "snapshots", taken)
    assert "not there" in str(snapshots.verify(taken))


def test_a_file_shorter_than_its_pages_is_an_error_and_not_a_signal(tmp_path: Path, taken: SnapshotMeta) -> None:
    """The checksum fits: it was taken over the short file."""
    state = opened(tmp_path)
    snapshots = FileSnapshotStore(tmp_path / "snapshots", state)
    short = snapshots.read(taken, 0, taken.size - 4096)
    checksum = hashlib.blake2b(short, digest_size=32).digest()
    meta = msgspec.structs.replace(taken, size=len(short), checksum=checksum)
    snapshots.begin(meta)
    assert snapshots.write(meta, 0, short) == meta.size
    assert not snapshots.finish(meta)
    state.close(clean=True)


# --- replacing --------------------------------------------------------------------------------------
REPLACER = """
    import os, sys
    from pathlib import Path
    from test_snapshot_files import opened
    from raftmem.storage.snapshots.store import FileSnapshotStore

    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    state = opened(folder)
    prepared = state.prepare(FileSnapshotStore(folder / "snapshots", state).all()[0])
    rename = os.rename

    def dying(source, target):
        global steps
        if steps == 0:
            os._exit(9)
        steps -= 1
        rename(source, target)

    os.rename = dying
    state.replace(prepared)
    os._exit(9)
"""


@pytest.mark.parametrize(("renames", "index"), [(0, 30), (1, 0), (2, 20)])
def test_a_kill_while_a_state_is_replaced_leaves_the_old_the_new_or_none(
    tmp_path: Path, taken: SnapshotMeta, renames: int, index: int
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(REPLACER), str(tmp_path), str(renames)]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[2] / 'worlds'}"}
    )
    assert ended.returncode == 9
    state = opened(tmp_path)
    assert state.head().index == index
    assert len(ids(state.read(), Query(tags=("t",)))) == index
    assert names(tmp_path) == {"state", "state.json", "snapshots"}
    state.replace(state.prepare(taken))
    assert state.head().index == 20
    state.close(clean=True)


def test_a_stop_of_the_machine_after_an_install_discards_the_state(tmp_path: Path, taken: SnapshotMeta) -> None:
    """Nothing of it was synced: neither its pages nor the folder's name."""
    state = opened(tmp_path, "boot 2")
    assert mark(tmp_path, "boot 3").trusted()
    prepared = state.prepare(taken)
    assert not mark(tmp_path, "boot 3").trusted(), "before the state is replaced"
    state.replace(prepared)
    prepared.discard()
    state.close(clean=False)
    again = opened(tmp_path, "boot 3")
    assert again.head().index == 0
    again.replace(again.prepare(taken))
    again.close(clean=True)
    last = opened(tmp_path, "boot 4")
    assert last.head().index == 20
    last.close(clean=True)


def test_the_replaced_state_goes_with_its_last_reader(tmp_path: Path, taken: SnapshotMeta) -> None:
    state = opened(tmp_path)
    first, second = state.read_private(), state.read_private()
    for _ in range(2):
        prepared = state.prepare(taken)
        state.replace(prepared)
        prepared.discard()
        assert len([name for name in names(tmp_path) if ".old" in name]) == 1
    thread = threading.Thread(target=first.release)
    thread.start()
    thread.join()
    assert len(ids(second, Query(tags=("t",)))) == 30
    second.release()
    assert names(tmp_path) == {"state", "state.json", "snapshots"}
    assert state.path == str(tmp_path / "state" / "data.mdb")
    state.close(clean=True)


def test_a_state_that_was_prepared_for_nothing_leaves_nothing(tmp_path: Path, taken: SnapshotMeta) -> None:
    state = opened(tmp_path)
    prepared = state.prepare(taken)
    prepared.discard()
    prepared.discard()
    assert names(tmp_path) == {"state", "state.json", "snapshots"}
    assert state.head().index == 30
    state.close(clean=True)


# --- restoring --------------------------------------------------------------------------------------
def a_log(*writes: Compact | Reset, entries: int = 30) -> InMemoryLogStore:
    """The log of the entries that `World` makes."""
    world, log = World(), InMemoryLogStore()
    rows = [world.entry(put("m"))[0] for _ in range(entries)]
    log.commit([Append(tuple(LogEntry(row.index, row.term, row.data) for row in rows)), *writes])
    return log


def test_a_state_behind_its_log_is_restored_from_the_newest_sound_snapshot(tmp_path: Path, taken: SnapshotMeta) -> None:
    state = opened(tmp_path)
    snapshots = FileSnapshotStore(tmp_path / "snapshots", state)
    newest = snapshots.take(members_at, 0)
    log = a_log(Compact(20, MEMBERS))
    assert restore(log, state, snapshots.all(), path="data") == newest
    assert state.head().index == 30
    with open(state_file(tmp_path / "snapshots", newest), "r+b") as file:
        file.write(b"damage")
    assert restore(log, state, snapshots.all(), path="data") == taken
    assert state.head().index == 20
    state.close(clean=True)


def test_a_snapshot_that_the_log_does_not_hold_restores_nothing(tmp_path: Path, taken: SnapshotMeta) -> None:
    state = opened(tmp_path)
    for log in (
        a_log(Compact(25, MEMBERS)),
        a_log(entries=19),
        a_log(Reset(LogEntry(20, taken.term + 1, taken.entry), MEMBERS)),
        a_log(Reset(LogEntry(20, taken.term, b"another"), MEMBERS)),
    ):
        with pytest.raises(Corrupt, match="no sound snapshot"):
            restore(log, state, [taken], path="data")
    assert state.head().index == 30
    log = a_log(Reset(LogEntry(20, taken.term, taken.entry), MEMBERS))
    assert restore(log, state, [taken], path="data") == taken
    state.close(clean=True)
