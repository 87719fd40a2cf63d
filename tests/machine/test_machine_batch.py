"""Entries of several operations, atomic or not, and their guards."""

import pytest
from machine_world import World, add, delete, noop, put, update

from raftmem.model.commands import Guard
from raftmem.model.records import Outcome, Position


def codes(outcomes: tuple[Outcome, ...]) -> list[str | None]:
    return [outcome.code for outcome in outcomes]


def test_later_operations_see_earlier_ones() -> None:
    world = World()
    outcomes = world.run(
        add("a", text="t"), update("a", text="u"), delete("a"), add("a", text="v"), noop("a"), put("a", text="w")
    )
    assert [outcome.op for outcome in outcomes] == ["ADD", "UPDATE", "DELETE", "ADD", "NOOP", "UPDATE"]
    assert [outcome.version for outcome in outcomes] == [1, 2, 3, 4, 4, 5]
    record = world.memory("a")
    assert (record.text, record.created, record.previous) == ("w", Position(1, 3), Position(1, 0))
    assert world.store.head().memories == 1


def test_a_duplicate_within_the_entry_is_a_noop() -> None:
    world = World()
    outcomes = world.run(*[add(name, text="t", on_duplicate="noop") for name in "abc"])
    assert [(outcome.op, outcome.memory_id) for outcome in outcomes] == [("ADD", "a"), ("NOOP", "a"), ("NOOP", "a")]


def test_a_duplicate_changed_in_the_entry_gives_way_to_the_next() -> None:
    world = World()
    for name in "abc":
        world.one(add(name, text="t"))
    outcomes = world.run(delete("a"), update("b", text="other"), add("d", text="t", on_duplicate="noop"))
    assert (outcomes[2].op, outcomes[2].memory_id) == ("NOOP", "c")


def test_the_oldest_row_is_the_duplicate_wherever_it_was_changed() -> None:
    world = World()
    world.one(add("old", text="x"))
    world.one(add("new", text="t"))
    outcomes = world.run(update("old", text="t"), add("z", text="t", on_duplicate="noop"))
    assert outcomes[1].memory_id == "old"
    outcomes = world.run(update("new", confidence=0.5), add("z", text="t", on_duplicate="noop"))
    assert outcomes[1].memory_id == "old"


def test_atomic_batch_with_a_refusal_changes_nothing() -> None:
    world = World()
    world.one(add("a", text="t"))
    outcomes = world.run(update("a", text="u"), add("b", text="t"), update("c", text="t"), delete("a"))
    assert codes(outcomes) == ["batch-refused", "batch-refused", "not-found", "batch-refused"]
    assert [outcome.applied for outcome in outcomes] == [False] * 4
    assert [outcome.version for outcome in outcomes] == [1, None, None, 1]
    assert world.changes == 0
    assert world.memory("a").version == 1


def test_atomic_batch_keeps_the_first_refusal_only() -> None:
    outcomes = World().run(update("c", text="t"), update("d", text="t"))
    assert codes(outcomes) == ["not-found", "batch-refused"]


def test_other_batch_refuses_only_what_is_refused() -> None:
    world = World()
    outcomes = world.run(add("a", text="t"), add("a", text="u"), update("a", text="v"), atomic=False)
    assert codes(outcomes) == [None, "already-exists", None]
    assert [outcome.version for outcome in outcomes] == [1, 1, 2]
    assert world.memory("a").text == "v"


def test_guards_are_of_the_state_before_the_entry() -> None:
    world = World()
    world.one(add("a", text="t"))
    outcomes = world.run(update("a", text="u"), update("a", text="v"), guards=(Guard(memory="a", version=1),))
    assert [outcome.version for outcome in outcomes] == [2, 3]


def test_false_guard_refuses_an_atomic_batch_at_its_first_operation() -> None:
    outcomes = World().run(add("a", text="t"), add("b", text="t"), guards=(Guard(memory="x", exists=True),))
    assert codes(outcomes) == ["precondition-failed", "batch-refused"]
    assert [outcome.failed for outcome in outcomes] == [(0,), ()]


def test_false_guard_refuses_every_operation_of_another_batch() -> None:
    world = World()
    world.one(add("a", text="t"))
    guards = (Guard(memory="a", exists=True), Guard(memory="a", version=2))
    outcomes = world.run(add("b", text="t"), delete("a"), add("a", text="t"), guards=guards, atomic=False)
    assert codes(outcomes) == ["precondition-failed", "precondition-failed", "already-exists"]
    assert [outcome.failed for outcome in outcomes] == [(1,), (1,), ()]
    assert world.changes == 0


GUARDS = [
    ("active", Guard(memory="a", version=2), True),
    ("active", Guard(memory="a", version=1), False),
    ("active", Guard(memory="a", exists=True), True),
    ("active", Guard(memory="a", exists=False), False),
    ("deleted", Guard(memory="a", version=3), False),
    ("deleted", Guard(memory="a", exists=True), False),
    ("deleted", Guard(memory="a", exists=False), True),
    ("deleted", Guard(memory="a", sha256=""), False),
    ("absent", Guard(memory="a", version=0), False),
    ("absent", Guard(memory="a", exists=True), False),
    ("absent", Guard(memory="a", exists=False), True),
    ("absent", Guard(memory="a", sha256="00" * 32), False),
]


@pytest.mark.parametrize(("state", "guard", "holds"), GUARDS)
def test_guard(state: str, guard: Guard, holds: bool) -> None:
    world = World()
    if state != "absent":
        world.run(add("a", text="t"), update("a", text="u"))
    if state == "deleted":
        world.one(delete("a"))
    outcome = world.one(add("b", text="t"), guards=(guard,))
    assert (outcome.applied, outcome.failed) == (holds, () if holds else (0,))


def test_guard_on_the_content() -> None:
    world = World()
    world.one(add("a", text="t"))
    sha256 = world.memory("a").sha256.hex()
    assert world.one(noop("a"), guards=(Guard(memory="a", sha256=sha256),)).applied
    assert world.one(noop("a"), guards=(Guard(memory="a", sha256=sha256.upper()),)).failed == (0,)
    world.one(update("a", text="u"))
    assert world.one(noop("a"), guards=(Guard(memory="a", sha256=sha256),)).failed == (0,)


def test_an_empty_batch_is_an_empty_result() -> None:
    assert World().run(key="k") == ()
    assert World().run(guards=(Guard(memory="x", exists=True),)) == ()


def test_a_thousand_operations_are_one_entry() -> None:
    world = World()
    outcomes = world.run(*[add(str(n), text=str(n % 7), on_duplicate="noop") for n in range(1000)])
    assert sum(outcome.op == "ADD" for outcome in outcomes) == 7
    assert world.store.head().memories == 7
