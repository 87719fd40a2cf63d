"""Snapshots of a running replica: taken beside it, installed into it, and what each failure comes to."""

import errno
from collections.abc import Callable, Collection
from functools import partial

import msgspec
import pytest
from machine_world import World, add, floats, update

from raftmem.errors import Corrupt, Stop, StorageFailed
from raftmem.machine.run import Applied
from raftmem.replica.apply_loop import Replica
from raftmem.replica.snapshot_keeper import IN_TRANSFER_SECONDS, RETRY_SECONDS, SnapshotKeeper
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.snapshots.in_memory import InMemorySnapshotStore
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.in_memory_copy import InMemoryFiles
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex

MEMBERS = LogEntry(1, 0, b"the members")


class Machine:
    """Loop, clock and executor: what is given to it runs when the test says so, in order."""

    def __init__(self) -> None:
        self.now = 100.0
        self.work: list[tuple[Callable[[], None], Callable[[BaseException | None], None]]] = []
        self.soon: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def boottime(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 1700

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> "Machine":
        self.timers.append((self.now + seconds, callback))
        return self

    def cancel(self) -> None:
        """Nothing here is cancelled."""

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        self.work.append((work, done))

    def run(self) -> None:
        """Everything that can run without time going on."""
        while self.work or self.soon:
            if self.soon:
                self.soon.pop(0)()
                continue
            work, done = self.work.pop(0)
            error: BaseException | None = None
            try:
                work()
            except Exception as raised:  # noqa: BLE001  # reported, as an executor does
                error = raised
            done(error)

    def later(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, callback in due:
            callback()
        self.run()


class One:
    """A replica with its keeper."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.files = InMemoryFiles()
        self.store = InMemoryStateStore(snapshots=self.files)
        self.snapshots = InMemorySnapshotStore(self.files, self.store)
        self.replica = Replica(self.store, InMemoryVectorIndex())
        self.stops: list[Stop] = []
        self.foreign: set[str] = set()  # names of snapshots that this log does not hold
        self.keeper = SnapshotKeeper(
            store=self.snapshots,
            replica=self.replica,
            executor=self.machine,
            loop=self.machine,
            clock=self.machine,
            members_at=lambda _index: MEMBERS,
            holds=lambda meta: meta.name not in self.foreign,
            vectors=InMemoryVectorIndex.open,
            on_failed=self.stops.append,
        )

    def take(self) -> SnapshotMeta | None:
        taken: list[SnapshotMeta | None] = []
        self.keeper.take(taken.append)
        assert taken == [], "never inside the call"
        self.machine.run()
        return taken[0]

    def received(self, meta: SnapshotMeta, data: bytes) -> list[int]:
        there: list[int] = []
        self.keeper.begin(meta, there.append)
        self.keeper.write(meta, 0, data, there.append)
        self.machine.run()
        return there

    def prepared(self, meta: SnapshotMeta) -> list[bool]:
        sound: list[bool] = []
        self.keeper.prepare(meta, sound.append)
        self.machine.run()
        return sound


@pytest.fixture
def log() -> list[LogEntry]:
    """Twenty entries of a real machine, with vectors."""
    world = World()
    for number in range(10):
        world.one(add(f"m{number}", text=f"text {number}", embedding=floats(1.0, number)))
        world.one(update(f"m{number}", tags=("t",)))
    return [LogEntry(index, 1, data) for index, data in enumerate(world.log, start=1)]


@pytest.fixture
def ahead(log: list[LogEntry]) -> One:
    one = One()
    one.replica.apply(log)
    return one


def taken(one: One) -> tuple[SnapshotMeta, bytes]:
    meta = one.take()
    assert meta is not None
    return meta, one.snapshots.read(meta, 0, meta.size)


# --- installing -------------------------------------------------------------------------------------
def test_an_installed_snapshot_is_the_replica_s_state_and_vectors(ahead: One, log: list[LogEntry]) -> None:
    meta, data = taken(ahead)
    behind = One()
    behind.replica.apply(log[:3])
    assert behind.received(meta, data) == [0, meta.size]
    assert behind.prepared(meta) == [True]
    assert behind.replica.applied == 3, "beside the one in force"
    behind.keeper.install(meta)
    assert behind.replica.head == behind.store.head() == ahead.replica.head
    assert behind.replica.vectors.index == meta.index
    assert behind.replica.vectors.audit(behind.replica.reader()) == []
    behind.machine.run()
    world = World(InMemoryStateStore())
    for entry in log:
        world.feed(entry.data)
    world.one(add("later", embedding=floats(2.0, 2.0)))
    last = LogEntry(21, 1, world.log[-1])
    for one in (ahead, behind):
        one.replica.apply([last])
    assert behind.replica.head == ahead.replica.head == world.store.head()
    assert behind.replica.vectors.audit(behind.replica.reader()) == []
    assert behind.stops == []


def test_an_install_tells_whoever_waits_for_what_it_holds(ahead: One, log: list[LogEntry]) -> None:
    meta, data = taken(ahead)
    behind = One()
    behind.replica.apply(log[:3])
    told: list[int] = []

    def tell(applied: Applied) -> None:
        assert applied.row == ahead.replica.applied_entry(applied.row.index).row
        told.append(applied.row.index)

    for index in (20, 4, 21):
        behind.replica.when_entry(index, tell)
    reached: list[int] = []
    for index in (20, 21, 7):
        behind.replica.when_applied(index, partial(reached.append, index))
    behind.received(meta, data)
    behind.prepared(meta)
    behind.keeper.install(meta)
    assert (told, reached) == ([4, 20], [7, 20])


def test_an_install_never_takes_the_state_back(ahead: One, log: list[LogEntry]) -> None:
    one = One()
    one.replica.apply(log[:10])
    meta, data = taken(one)
    assert ahead.received(meta, data) == [0, meta.size]
    assert ahead.prepared(meta) == [True]
    with pytest.raises(Corrupt, match="take it back"):
        ahead.keeper.install(meta)
    assert ahead.replica.applied == 20


def test_a_prepared_state_that_is_not_needed_goes(ahead: One) -> None:
    meta, data = taken(ahead)
    behind = One()
    behind.received(meta, data)
    behind.prepared(meta)
    behind.keeper.discard()
    behind.keeper.discard()
    behind.machine.run()
    with pytest.raises(AssertionError):
        behind.keeper.install(meta)
    assert behind.replica.applied == 0


def test_damage_on_the_way_is_not_sound_and_stops_nobody(ahead: One) -> None:
    meta, data = taken(ahead)
    behind = One()
    behind.received(meta, data[:-1] + bytes([data[-1] ^ 1]))
    assert behind.prepared(meta) == [False]
    assert behind.keeper.newest() is None
    behind.received(meta, data)
    assert behind.prepared(meta) == [True]
    assert (behind.keeper.newest(), behind.stops) == (meta, [])


# --- no room, failures ------------------------------------------------------------------------------
def test_no_room_for_what_comes_is_answered_late_with_what_is_there(ahead: One) -> None:
    meta, data = taken(ahead)
    behind = One()
    behind.files.bytes_max = 100
    there: list[int] = []
    behind.keeper.begin(meta, there.append)
    behind.keeper.write(meta, 0, data[:90], there.append)
    behind.keeper.write(meta, 90, data[90:], there.append)
    behind.machine.run()
    assert there == [0, 90]
    behind.machine.later(RETRY_SECONDS)
    assert there == [0, 90, 90]
    behind.files.bytes_max = None
    behind.keeper.write(meta, 90, data[90:], there.append)
    behind.machine.run()
    assert there[-1] == meta.size
    assert behind.prepared(meta) == [True]
    assert behind.stops == []


def test_no_room_for_a_snapshot_is_an_answer(ahead: One) -> None:
    ahead.files.bytes_max = 10
    assert ahead.take() is None
    assert (ahead.keeper.all(), ahead.stops) == ([], [])


class Short(InMemorySnapshotStore):
    """The next calls find no descriptor."""

    left = 0

    def _find(self) -> None:
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, "too many open files")

    def take(self, members_at: Callable[[int], LogEntry], wall_ms: int) -> SnapshotMeta:
        self._find()
        return super().take(members_at, wall_ms)

    def read(self, meta: SnapshotMeta, offset: int, size: int) -> bytes:
        self._find()
        return super().read(meta, offset, size)

    def begin(self, meta: SnapshotMeta) -> int:
        self._find()
        return super().begin(meta)

    def write(self, meta: SnapshotMeta, offset: int, data: bytes) -> int:
        self._find()
        return super().write(meta, offset, data)

    def finish(self, meta: SnapshotMeta) -> bool:
        self._find()
        return super().finish(meta)

    def drop(self, dropped: Collection[SnapshotMeta]) -> None:
        self._find()
        super().drop(dropped)

    def verify(self, meta: SnapshotMeta) -> str | None:
        self._find()
        return super().verify(meta)


def short() -> tuple[One, Short]:
    one = One()
    store = Short(one.files, one.store)
    one.keeper._store = store
    return one, store


def test_a_snapshot_that_finds_no_descriptor_is_postponed_and_says_why(log: list[LogEntry]) -> None:
    one, store = short()
    one.replica.apply(log)
    store.left = 1
    assert one.take() is None
    assert one.keeper.shortage is not None
    assert one.keeper.shortage.errno == errno.EMFILE
    assert one.take() is not None
    assert (one.keeper.shortage, one.stops) == (None, [])


def test_every_call_that_finds_no_descriptor_is_done_later(ahead: One) -> None:
    meta, data = taken(ahead)
    behind, store = short()
    there: list[int] = []

    def late(begin: Callable[[], None]) -> None:
        store.left = 1
        begin()
        behind.machine.run()
        behind.machine.later(RETRY_SECONDS)

    late(lambda: behind.keeper.begin(meta, there.append))
    late(lambda: behind.keeper.write(meta, 0, data, there.append))
    assert there == [0, 0], "how much is there is told again"
    behind.keeper.write(meta, 0, data, there.append)
    behind.machine.run()
    sound: list[bool] = []
    late(lambda: behind.keeper.prepare(meta, sound.append))
    assert (there[-1], sound) == (meta.size, [False])
    assert behind.prepared(meta) == [True]
    behind.keeper.install(meta)
    behind.machine.run()
    got: list[bytes | None] = []
    late(lambda: behind.keeper.read(meta, 0, 10, got.append))
    assert got == [data[:10]]
    behind.files.listed[meta] = data[:-1] + b"?"
    late(lambda: behind.keeper.doubt(meta))
    assert (behind.keeper.all(), behind.stops) == ([], [])


def test_a_replica_that_applied_nothing_has_nothing_to_take() -> None:
    assert One().take() is None


class Broken(InMemorySnapshotStore):
    """A disk that answers with errors."""

    error: Exception = StorageFailed("fsync failed")

    def begin(self, meta: SnapshotMeta) -> int:  # noqa: ARG002  # whatever is asked for
        raise self.error


@pytest.mark.parametrize("error", [StorageFailed("fsync failed"), Corrupt("x", "y"), OSError(errno.EIO, "io error")])
def test_a_failed_disk_stops_the_replica_once_and_answers_nobody(ahead: One, error: Exception) -> None:
    meta, _ = taken(ahead)
    broken = Broken(ahead.files, ahead.store)
    broken.error = error
    keeper = SnapshotKeeper(
        store=broken,
        replica=ahead.replica,
        executor=ahead.machine,
        loop=ahead.machine,
        clock=ahead.machine,
        members_at=lambda _index: MEMBERS,
        holds=lambda _meta: True,
        vectors=InMemoryVectorIndex.open,
        on_failed=ahead.stops.append,
    )
    answers: list[object] = []
    keeper.begin(meta, answers.append)
    keeper.read(meta, 0, 10, answers.append)
    keeper.take(answers.append)
    ahead.machine.run()
    assert answers == []
    (stop,) = ahead.stops
    assert stop is error or (isinstance(stop, StorageFailed) and "io error" in str(stop))


# --- keeping ----------------------------------------------------------------------------------------
def grow(one: One) -> SnapshotMeta:
    """One entry more, and a snapshot of it."""
    entry = one.replica.applied_entry(1).row
    one.replica.apply([LogEntry(one.replica.applied + 1, 1, entry.data)])
    meta = one.take()
    assert meta is not None
    return meta


def test_a_snapshot_is_kept_for_as_long_as_it_is_being_sent(ahead: One) -> None:
    """A slow transfer of a large state outlives many younger snapshots; it must not begin anew for ever."""
    metas = [grow(ahead)]
    got: list[bytes | None] = []
    for _ in range(6):
        metas.append(grow(ahead))
        ahead.keeper.read(metas[0], 0, 10, got.append)
        ahead.machine.run()
    assert None not in got
    assert ahead.keeper.all() == [metas[-1], metas[-2], metas[0]]
    ahead.machine.now += IN_TRANSFER_SECONDS + 1
    metas.append(grow(ahead))
    assert ahead.keeper.all() == [metas[-1], metas[-2]]
    assert ahead.keeper.newest() == metas[-1]


def test_a_received_snapshot_counts_when_the_log_holds_it_and_pushes_out_no_other(ahead: One) -> None:
    """A log that was compacted by it would begin above its own state, with nothing to make that again from."""
    own = [grow(ahead), grow(ahead)]
    later, data = taken(ahead)
    received = msgspec.structs.replace(later, index=later.index + 50, term=9)
    ahead.files.listed[received] = data
    ahead.foreign.add(received.name)
    assert ahead.keeper.newest() == later
    newest = grow(ahead)
    assert ahead.keeper.newest() == newest
    assert ahead.keeper.all() == [received, newest, later]
    assert own[0] not in ahead.keeper.all()


def test_a_doubted_snapshot_goes_only_if_it_is_damaged(ahead: One) -> None:
    sound, damaged = grow(ahead), grow(ahead)
    ahead.files.listed[damaged] = ahead.files.listed[damaged][:-1] + b"?"
    for meta in (sound, damaged):
        ahead.keeper.doubt(meta)
    ahead.machine.run()
    assert ahead.keeper.all() == [sound]
