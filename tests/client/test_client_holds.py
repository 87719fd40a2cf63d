"""A hold: when its holder may rely on it, when it is told lost, and what it leaves behind."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from client_world import (
    URLS,
    Asked,
    Dice,
    LockService,
    OwnedAsyncTime,
    OwnedTime,
    Replicas,
    ending,
    problem,
)

from raftmem.client import (
    AsyncHold,
    AsyncRaftmemClient,
    Hold,
    LeaseLost,
    LockHeld,
    RaftmemClient,
)
from raftmem.client.lease import span

TTL = 10.0


class World:
    """One client on asyncio, and a lock service on the same clock."""

    def __init__(self) -> None:
        self.time = OwnedAsyncTime()
        self.service = LockService(self.time.now, self.time.jump)
        self.replicas = Replicas(self.service)
        self.client = AsyncRaftmemClient(URLS, transport=self.replicas, time=self.time, randomness=Dice())

    def verbs(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.replicas.paths()]


def played(play: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """A test on a world of its own."""

    async def whole() -> None:
        world = World()
        try:
            await play(world)
        finally:
            await world.client.close()

    def test() -> None:
        asyncio.run(whole())

    return test


# --- how long it may be relied on ---------------------------------------------------------------------
@played
async def test_process_paused_past_its_ttl_knows_before_the_service_could_give_the_lock_away(world: World) -> None:
    told: list[AsyncHold] = []
    with ending(LeaseLost, match="not renewed in time"):
        async with world.client.locks.hold("deploy/prod", ttl=TTL, on_lost=told.append) as lock:
            lock.check()
            world.time.jump(span(TTL))
            assert world.time.now() < world.service.held["deploy/prod"].expires
            with pytest.raises(LeaseLost, match="stop what relied on it"):
                lock.check()
            assert lock.lost.is_set()
            assert lock.remaining == 0
    await world.time.settle()
    assert [hold.name for hold in told] == ["deploy/prod"]


@played
async def test_lease_is_counted_from_when_its_request_was_sent(world: World) -> None:
    world.service.took = 3.0
    async with world.client.locks.hold("l", ttl=TTL) as lock:
        assert lock.remaining == pytest.approx(span(TTL) - 3.0)
        await world.time.advance(0.5)  # a renewal is due since 3.33 s after the send
        world.service.took = 2.0
        await world.time.advance(0.0)
        assert world.verbs()[1:] == ["renew"]


@played
async def test_renewal_counts_from_its_own_send(world: World) -> None:
    async with world.client.locks.hold("l", ttl=TTL) as lock:
        world.service.took = 2.0
        await world.time.advance(TTL / 3)
        assert world.verbs() == ["acquire", "renew"]
        assert lock.remaining == pytest.approx(span(TTL) - 2.0)


@played
async def test_grant_out_of_the_queue_is_renewed_before_it_is_handed_out(world: World) -> None:
    world.service.queued = 4.0
    async with world.client.locks.hold("l", ttl=TTL) as lock:
        assert world.verbs() == ["acquire", "renew"]
        assert lock.remaining == pytest.approx(span(TTL))


@played
async def test_grant_that_ran_out_before_it_was_heard_of_is_asked_for_anew(world: World) -> None:
    def gone_at_first(asked: Asked) -> httpx.Response | Exception:
        if asked.path.endswith("/l/renew") and len(world.replicas.asked) == 2:
            world.service.take_away("l")
        return world.service(asked)

    world.replicas.script = gone_at_first
    world.service.queued = 4.0
    async with world.client.locks.hold("l", ttl=TTL) as lock:
        assert world.verbs() == ["acquire", "renew", "acquire"]
        assert lock.token == world.service.held["l"].token


@played
async def test_immediate_grant_whose_reply_took_too_long_is_renewed_first(world: World) -> None:
    world.service.took = span(TTL)
    async with world.client.locks.hold("l", ttl=TTL) as lock:
        assert world.verbs() == ["acquire", "renew"]
        lock.check()


@pytest.mark.parametrize(("ttl", "margin"), [(0.1, 0.025), (1.0, 0.1), (10.0, 0.5), (100.0, 5.0)])
def test_margin_is_bounded_on_both_sides(ttl: float, margin: float) -> None:
    assert span(ttl) == pytest.approx(ttl * 0.999 - margin)


# --- renewing ---------------------------------------------------------------------------------------
@played
async def test_failed_renewals_are_unknown_and_a_later_one_in_time_keeps_the_lock(world: World) -> None:
    async with world.client.locks.hold("l", ttl=TTL) as lock:
        world.service.down = True
        for _ in range(8):
            await world.time.advance(1.0)
        lock.check()
        world.service.down = False
        await world.time.advance(1.0)
        assert lock.remaining > span(TTL) - 1.01
    assert world.service.held == {}


@played
async def test_renewals_that_fail_until_the_deadline_lose_it_there_while_the_service_still_keeps_it(
    world: World,
) -> None:
    with ending(LeaseLost):
        async with world.client.locks.hold("l", ttl=TTL) as lock:
            world.service.down = True
            waited = asyncio.ensure_future(lock.lost.wait())
            for _ in range(93):
                await world.time.advance(0.1)
            assert not waited.done()
            for _ in range(3):
                await world.time.advance(0.1)
            assert waited.done()
            assert world.service.held["l"].expires > world.time.now()
            world.service.down = False  # an answer that comes now does not undo what was told
            await world.time.advance(0.1)
            assert lock.lost.is_set()


@played
async def test_refused_renewal_is_told_at_once(world: World) -> None:
    with ending(LeaseLost, match="not yours"):
        async with world.client.locks.hold("l", ttl=TTL) as lock:
            world.service.take_away("l")
            await world.time.advance(TTL / 3)
            assert lock.lost.is_set()
    assert "release" not in world.verbs()


def test_renewal_that_is_overtaken_by_the_release_is_no_loss() -> None:
    """It left before the release and is decided after it."""
    released, refused = asyncio.Event(), asyncio.Event()

    class Crossing(Replicas):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await request.aread()
            if request.url.path == "/v1/locks/renew":
                await released.wait()
                refused.set()
                return self._answer(request)
            came = self._answer(request)
            if request.url.path.endswith("/release"):
                released.set()
                await refused.wait()
                await world.time.settle()
            return came

    world, lost = World(), list[str]()

    async def play() -> None:
        transport = Crossing(world.service)
        async with AsyncRaftmemClient(URLS, transport=transport, time=world.time, randomness=Dice()) as client:
            async with client.locks.hold("l", ttl=TTL, on_lost=lambda lock: lost.append(lock.name)):
                await world.time.advance(TTL / 3)
            await world.time.settle()
            assert transport.paths()[-2:] == ["POST /v1/locks/l/release", "POST /v1/locks/renew"]
        await world.client.close()

    asyncio.run(play())
    assert lost == []


@played
async def test_many_holds_share_one_heartbeat_and_each_is_told_its_own(world: World) -> None:
    hold = world.client.locks.hold
    async with hold("a", ttl=TTL) as first, hold("c", ttl=TTL) as last:
        with ending(LeaseLost):
            async with hold("b", ttl=TTL) as lost:
                world.service.take_away("b")
                await world.time.advance(TTL / 3)
                renewals = [one.body for one in world.replicas.asked if one.path == "/v1/locks/renew"]
                assert [[lock["name"] for lock in body["locks"]] for body in renewals] == [["a", "c", "b"]]
                assert (first.lost.is_set(), last.lost.is_set(), lost.lost.is_set()) == (False, False, True)


@played
async def test_more_holds_than_one_request_renews_are_all_renewed(world: World) -> None:
    names = {f"l{number}" for number in range(1001)}
    async with contextlib.AsyncExitStack() as held:
        for name in names:
            await held.enter_async_context(world.client.locks.hold(name, ttl=TTL))
        await world.time.advance(TTL / 3)
        renewals = [one.body["locks"] for one in world.replicas.asked if one.path == "/v1/locks/renew"]
        assert len(renewals) == 2
        assert {lock["name"] for locks in renewals for lock in locks} == names


def test_block_of_a_lost_lock_says_so_unless_something_else_went_wrong() -> None:
    async def play() -> None:
        world = World()
        with ending(KeyError, match="mine"):
            async with world.client.locks.hold("l", ttl=TTL):
                world.service.take_away("l")
                raise KeyError("mine")
        with pytest.raises(LeaseLost):
            async with world.client.locks.hold("l", ttl=TTL):
                world.service.take_away("l")
        await world.client.close()

    asyncio.run(play())


# --- owners and guards --------------------------------------------------------------------------------
@played
async def test_two_holds_of_one_lock_in_one_client_are_two_holders(world: World) -> None:
    async with world.client.locks.hold("l", ttl=TTL) as lock:
        with pytest.raises(LockHeld):
            async with world.client.locks.hold("l", ttl=TTL, wait=0):
                raise AssertionError("both have it")
        owners = [one.body["owner"] for one in world.replicas.asked]
        assert owners == [f"{world.client.owner}.1", f"{world.client.owner}.2"]
        with pytest.raises(ValueError, match="its own owner"):
            async with world.client.locks.hold("l", owner=lock.owner):
                raise AssertionError("one owner is one holder")
    async with world.client.locks.hold("l", ttl=TTL) as lock:
        assert lock.owner == owners[0]


@played
async def test_release_that_is_still_on_its_way_cannot_end_the_next_hold_of_its_owner(world: World) -> None:
    late: list[Asked] = []

    def losing(asked: Asked) -> httpx.Response | Exception:
        if not asked.path.endswith("/release"):
            return world.service(asked)
        late.append(asked)
        return httpx.ReadError("reset")

    async def first() -> None:
        async with world.client.locks.hold("l", ttl=TTL, owner="me"):
            world.replicas.script = losing

    holding = asyncio.create_task(first())
    await world.time.settle()
    holding.cancel()
    while not holding.done():
        await world.time.advance(1.0)
    with pytest.raises(asyncio.CancelledError):
        await holding
    world.replicas.script = world.service
    async with world.client.locks.hold("l", ttl=TTL, owner="me") as lock:
        assert [world.service(asked).status_code for asked in late] == [409] * len(late)  # type: ignore[union-attr]
        assert world.service.held["l"].token == lock.token
        assert late


@played
async def test_guard_names_the_owner_where_several_may_hold(world: World) -> None:
    async with world.client.locks.hold("l", ttl=TTL, permits=1) as lock:
        assert lock.guard == {"lock": "l", "token": lock.token}
    async with world.client.locks.hold("l", ttl=TTL, permits=3, owner="me") as lock:
        assert lock.guard == {"lock": "l", "token": lock.token, "owner": "me"}


def test_wait_longer_than_one_request_may_is_asked_for_in_turns() -> None:
    async def play() -> None:
        time = OwnedAsyncTime()

        def held(asked: Asked) -> httpx.Response:
            time.jump((asked.body.get("wait_ms") or 0) / 1000)
            return problem(409, "lock-held", holders=[])

        replicas = Replicas(held)
        client = AsyncRaftmemClient(URLS, transport=replicas, time=time, randomness=Dice())
        with pytest.raises(LockHeld):
            async with client.locks.hold("l", wait=130):
                raise AssertionError("nobody gave it")
        assert [one.body["wait_ms"] for one in replicas.asked] == [60_000, 60_000, 10_000]
        await client.close()

    asyncio.run(play())


# --- on threads ---------------------------------------------------------------------------------------
class Threads:
    def __init__(self) -> None:
        self.time = OwnedTime()
        self.service = LockService(self.time.now, self.time.advance)
        self.replicas = Replicas(self.service)
        self.client = RaftmemClient(URLS, transport=self.replicas, time=self.time, randomness=Dice())


def test_thread_renews_in_the_background_and_releases_at_the_end() -> None:
    world = Threads()
    with world.client.locks.hold("l", ttl=TTL) as lock:
        for _ in range(5):
            asked = len(world.replicas.asked)
            world.time.advance(TTL / 3)
            world.time.until(lambda asked=asked: len(world.replicas.asked) > asked, "a renewal")
            world.time.until(lambda: lock.remaining == pytest.approx(span(TTL)), "it counts")
        token = lock.token
    assert world.replicas.asked[-1].body == {"owner": lock.owner, "token": token}
    assert world.service.held == {}
    world.client.close()


def test_thread_that_waits_for_the_loss_is_woken_at_the_deadline_and_the_callback_runs_once() -> None:
    world = Threads()
    told: list[Hold] = []
    with ending(LeaseLost), world.client.locks.hold("l", ttl=TTL, on_lost=told.append) as lock:
        world.service.down = True
        assert not lock.lost.wait(0)
        world.time.advance(span(TTL))
        assert lock.lost.wait()
        world.time.until(lambda: told == [lock], "the callback")
        world.service.down = False
    assert told == [lock]
    world.client.close()


def test_child_of_a_fork_holds_nothing_and_has_its_own_name() -> None:
    world = Threads()
    with world.client.locks.hold("l", ttl=TTL) as lock:
        owner = world.client.owner
        child = os.fork()
        if child == 0:
            lost = lock.lost.is_set() and lock.remaining == 0 and world.client.owner != owner
            os._exit(0 if lost else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        lock.check()
    world.client.close()


def test_thread_that_waits_for_the_loss_is_let_go_at_the_end_and_nobody_is_told_later() -> None:
    world = Threads()
    told: list[Hold] = []
    with ThreadPoolExecutor(1) as pool:
        with world.client.locks.hold("l", ttl=TTL, on_lost=told.append) as lock:
            waiting = pool.submit(lock.lost.wait)
        assert waiting.result(20) is False
    world.time.advance(2 * TTL)
    assert (lock.lost.is_set(), told) == (False, [])
    with pytest.raises(LeaseLost, match="it was released"):
        lock.check()
    world.client.close()
