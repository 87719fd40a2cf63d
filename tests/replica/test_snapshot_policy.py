"""When a snapshot is due, how far the log may go then, and what a full disk does to both."""

from collections.abc import Callable

import pytest
from machine_world import World, add

from raftmem.replica.apply_loop import Replica
from raftmem.replica.snapshot_policy import BACK_OFF_SECONDS, SnapshotPolicy, SnapshotThresholds
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex

NEVER = SnapshotThresholds(entries=10**9, bytes=10**9, age_seconds=10**9, keep_entries=0)


class House:
    """A replica, a keeper that the test answers for, and a clock that it moves."""

    def __init__(self, policy: SnapshotThresholds) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.world = World()
        self.replica = Replica(InMemoryStateStore(), InMemoryVectorIndex())
        self.listed: SnapshotMeta | None = None
        self.asked: list[Callable[[SnapshotMeta | None], None]] = []
        self.compacted: list[int] = []
        self.keeping = SnapshotPolicy(
            policy=policy,
            replica=self.replica,
            snapshots=self,
            compact=self.compacted.append,
            loop=self,
            clock=self,
        )
        self.keeping.start()

    # what housekeeping is given
    def boottime(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 0

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> "House":
        self.timers.append((self.now + seconds, callback))
        return self

    def cancel(self) -> None:
        """Nothing here is cancelled."""

    def newest(self) -> SnapshotMeta | None:
        return self.listed

    def take(self, done: Callable[[SnapshotMeta | None], None]) -> None:
        self.asked.append(done)

    # what the test does
    def apply(self, count: int, text: str = "x") -> None:
        for _ in range(count):
            self.world.one(add(f"m{len(self.world.log)}", text=text))
            self.replica.apply([LogEntry(len(self.world.log), 1, self.world.log[-1])])

    def later(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, callback = self.timers.pop(0)
            callback()
        self.now = end

    def taken(self, *, size: int = 1) -> None:
        """What was asked for is done."""
        head = self.replica.head
        self.listed = SnapshotMeta(head.index, head.term, size, b"c" * 32, head.digest, b"e", LogEntry(1, 0, b"m"), 0)
        self.asked.pop()(self.listed)


@pytest.mark.parametrize(
    ("policy", "before", "then"),
    [
        (NEVER._replace(entries=10), lambda house: house.apply(9), lambda house: house.apply(1)),
        (NEVER._replace(bytes=5000), lambda house: house.apply(5), lambda house: house.apply(1, "x" * 5000)),
        (NEVER._replace(age_seconds=50), lambda house: house.apply(1), lambda house: house.later(50)),
    ],
    ids=["entries", "bytes", "age"],
)
def test_a_snapshot_is_due_after_enough_of_anything_and_then_again(
    policy: SnapshotThresholds, before: Callable[[House], None], then: Callable[[House], None]
) -> None:
    house = House(policy)
    for _ in range(3):
        before(house)
        house.later(2)
        assert house.asked == []
        then(house)
        house.later(2)
        assert len(house.asked) == 1, "and no second one meanwhile"
        house.taken()


def test_after_a_large_snapshot_more_entries_make_the_next_one_due_but_no_more_bytes_or_time() -> None:
    house = House(NEVER._replace(entries=10, bytes=20_000, age_seconds=50))
    house.apply(10)
    house.later(1)
    house.taken(size=8 * 6000)
    house.apply(10)
    house.later(1)
    assert house.asked == [], "these are no eighth of it yet"
    house.apply(5, "x" * 1000)
    house.later(1)
    assert len(house.asked) == 1
    house.taken(size=1 << 40)
    house.apply(1, "x" * 20_000)
    house.later(1)
    assert len(house.asked) == 1
    house.taken(size=1 << 40)
    house.apply(1)
    house.later(51)
    assert len(house.asked) == 1


def test_nothing_new_is_never_due() -> None:
    house = House(NEVER._replace(entries=1, age_seconds=5))
    house.later(100)
    assert house.asked == []
    house.apply(1)
    house.later(1)
    house.taken()
    house.later(100)
    assert house.asked == []


def test_the_log_goes_up_to_the_snapshot_less_the_tail_that_is_kept() -> None:
    house = House(NEVER._replace(entries=20, keep_entries=5))
    house.apply(20)
    house.later(1)
    assert house.compacted == []
    house.taken()
    assert house.compacted == [15]
    house.apply(3)
    house.later(1)
    assert house.compacted == [15, 15], "again, for one who could not go so far at first"


def test_a_snapshot_above_the_state_does_not_raise_the_log() -> None:
    """It was received, and is not installed yet."""
    house = House(NEVER)
    house.apply(20)
    head = house.replica.head
    house.listed = SnapshotMeta(90, head.term, 1, b"c" * 32, head.digest, b"e", LogEntry(1, 0, b"m"), 0)
    house.later(1)
    assert house.compacted == [20]
    assert house.asked == []


def test_no_room_is_tried_again_only_after_a_while() -> None:
    house = House(NEVER._replace(entries=5))
    house.apply(5)
    house.later(1)
    house.asked.pop()(None)
    house.later(BACK_OFF_SECONDS - 2)
    assert house.asked == []
    house.later(4)
    assert len(house.asked) == 1
    house.taken()
    assert house.compacted == [5]


def test_after_a_stop_nothing_is_begun() -> None:
    house = House(NEVER._replace(entries=5))
    house.apply(5)
    house.later(1)
    house.keeping.stop()
    house.taken()
    house.apply(50)
    house.later(100)
    assert (house.asked, house.compacted) == ([], [])
