"""A caller that is cut off: whatever the client took for it is given back, within a bound and whoever cancels."""

import asyncio
from collections.abc import Callable

import anyio
import pytest
from client_world import URLS, Asked, Dice, Hanging, LockService, OwnedAsyncTime, OwnedTime, Replicas, answer, ending
from test_client_worker import TaskService, task

from raftmem.client import AsyncRaftmemClient, RaftmemClient
from raftmem.client.giving_back import GIVE_BACK_S
from raftmem.client.shielded import shielded

TTL = 10.0
Cancel = Callable[["asyncio.Task[None]"], None]


class World:
    """A client whose requests of some verbs are done and never answered."""

    def __init__(self, *hanging: str) -> None:
        self.time = OwnedAsyncTime()
        self.service = LockService(self.time.now, self.time.jump)
        self.hanging = hanging
        self.replicas = Hanging(self.service, lambda asked: asked.path.rpartition("/")[2] in self.hanging)
        self.client = AsyncRaftmemClient(URLS, transport=self.replicas, time=self.time, randomness=Dice())

    async def held(self) -> None:
        async with self.client.locks.hold("l", ttl=TTL):
            await asyncio.Event().wait()

    async def over(self, task: "asyncio.Task[None]") -> None:
        while not task.done():
            await self.time.advance(0.5)


async def by_anyio(world: World) -> None:
    """The work in a scope of anyio, which is cancelled: it would cancel each further await too."""
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_later(0, scope.cancel)
        await world.held()


async def by_timeout(world: World) -> None:
    async with asyncio.timeout(0):
        await world.held()


async def by_cancel(world: World) -> None:
    holding = asyncio.ensure_future(world.held())
    await world.time.settle()
    holding.cancel()
    await holding


WAYS = {"anyio": by_anyio, "timeout": by_timeout, "cancel": by_cancel}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hanging", ["acquire", ""])
def test_cancelled_hold_gives_its_lock_back(way: str, hanging: str) -> None:
    async def play() -> None:
        world = World(hanging)
        task = asyncio.ensure_future(WAYS[way](world))
        await world.time.settle()
        await world.over(task)
        if way == "anyio":
            task.result()
        else:
            assert task.cancelled() or isinstance(task.exception(), TimeoutError)
        assert world.service.held == {}
        paths = world.replicas.paths()
        assert any(path.endswith("/acquire") for path in paths)
        assert any(path.endswith("/release") for path in paths)
        await world.client.close()

    asyncio.run(play())


@pytest.mark.parametrize("way", WAYS)
def test_release_that_nobody_answers_ends_within_its_bound(way: str) -> None:
    async def play() -> None:
        world = World("release")
        began = world.time.now()
        task = asyncio.ensure_future(WAYS[way](world))
        await world.time.settle()
        await world.over(task)
        assert world.time.now() - began <= GIVE_BACK_S + 1.0
        await world.client.close()

    asyncio.run(play())


def test_cancelled_hold_leaves_its_place_in_the_queue() -> None:
    async def play() -> None:
        world = World("acquire")
        task = asyncio.ensure_future(world.held())
        await world.time.settle()
        me = world.service.held.pop("l").owner
        world.service.places = [me]  # it was queued and not granted
        task.cancel()
        world.hanging = ()
        await world.over(task)
        asked = [one.body for one in world.replicas.asked if one.path.endswith("/acquire")]
        assert [body["owner"] for body in asked] == [me, me]
        assert asked[1]["wait_ms"] == 1
        assert "keep_ms" not in asked[1]
        assert world.service.held == {}
        await world.client.close()

    asyncio.run(play())


def test_cut_off_acquire_releases_no_older_hold_of_its_owner() -> None:
    async def play(older: bool) -> set[str]:
        world = World()
        if older:
            await world.client.locks.acquire("l", owner="me", ttl=TTL)
        world.hanging = ("acquire",)
        task = asyncio.ensure_future(world.client.locks.acquire("l", owner="me", ttl=TTL))
        await world.time.settle()
        assert "l" in world.service.held
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        await world.client.close()
        return set(world.service.held)

    assert asyncio.run(play(older=False)) == set()
    assert asyncio.run(play(older=True)) == {"l"}


def test_bare_release_in_a_cancelled_scope_is_done() -> None:
    async def play() -> None:
        world = World()
        with anyio.CancelScope() as scope:
            grant = await world.client.locks.acquire("l", owner="me", ttl=TTL)
            scope.cancel()
            await world.client.locks.release("l", owner="me", token=grant.token)
        assert scope.cancelled_caught
        assert world.service.held == {}
        await world.client.close()

    asyncio.run(play())


def test_cancellation_that_comes_during_a_release_waits_for_it() -> None:
    async def play() -> None:
        world = World()
        grant = await world.client.locks.acquire("l", owner="me", ttl=TTL)
        task = asyncio.ensure_future(world.client.locks.release("l", owner="me", token=grant.token))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        assert world.service.held == {}
        await world.client.close()

    asyncio.run(play())


def test_interrupted_hold_on_threads_gives_its_lock_back() -> None:
    time = OwnedTime(jumps=True)
    service = LockService(time.now, time.advance)

    class Interrupted(Replicas):
        def handle_request(self, request):  # type: ignore[no-untyped-def]  # as its base
            came = super().handle_request(request)
            if self.asked[-1].path.endswith("/acquire"):
                raise KeyboardInterrupt
            return came

    with RaftmemClient(URLS, transport=Interrupted(service), time=time, randomness=Dice()) as client:
        with ending(KeyboardInterrupt):
            client.locks.hold("l", ttl=TTL).__enter__()
        assert service.held == {}


@pytest.mark.parametrize("looks", [1, 2])
def test_worker_that_is_cancelled_in_a_claim_gives_its_tasks_back(looks: int) -> None:
    """At the second look, if the claim was still on its way at the first."""
    left = [looks]

    async def play() -> None:
        time = OwnedAsyncTime()
        service = TaskService([task("a", 10)], lambda _seconds: None)
        claimed = [task("a", 10), task("old", 3)]

        def script(asked: Asked):  # type: ignore[no-untyped-def]  # as a Script
            if asked.method == "GET" and asked.path == "/v1/tasks":
                left[0] -= 1
                return answer({"tasks": claimed if left[0] == 0 else claimed[1:], "next_cursor": None})
            return service(asked)

        replicas = Hanging(script, lambda asked: asked.path.endswith("/claim"))
        client = AsyncRaftmemClient(URLS, transport=replicas, time=time, randomness=Dice())
        client.caller.session.reached(5)
        running = asyncio.ensure_future(client.tasks.worker(["q"], lambda _job: asyncio.sleep(0), ttl=TTL).run())
        await time.settle()
        running.cancel()
        while not running.done():
            await time.advance(0.5)
        assert running.cancelled()
        assert service.ends() == [("release", "a")]  # the other one is older than this client's claim
        await client.close()

    asyncio.run(play())


def test_shielded_work_raises_its_own_error_where_nobody_cancels() -> None:
    async def failing() -> None:
        raise KeyError("mine")

    async def play() -> None:
        with pytest.raises(KeyError, match="mine"):
            await shielded(failing(), bound_s=1.0, sleep=asyncio.sleep)

    asyncio.run(play())
