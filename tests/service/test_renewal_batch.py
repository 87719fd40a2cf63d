"""Renewals share entries, expiries come from the leader in time, and what is left of a lease can be told anywhere."""

import asyncio
import itertools

import pytest
from msgspec.structs import replace
from service_world import One, draft, group_of, never, run, settled

from raftmem.errors import NoLeader, UnknownOutcome
from raftmem.limits import OPERATIONS_MAX, RENEW_TICK_MS
from raftmem.model.commands import Add, Draft, Fields, Guard, LockAcquire, LockRenew, TaskAdd, TaskClaim, TaskHeartbeat
from raftmem.model.coordination_rows import Hold, hold_key
from raftmem.service.interface import Granted, Written
from raftmem.service.renewal_batch import RenewalBatch, is_renewal


async def take(one: One, name: str, owner: str, *, ttl_ms: int = 10_000) -> int:
    granted = await one.service.acquire(draft(LockAcquire(name, owner, ttl_ms)), timeout_ms=1000, gone=never)
    assert isinstance(granted, Granted)
    return granted.token


async def add(one: One, memory_id: str) -> None:
    await one.service.write(draft(Add(memory_id, Fields())), timeout_ms=1000)


def renewing(one: One, name: str, owner: str, token: int) -> "asyncio.Task[Written]":
    renewal = draft(LockRenew(name, owner, token), actor=owner)
    return asyncio.create_task(one.service.write(renewal, timeout_ms=3000))


def groups(one: One) -> list[int]:
    """The log times of entries that renew."""
    return [entry.entry.time for entry in one.log if "LOCK_RENEW" in (o.op for o in entry.row.result.outcomes)]


def test_renewals_by_way_of_any_replica_share_entries_and_each_is_told_of_its_own() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            names = [f"l{number}" for number in range(300)]
            tokens = [await take(leader, name, f"o-{name}") for name in names]
            tokens[7] += 1  # one of them has lost its lock
            asked = []
            for number, name in enumerate(names):
                asked.append(renewing(group.replicas[number % 3], name, f"o-{name}", tokens[number]))
                await asyncio.sleep(0.0001)
            for number, written in enumerate(await asyncio.gather(*asked)):
                outcome = written.row.result.outcomes[written.first_seq]
                assert outcome.about is not None
                assert (outcome.op, outcome.about.lock) == ("LOCK_RENEW", names[number])
                assert (outcome.applied, outcome.code) == ((False, "stale-token") if number == 7 else (True, None))
                assert written.entry.header is not None
                renewal = written.entry.header.operations[written.first_seq]
                assert isinstance(renewal, LockRenew)
                assert renewal.actor is not None
                assert (renewal.actor.id, renewal.request_id) == (f"o-{names[number]}", f"req-o-{names[number]}")
            times = groups(leader)
            assert len(times) < 20
            assert min(b - a for a, b in itertools.pairwise(times)) >= RENEW_TICK_MS * 1000
            assert leader.service.metrics()["renewal_groups_total"] == len(times)

    run(work())


def test_a_heartbeat_and_a_renewal_of_many_share_an_entry_and_more_than_one_entry_takes_go_on_in_the_next() -> None:
    async def work() -> None:
        async with group_of(1) as group:
            leader = await group.elected()
            await leader.service.write(draft(TaskAdd("t", "q")), timeout_ms=1000)
            claimed = await leader.service.write(draft(TaskClaim(("q",), "w", 10_000)), timeout_ms=1000)
            beat = draft(TaskHeartbeat("t", claimed.row.index))
            many = draft(*(LockRenew(f"l{number}", "o", 1) for number in range(OPERATIONS_MAX)))
            first, second, third = await asyncio.gather(
                *(leader.service.write(asked, timeout_ms=1000) for asked in (beat, many, beat))
            )
            assert (first.row.index, first.first_seq) == (second.row.index - 1, 0)
            assert (second.first_seq, len(second.row.result.outcomes)) == (0, OPERATIONS_MAX)
            assert (third.row.index, third.first_seq) == (second.row.index + 1, 0)
            assert first.row.result.outcomes[0].op == third.row.result.outcomes[0].op == "TASK_HEARTBEAT"
            renewal = draft(LockRenew("l", "o", 1))
            two = draft(LockRenew("l", "o", 1), LockRenew("k", "o", 1))
            together = await asyncio.gather(
                *(leader.service.write(asked, timeout_ms=1000) for asked in (renewal, two, beat))
            )
            assert [(one.row.index, one.first_seq) for one in together] == [
                (third.row.index + 1, seq) for seq in (0, 1, 3)
            ]

    run(work())


@pytest.mark.parametrize(
    ("asked", "shares"),
    [
        (draft(LockRenew("l", "o", 1)), True),
        (draft(LockRenew("l", "o", 1), TaskHeartbeat("t", 1)), True),
        (draft(LockRenew("l", "o", 1), key="k"), False),
        (draft(LockRenew("l", "o", 1), payload=1), False),
        (draft(LockAcquire("l", "o", 1000)), False),
        (draft(LockRenew("l", "o", 1), Add("m", Fields())), False),
        (draft(), False),
    ],
    ids=range(7),
)
def test_only_what_is_nothing_but_a_renewal_shares_an_entry(asked: Draft, shares: bool) -> None:
    assert is_renewal(asked) is shares


def test_renewals_under_a_condition_or_together_or_not_at_all_stand_alone() -> None:
    plain = draft(LockRenew("l", "o", 1), LockRenew("k", "o", 1))
    assert is_renewal(plain)
    assert not is_renewal(replace(plain, header=replace(plain.header, atomic=True)))
    assert not is_renewal(replace(plain, header=replace(plain.header, guards=(Guard(lock="l", token=1),))))
    assert not is_renewal(replace(plain, header=replace(plain.header, read_index=5)))


def test_a_lead_that_is_lost_before_the_tick_is_over_leaves_the_renewals_in_no_log() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            renewals, told = leader.service._renewals, list[object]()
            assert isinstance(renewals, RenewalBatch)
            renewals.add(draft(LockRenew("l", "o", 1)), told.append)
            last = leader.consensus.journal.last_index
            leader.kill()
            await asyncio.sleep(0.01)
            assert [type(what) for what in told] == [NoLeader]
            assert leader.consensus.journal.last_index == last

    run(work())


def test_a_renewal_is_placed_again_when_the_leader_gives_way_before_it_was_proposed() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            token = await take(leader, "l", "o")
            asked = renewing(leader, "l", "o", token)
            await asyncio.sleep(0.001)
            leader.consensus.transfer(None)
            written = await asked
            assert written.row.result.outcomes[written.first_seq].applied
            assert (await group.elected()) is not leader

    run(work())


def test_nobody_who_renews_in_time_loses_a_lock_while_leaders_die() -> None:
    async def work() -> None:
        async with group_of(5) as group:
            leader = await group.elected()
            ttl_ms, ends = 6000, asyncio.get_running_loop().time() + 30
            tokens = {f"l{number}": await take(leader, f"l{number}", "o", ttl_ms=ttl_ms) for number in range(50)}

            async def keep(number: int) -> None:
                name = f"l{number}"
                while asyncio.get_running_loop().time() < ends:
                    one = group.running()[number % len(group.running())]
                    try:
                        written = await one.service.write(draft(LockRenew(name, "o", tokens[name])), timeout_ms=1500)
                    except (NoLeader, UnknownOutcome):
                        continue  # at once, by way of a replica that runs
                    assert written.row.result.outcomes[written.first_seq].applied, name
                    await asyncio.sleep(ttl_ms / 3000)

            keeping = [asyncio.create_task(keep(number)) for number in range(50)]
            for _ in range(2):
                await asyncio.sleep(8)
                (await group.elected()).kill()
            await asyncio.gather(*keeping)
            assert (await group.elected()).events("LOCK_EXPIRE") == []

    run(work())


def test_a_dead_holder_is_expired_by_whoever_leads_then() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            await take(leader, "l", "dead", ttl_ms=3000)
            began = asyncio.get_running_loop().time()
            leader.kill()
            new = await group.elected()
            await settled(lambda: new.events("LOCK_EXPIRE") == ["LOCK_EXPIRE"])
            assert 3.0 <= asyncio.get_running_loop().time() - began < 6.0
            assert new.service.metrics()["things_expired_total"] == 1

    run(work())


def test_an_expiry_that_was_cut_off_does_not_keep_a_later_lead_from_the_next_one() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            await take(leader, "l", "first", ttl_ms=1000)
            await asyncio.sleep(0.8)
            group.cut.add(leader.name)
            others = [asyncio.create_task(add(leader, f"m{number}")) for number in range(100)]
            await settled(lambda: leader.service.metrics()["things_expired_total"] == 1)  # far beyond what others have
            await asyncio.gather(*others, return_exceptions=True)
            rest = [one for one in group.replicas if one is not leader]
            await settled(lambda: any(one.consensus.is_leader for one in rest))
            new = next(one for one in rest if one.consensus.is_leader)
            await settled(lambda: new.events("LOCK_EXPIRE") == ["LOCK_EXPIRE"])
            await take(new, "l", "second", ttl_ms=3000)
            group.cut.clear()
            await asyncio.sleep(1)
            assert await new.service.transfer(leader.name, timeout_ms=3000) == leader.name
            await asyncio.sleep(4)
            assert leader.events("LOCK_EXPIRE") == ["LOCK_EXPIRE"] * 2

    run(work())


def test_log_time_is_told_by_every_replica_and_never_ahead_of_the_leader() -> None:
    async def work() -> None:
        async with group_of(3) as group:
            leader = await group.elected()
            await take(leader, "l", "o", ttl_ms=60_000)
            await asyncio.sleep(30)
            hold = leader.replica.reader().coordination_row(hold_key("l", "o"))
            assert isinstance(hold, Hold)
            for one in group.followers():
                behind = leader.service.log_time() - one.service.log_time()
                assert 0 <= behind < 50_000
                assert 29.9 < (hold.expires - one.service.log_time()) / 1e6 < 30.1

    run(work())
