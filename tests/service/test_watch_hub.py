"""Who follows the log is told of what may concern it, of nothing else, and never keeps the loop from the others."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import pytest
from machine_world import SECOND, Step, World, add, delete, noop

from raftmem.errors import ShuttingDown, TooManyRequests
from raftmem.machine.run import Applied
from raftmem.model import codec
from raftmem.model.commands import GatePut, LockAcquire, TaskAdd
from raftmem.model.records import About, Outcome, Result
from raftmem.model.records import Step as MachineStep
from raftmem.service import watch_hub
from raftmem.service.interface import Topic
from raftmem.service.watch_fair_share import ROUND_SECONDS, WatchFairShare
from raftmem.service.watch_hub import HubSubscription, WatchHub
from raftmem.storage.state.contract import EventRow


class OwnClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def boottime(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 0


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class OwnLoop:
    """Callbacks run when the test says so."""

    def __init__(self, clock: OwnClock) -> None:
        self._clock = clock
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None], Timer]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer()
        self.later.append((self._clock.now + seconds, callback, timer))
        return timer

    def run(self) -> None:
        """What is due soon, and what that calls for."""
        while self.soon:
            self.soon.pop(0)()

    def pass_time(self, seconds: float) -> None:
        self._clock.now += seconds
        due = [one for one in self.later if one[0] <= self._clock.now]
        self.later = [one for one in self.later if one not in due]
        for _, callback, timer in due:
            if not timer.cancelled:
                callback()
        self.run()


class Fixture:
    """A hub on a loop and a clock of the test's own, fed by hand."""

    def __init__(self) -> None:
        self.clock = OwnClock()
        self.loop = OwnLoop(self.clock)
        self.hub = WatchHub(loop=self.loop, clock=self.clock)
        self.index = 0

    def apply(self, *outcomes: Outcome, count: int = 1) -> int:
        """Entries with these outcomes; the index of the last."""
        told: list[Applied] = []
        for _ in range(count):
            self.index += 1
            row = EventRow(self.index, 1, b"", Result(outcomes), b"")
            entry = codec.decode(codec.no_op(time=0, wall_ms=0))
            told.append(Applied(row, MachineStep(row.result, ()), entry))
        self.hub.applied(told)
        return self.index


def run(work: Coroutine[object, object, None]) -> None:
    asyncio.run(work)


async def settle() -> None:
    """Everything that can go on does."""
    for _ in range(5):
        await asyncio.sleep(0)


def outcome(op: str = "ADD", memory_id: str | None = None, **about: object) -> Outcome:
    shown = About(**about) if about else None  # type: ignore[arg-type]  # words of the test
    return Outcome(op, applied=True, memory_id=memory_id, about=shown)


# --- what concerns whom ------------------------------------------------------------------------------
STEPS: dict[int, Sequence[Step]] = {
    1: [add("m1", text="x", app_id="shop", user_id="u", agent_id="a", run_id="r")],
    2: [add("m2", text="x", app_id="shop"), add("m3", text="x", app_id="bank")],
    3: [delete("m1")],
    4: [noop()],
    5: [(LockAcquire("l", "o", 1000), None)],
    6: [(TaskAdd("t", "q"), None)],
    7: [(GatePut("g", 1), None)],
}


@pytest.mark.parametrize(
    ("topics", "told"),
    [
        ([], [1, 2, 3, 4, 5, 6, 7]),
        ([("memory_id", "m1")], [1, 3]),
        ([("memory_id", "m3")], [2]),
        ([("app_id", "shop")], [1, 2, 3]),
        ([("app_id", "bank")], [2]),
        ([("user_id", "u")], [1, 3]),
        ([("agent_id", "a")], [1, 3]),
        ([("run_id", "r")], [1, 3]),
        ([("op", "ADD")], [1, 2]),
        ([("op", "NOOP")], [4]),
        ([("lock", "l")], [5]),
        ([("queue", "q")], [6]),
        ([("gate", "g")], [7]),
        ([("lock", "other")], []),
        ([("op", "ADD"), ("app_id", "bank")], [2]),
        ([("app_id", "shop"), ("memory_id", "m1")], [1, 3]),
    ],
)
def test_a_follower_is_told_of_the_entries_of_its_most_selective_topic(topics: list[Topic], told: list[int]) -> None:
    world, one = World(), Fixture()
    place = one.hub.subscribe(topics)
    for steps in STEPS.values():
        world.run(*steps)
        assert world.last is not None
        one.hub.applied([world.last])
        world.later(ms=SECOND // 1000)
    assert place.take() == told
    assert place.take() == []


def test_entries_without_events_concern_who_follows_their_names_and_who_follows_everything() -> None:
    one = Fixture()
    raft, member, everything, adds = (
        one.hub.subscribe(topics) for topics in ([("op", "RAFT")], [("op", "MEMBER")], [], [("op", "ADD")])
    )
    one.apply()
    assert [place.take() for place in (raft, member, everything, adds)] == [[1], [1], [1], []]


def test_an_entry_is_told_once_however_much_of_it_concerns_the_watcher() -> None:
    one = Fixture()
    place = one.hub.subscribe([("lock", "l")])
    one.apply(*[outcome("LOCK_GRANT", lock="l"), outcome("LOCK_RENEW", lock="m")] * 3)
    assert place.take() == [1]


def test_a_follower_is_told_of_what_came_after_it_began_however_the_others_read() -> None:
    one = Fixture()
    early = one.hub.subscribe([])
    one.apply(count=3)
    late = one.hub.subscribe([])
    one.apply(count=2)
    assert early.take() == [1, 2, 3, 4, 5]
    one.apply()
    assert (early.take(), late.take()) == ([6], [4, 5, 6])


def test_who_takes_nothing_past_the_bound_looks_everything_up_anew_and_then_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch_hub, "WATCH_PENDING_MAX", 1000)
    one = Fixture()
    slow, quick = one.hub.subscribe([]), one.hub.subscribe([])
    taken: list[int] = []
    for _ in range(40):
        one.apply(count=100)
        found = quick.take()
        assert found is not None
        taken += found
    assert taken == list(range(1, 4001))
    assert slow.take() is None
    one.apply(count=2)
    assert slow.take() == [4001, 4002]


def test_what_everyone_has_taken_is_not_kept() -> None:
    one = Fixture()
    place = one.hub.subscribe([])
    for _ in range(100):
        one.apply(count=100)
        place.take()
    assert len(place._channel.indexes) < 1000  # what a caller cannot see must not grow
    place.close()
    assert one.hub._channels == {}


def test_after_a_snapshot_was_installed_everyone_looks_everything_up_anew() -> None:
    one = Fixture()
    places = [one.hub.subscribe([]), one.hub.subscribe([("lock", "l")])]
    one.hub.installed()
    assert [place.take() for place in places] == [None, None]
    one.index = 500
    one.apply(outcome(lock="l"))
    assert [place.take() for place in places] == [[501], [501]]


# --- waiting ----------------------------------------------------------------------------------------------
class Waiting:
    """A task that waits, looked at from outside."""

    def __init__(self, place: HubSubscription, seconds: float = 10.0) -> None:
        self.task = asyncio.ensure_future(place.wait(seconds))

    async def is_over(self, one: Fixture) -> bool:
        await settle()
        one.loop.run()
        await settle()
        return self.task.done()


def test_only_whom_an_entry_may_concern_is_woken() -> None:
    async def work() -> None:
        one = Fixture()
        concerned, other = Waiting(one.hub.subscribe([("lock", "l")])), Waiting(one.hub.subscribe([("lock", "m")]))
        assert not await concerned.is_over(one)
        one.apply(outcome(lock="l"))
        assert await concerned.is_over(one)
        assert not await other.is_over(one)
        other.task.cancel()

    run(work())


@pytest.mark.parametrize("end", ["time", "hub closes", "place closes", "installed"])
def test_a_wait_ends_without_an_entry(end: str) -> None:
    async def work() -> None:
        one = Fixture()
        place = one.hub.subscribe([])
        waiting = Waiting(place, 10.0)
        assert not await waiting.is_over(one)
        match end:
            case "time":
                one.loop.pass_time(9.9)
                assert not await waiting.is_over(one)
                one.loop.pass_time(0.2)
            case "hub closes":
                one.hub.close()
                assert place.closing
            case "place closes":
                place.close()
                place.close()
            case _:
                one.hub.installed()
        assert await waiting.is_over(one)

    run(work())


def test_what_was_applied_before_the_wait_ends_it_at_once() -> None:
    async def work() -> None:
        one = Fixture()
        place = one.hub.subscribe([])
        one.apply()
        assert await Waiting(place).is_over(one)
        assert place.take() == [1]

    run(work())


def test_followers_past_the_bound_and_of_a_hub_that_closes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_hub, "WATCHERS_MAX", 2)
    one = Fixture()
    first, _ = one.hub.subscribe([]), one.hub.subscribe([("lock", "l")])
    with pytest.raises(TooManyRequests, match="2 streams are open"):
        one.hub.subscribe([])
    first.close()
    one.hub.subscribe([])
    one.hub.close()
    with pytest.raises(ShuttingDown):
        one.hub.subscribe([])


# --- turns ------------------------------------------------------------------------------------------------
class Workers:
    """Those who ask for turns, each of which takes `seconds` of the loop."""

    def __init__(self, seconds: float) -> None:
        self.clock = OwnClock()
        self.loop = OwnLoop(self.clock)
        self.turns = WatchFairShare(loop=self.loop, clock=self.clock)
        self._seconds = seconds
        self._waiting: list[asyncio.Future[None]] = []
        self.done = 0

    def ask(self, count: int) -> None:
        for _ in range(count):
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            self.turns.ask(future)

    def run(self) -> None:
        """Until the loop has nothing to do at this moment; who is on works in between, as it would."""
        while self.loop.soon:
            self.loop.soon.pop(0)()
            for future in [future for future in self._waiting if future.done()]:
                self._waiting.remove(future)
                # The turn's own work comes between the two callbacks around it.
                self.loop.soon.insert(1, self._work)

    def _work(self) -> None:
        self.clock.now += self._seconds
        self.done += 1

    def next_round_in(self) -> float:
        return min(at for at, _, _ in self.loop.later) - self.clock.now

    def wait_for_round(self) -> None:
        at, callback, _ = self.loop.later.pop()
        self.clock.now = at
        self.loop.soon.append(callback)
        self.run()


def test_nobody_ahead_is_on_at_once() -> None:
    async def work() -> None:
        one = Workers(0.0001)
        one.ask(1)
        one.run()
        assert (one.done, one.loop.later) == (1, [])

    run(work())


@pytest.mark.parametrize(("applied", "rest"), [(0, 1), (1000, 10)])
def test_turns_take_a_small_part_of_the_loop_while_entries_are_applied_and_half_of_it_while_it_is_calm(
    applied: int, rest: int
) -> None:
    async def work() -> None:
        turn = 1 / 512
        one = Workers(turn)
        one.turns.count(applied)
        one.ask(18)
        one.run()
        assert ROUND_SECONDS <= one.done * turn < ROUND_SECONDS + turn
        for done in (6, 12):
            assert one.done == done
            assert one.next_round_in() == rest * 6 * turn
            one.turns.count(applied)
            one.wait_for_round()
        assert one.done == 18

    run(work())


def test_who_has_gone_meanwhile_is_passed_over() -> None:
    async def work() -> None:
        one = Workers(0.001)
        one.ask(3)
        one._waiting[1].cancel()
        del one._waiting[1]
        one.run()
        assert one.done == 2

    run(work())
