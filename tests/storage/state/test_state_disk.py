"""The state on disk against restarts, kills, a stop of the machine, damage, and a full disk."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import lmdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from storage_world import World, end, ids, put, put_row, say, store

from raftmem.errors import Corrupt, FolderRefused, StorageFailed
from raftmem.model.coordination_rows import GATES, LOCKS, Gate, Lock, gate_key, lock_key
from raftmem.model.digest import GENESIS_HEAD
from raftmem.model.records import Position
from raftmem.storage.state.clean_mark import StateMark
from raftmem.storage.state.contract import Query
from raftmem.storage.state.store import LmdbStateStore
from raftmem.storage.state.tables import encode, id_key


def mark(folder: Path, boot_id: str = "boot 1") -> StateMark:
    return StateMark(folder / "state.json", folder / "state", boot_id=boot_id)


def opened(folder: Path, boot_id: str = "boot 1") -> LmdbStateStore:
    return LmdbStateStore(folder / "state", mark=mark(folder, boot_id))


def change(folder: Path, table: bytes, key: bytes, value: bytes | None) -> None:
    """Change one row behind the store's back; None removes it."""
    with lmdb.open(str(folder), max_dbs=16) as env, env.begin(write=True) as txn:
        db = env.open_db(table, txn)
        if value is None:
            assert txn.delete(key, db=db)
        else:
            txn.put(key, value, db=db)


@pytest.mark.parametrize(
    ("clean", "boot_id", "kept"),
    [(True, "boot 1", True), (True, "boot 2", True), (False, "boot 1", True), (False, "boot 2", False)],
)
def test_only_an_unclean_stop_of_the_machine_costs_the_state(
    tmp_path: Path, clean: bool, boot_id: str, kept: bool
) -> None:
    state = opened(tmp_path)
    store(state, World().entry(put("m")))
    state.close(clean=clean)
    again = opened(tmp_path, boot_id)
    assert (again.head().index == 1) == kept
    assert ids(again.read(), Query()) == (["m"] if kept else [])
    again.close(clean=True)


def test_after_a_clean_stop_the_first_write_takes_the_mark_away(tmp_path: Path) -> None:
    world = World()
    state = opened(tmp_path)
    store(state, world.entry(put("m")))
    state.close(clean=True)
    again = opened(tmp_path, "boot 2")
    assert mark(tmp_path, "boot 3").trusted()
    with again.write() as writer:
        assert not mark(tmp_path, "boot 3").trusted(), "before anything of the run is written"
        writer.put(*world.entry(put("n")))
    again.close(clean=False)
    assert opened(tmp_path, "boot 3").head() == GENESIS_HEAD


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"boot_id": 7}'])
def test_a_state_without_a_readable_mark_is_discarded(tmp_path: Path, content: bytes | None) -> None:
    state = opened(tmp_path)
    store(state, World().entry(put("m")))
    state.close(clean=True)
    if content is None:
        (tmp_path / "state.json").unlink()
    else:
        (tmp_path / "state.json").write_bytes(content)
    again = opened(tmp_path)
    assert again.head() == GENESIS_HEAD
    again.close(clean=True)


WRITER = """
    import os, sys
    from pathlib import Path
    from raftmem.storage.state.clean_mark import StateMark
    from raftmem.storage.state.store import LmdbStateStore
    from raftmem.model.records import Position
    from raftmem.model.coordination_rows import Lock
    from storage_world import World, put, put_row, say, store

    folder = Path(sys.argv[1])
    state = LmdbStateStore(folder / "state", mark=StateMark(folder / "state.json", folder / "state", boot_id="boot"))
    world = World()
    while True:
        batch = []
        for _ in range(5):
            number = world.index
            acts = [put(f"m{number}", tags=("t",)), put("counter"), say(b"1")]
            one = Lock(f"l{number}", 1, 1, 0, Position(number, 0))
            counter = Lock("counter", number + 1, 1, 0, Position(0, 0))
            batch.append(world.entry(*acts, put_row(one), put_row(counter)))
        store(state, *batch)
        os.write(1, b"%d\\n" % world.index)
"""


def test_a_kill_leaves_a_whole_batch_and_all_that_was_committed(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[2] / 'worlds'}"},
    )
    assert writer.stdout is not None
    reported = [writer.stdout.readline() for _ in range(40)]
    os.kill(writer.pid, signal.SIGKILL)
    reported += writer.stdout.readlines()
    writer.wait()
    last = int(reported[-1])
    state = opened(tmp_path, "boot")
    head, reader = state.head(), state.read()
    assert head.index in (last, last + 5)
    counter = reader.memory("counter")
    assert counter is not None
    assert counter.version == head.index
    assert len(ids(reader, Query(tags=("t",)))) == head.index
    assert [row.index for row in reader.events(1, head.index + 1)] == list(range(1, head.index + 1))
    assert reader.coordination_row(lock_key("counter")) == Lock("counter", head.index, 1, 0, Position(0, 0))
    assert len(reader.scan(LOCKS, limit=1 << 30)) == head.index + 1
    assert [reader.content(Position(index, 2)) for index in (head.index, head.index + 1)] == [b"1", None]
    state.close(clean=True)


def test_no_room_changes_nothing_and_what_fits_is_taken_later(tmp_path: Path) -> None:
    world = World()
    state = LmdbStateStore(tmp_path / "state", map_bytes=1 << 20)
    store(state, world.entry(put("m", text="small")))
    world.index, kept = 1, dict(world.newest)
    with pytest.raises(OSError, match="no room") as refused:
        store(state, world.entry(put("m", text="x" * (1 << 20))))
    assert refused.value.errno == errno.ENOSPC
    assert state.head().index == 1
    world.index, world.newest = 1, kept
    store(state, world.entry(end("m")))
    assert ids(state.read(), Query(status="deleted")) == ["m"]
    state.close(clean=True)


def test_a_private_reader_works_on_another_thread_beside_writes(tmp_path: Path) -> None:
    world = World()
    state = LmdbStateStore(tmp_path / "state")
    store(state, *(world.entry(put(f"m{number}", tags=("t",))) for number in range(50)))
    private = state.read_private()
    found: list[list[str]] = []

    def look() -> None:
        found.extend(ids(private, Query(tags=("t",)), limit=7) for _ in range(20))
        private.release()

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(30):
        store(state, world.entry(put(f"n{number}", tags=("t",)), end(f"m{number}")))
    thread.join()
    assert found == [[f"m{number}" for number in range(50)]] * 20
    state.close(clean=True)


def test_a_readonly_view_sees_a_dead_replica_s_state_and_writes_nothing(tmp_path: Path) -> None:
    world = World()
    state = opened(tmp_path)
    store(state, world.entry(put("m")))
    state.close(clean=False)
    view = LmdbStateStore(tmp_path / "state", readonly=True)
    assert ids(view.read(), Query()) == ids(view.read_private(), Query()) == ["m"]
    with pytest.raises(StorageFailed, match="read only"):
        store(view, world.entry(put("n")))
    view.close(clean=True)
    with pytest.raises(FolderRefused):
        LmdbStateStore(tmp_path / "nothing", readonly=True)


@pytest.mark.parametrize("found", [b"\x01", b"\x63", b""])
def test_a_state_of_another_format_is_refused(tmp_path: Path, found: bytes) -> None:
    state = LmdbStateStore(tmp_path / "state")
    store(state, World().entry(put("m")))
    state.close(clean=True)
    change(tmp_path / "state", b"meta", b"format", found)
    with pytest.raises(FolderRefused, match="in another format than 2"):
        LmdbStateStore(tmp_path / "state")


@given(st.text(max_size=80), st.text(max_size=80))
@example("a", "a\0")
@example("a" * 64, "a" * 65)
def test_no_key_of_an_id_begins_another(one: str, other: str) -> None:
    assert (one == other) == id_key(one).startswith(id_key(other)) == id_key(other).startswith(id_key(one))
    assert len(id_key(one)) <= 65


ROW = (1).to_bytes(8, "big") + b"\0\0"


@pytest.mark.parametrize("damaged", [None, b"", b"\xc1", b"\x91\xa1\xff"])
def test_a_damaged_row_is_a_stop_that_names_its_entry(tmp_path: Path, damaged: bytes | None) -> None:
    state = LmdbStateStore(tmp_path / "state")
    store(state, World().entry(put("m")))
    state.close(clean=True)
    change(tmp_path / "state", b"heads", ROW, damaged)
    change(tmp_path / "state", b"events", ROW[:8], damaged)
    state = LmdbStateStore(tmp_path / "state")
    for ask in (
        lambda: state.read().memory("m"),
        lambda: state.read().event(1),
        lambda: list(state.read().events(1, 2)),
    ):
        with pytest.raises(Corrupt) as stopped:
            ask()
        assert (stopped.value.path, stopped.value.index) == (state.path, 1)
    state.close(clean=True)


def test_a_change_that_follows_another_version_is_a_stop(tmp_path: Path) -> None:
    world = World()
    state = LmdbStateStore(tmp_path / "state")
    store(state, world.entry(put("m")))
    skipped = world.entry(put("m", text="two"))
    world.index -= 1
    with pytest.raises(Corrupt, match="follows another version"):
        store(state, world.entry(put("m", text="three")))
    again = World()
    again.index = 1
    with pytest.raises(Corrupt, match="row that its id has"):
        store(state, again.entry(put("m", text="a second first life")))
    store(state, skipped)
    assert state.head().index == 2
    state.close(clean=True)


# --- coordination rows --------------------------------------------------------------------------
LOCK = Lock("l", 1, 1, 0, Position(1, 0))
GATE = Gate("g", 1, (), (), (), False, Position(1, 1), Position(1, 1))


def with_rows(folder: Path) -> None:
    state = LmdbStateStore(folder)
    store(state, World().entry(put_row(LOCK), put_row(GATE), say(b"1")))
    state.close(clean=True)


def test_the_tables_keep_their_names_on_disk(tmp_path: Path) -> None:
    with_rows(tmp_path / "state")
    with lmdb.open(str(tmp_path / "state"), max_dbs=16) as env, env.begin() as txn:
        names = [name.decode() for name in txn.cursor().iternext(values=False)]
    memories = {"ids", "heads", "versions", "vectors", "duplicates", "postings", "expiry"}
    log = {"events", "subjects", "keys", "key_order", "meta"}
    assert names == sorted(memories | log | {"things", "thing_versions", "marks", "contents"})


def test_a_look_at_a_state_without_one_of_its_tables_is_refused(tmp_path: Path) -> None:
    with_rows(tmp_path / "state")
    with lmdb.open(str(tmp_path / "state"), max_dbs=16) as env, env.begin(write=True) as txn:
        txn.drop(env.open_db(b"marks", txn))
    with pytest.raises(Corrupt, match="has no table marks"):
        LmdbStateStore(tmp_path / "state", readonly=True)


@pytest.mark.parametrize("damaged", [b"", b"\xc1", b"\x91\xa4lock", encode(Lock("other", 1, 1, 0, Position(1, 0)))])
def test_a_damaged_coordination_row_or_another_s_is_a_stop(tmp_path: Path, damaged: bytes) -> None:
    with_rows(tmp_path / "state")
    change(tmp_path / "state", b"things", lock_key("l"), damaged)
    state = LmdbStateStore(tmp_path / "state")
    for ask in (lambda: state.read().coordination_row(lock_key("l")), lambda: state.read().scan(LOCKS, limit=9)):
        with pytest.raises(Corrupt, match=lock_key("l").hex()) as stopped:
            ask()
        assert stopped.value.path == state.path
    assert state.read().coordination_row(gate_key("g")) == GATE
    state.close(clean=True)


def test_an_index_key_without_its_row_and_a_row_without_its_index_key_are_stops(tmp_path: Path) -> None:
    with_rows(tmp_path / "state")
    state = LmdbStateStore(tmp_path / "state")
    index_key = state.read().scan(GATES, limit=1)[0].index_key
    state.close(clean=True)
    change(tmp_path / "state", b"marks", index_key, None)
    change(tmp_path / "state", b"things", lock_key("l"), None)
    state = LmdbStateStore(tmp_path / "state")
    with pytest.raises(Corrupt, match="leads to a coordination row that is missing"):
        state.read().scan(LOCKS, limit=9)
    world = World()
    world.index, world.rows[gate_key("g")] = 1, GATE
    with pytest.raises(Corrupt, match="is missing"):
        store(state, world.entry(put_row(Gate("g", 1, (), (), (), False, Position(2, 0), Position(2, 0)))))
    assert state.head().index == 1
    state.close(clean=True)


def test_a_scan_of_many_reads_no_more_than_it_gives(tmp_path: Path) -> None:
    state, world = LmdbStateStore(tmp_path / "state"), World()
    store(state, world.entry(*(put_row(Lock(f"l{n}", 1, 1, 0, Position(1, n))) for n in range(50))))
    state.close(clean=True)
    change(tmp_path / "state", b"things", lock_key("l3"), None)
    state = LmdbStateStore(tmp_path / "state")
    assert len(state.read().scan(LOCKS, limit=3)) == 3
    state.close(clean=True)
