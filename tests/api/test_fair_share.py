"""One client address takes at most half of a limit; another one finds room at once."""

import asyncio
from collections.abc import Callable, Coroutine

import httpx
import pytest
from api_world import World, run

from raftmem.api.http import fair_share

GREEDY, OTHER = "192.0.2.1", "192.0.2.2"
LOCK = {"owner": "o", "ttl_ms": 10_000, "wait_ms": 60_000}


async def ask(world: World, client: str, method: str, target: str, body: object = None) -> httpx.Response:
    transport = httpx.ASGITransport(world.app, raise_app_exceptions=False, client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as asking:
        return await asking.request(method, target, json=body)


async def turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


WAITS: list[Callable[[World, str, int], Coroutine[object, object, httpx.Response]]] = [
    lambda world, client, n: ask(world, client, "POST", "/v1/locks/l/acquire", {**LOCK, "owner": f"{client}-{n}"}),
    lambda world, client, n: ask(world, client, "POST", "/v1/tasks/claim", _claim(f"{client}-{n}")),
    lambda world, client, n: ask(world, client, "GET", f"/v1/gates/g?wait_ms=60000&timeout_ms={1000 + n}"),
    lambda world, client, n: ask(world, client, "GET", f"/v1/events?wait_ms=60000&from=102&limit={1 + n}"),
]


def _claim(worker: str) -> dict[str, object]:
    return {"worker": worker, "queues": ["q"], "ttl_ms": 10_000, "wait_ms": 60_000}


@pytest.mark.parametrize("wait", WAITS, ids=["lock", "task", "gate", "events"])
def test_address_with_half_of_the_waits_is_refused_and_another_waits(
    wait: Callable[[World, str, int], Coroutine[object, object, httpx.Response]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_share, "WAITING_MAX", 4)

    async def work() -> None:
        world = World()
        held = await ask(world, OTHER, "POST", "/v1/locks/l/acquire", {**LOCK, "owner": "holder", "wait_ms": 0})
        assert held.status_code == 200
        greedy = [asyncio.ensure_future(wait(world, GREEDY, n)) for n in range(2)]
        await turns()
        third = await wait(world, GREEDY, 2)
        assert (third.status_code, third.json()["code"]) == (429, "too-many-requests")
        other = asyncio.ensure_future(wait(world, OTHER, 3))
        await turns()
        assert not any(one.done() for one in (*greedy, other)), [
            one.result().text for one in (*greedy, other) if one.done()
        ]
        for one in (*greedy, other):
            one.cancel()
        await asyncio.gather(*greedy, other, return_exceptions=True)
        again = asyncio.ensure_future(wait(world, GREEDY, 4))
        await turns()
        assert not again.done(), "those that ended count no more"
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)

    run(work())


def test_share_is_given_back_whatever_ends_the_block() -> None:
    share = fair_share.FairShare(4, "things")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), share.hold(GREEDY):
            raise ZeroDivisionError
    with share.hold(GREEDY), share.hold(GREEDY):
        with pytest.raises(fair_share.TooManyRequests):
            share.hold(GREEDY)
        with share.hold(OTHER):
            pass
    assert share._held == {}


def test_address_that_nobody_knows_is_not_counted() -> None:
    share = fair_share.FairShare(2, "things")
    with share.hold(""), share.hold(""), share.hold(""):
        pass
