"""An acquire that waits: granted in its turn, or out of the queue, however it ends."""

import asyncio

import pytest
from service_world import Client, One, draft, group_of, never, run, settled

from raftmem.errors import PlaceKept, TooManyRequests
from raftmem.limits import WAITING_MAX
from raftmem.model.commands import LockAcquire, LockForceRelease, LockRelease, OwnerRelease
from raftmem.model.coordination_rows import Hold, Waiter, hold_key, queue_of, waiter_key
from raftmem.service.interface import Granted, Written


async def take(
    one: One,
    owner: str,
    *,
    ttl_ms: int = 10_000,
    wait_ms: int = 0,
    keep_ms: int = 0,
    key: str | None = None,
    client: Client | None = None,
) -> Granted | Written:
    asked = draft(LockAcquire("l", owner, ttl_ms, 1, wait_ms), key=key, actor=owner)
    gone = never if client is None else client.gone
    return await one.service.acquire(asked, keep_ms=keep_ms, timeout_ms=1000, gone=gone)


async def hold(one: One, owner: str = "a", *, ttl_ms: int = 10_000) -> Granted:
    granted = await take(one, owner, ttl_ms=ttl_ms)
    assert isinstance(granted, Granted)
    return granted


async def release(one: One, granted: Granted, owner: str = "a") -> None:
    await one.service.write(draft(LockRelease("l", owner, granted.token)), timeout_ms=1000)


def queue(one: One) -> int:
    return len(one.replica.reader().scan(queue_of("l"), limit=10))


def begin(one: One, owner: str, **words: object) -> "asyncio.Task[Granted | Written]":
    return asyncio.create_task(take(one, owner, **words))  # type: ignore[arg-type]  # words of `take`


def test_a_free_lock_is_granted_at_once_and_a_held_one_refused_without_a_wait() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            granted = await hold(leader)
            assert (granted.token, granted.remaining_ms) == (granted.row.index, 10_000)
            refused = await take(leader, "b")
            assert isinstance(refused, Written)
            assert refused.row.result.outcomes[0].code == "lock-held"

    run(work())


def test_those_who_wait_are_granted_in_the_order_in_which_they_came() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            granted, served = await hold(leader), list[str]()

            async def wait(one: One, owner: str) -> None:
                mine = await take(one, owner, wait_ms=60_000)
                assert isinstance(mine, Granted)
                outcome = mine.row.result.outcomes[mine.seq]
                assert (outcome.op, outcome.about and outcome.about.owner) == ("LOCK_GRANT", owner)
                assert (mine.token, mine.remaining_ms, mine.replayed) == (mine.row.index, 10_000, False)
                served.append(owner)
                await release(one, mine, owner)

            waits = []
            for place, one in enumerate([*group.followers(), leader] * 2):
                waits.append(asyncio.create_task(wait(one, f"w{place}")))
                await settled(lambda: queue(leader) == len(waits))
            await release(leader, granted)
            await asyncio.gather(*waits)
            assert served == [f"w{place}" for place in range(6)]
            assert leader.service.metrics()["waiting_requests"] == 0

    run(work())


def test_a_holder_that_dies_is_expired_and_the_next_is_served_not_sooner_than_its_time() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            await hold(leader, ttl_ms=2000)
            began = asyncio.get_running_loop().time()
            granted = await take(leader, "b", wait_ms=60_000)
            assert isinstance(granted, Granted)
            assert 1.99 <= asyncio.get_running_loop().time() - began < 2.1
            assert leader.events("LOCK_EXPIRE", "LOCK_GRANT") == ["LOCK_EXPIRE", "LOCK_GRANT"]

    run(work())


def test_a_wait_that_is_over_leaves_the_queue_and_says_so() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            await hold(leader)
            began = asyncio.get_running_loop().time()
            left = await take(leader, "b", wait_ms=3000)
            assert isinstance(left, Written)
            assert left.row.result.outcomes[0].op == "LOCK_LEAVE"
            assert 3.0 <= asyncio.get_running_loop().time() - began < 3.1
            assert queue(leader) == 0
            await asyncio.sleep(3)
            assert leader.events("LOCK_EXPIRE") == []

    run(work())


def test_who_asks_again_in_time_goes_on_at_its_place_and_who_does_not_loses_it() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            granted = await hold(leader, ttl_ms=60_000)
            kept = await take(leader, "b", wait_ms=1000, keep_ms=3000)
            assert isinstance(kept, Written)
            assert (kept.row.result.outcomes[0].op, queue(leader)) == ("LOCK_WAIT", 1)
            behind = begin(leader, "c", wait_ms=20_000)
            await asyncio.sleep(2)
            again = begin(leader, "b", wait_ms=20_000)
            while leader.events("LOCK_WAIT") != ["LOCK_WAIT"] * 3:
                await asyncio.sleep(0.01)
            await release(leader, granted)
            first = await again
            assert isinstance(first, Granted)
            await take(leader, "d", wait_ms=100, keep_ms=2000)
            await release(leader, first, "b")
            assert isinstance(await behind, Granted)
            await asyncio.sleep(2.2)
            assert queue(leader) == 0
            assert leader.events("LOCK_LEAVE", "LOCK_EXPIRE") == ["LOCK_EXPIRE"]

    run(work())


def test_a_grant_that_comes_before_the_wait_is_given_up_in_the_log_is_the_answer() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            granted = await hold(leader)
            waiting = begin(leader, "b", wait_ms=1000)
            while queue(leader) == 0:
                await asyncio.sleep(0.0001)
            await asyncio.sleep(0.9998)  # the release is in the log and not yet applied as the wait ends
            giving = asyncio.create_task(release(leader, granted))
            mine = await waiting
            assert isinstance(mine, Granted)
            await giving
            assert leader.events("LOCK_GRANT", "LOCK_LEAVE", "NOOP") == ["LOCK_GRANT", "NOOP"]

    run(work())


def test_a_place_outlives_the_wait_by_the_time_in_which_it_is_left() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            await hold(leader)
            waiting = begin(leader, "b", wait_ms=3000)
            await settled(lambda: queue(leader) == 1)
            waiter = leader.replica.reader().coordination_row(waiter_key("l", "b"))
            assert isinstance(waiter, Waiter)
            assert 3990 < (waiter.expires - leader.service.log_time()) / 1000 <= 4000
            waiting.cancel()

    run(work())


def test_a_wait_that_somebody_else_ends_is_over_at_once() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            await hold(leader)
            waiting = begin(leader, "b", wait_ms=60_000)
            await settled(lambda: queue(leader) == 1)
            began = asyncio.get_running_loop().time()
            await leader.service.write(draft(OwnerRelease("b")), timeout_ms=1000)
            over = await waiting
            assert isinstance(over, Written)
            assert asyncio.get_running_loop().time() - began < 0.1

    run(work())


def test_a_client_that_is_gone_leaves_the_queue_and_is_never_granted() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            granted, client = await hold(leader), Client()
            waiting = begin(group.followers()[0], "b", wait_ms=60_000, client=client)
            behind = begin(leader, "c", wait_ms=60_000)
            await settled(lambda: queue(leader) == 2)
            client.leave()
            left = await waiting
            assert isinstance(left, Written)
            assert queue(leader) == 1
            await release(leader, granted)
            assert isinstance(await behind, Granted)
            assert leader.events("LOCK_GRANT") == ["LOCK_GRANT"]

    run(work())


def test_what_was_granted_to_a_client_that_is_gone_is_given_back() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            granted, client = await hold(leader), Client()
            waiting = begin(leader, "b", wait_ms=60_000, client=client)
            await settled(lambda: queue(leader) == 1)
            await release(leader, granted)  # the grant is applied, and before the request takes its turn
            client.leave()
            waiting.cancel()  # its handler is cut off
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await settled(lambda: leader.events()[-1:] == ["LOCK_RELEASE"])
            assert (await hold(leader, "c")).row.result.outcomes[0].op == "LOCK_ACQUIRE"

    run(work())


@pytest.mark.parametrize("wait_ms", [0, 60_000])
def test_a_grant_at_once_whose_client_has_hung_up_is_given_back(wait_ms: int) -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader, client = await group.elected(), Client()
            client.leave()
            await take(leader, "b", wait_ms=wait_ms, client=client)
            await settled(lambda: leader.events()[-1:] == ["LOCK_RELEASE"])
            assert (await hold(leader, "c")).row.result.outcomes[0].op == "LOCK_ACQUIRE"

    run(work())


@pytest.mark.parametrize("key", ["k", None])
def test_a_client_that_has_hung_up_gives_back_no_grant_that_another_request_may_know(key: str | None) -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader, client = await group.elected(), Client()
            client.leave()
            if key is None:
                await hold(leader, "b")  # its own older hold: it renews that
            await take(leader, "b", key=key, client=client)
            with pytest.raises(AssertionError):  # a held lock is refused, so this is no grant
                await hold(leader, "c")
            assert "LOCK_RELEASE" not in leader.events()

    run(work())


def test_a_grant_told_under_its_key_elsewhere_is_not_given_back_by_the_request_whose_client_is_gone() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader, lost = await group.elected(), Client()
            granted = await hold(leader)
            one = group.followers()[0]
            first = begin(one, "b", wait_ms=60_000, key="k", client=lost)
            await settled(lambda: queue(leader) == 1)
            second = begin(leader, "b", wait_ms=60_000, key="k")  # its connection was lost: it asks elsewhere
            await asyncio.sleep(1)
            await release(leader, granted)
            first.cancel()  # it has not heard of the grant
            told = await second
            assert isinstance(told, Granted)
            await asyncio.sleep(1)
            held = leader.replica.reader().coordination_row(hold_key("l", "b"))
            assert isinstance(held, Hold)
            assert (held.token, told.replayed) == (told.token, True)

    run(work())


def test_a_client_that_is_gone_gives_nothing_back_that_another_request_of_its_owner_was_told_of() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            granted = await hold(leader)
            first = begin(leader, "b", wait_ms=60_000)
            await settled(lambda: queue(leader) == 1)
            newer = begin(group.followers()[0], "b", wait_ms=60_000)
            await settled(lambda: len(leader.events("LOCK_WAIT")) == 2)
            await asyncio.sleep(1)
            await release(leader, granted)
            newer.cancel()  # it has not heard of the grant
            told = await first
            assert isinstance(told, Granted)
            await asyncio.sleep(1)
            held = leader.replica.reader().coordination_row(hold_key("l", "b"))
            assert isinstance(held, Hold)
            assert held.token == told.token

    run(work())


def test_the_same_key_again_gives_nothing_back_when_its_client_is_gone() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            granted = await hold(leader)
            first = begin(leader, "b", wait_ms=60_000, key="k")
            await settled(lambda: queue(leader) == 1)
            again = begin(group.followers()[0], "b", wait_ms=60_000, key="k")
            await asyncio.sleep(1)
            await release(leader, granted)
            again.cancel()
            told = await first
            assert isinstance(told, Granted)
            await asyncio.sleep(1)
            held = leader.replica.reader().coordination_row(hold_key("l", "b"))
            assert isinstance(held, Hold)
            assert held.token == told.token

    run(work())


def test_a_replica_that_leaves_ends_its_waits_and_the_owner_keeps_its_place_elsewhere() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            granted = await hold(leader)
            one, other = group.followers()
            waiting = begin(one, "b", wait_ms=60_000)
            await settled(lambda: queue(leader) == 1)
            behind = begin(leader, "c", wait_ms=60_000)
            await settled(lambda: queue(leader) == 2)
            await one.service.close(1000)
            with pytest.raises(PlaceKept):
                await waiting
            again = begin(other, "b", wait_ms=60_000)
            await settled(lambda: leader.events("LOCK_WAIT") == ["LOCK_WAIT"] * 3)
            await release(leader, granted)
            mine = await again
            assert isinstance(mine, Granted)
            assert not behind.done()
            behind.cancel()

    run(work())


def test_a_wait_at_a_follower_outlives_the_leader() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            granted = await hold(leader, ttl_ms=60_000)
            one = group.followers()[0]
            waiting = begin(one, "b", wait_ms=60_000)
            await settled(lambda: queue(one) == 1)
            leader.kill()
            await release(await group.elected(), granted)
            mine = await waiting
            assert isinstance(mine, Granted)

    run(work())


def test_the_same_key_again_finds_the_grant_the_place_in_the_queue_or_what_is_left_of_it() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            first = await take(leader, "a", key="k1")
            again = await take(leader, "a", key="k1")
            assert isinstance(first, Granted)
            assert isinstance(again, Granted)
            assert (again.token, again.replayed) == (first.token, True)
            assert 9900 < again.remaining_ms <= 10_000
            waiting = begin(leader, "b", wait_ms=60_000, key="k2")
            await settled(lambda: queue(leader) == 1)
            second = begin(leader, "b", wait_ms=60_000, key="k2")  # as one whose connection was lost
            await asyncio.sleep(1)
            await release(leader, first)
            one, two = await asyncio.gather(waiting, second)
            assert isinstance(one, Granted)
            assert isinstance(two, Granted)
            assert (one.token, one.replayed, two.token, two.replayed) == (two.token, False, one.token, True)
            await leader.service.write(draft(LockForceRelease("l")), timeout_ms=1000)
            lost = await take(leader, "a", key="k1")
            assert isinstance(lost, Granted)
            assert (lost.token, lost.remaining_ms) == (first.token, 0)
            over = await take(leader, "b", wait_ms=60_000, key="k2")
            assert isinstance(over, Written)
            assert leader.events("LOCK_WAIT") == ["LOCK_WAIT"]

    run(work())


def test_more_requests_than_may_wait_are_refused_before_they_queue() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            await hold(leader)
            leader.service._wait_registry.waiting = WAITING_MAX  # so many are too slow to make
            with pytest.raises(TooManyRequests):
                await take(leader, "b", wait_ms=1000)
            assert queue(leader) == 0

    run(work())
