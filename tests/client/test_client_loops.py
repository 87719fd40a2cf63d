"""One client on several event loops, one program on both clients, and how a client is made and shown."""

import asyncio
import threading
from collections.abc import Callable

import httpx
import pytest
from client_world import URLS, Dice, LockService, OwnedAsyncTime, Replicas, answer, event, memory

from raftmem.client import AsyncRaftmemClient, RaftmemClient, memories
from raftmem.client.effects import Program

ANSWER = {"memory": memory(), "event": event(), "results": []}


class LoopBound(httpx.AsyncBaseTransport):
    """As a pool of connections: of the loop that it was first used on, and of no other."""

    def __init__(self, open_: set["LoopBound"]) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.open_ = open_
        self.open_.add(self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.loop = self.loop or asyncio.get_running_loop()
        assert self.loop is asyncio.get_running_loop(), "a connection of another loop"
        return answer(ANSWER)

    async def aclose(self) -> None:
        assert self.loop in (None, asyncio.get_running_loop())
        self.open_.discard(self)


def looping(monkeypatch: pytest.MonkeyPatch) -> tuple[AsyncRaftmemClient, set[LoopBound]]:
    """A client whose connections notice another loop, and those that are open."""
    made: set[LoopBound] = set()
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **_words: LoopBound(made))
    return AsyncRaftmemClient(URLS), made


def test_client_serves_one_loop_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = looping(monkeypatch)

    async def play() -> int:
        return (await client.memories.add(text="x")).event.index

    assert [asyncio.run(play()) for _ in range(3)] == [5, 5, 5]


def test_client_serves_loops_of_several_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client, made = looping(monkeypatch)
    both = threading.Barrier(2)
    came: list[int] = []

    async def play() -> None:
        both.wait(20)
        came.append((await client.memories.add(text="x")).event.index)
        both.wait(20)

    threads = [threading.Thread(target=lambda: asyncio.run(play())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert came == [5, 5]
    assert len({one.loop for one in made}) == 2


def test_closed_client_says_so_and_can_be_entered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client, made = looping(monkeypatch)

    async def play() -> None:
        async with client:
            await client.memories.add(text="x")
        assert made == set()
        with pytest.raises(RuntimeError, match="closed"):
            await client.memories.add(text="x")

    asyncio.run(play())
    asyncio.run(play())


def test_hold_on_a_second_loop_is_renewed() -> None:
    time = OwnedAsyncTime()
    service = LockService(time.now, time.jump)
    replicas = Replicas(service)
    client = AsyncRaftmemClient(URLS, transport=replicas, time=time, randomness=Dice())

    async def play() -> None:
        async with client.locks.hold("l", ttl=10.0, owner="me") as lock:
            for _ in range(6):
                await time.advance(3.0)
            lock.check()

    for _ in range(2):
        asyncio.run(play())
    renewed = [path for path in replicas.paths() if path.endswith("/renew")]
    assert len(renewed) == 6


def test_worker_and_hold_can_be_made_where_no_loop_runs() -> None:
    client = AsyncRaftmemClient(URLS, transport=Replicas(lambda _asked: answer(ANSWER)))
    client.locks.hold("l")
    client.tasks.worker(["q"], lambda _job: asyncio.sleep(0))


# --- one program on both ------------------------------------------------------------------------------
def remembered(ask: Callable[..., Program[object]], text: str) -> Program[list[object]]:
    first = yield from ask(memories.add(text=text))
    second = yield from ask(memories.add(text=text + "!"))
    return [first, second]


def test_one_program_runs_on_threads_and_on_asyncio() -> None:
    replicas = Replicas(lambda _asked: answer(ANSWER))
    blocking = RaftmemClient(URLS, transport=replicas)
    awaited = AsyncRaftmemClient(URLS, transport=replicas)
    came = blocking.run(remembered(blocking.ask, "a"))
    assert asyncio.run(awaited.run(remembered(awaited.ask, "a"))) == came
    assert [asked.body["text"] for asked in replicas.asked] == ["a", "a!"] * 2


# --- how it is made and shown -------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [RaftmemClient, AsyncRaftmemClient])
def test_client_without_endpoints_takes_those_of_its_environment(
    kind: type[RaftmemClient | AsyncRaftmemClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAFTMEM_URL", "http://a:1, http://b:2/")
    assert repr(kind()) == f"{kind.__name__}('http://a:1,http://b:2', actor=None, index=0)"
    monkeypatch.delenv("RAFTMEM_URL")
    with pytest.raises(ValueError, match="RAFTMEM_URL"):
        kind()


def test_repr_of_a_client_shows_no_secret() -> None:
    client = RaftmemClient("http://mia:secret@a:1", actor="user/mia", headers={"Authorization": "Bearer secret"})
    assert repr(client) == "RaftmemClient('http://a:1', actor='user/mia', index=0)"


def test_repr_of_what_a_client_gives_says_what_it_is() -> None:
    client = RaftmemClient(URLS, transport=Replicas(lambda _asked: answer(ANSWER)))
    shown = [
        repr(client.memories.list()),
        repr(client.watch(from_index=8)),
        repr(client.locks.hold("deploy/prod")),
        repr(client.tasks.worker(["q"], print, name="w")),
    ]
    assert shown[:3] == [
        "<Listing of /v1/memories>",
        "<Watch, delivered up to 7>",
        "<Hold of deploy/prod, not entered>",
    ]
    assert shown[3].startswith("<Worker w: Counts(claimed=0")
