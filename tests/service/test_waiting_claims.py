"""Claims that wait for a task, reads that wait for a gate, and an owner that has more than one entry takes."""

import asyncio

from msgspec.structs import replace
from service_world import Client, One, draft, group_of, never, run, settled

from raftmem.limits import OPERATIONS_MAX, OWNER_RELEASE_MAX
from raftmem.machine.run import Applied
from raftmem.model.codec import decode, no_op
from raftmem.model.commands import (
    Actor,
    Backoff,
    GateApprove,
    GatePut,
    Idempotency,
    LockAcquire,
    OwnerRelease,
    TaskAdd,
    TaskClaim,
    TaskComplete,
    TaskRelease,
)
from raftmem.model.coordination_rows import Gate, Task, gate_key, owned_by
from raftmem.model.records import Position, PutRow, Result, Step
from raftmem.service.interface import Point, ReadOptions, Written
from raftmem.service.wait_registry import WaitRegistry
from raftmem.storage.state.contract import EventRow


async def add(one: One, *ids: str, queue: str = "q", priority: int = 0, delay_ms: int = 0) -> None:
    tasks = tuple(TaskAdd(task, queue, priority, delay_ms) for task in ids)
    await one.service.write(draft(*tasks), timeout_ms=1000)


async def claim(
    one: One,
    worker: str = "w",
    *queues: str,
    wait_ms: int = 0,
    most: int = 1,
    client: Client | None = None,
    key: str | None = None,
) -> list[str] | None:
    """The ids of what was claimed; None: there was nothing."""
    found = await one.service.claim(
        draft(TaskClaim(queues or ("q",), worker, 60_000, most), key=key, actor=worker),
        wait_ms=wait_ms,
        timeout_ms=1000,
        gone=never if client is None else client.gone,
    )
    if isinstance(found, Point):
        return None
    about = found.row.result.outcomes[0].about
    assert about is not None
    return list(about.task_ids)


def claims(one: One) -> int:
    return len(one.events("TASK_CLAIM"))


async def waiting(one: One, count: int) -> None:
    await settled(lambda: one.service.metrics()["waiting_requests"] == count)
    await asyncio.sleep(0.01)  # and they have looked


def test_a_claim_that_finds_nothing_leaves_no_entry_however_long_it_waits() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            head = leader.replica.applied
            assert await claim(leader) is None
            began = asyncio.get_running_loop().time()
            assert await claim(group.followers()[0], wait_ms=20_000) is None
            assert asyncio.get_running_loop().time() - began >= 20
            assert leader.replica.applied == head

    run(work())


def test_each_new_task_calls_one_claim_first_come_first() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            waits = []
            for place in range(20):
                waits.append(asyncio.create_task(claim(leader, f"w{place}", wait_ms=60_000)))
                await waiting(leader, place + 1)
            await add(leader, "a")
            assert await waits[0] == ["a"]
            await add(leader, "b", "c")
            assert sorted([await waits[1], await waits[2]]) == [["b"], ["c"]]
            await asyncio.sleep(1)
            assert [wait.done() for wait in waits] == [True] * 3 + [False] * 17
            assert leader.events("NOOP") == []  # nobody was woken in vain
            for wait in waits[3:]:
                wait.cancel()

    run(work())


def test_a_claim_that_was_called_and_is_gone_calls_the_next() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            client = Client()
            first = asyncio.create_task(claim(leader, "w1", wait_ms=60_000, client=client))
            await waiting(leader, 1)
            second = asyncio.create_task(claim(leader, "w2", wait_ms=60_000))
            await waiting(leader, 2)
            client.leave()
            await add(leader, "a")
            assert await second == ["a"]
            assert await first is None
            assert leader.service.metrics()["waiting_requests"] == 0

    run(work())


def test_what_was_claimed_for_a_client_that_is_gone_is_given_back_unless_its_key_finds_it_again() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            for key, left in ((None, ["TASK_CLAIM", "TASK_RELEASE"]), ("k", ["TASK_CLAIM"])):
                client, before = Client(), len(leader.events())
                queue = f"q-{key}"
                asked = asyncio.create_task(claim(leader, "w", queue, wait_ms=60_000, client=client, key=key))
                await waiting(leader, 1)
                await add(leader, f"for-{key}", queue=queue)
                client.leave()  # the claim is on its way
                await asked
                assert leader.events()[before:] == ["TASK_ADD", *left]
            assert await claim(leader, "w", "q-k", wait_ms=60_000, key="k") == ["for-k"]

    run(work())


def test_a_claim_whose_time_is_over_is_not_called_any_more() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            assert await claim(leader, "w1", wait_ms=500) is None
            wait = asyncio.create_task(claim(leader, "w2", wait_ms=60_000))
            await waiting(leader, 1)
            await add(leader, "a")
            assert await wait == ["a"]

    run(work())


def test_a_claim_that_was_called_in_vain_keeps_its_place() -> None:
    async def work() -> None:
        wakes = WaitRegistry(is_available=lambda _queue: False)
        made = PutRow(b"key", task("a"), None, Position(1, 0))
        entry = Applied(EventRow(1, 1, b"", Result(), b""), Step(Result(), (made,)), decode(no_op(time=0, wall_ms=0)))
        with wakes.claim_wait(["q"]) as first, wakes.claim_wait(["p", "q"]) as second:
            wakes.stand(first)
            wakes.stand(second)
            wakes.applied([entry])
            assert (first.called, second.called) == ("q", None)
            wakes.stand(first)
            wakes.applied([entry, entry])
            assert (first.called, second.called) == ("q", "q")
            wakes.stand(second)
            wakes.stand(first)
            wakes.applied([entry])
            assert (first.called, second.called) == ("q", None)

    run(work())


def task(name: str) -> Task:
    at = Position(1, 0)
    return Task(name, "q", "available", 0, 0, 1, Backoff(), (), 0, None, Actor("agent", "a"), at, at)


def test_a_task_for_which_the_called_claim_took_another_one_is_not_left_lying() -> None:
    """w1 waits for both queues and is called for the first task; it takes the better one, which called w2."""

    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            waits = []
            for place, queues in enumerate((("q1", "q2"), ("q2",), ("q1",)), 1):
                waits.append(asyncio.create_task(claim(leader, f"w{place}", *queues, wait_ms=60_000)))
                await waiting(leader, place)
            both = draft(TaskAdd("low", "q1"), TaskAdd("high", "q2", 5))
            await leader.service.write(both, timeout_ms=1000)
            assert await waits[0] == ["high"]
            assert await waits[2] == ["low"]
            await add(leader, "next", queue="q2")
            assert await waits[1] == ["next"]

    run(work())


def test_claims_at_every_replica_share_the_tasks_and_none_is_claimed_twice() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()

            async def worker(one: One, name: str) -> list[str]:
                mine = list[str]()
                while (found := await claim(one, name, wait_ms=2000)) is not None:
                    mine += found
                return mine

            workers = [asyncio.create_task(worker(group.replicas[k % 3], f"w{k}")) for k in range(9)]
            for number in range(60):
                await add(leader, f"t{number}")
            done = [task for mine in await asyncio.gather(*workers) for task in mine]
            assert sorted(done) == sorted(f"t{number}" for number in range(60))

    run(work())


def test_a_task_that_becomes_available_by_an_expiry_or_a_release_is_claimed() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            wait = asyncio.create_task(claim(leader, "w1", wait_ms=60_000))
            await waiting(leader, 1)
            began = asyncio.get_running_loop().time()
            await add(leader, "late", delay_ms=5000)
            assert await wait == ["late"]
            assert 5.0 <= asyncio.get_running_loop().time() - began < 5.2
            again = asyncio.create_task(claim(leader, "w2", wait_ms=60_000))
            await waiting(leader, 1)
            token = leader.replica.applied
            await leader.service.write(draft(TaskRelease("late", token)), timeout_ms=1000)
            assert await again == ["late"]
            done = await leader.service.write(draft(TaskComplete("late", leader.replica.applied)), timeout_ms=1000)
            assert done.row.result.outcomes[0].applied

    run(work())


def test_a_claim_under_a_key_that_is_used_up_has_its_first_reply_at_once() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            await add(leader, "a")
            assert await claim(leader, key="k") == ["a"]
            assert await claim(leader, key="k", wait_ms=60_000) == ["a"]
            assert claims(leader) == 1
            other = draft(TaskClaim(("empty",), "w", 10_000), key="k", actor="w")
            other = replace(other, header=replace(other.header, idempotency=Idempotency("k", b"another".ljust(32))))
            reused = await leader.service.claim(other, wait_ms=0, timeout_ms=1000, gone=never)
            assert isinstance(reused, Written)
            assert reused.row.result.outcomes[0].code == "idempotency-key-reused"

    run(work())


# --- gates ------------------------------------------------------------------------------------------
def test_a_read_that_waits_for_a_gate_sees_it_open_and_else_ends_in_time() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader, one = await group.elected(), group.followers()[0]

            async def look(wait_ms: int) -> bool:
                point = await one.service.await_gate("g", ReadOptions(), wait_ms=wait_ms, gone=never)
                gate = point.reader.coordination_row(gate_key("g"))
                return isinstance(gate, Gate) and gate.open

            waiting_for_it = asyncio.create_task(look(60_000))
            await leader.service.write(draft(GatePut("g", 2)), timeout_ms=1000)
            await leader.service.write(draft(GateApprove("g"), actor="ann"), timeout_ms=1000)
            began = asyncio.get_running_loop().time()
            assert not await look(3000)
            assert 3.0 <= asyncio.get_running_loop().time() - began < 3.2
            assert not waiting_for_it.done()
            await leader.service.write(draft(GateApprove("g"), actor="bob"), timeout_ms=1000)
            assert await waiting_for_it

    run(work())


# --- owners -----------------------------------------------------------------------------------------
def test_a_dead_owner_loses_everything_however_many_entries_that_takes() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            count = 2 * OWNER_RELEASE_MAX + 10
            assert count <= OPERATIONS_MAX
            taken = tuple(LockAcquire(f"l{number}", "dead", 60_000) for number in range(count))
            await leader.service.write(draft(*taken), timeout_ms=1000)
            written = await leader.service.write(draft(OwnerRelease("dead"), key="k"), timeout_ms=1000)
            assert isinstance(written, Written)
            released = [outcome for row in (written.row, *written.more) for outcome in row.result.outcomes]
            assert sum(outcome.op == "LOCK_FORCE_RELEASE" for outcome in released) == count
            assert len(written.more) == 2
            assert leader.replica.reader().scan(owned_by("dead"), limit=1) == []

    run(work())
