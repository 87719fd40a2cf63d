"""What every snapshot store promises, with the state store beside it: one suite for the disk and its twin in memory."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from storage_world import ACTOR, World, end, end_row, ids, put, put_row, say, store, use_key

from raftmem.errors import Corrupt
from raftmem.model.coordination_rows import GATES, LOCKS, Gate, Lock, gate_key, lock_key
from raftmem.model.records import Position
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta, SnapshotStore
from raftmem.storage.snapshots.in_memory import InMemorySnapshotStore
from raftmem.storage.snapshots.store import FileSnapshotStore
from raftmem.storage.state.contract import Query, StateStore
from raftmem.storage.state.copy import state_file
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.in_memory_copy import InMemoryFiles
from raftmem.storage.state.store import LmdbStateStore

MEMBERS = LogEntry(1, 0, b"the members")
FLOATS = b"\0\0\x80?"


def gate(created: Position, required: int) -> Gate:
    return Gate("g", required, (), (), (), False, created, created)


class Disk:
    """One replica's state and snapshots; `start` is a new life over what the last one left."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.files = InMemoryFiles()
        self.world = World()
        self.state: StateStore
        self.snapshots: SnapshotStore
        if folder is None:
            self._memory = InMemoryStateStore(snapshots=self.files)
        self.start()

    def start(self) -> None:
        if self.folder is None:
            self.state = self._memory
            self.snapshots = InMemorySnapshotStore(self.files, self._memory)
            return
        self.folder.mkdir(exist_ok=True)
        self._lmdb = self.state = LmdbStateStore(self.folder / "state", snapshots=self.folder / "snapshots")
        self.snapshots = FileSnapshotStore(self.folder / "snapshots", self._lmdb)

    def restart(self) -> None:
        self.state.close(clean=True)
        self.start()

    def fill(self, count: int = 20) -> None:
        for _ in range(count):
            number = self.world.index
            place = Position(number + 1, 2)
            rows = (put_row(Lock(f"l{number}", 1, 1, 0, place)), put_row(gate(place, number)), say(b"1"))
            acts = (put(f"m{number}", tags=("t",), vector=FLOATS), put("counter"), use_key(f"k{number}"))
            store(self.state, self.world.entry(*acts, *rows))

    def take(self) -> SnapshotMeta:
        return self.snapshots.take(lambda _index: MEMBERS, 1700)

    def damage(self, meta: SnapshotMeta) -> None:
        """One byte of a listed copy turns over."""
        if self.folder is None:
            data = bytearray(self.files.listed[meta])
            data[meta.size // 2] ^= 1
            self.files.listed[meta] = bytes(data)
            return
        with open(state_file(self.folder / "snapshots", meta), "r+b") as file:
            file.seek(meta.size // 2)
            byte = file.read(1)[0]
            file.seek(meta.size // 2)
            file.write(bytes([byte ^ 1]))


@pytest.fixture(params=["memory", "lmdb"])
def disks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Disk, Disk]]:
    """A replica with twenty entries, and one with none."""
    one, other = (Disk(tmp_path / name if request.param == "lmdb" else None) for name in ("one", "other"))
    one.fill()
    yield one, other
    one.state.close(clean=False)
    other.state.close(clean=False)


def send(source: Disk, target: Disk, meta: SnapshotMeta, *, chunk: int = 1000, chunks: int = 1 << 30) -> int:
    """From where the target stands; how many bytes are there then."""
    there = target.snapshots.begin(meta)
    while there < meta.size and chunks > 0:
        there = target.snapshots.write(meta, there, source.snapshots.read(meta, there, chunk))
        chunks -= 1
    return there


class TestSnapshotContract:
    def test_a_taken_snapshot_says_what_it_is_and_outlives_a_restart(self, disks: tuple[Disk, Disk]) -> None:
        one, _ = disks
        meta = one.take()
        head, event = one.state.head(), one.state.read().event(20)
        assert event is not None
        assert (meta.index, meta.term, meta.digest, meta.entry) == (20, head.term, head.digest, event.data)
        assert (meta.members, meta.wall_ms) == (MEMBERS, 1700)
        data = one.snapshots.read(meta, 0, meta.size + 1)
        assert (meta.size, meta.checksum) == (len(data), hashlib.blake2b(data, digest_size=32).digest())
        one.restart()
        assert one.snapshots.all() == [meta]

    def test_a_snapshot_is_one_moment_while_the_state_goes_on(self, disks: tuple[Disk, Disk]) -> None:
        one, other = disks
        meta = one.take()
        assert one.take() == meta, "nothing was applied since"
        one.fill(5)
        later = one.take()
        assert one.snapshots.all() == [later, meta]
        assert send(one, other, meta) == meta.size
        assert other.snapshots.finish(meta)
        prepared = other.state.prepare(meta)
        reader = prepared.reader()
        assert (reader.head, reader.event(21)) == (prepared.head, None)
        assert len(ids(reader, Query(tags=("t",)))) == len(reader.scan(LOCKS, limit=99)) == 20
        assert reader.coordination_row(gate_key("g")) == gate(Position(20, 2), 19)
        reader.release()
        prepared.discard()

    def test_an_installed_state_is_the_one_that_was_copied_and_goes_on(self, disks: tuple[Disk, Disk]) -> None:
        one, other = disks
        meta = one.take()
        assert send(one, other, meta) == meta.size
        assert other.snapshots.finish(meta)
        prepared = other.state.prepare(meta)
        assert other.state.head().index == 0, "beside the one in force"
        other.state.replace(prepared)
        prepared.discard()
        entry = one.world.entry(put("counter"), end("m3"), end_row(lock_key("l3")))
        store(one.state, entry)
        store(other.state, entry)
        for _ in range(2):
            mine, theirs = one.state.read(), other.state.read()
            assert other.state.head() == one.state.head() == theirs.head
            assert list(theirs.events(1, 99)) == list(mine.events(1, 99))
            assert ids(theirs, Query()) == ids(mine, Query())
            assert [theirs.memory("counter"), theirs.memory("m3")] == [mine.memory("counter"), mine.memory("m3")]
            assert list(theirs.vectors()) == list(mine.vectors())
            for prefix, count in ((LOCKS, 19), (GATES, 1)):
                assert theirs.scan(prefix, limit=99) == mine.scan(prefix, limit=99)
                assert len(theirs.scan(prefix, limit=99)) == count
            assert theirs.coordination_row(lock_key("l3")) is None
            assert theirs.coordination_row(gate_key("g"), Position(8, 9)) == gate(Position(8, 2), 7)
            assert theirs.content(Position(8, 4)) == mine.content(Position(8, 4)) == b"1"
            assert theirs.idempotency(ACTOR, "k7") == mine.idempotency(ACTOR, "k7") is not None
            other.restart()

    def test_whoever_reads_the_replaced_state_reads_on(self, disks: tuple[Disk, Disk]) -> None:
        one, other = disks
        other.fill(3)
        meta = one.take()
        send(one, other, meta)
        assert other.snapshots.finish(meta)
        private = other.state.read_private()
        prepared = other.state.prepare(meta)
        other.state.replace(prepared)
        prepared.discard()
        assert private.head.index == 3
        assert len(ids(private, Query(tags=("t",)))) == 3
        private.release()
        private.release()
        assert len(ids(other.state.read(), Query(tags=("t",)))) == 20

    def test_receiving_goes_on_where_it_stood(self, disks: tuple[Disk, Disk]) -> None:
        one, other = disks
        meta = one.take()
        assert send(one, other, meta, chunks=2) == 2000
        other.restart()
        assert other.snapshots.all() == []
        assert other.snapshots.begin(meta) == 2000
        assert send(one, other, meta) == meta.size
        assert other.snapshots.all() == []
        assert other.snapshots.finish(meta)
        assert other.snapshots.all() == [meta]
        assert other.snapshots.begin(meta) == meta.size
        assert other.snapshots.write(meta, 0, b"late") == meta.size

    def test_another_snapshot_throws_the_partial_one_away(self, disks: tuple[Disk, Disk]) -> None:
        one, other = disks
        meta = one.take()
        one.fill(1)
        later = one.take()
        assert send(one, other, meta, chunks=2) == 2000
        assert other.snapshots.begin(later) == 0
        assert other.snapshots.write(meta, 2000, b"x") == 0, "it is received no more"
        assert not other.snapshots.finish(meta)
        assert other.snapshots.begin(meta) == 0

    @pytest.mark.parametrize(("offset", "size"), [(0, 10), (1999, 10), (2001, 10), (2000, 1 << 20)])
    def test_bytes_that_do_not_go_on_are_ignored(self, disks: tuple[Disk, Disk], offset: int, size: int) -> None:
        one, other = disks
        meta = one.take()
        send(one, other, meta, chunks=2)
        assert other.snapshots.write(meta, offset, b"x" * size) == 2000
        assert send(one, other, meta) == meta.size
        assert other.snapshots.finish(meta)

    def test_damage_on_the_way_costs_the_transfer_and_nothing_else(self, disks: tuple[Disk, Disk]) -> None:
        one, other = disks
        meta = one.take()
        other.snapshots.begin(meta)
        data = bytearray(one.snapshots.read(meta, 0, meta.size))
        data[meta.size // 3] ^= 1
        assert other.snapshots.write(meta, 0, bytes(data)) == meta.size
        assert not other.snapshots.finish(meta)
        assert other.snapshots.all() == []
        assert other.snapshots.begin(meta) == 0
        assert send(one, other, meta) == meta.size
        assert other.snapshots.finish(meta)

    @pytest.mark.parametrize(
        "lie", [{"index": 19}, {"term": 99}, {"entry": b"another"}, {"digest": b"d" * 32}], ids=str
    )
    def test_a_meta_that_is_not_of_its_copy_is_refused(self, disks: tuple[Disk, Disk], lie: dict[str, object]) -> None:
        one, other = disks
        meta = one.take()
        false = msgspec.structs.replace(meta, **lie)
        other.snapshots.begin(false)
        other.snapshots.write(false, 0, one.snapshots.read(meta, 0, meta.size))
        assert not other.snapshots.finish(false)
        assert other.snapshots.all() == []

    def test_a_copy_that_is_cut_short_is_not_finished(self, disks: tuple[Disk, Disk]) -> None:
        one, other = disks
        meta = one.take()
        assert not other.snapshots.finish(meta), "nothing came"
        send(one, other, meta, chunks=2)
        assert not other.snapshots.finish(meta)
        assert other.snapshots.begin(meta) == 0

    def test_a_listed_snapshot_that_went_bad_is_never_a_state_and_goes_when_asked_for(
        self, disks: tuple[Disk, Disk]
    ) -> None:
        one, _ = disks
        meta = one.take()
        one.damage(meta)
        with pytest.raises(Corrupt, match="checksum"):
            one.state.prepare(meta)
        assert one.state.head().index == 20
        assert not one.snapshots.finish(meta)
        assert one.snapshots.all() == []
        assert one.snapshots.begin(meta) == 0

    def test_only_the_newest_are_kept(self, disks: tuple[Disk, Disk]) -> None:
        one, _ = disks
        taken = []
        for _ in range(4):
            one.fill(1)
            taken.append(one.take())
        one.snapshots.drop(one.snapshots.all()[2:])
        for _ in range(2):
            assert one.snapshots.all() == [taken[3], taken[2]]
            for gone in taken[:2]:
                with pytest.raises(FileNotFoundError):
                    one.snapshots.read(gone, 0, 10)
                with pytest.raises(FileNotFoundError):
                    one.state.prepare(gone)
            one.restart()

    def test_where_the_membership_is_not_known_any_more_nothing_is_listed(self, disks: tuple[Disk, Disk]) -> None:
        one, _ = disks

        def unknown(index: int) -> LogEntry:
            raise LookupError(index)

        with pytest.raises(LookupError):
            one.snapshots.take(unknown, 0)
        assert one.snapshots.all() == []
        one.restart()
        assert one.snapshots.all() == []
