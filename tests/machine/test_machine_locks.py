"""Locks and semaphores, one situation each; random histories are in `test_machine_lock_model.py`."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_world import (
    SECOND,
    Step,
    World,
    acquire,
    add,
    add_task,
    claim,
    command,
    expire_lock,
    force_release,
    holds_in,
    json,
    leave,
    queue_in,
    release,
    release_owner,
    renew,
    task_of,
)

from raftmem.limits import (
    LOCK_TTL_MS_MAX,
    LOCK_TTL_MS_MIN,
    OWNER_RELEASE_MAX,
    PERMITS_MAX,
    TIMEOUT_MS_MAX,
    WAIT_MS_MAX,
    WAITERS_MAX,
)
from raftmem.model.commands import (
    Content,
    LockAcquire,
    LockExpire,
    LockForceRelease,
    LockLeave,
    LockOperation,
    LockRelease,
    LockRenew,
    OwnerRelease,
)
from raftmem.model.coordination_rows import DUE, LOCKS, owned_by
from raftmem.model.records import About, Outcome, Position


def events(outcomes: tuple[Outcome, ...]) -> list[tuple[str, str | None, int | None]]:
    return [(one.op, one.about.owner, one.about.token) for one in outcomes if one.about is not None]


def held_by(world: World, lock: str = "l") -> list[tuple[str, int]]:
    return [(hold.owner, hold.token) for hold in holds_in(world, lock)]


def waiting_for(world: World, lock: str = "l") -> list[str]:
    return [waiter.owner for waiter in queue_in(world, lock)]


@pytest.fixture
def world() -> World:
    """`a` holds lock `l` with token 1 for ten seconds."""
    world = World()
    world.one(acquire("l", "a"))
    return world


# --- acquire ----------------------------------------------------------------------------------------
def test_a_free_lock_is_granted_with_the_index_as_its_token() -> None:
    world = World()
    world.one(add("m", text="t"))
    outcome = world.one(acquire("deploy/prod", "a"))
    assert outcome == Outcome("LOCK_ACQUIRE", applied=True, about=About(lock="deploy/prod", owner="a", token=2))
    (hold,) = holds_in(world, "deploy/prod")
    assert (hold.token, hold.expires, hold.renewals) == (2, world.time + 10 * SECOND, 0)


def test_a_held_lock_is_refused_and_nothing_changes(world: World) -> None:
    outcome = world.one(acquire("l", "b", metadata={"x": 1}))
    assert outcome == Outcome("LOCK_ACQUIRE", applied=False, code="lock-held", about=About(lock="l", owner="b"))
    assert world.changes == 0


def test_the_holder_that_asks_again_keeps_its_token_and_gets_the_new_time(world: World) -> None:
    world.later(ms=3000)
    outcome = world.one(acquire("l", "a", ttl_ms=500))
    assert (outcome.op, outcome.requested_op, outcome.about) == (
        "LOCK_RENEW",
        "LOCK_ACQUIRE",
        About(lock="l", owner="a", token=1),
    )
    (hold,) = holds_in(world, "l")
    assert (hold.expires, hold.ttl_ms, hold.renewals, hold.asked) == (world.time + SECOND // 2, 500, 1, Position(2, 0))


def test_other_permits_than_the_lock_has_are_refused_until_it_is_free(world: World) -> None:
    assert world.one(acquire("l", "b", permits=2)).code == "permits-mismatch"
    assert world.one(acquire("l", "a", permits=2)).code == "permits-mismatch"
    assert world.run(release("l", "a", 1), acquire("l", "b", permits=2))[1].applied
    assert held_by(world) == [("b", 4)]


def test_a_semaphore_has_as_many_holders_as_permits() -> None:
    world = World()
    for owner in "abc":
        assert world.one(acquire("l", owner, permits=3)).applied
    assert world.one(acquire("l", "d", permits=3)).code == "lock-held"
    assert held_by(world) == [("a", 1), ("b", 2), ("c", 3)]


@pytest.mark.parametrize(
    ("words", "is_applied"),
    [
        ({"ttl_ms": LOCK_TTL_MS_MIN}, True),
        ({"ttl_ms": LOCK_TTL_MS_MAX}, True),
        ({"permits": PERMITS_MAX}, True),
        ({"wait_ms": WAIT_MS_MAX, "leave_ms": TIMEOUT_MS_MAX}, True),
        ({"wait_ms": WAIT_MS_MAX + 1}, False),
        ({"leave_ms": TIMEOUT_MS_MAX + 1}, False),
        ({"leave_ms": -1}, False),
        ({"ttl_ms": LOCK_TTL_MS_MIN - 1}, False),
        ({"ttl_ms": LOCK_TTL_MS_MAX + 1}, False),
        ({"ttl_ms": -(2**63)}, False),
        ({"permits": 0}, False),
        ({"permits": PERMITS_MAX + 1}, False),
        ({"wait_ms": -1}, False),
        ({"wait_ms": 2**64 - 1}, False),
    ],
)
def test_an_acquire_out_of_bounds_is_refused(words: dict[str, int], is_applied: bool) -> None:
    outcome = World().one(acquire("l", "a", **words))
    assert (outcome.applied, outcome.code) == (is_applied, None if is_applied else "invalid-request")


@pytest.mark.parametrize("payload", [b"[]", b"{", b'{"a":' * 80, b"\xff", b""])
def test_metadata_that_is_no_object_is_refused(payload: bytes) -> None:
    world = World()
    assert world.one((LockAcquire("l", "a", 1000), Content(payload=payload))).code == "invalid-request"
    assert world.changes == 0


def test_metadata_stands_at_the_acquire_that_brought_it(world: World) -> None:
    def metadata(owner: str) -> bytes | None:
        (at,) = [hold.metadata_at for hold in holds_in(world, "l") if hold.owner == owner]
        return None if at is None else world.store.read().content(at)

    world.one(acquire("l", "a", metadata={"run": 1}))
    world.one(acquire("l", "a"))
    assert metadata("a") == json({"run": 1})
    world.one(acquire("l", "b", wait_ms=1000, metadata={"run": 2}))
    world.one(acquire("l", "b", wait_ms=1000))
    world.run(release("l", "a", 1))
    assert metadata("b") == json({"run": 2})
    world.one(acquire("l", "b", metadata={}))
    assert metadata("b") is None


# --- the queue --------------------------------------------------------------------------------------
def test_a_release_serves_the_first_of_the_queue_in_the_same_entry(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=5000, ttl_ms=700))
    world.one(acquire("l", "c", wait_ms=5000))
    assert events(world.run(release("l", "a", 1))) == [("LOCK_RELEASE", "a", 1), ("LOCK_GRANT", "b", 4)]
    (hold,) = holds_in(world, "l")
    assert (hold.asked, hold.expires, hold.renewals) == (Position(2, 0), world.time + 700_000, 0)
    assert waiting_for(world) == ["c"]


def test_a_waiter_that_asks_again_keeps_its_place(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    world.one(acquire("l", "c", wait_ms=1000))
    world.later(ms=900)
    assert world.one(acquire("l", "b", wait_ms=2000, ttl_ms=300)).op == "LOCK_WAIT"
    first, _ = queue_in(world, "l")
    assert (first.owner, first.asked.index, first.renewals, first.ttl_ms) == ("b", 4, 1, 300)
    assert first.expires == world.time + 2 * SECOND


def test_a_waiter_that_asks_without_waiting_is_refused_and_stays(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    before = queue_in(world, "l")
    assert world.one(acquire("l", "b")).code == "lock-held"
    assert queue_in(world, "l") == before


def test_a_waiter_whose_time_is_over_is_passed_over_and_told(world: World) -> None:
    for owner, wait_ms in [("b", 100), ("c", 100), ("d", 5000), ("e", 100)]:
        world.one(acquire("l", owner, wait_ms=wait_ms))
    world.later(ms=100)
    assert events(world.run(release("l", "a", 1))) == [
        ("LOCK_RELEASE", "a", 1),
        ("LOCK_EXPIRE", "b", None),
        ("LOCK_EXPIRE", "c", None),
        ("LOCK_GRANT", "d", 6),
    ]
    assert waiting_for(world) == ["e"]


def test_a_lock_that_only_the_dead_wait_for_is_free(world: World) -> None:
    for n in range(40):
        world.one(acquire("l", f"w{n:02}", wait_ms=100))
    world.later(ms=100)
    expired = world.run(release("l", "a", 1))[1:]
    assert [one.about.owner for one in expired if one.about] == [f"w{n:02}" for n in range(40)]
    assert world.store.read().scan(LOCKS, limit=1) == []
    assert world.store.read().scan(DUE, limit=1) == []


def test_a_full_queue_refuses_the_next_and_not_those_who_wait(world: World) -> None:
    for start in range(0, WAITERS_MAX, 500):
        world.run(*(acquire("l", f"w{n}", wait_ms=1000) for n in range(start, start + 500)))
    assert world.one(acquire("l", "late", wait_ms=1000)).code == "too-many-requests"
    assert world.one(acquire("l", "w7", wait_ms=1000)).op == "LOCK_WAIT"


# --- renew and release ------------------------------------------------------------------------------
def test_a_renewal_counts_from_now_and_keeps_the_time_to_live(world: World) -> None:
    world.later(ms=4000)
    assert world.one(renew("l", "a", 1)).about == About(lock="l", owner="a", token=1)
    assert holds_in(world, "l")[0].expires == world.time + 10 * SECOND
    world.one(renew("l", "a", 1, ttl_ms=200))
    assert (holds_in(world, "l")[0].expires, holds_in(world, "l")[0].ttl_ms) == (world.time + 200_000, 200)


def test_a_renewal_that_is_late_but_before_the_expiry_succeeds(world: World) -> None:
    world.later(ms=60_000)
    assert world.one(renew("l", "a", 1)).applied
    assert world.one(expire_lock("l", "a", 1, renewals=0)).code == "moved"


@pytest.mark.parametrize("ttl_ms", [0, LOCK_TTL_MS_MIN - 1, LOCK_TTL_MS_MAX + 1, 2**64 - 1])
def test_a_renewal_out_of_bounds_is_refused(world: World, ttl_ms: int) -> None:
    assert world.one(renew("l", "a", 1, ttl_ms=ttl_ms)).code == "invalid-request"


@pytest.mark.parametrize("step", [renew, release])
def test_a_stale_token_is_told_which_one_holds(step: Any) -> None:
    world = World()
    world.run(acquire("l", "a"), acquire("pool", "a", permits=2))

    def told(lock: str, owner: str, token: int) -> tuple[str | None, int | None]:
        outcome = world.one(step(lock, owner, token))
        assert outcome.about is not None
        assert (outcome.about.lock, outcome.about.owner, outcome.about.token) == (lock, owner, token)
        return outcome.code, outcome.about.current_token

    assert told("l", "a", 9) == ("stale-token", 1)
    assert told("l", "b", 1) == ("stale-token", 1)
    assert told("free", "a", 1) == ("stale-token", None)
    assert told("pool", "a", 9) == ("stale-token", 1)
    assert told("pool", "b", 1) == ("stale-token", None)


def test_a_second_release_is_stale(world: World) -> None:
    assert world.one(release("l", "a", 1)).applied
    assert world.one(release("l", "a", 1)).code == "stale-token"


def test_an_entry_never_ends_a_hold_that_it_granted(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    here = 3
    for step in (
        release("l", "b", here),
        force_release("l"),
        leave("l", "b", 2, gone=True),
        release_owner("b"),
    ):
        outcomes = world.run(release("l", "a", 1), step)
        assert [outcome.code for outcome in outcomes] == ["batch-refused", "wrong-state"]
        here += 1
        assert held_by(world) == [("a", 1)]
    world.run(release("l", "a", 1), release("l", "b", here), atomic=False)
    assert held_by(world) == [("b", here)]


def test_several_locks_of_which_one_is_held_are_not_taken(world: World) -> None:
    outcomes = world.run(acquire("k", "b", metadata={"x": 1}), acquire("l", "b"), acquire("m", "b"))
    assert [outcome.code for outcome in outcomes] == ["batch-refused", "lock-held", "batch-refused"]
    assert world.changes == 0


# --- force release ----------------------------------------------------------------------------------
def test_a_force_release_names_whoever_held_it_and_serves_the_queue() -> None:
    world = World()
    for owner in "abc":
        world.one(acquire("l", owner, permits=3))
    for owner in "de":
        world.one(acquire("l", owner, permits=3, wait_ms=1000))
    assert events(world.run(force_release("l"))) == [
        ("LOCK_FORCE_RELEASE", "a", 1),
        ("LOCK_FORCE_RELEASE", "b", 2),
        ("LOCK_FORCE_RELEASE", "c", 3),
        ("LOCK_GRANT", "d", 6),
        ("LOCK_GRANT", "e", 6),
    ]
    assert waiting_for(world) == []


def test_a_force_release_of_a_free_lock_changes_nothing() -> None:
    world = World()
    outcome = world.one(force_release("l"))
    assert outcome == Outcome("NOOP", applied=True, requested_op="LOCK_FORCE_RELEASE", about=About(lock="l"))
    assert world.changes == 0


# --- leave ------------------------------------------------------------------------------------------
def test_a_waiter_that_leaves_is_not_served(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    assert events((world.one(leave("l", "b", 2)),)) == [("LOCK_LEAVE", "b", None)]
    assert world.run(release("l", "a", 1))[1:] == ()
    assert held_by(world) == []


def test_a_leave_of_an_older_asking_is_refused(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    world.one(acquire("l", "b", wait_ms=1000))
    assert world.one(leave("l", "b", 2, gone=True)).code == "moved"
    assert waiting_for(world) == ["b"]


def test_a_grant_that_nobody_is_there_to_take_goes_to_the_next(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    world.one(acquire("l", "c", wait_ms=1000))
    world.run(release("l", "a", 1))
    left = world.run(leave("l", "b", 2, gone=True))
    assert events(left) == [("LOCK_RELEASE", "b", 4), ("LOCK_GRANT", "c", 5)]
    assert left[0].requested_op == "LOCK_LEAVE"


def test_a_grant_that_was_renewed_or_asked_for_again_is_not_given_back(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    world.run(release("l", "a", 1))
    world.one(renew("l", "b", 3))
    assert world.one(leave("l", "b", 2, gone=True)).code == "moved"
    world.one(acquire("l", "b"))
    assert world.one(leave("l", "b", 2, gone=True)).code == "moved"
    assert held_by(world) == [("b", 3)]


def test_a_leave_after_the_grant_says_the_token(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    world.run(release("l", "a", 1))
    outcome = world.one(leave("l", "b", 2))
    assert (outcome.op, outcome.requested_op) == ("NOOP", "LOCK_LEAVE")
    assert outcome.about == About(lock="l", owner="b", token=3)
    assert held_by(world) == [("b", 3)]


# --- expire -----------------------------------------------------------------------------------------
def test_a_hold_expires_when_its_time_is_over_and_not_before(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=60_000))
    world.later(ms=9_999)
    assert world.one(expire_lock("l", "a", 1)).code == "moved"
    world.later(ms=1)
    assert events(world.run(expire_lock("l", "a", 1))) == [("LOCK_EXPIRE", "a", 1), ("LOCK_GRANT", "b", 4)]


@pytest.mark.parametrize(
    "step",
    [
        expire_lock("l", "a", 1, renewals=1),
        expire_lock("l", "a", 2),
        expire_lock("l", "a", None),
        expire_lock("l", "b", 1),
        expire_lock("m", "a", 1),
        expire_lock("l", "a", 1, term=2),
        expire_lock("l", "a", 1, term=0),
    ],
)
def test_an_expiry_that_saw_something_else_is_none(world: World, step: Step) -> None:
    world.later(ms=60_000)
    assert world.one(step).code == "moved"
    assert held_by(world) == [("a", 1)]


def test_an_expiry_of_an_earlier_leader_is_none(world: World) -> None:
    world.later(ms=60_000)
    late = command([expire_lock("l", "a", 1, term=1)], time=world.time)
    assert world.feed(late, term=2).row.result.outcomes[0].code == "moved"
    assert held_by(world) == [("a", 1)]


def test_one_entry_ends_a_hold_and_the_waiters_that_are_as_late(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    world.later(ms=60_000)
    outcomes = world.run(expire_lock("l", "a", 1), expire_lock("l", "b", None), atomic=False)
    assert [(one.op, one.code) for one in outcomes] == [
        ("LOCK_EXPIRE", None),
        ("LOCK_EXPIRE", "moved"),
        ("LOCK_EXPIRE", None),
    ]
    assert world.store.read().scan(LOCKS, limit=1) == []


def test_an_expired_waiter_leaves_the_holder_alone(world: World) -> None:
    world.one(acquire("l", "b", wait_ms=1000))
    world.later(ms=1000)
    assert world.one(expire_lock("l", "b", None, renewals=1)).code == "moved"
    assert world.one(expire_lock("l", "b", None)).applied
    assert (held_by(world), waiting_for(world)) == ([("a", 1)], [])


# --- a dead owner -----------------------------------------------------------------------------------
def test_an_owner_release_takes_holds_waits_and_claims_at_once() -> None:
    world = World()
    world.one(acquire("held", "dead"))
    world.one(acquire("other", "b"))
    world.one(acquire("held", "b", wait_ms=1000))
    world.one(acquire("other", "dead", wait_ms=1000))
    world.one(add_task("t"))
    world.one(claim(worker="dead"))
    outcomes = world.run(release_owner("dead"))
    assert outcomes[0] == Outcome("OWNER_RELEASE", applied=True, about=About(owner="dead"))
    told = {(one.op, one.about.lock, one.about.token, one.about.task_ids) for one in outcomes[1:] if one.about}
    assert told == {
        ("LOCK_FORCE_RELEASE", "held", 1, ()),
        ("LOCK_GRANT", "held", 7, ()),
        ("LOCK_LEAVE", "other", None, ()),
        ("TASK_EXPIRE", None, 6, ("t",)),
    }
    assert task_of(world, "t").errors[0].code == "owner-released"
    assert world.store.read().scan(owned_by("dead"), limit=9) == []


def test_an_owner_release_never_ends_a_claim_that_its_own_entry_gave() -> None:
    world = World()
    world.one(add_task("t"))
    outcomes = world.run(claim(worker="dead"), release_owner("dead"))
    assert [outcome.code for outcome in outcomes] == ["batch-refused", "wrong-state"]


def test_an_owner_release_goes_on_in_the_next_entry_above_its_bound() -> None:
    world = World()
    world.run(*(acquire(f"l{n}", "dead") for n in range(OWNER_RELEASE_MAX + 3)))
    assert len(world.run(release_owner("dead"))) == 1 + OWNER_RELEASE_MAX
    assert len(world.run(release_owner("dead"))) == 1 + 3
    assert len(world.run(release_owner("dead"))) == 1
    assert world.store.read().scan(LOCKS, limit=1) == []


# --- whatever decodes applies -------------------------------------------------------------------------
NAMES = st.sampled_from(["", "l", "\0", "é" * 400])
NUMBERS = st.sampled_from([-(2**63), -1, 0, 1, 2, 100, 60_000, 2**63, 2**64 - 1])
TOKENS = NUMBERS | st.none()
ANY = st.one_of(
    st.builds(LockAcquire, NAMES, NAMES, NUMBERS, NUMBERS, NUMBERS),
    st.builds(LockAcquire, NAMES, NAMES, st.just(100), st.sampled_from([1, 2]), NUMBERS),
    st.builds(LockRenew, NAMES, NAMES, NUMBERS, TOKENS),
    st.builds(LockRelease, NAMES, NAMES, NUMBERS),
    st.builds(LockForceRelease, NAMES),
    st.builds(LockLeave, NAMES, NAMES, NUMBERS, st.booleans()),
    st.builds(LockExpire, NAMES, NAMES, TOKENS, NUMBERS, NUMBERS),
    st.builds(OwnerRelease, NAMES),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ANY, min_size=1, max_size=12), st.booleans())
def test_what_decodes_never_raises(operations: list[LockOperation], atomic: bool) -> None:
    world = World()
    world.run(*((operation, None) for operation in operations), atomic=False)
    world.later(ms=60_000)
    assert len(world.run(*((operation, None) for operation in operations), atomic=atomic)) >= len(operations)
