"""A log that an earlier version kept in a database becomes segments, at once or not at all."""

import struct
import zlib
from pathlib import Path

import lmdb
import msgspec
import pytest
from log_faults import Killed, Strike, Struck, killed_before, killed_halfway
from log_world import everything, marked, members, small_log

from raftmem.errors import Corrupt, CutShort, FolderRefused
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry
from raftmem.storage.log.files import segment_numbers
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.log.store import SegmentLogStore


def sealed(record: object) -> bytes:
    raw = msgspec.msgpack.encode(record)
    return struct.pack(">I", zlib.crc32(raw)) + raw


def old_log(folder: Path, *entries: LogEntry, base: tuple[int, LogEntry] | None = None, listed: bool = True) -> None:
    """As that version left it: `listed` off, as the very first one did; some forgotten entries may be left."""
    with lmdb.open(str(folder), max_dbs=3) as env, env.begin(write=True) as txn:
        entries_db, meta_db = env.open_db(b"entries", txn), env.open_db(b"meta", txn)
        txn.put(b"hard_state", sealed((3, "n1")), db=meta_db)
        if base is not None:
            txn.put(b"base", sealed(base), db=meta_db)
        for entry in entries:
            checksum = zlib.crc32(entry.data, zlib.crc32(struct.pack(">QQ", entry.index, entry.term)))
            value = struct.pack(">IQ", checksum, entry.term) + entry.data
            txn.put(struct.pack(">Q", entry.index), value, db=entries_db)
        if listed:
            table = env.open_db(b"memberships", txn)
            for entry in entries:
                if entry.data[:1] == b"\x02":
                    txn.put(struct.pack(">Q", entry.index), b"", db=table)


def edit(folder: Path, table: bytes, key: bytes, value: bytes | None) -> None:
    with lmdb.open(str(folder), max_dbs=3) as env, env.begin(write=True) as txn:
        db = env.open_db(table, txn)
        if value is None:
            txn.delete(key, db=db)
        else:
            txn.put(key, value, db=db)


LOGS: dict[str, tuple[list[LogEntry], tuple[int, LogEntry] | None]] = {
    "from its bootstrap": ([members(1), *map(marked, range(2, 40)), members(40), marked(41)], None),
    "joined": ([members(0), members(1), marked(2)], None),
    "just joined": ([members(0)], None),
    "compacted": ([*map(marked, range(4, 20)), members(20), marked(21)], (9, members(2))),
    "reset": ([members(50)], (50, members(50))),
}


def twin_of(name: str) -> InMemoryLogStore:
    entries, base = LOGS[name]
    twin = InMemoryLogStore()
    twin.commit([HardState(3, "n1")])
    if base is None:
        twin.commit([Append(tuple(entries))])
    else:
        filler = [marked(index) for index in range(base[1].index + 1, entries[0].index)]
        below = [marked(index) for index in range(1, base[1].index)]
        whole = [*below, *([base[1]] if base[1] != entries[0] else []), *filler, *entries]
        twin.commit([Append(tuple(whole)), Compact(*base)])
    return twin


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", LOGS)
def test_an_old_log_becomes_segments_once(tmp_path: Path, name: str, listed: bool) -> None:
    folder = tmp_path / "log"
    old_log(folder, *LOGS[name][0], base=LOGS[name][1], listed=listed)
    log = small_log(folder)
    expected = everything(twin_of(name))
    assert everything(log) == expected
    assert list(log.verify()) == []
    log.commit([Append((marked(log.last_index() + 1),))])
    log.close()
    assert not list(folder.glob("*.mdb"))
    log = SegmentLogStore(folder)
    assert log.read(0, 99)[:-1] == expected[3]
    log.close()


def test_a_look_at_an_old_log_says_what_to_do_and_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    old_log(folder, members(1))
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(FolderRefused, match="as an earlier version wrote it; start the replica once"):
        SegmentLogStore(folder, readonly=True)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("strike", [killed_before, killed_halfway])
def test_a_conversion_that_is_cut_short_is_begun_again(
    tmp_path: Path, strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of its calls, and also while segments of the last attempt are there."""
    monkeypatch.setattr("raftmem.storage.log.old._BATCH_BYTES", 300)
    folder = tmp_path / "log"
    old_log(folder, *LOGS["from its bootstrap"][0])
    expected = everything(twin_of("from its bootstrap"))
    killed = 0
    while killed < 1000:
        files = Struck()
        files.arm(killed, strike)
        try:
            log = small_log(folder, files=files)
        except Killed:
            killed += 1
            continue
        assert everything(log) == expected
        assert list(log.verify()) == []
        log.close()
        break
    assert 30 < killed < 1000
    assert not list(folder.glob("*.mdb"))


def test_a_kill_before_the_database_is_gone_leaves_it_in_force(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    old_log(folder, members(1), marked(2))
    files = Struck()
    files.arm(10**6, killed_before)
    small_log(folder, files=files).close()
    last = len(files.names) - files.names[::-1].index("unlink") - 1
    for path in folder.iterdir():
        path.unlink()
    old_log(folder, members(1), marked(2))
    files.arm(last, killed_before)
    with pytest.raises(Killed):
        small_log(folder, files=files)
    assert segment_numbers(folder) == [1]
    edit(folder, b"entries", (3).to_bytes(8), struct.pack(">IQ", 0, 0))  # the database is what counts
    with pytest.raises(Corrupt, match="wrong checksum at index 3"):
        small_log(folder)
    edit(folder, b"entries", (3).to_bytes(8), None)
    log = small_log(folder)
    assert log.read(0, 99) == [members(1), marked(2)]
    log.close()


@pytest.mark.parametrize(
    ("table", "key", "value", "what"),
    [
        (b"meta", b"base", b"\0\0\0\0\x92\x03\xc0", "base .* wrong checksum"),
        (b"meta", b"base", None, "entry is missing at index 1"),
        (b"meta", b"hard_state", None, "has entries but no hard state"),
        (b"meta", b"hard_state", b"\1", "hard state .* wrong checksum"),
        (b"entries", (9).to_bytes(8), None, "entry is missing at index 9"),
        (b"entries", (12).to_bytes(8), None, "entry is missing at index 12"),
        (b"entries", (12).to_bytes(8), b"damaged, and long enough", "wrong checksum at index 12"),
        (b"entries", (12).to_bytes(8), b"short", "holds 5 bytes only at index 12"),
        (b"entries", b"key", b"", "has a key of 3 bytes"),
    ],
)
def test_damage_to_an_old_log_is_a_stop_and_stays_one(
    tmp_path: Path, table: bytes, key: bytes, value: bytes | None, what: str
) -> None:
    folder = tmp_path / "log"
    old_log(folder, *LOGS["compacted"][0], base=LOGS["compacted"][1])
    edit(folder, table, key, value)
    for _ in range(2):
        with pytest.raises(Corrupt, match=what) as stopped:
            small_log(folder)
        assert stopped.value.path == str(folder / "data.mdb")


@pytest.mark.parametrize("kept", [0, 100, 9000])
def test_an_old_log_that_was_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    folder = tmp_path / "log"
    old_log(folder, *map(marked, range(1, 200)))
    with (folder / "data.mdb").open("r+b") as file:
        file.truncate(kept)
    for _ in range(2):
        with pytest.raises(CutShort, match=f"data.mdb: is cut short: {kept} bytes"):
            small_log(folder)
    assert (folder / "data.mdb").stat().st_size == kept


def test_a_database_that_is_none_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt, match="damaged"):
        SegmentLogStore(tmp_path / "log")
