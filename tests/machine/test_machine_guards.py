"""Guards on locks and gates, and that what a guard names must be so whatever the entry holds.

Guards on memories alone are in `test_machine_batch.py`.
"""

import pytest
from machine_world import (
    ALICE,
    BOB,
    Step,
    World,
    acquire,
    add,
    add_task,
    approve,
    claim,
    complete,
    consume,
    force_release,
    gate_put,
    release,
    renew,
    txn,
    update,
)

from raftmem.model.commands import Guard
from raftmem.model.records import Outcome


def failed(outcome: Outcome) -> tuple[int, ...]:
    assert outcome.applied or outcome.code == "precondition-failed"
    return outcome.failed


def guarded(world: World, *guards: Guard) -> tuple[int, ...]:
    """The positions of the guards that are false now."""
    name = str(world.store.head().index)
    return failed(world.one(add(name, text="t"), guards=guards))


def test_the_token_of_the_holder_is_true_and_no_other() -> None:
    world = World()
    world.one(acquire("l", "a"))
    assert guarded(world, Guard(lock="l", token=1)) == ()
    assert guarded(world, Guard(lock="l", token=1, owner="a")) == ()
    assert guarded(world, Guard(lock="l", token=2)) == (0,)
    assert guarded(world, Guard(lock="l", token=1, owner="b")) == (0,)
    assert guarded(world, Guard(lock="l")) == (0,)
    assert guarded(world, Guard(lock="other", token=1)) == (0,)


def test_a_lock_renewed_keeps_its_token_true() -> None:
    world = World()
    world.one(acquire("l", "a"))
    world.one(renew("l", "a", 1))
    world.one(acquire("l", "a"))
    assert guarded(world, Guard(lock="l", token=1)) == ()


@pytest.mark.parametrize("end", [release("l", "a", 1), force_release("l")])
def test_a_token_is_false_once_its_hold_is_over(end: Step) -> None:
    world = World()
    world.one(acquire("l", "a"))
    world.one(end)
    assert guarded(world, Guard(lock="l", token=1)) == (0,)
    world.one(acquire("l", "a"))
    index = world.store.head().index
    assert guarded(world, Guard(lock="l", token=1), Guard(lock="l", token=index)) == (0,)


def test_a_token_is_true_until_the_log_says_that_it_is_not() -> None:
    world = World()
    world.one(acquire("l", "a"))
    world.later(ms=60_000)
    assert guarded(world, Guard(lock="l", token=1)) == ()


def test_who_waits_has_no_true_token_before_the_grant() -> None:
    world = World()
    world.one(acquire("l", "a"))
    world.one(acquire("l", "b", wait_ms=60_000))
    assert guarded(world, Guard(lock="l", token=2), Guard(lock="l", token=2, owner="b")) == (0, 1)
    world.run(release("l", "a", 1))
    granted = world.store.head().index
    assert guarded(world, Guard(lock="l", token=granted), Guard(lock="l", token=1, owner="a")) == (1,)


def test_a_semaphore_takes_the_owner_too() -> None:
    world = World()
    world.one(acquire("s", "a", permits=2))
    world.one(acquire("s", "b", permits=2))
    assert guarded(world, Guard(lock="s", token=1)) == (0,)
    assert guarded(world, Guard(lock="s", token=1, owner="a"), Guard(lock="s", token=2, owner="b")) == ()
    assert guarded(world, Guard(lock="s", token=2, owner="a"), Guard(lock="s", token=1, owner="b")) == (0, 1)


def test_a_gate_is_open_or_it_is_not() -> None:
    world = World()
    is_open, is_closed = Guard(gate="g", open=True), Guard(gate="g", open=False)
    assert guarded(world, is_open, is_closed) == (0,)  # never put: not open
    world.one(gate_put("g", 1))
    assert guarded(world, is_open, is_closed) == (0,)
    world.one(approve("g"))
    assert guarded(world, is_open, is_closed) == (1,)
    world.one(consume("g"))
    assert guarded(world, is_open, is_closed) == (0,)


def test_a_gate_guard_follows_what_the_gate_pins() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(gate_put("g", pins={"a": 1}))
    assert world.run(update("a", text="u"), guards=(Guard(gate="g", open=True),))[0].applied
    assert guarded(world, Guard(gate="g", open=True)) == (0,)


def test_all_false_guards_are_told_in_order() -> None:
    world = World()
    world.one(acquire("l", "a"))
    world.one(gate_put("g", 1))
    world.one(add("m", text="t"))
    guards = (
        Guard(lock="l", token=9),
        Guard(memory="m", version=1),
        Guard(gate="g", open=True),
        Guard(lock="l", token=1),
        Guard(memory="m", exists=False),
    )
    assert guarded(world, *guards) == (0, 2, 4)


@pytest.mark.parametrize(
    "guard",
    [
        Guard(),
        Guard(open=False, token=1),
        Guard(gate="g"),
        Guard(lock="l", token=1, gate="g", open=True),
        Guard(lock="l", token=1, memory="m", exists=True),
        Guard(memory="m", exists=False, gate="g", open=True),
    ],
)
def test_a_guard_that_is_not_true_in_all_that_it_names_lets_nothing_by(guard: Guard) -> None:
    world = World()
    world.one(acquire("l", "a"))
    assert guarded(world, guard) == (0,)


WRITES: dict[str, tuple[Step, ...]] = {
    "memory": (add("new", text="t"),),
    "batch": (add("new", text="t"), update("m", text="u"), gate_put("h")),
    "lock": (acquire("other", "a"),),
    "gate": (gate_put("g"),),
    "task": (add_task("t"),),
    "txn": txn([add("new", text="t"), acquire("other", "a")]),
}


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("atomic", [True, False])
def test_every_kind_of_write_is_fenced(kind: str, atomic: bool) -> None:
    world = World()
    world.one(add("m", text="t"))
    world.one(acquire("l", "a"))
    lost, held = Guard(lock="l", token=1), Guard(lock="l", token=2)
    outcomes = world.run(*WRITES[kind], guards=(held, lost), atomic=atomic, actor=BOB)
    assert outcomes[0].failed == (1,)
    assert world.changes == 0
    assert kind == "txn" or not any(outcome.applied for outcome in outcomes)
    outcomes = world.run(*WRITES[kind], guards=(held,), atomic=atomic, actor=ALICE)
    assert all(outcome.applied for outcome in outcomes)
    assert world.changes > 0


def test_the_end_of_a_task_is_fenced() -> None:
    world = World()
    world.run(add_task("t"), acquire("l", "a"))
    world.one(claim())
    assert failed(world.one(complete("t", 2), guards=(Guard(lock="l", token=2),))) == (0,)
    assert world.one(complete("t", 2), guards=(Guard(lock="l", token=1),)).applied
