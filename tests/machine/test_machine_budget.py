"""One entry does so much and no more: the operations after that are refused, alike on every replica."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_world import Step, World, add, add_task, delete, find_task, gate_of, gate_put, put, txn, update

from raftmem import limits
from raftmem.machine.budget import Budget, content_bytes, merge_bytes
from raftmem.model.commands import Merge
from raftmem.model.records import Outcome, Position, PutContent
from raftmem.storage.state.store import LmdbStateStore

IS_SPENT = ("too-large", "entry")


def why(outcomes: Sequence[Outcome]) -> list[tuple[str | None, str | None]]:
    return [(outcome.code, outcome.path) for outcome in outcomes]


def pinned(memories: int, gates: int) -> World:
    """A world in which each of the gates pins each of the memories."""
    world = World()
    names = [f"m{number}" for number in range(memories)]
    world.run(*(add(name, text="t") for name in names))
    for number in range(gates):
        world.one(gate_put(f"g{number}", pins=dict.fromkeys(names, 1)))
    return world


def test_a_batch_that_deletes_what_many_gates_pin_is_refused_whole_and_one_at_a_time_goes_through() -> None:
    world = pinned(24, 256)
    outcomes = world.run(*(delete(f"m{number}") for number in range(24)))
    assert world.changes == 0
    assert why(outcomes).count(IS_SPENT) == 1
    assert {code for code, _ in why(outcomes)} == {"too-large", "batch-refused"}
    assert gate_of(world, "g0").open
    assert [world.run(delete(f"m{number}"))[0].applied for number in range(24)] == [True] * 24
    assert not gate_of(world, "g255").open


def test_what_is_not_atomic_is_done_as_far_as_the_budget_goes() -> None:
    world = pinned(40, 200)
    outcomes = world.run(*(delete(f"m{number}") for number in range(40)), atomic=False)[:40]
    done = [outcome.applied for outcome in outcomes]
    count = done.count(True)
    assert 10 < count < 40
    assert done == [True] * count + [False] * (40 - count)
    assert set(why(outcomes)[count:]) == {IS_SPENT}
    rest = world.run(*(delete(f"m{number}") for number in range(count, 40)), atomic=False)
    assert rest[0].applied


def test_an_arm_of_a_transaction_that_spends_the_budget_is_refused_with_it() -> None:
    world = pinned(24, 256)
    outcomes = world.run(*txn([delete(f"m{number}") for number in range(24)]))
    assert why(outcomes)[0] == IS_SPENT
    assert world.changes == 0


def test_a_full_batch_of_small_memories_is_within_the_budget() -> None:
    world = World()
    names = [f"m{number}" for number in range(limits.OPERATIONS_MAX)]
    world.run(*(add("pinned", text="t"), gate_put("g", pins={"pinned": 1})))
    for steps in (
        [add(name, text="t", on_duplicate="noop") for name in names],
        [put(name, text=name) for name in names],
        [update(name, tags=("t",)) for name in names],
        [delete(name) for name in names],
    ):
        assert all(outcome.applied for outcome in world.run(*steps))


def test_a_full_body_of_content_is_within_the_budget_and_rewriting_more_is_not() -> None:
    world = World()
    text = "x" * limits.TEXT_BYTES_MAX
    names = [f"m{number}" for number in range(16)]
    assert all(outcome.applied for outcome in world.run(*(add(name, text=text) for name in names)))
    world.run(*(add(f"n{number}", text=text) for number in range(16)))
    everything = [*names, *(f"n{number}" for number in range(16))]
    outcomes = world.run(*(update(name, tags=("t",)) for name in everything), atomic=False)
    assert [outcome.applied for outcome in outcomes] == [True] * 16 + [False] * 16
    assert why(outcomes)[-1] == IS_SPENT


@pytest.mark.parametrize("fits", [True, False])
def test_values_that_are_merged_are_counted_whether_the_merge_fits_or_not(*, fits: bool) -> None:
    world = World()
    for number in range(9):
        world.one(add(f"m{number}", value={"list": ["x" * 100] * 1900}))  # some 196 KB
    by = ["y"] if fits else 1
    outcomes = world.run(
        *(update(f"m{number}", merge={"value.list": ("union", by)}) for number in range(9)), atomic=False
    )
    codes = [code for code, _ in why(outcomes)]
    assert codes[0] == (None if fits else "merge-type")
    assert codes[-1] == "too-large"


def test_a_batch_of_tasks_with_many_dependencies_is_bounded() -> None:
    world = World()
    needed = tuple(f"n{number}" for number in range(64))
    for start in range(0, 64, 16):
        world.run(*(add_task(name) for name in needed[start : start + 16]))
    steps = [add_task(f"t{number}", depends_on=needed) for number in range(100)]
    outcomes = world.run(*steps, atomic=False)
    applied = sum(outcome.applied for outcome in outcomes)
    assert 20 < applied < 100
    assert find_task(world, f"t{applied - 1}") is not None
    assert find_task(world, f"t{applied}") is None


def test_the_first_operation_is_never_refused_for_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENTRY_ROWS_MAX", "ENTRY_HASHED_BYTES_MAX", "ENTRY_PINS_MAX"):
        monkeypatch.setattr(limits, name, 0)
    world = pinned(1, 0)
    assert world.one(update("m0", text="u")).applied
    assert why(world.run(update("m0", text="v"), update("m0", text="w"), atomic=False)) == [(None, None), IS_SPENT]


def test_the_budget_is_spent_beyond_each_of_its_bounds() -> None:
    for name, limit in (("hashed_bytes", limits.ENTRY_HASHED_BYTES_MAX), ("pins", limits.ENTRY_PINS_MAX)):
        budget = Budget()
        setattr(budget, name, limit)
        assert not budget.is_spent(0, [])
        setattr(budget, name, limit + 1)
        assert budget.is_spent(0, [])
    content = PutContent(Position(1, 0), b"1")
    budget = Budget()
    assert not budget.is_spent(1, [content] * (limits.ENTRY_ROWS_MAX - 1))
    assert budget.is_spent(2, [content] * (limits.ENTRY_ROWS_MAX - 1))


def test_content_is_counted_in_bytes() -> None:
    world = World()
    world.one(add("m", text="aä€", value=[1], metadata={"k": 2}))
    assert content_bytes(world.memory("m")) == len("aä€".encode()) + len(b"[1]") + len(b'{"k":2}')
    merges = (Merge("value", "inc", b"1"), Merge("value", "union", b"[]"), Merge("tags", "remove", b"[]"))
    assert (merge_bytes(b"12345", merges), merge_bytes(None, merges)) == (15, 0)


NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.one_of(
    st.builds(lambda name, text: put(name, text=text), NAMES, st.text(min_size=1, max_size=40)),
    st.builds(delete, NAMES),
    st.builds(lambda name, tag: update(name, tags=(tag,)), NAMES, st.sampled_from(["x", "y"])),
    st.builds(lambda name, version: gate_put(f"g{version}", pins={name: version}), NAMES, st.integers(1, 9)),
    st.builds(add_task, NAMES, depends_on=st.lists(NAMES, max_size=2).map(tuple)),
)


@settings(max_examples=40, deadline=None)
@given(before=st.lists(STEPS, max_size=12), steps=st.lists(STEPS, min_size=1, max_size=12), rows=st.integers(0, 25))
def test_an_entry_is_its_part_within_the_budget_on_every_store(
    before: list[Step], steps: list[Step], rows: int
) -> None:
    """What is refused is a tail; what comes before it does what it does alone; both stores say the same digest."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as small:
        stores = [World(), World(LmdbStateStore(Path(folder) / "state"))]
        for world in stores:
            for step in before:
                world.run(step)
        small.setattr(limits, "ENTRY_ROWS_MAX", rows)
        told = [world.run(*steps, atomic=False) for world in stores]
        assert stores[0].store.head() == stores[1].store.head()
        outcomes = told[0][: len(steps)]
        spent = [pair == IS_SPENT for pair in why(outcomes)]
        count = spent.index(True) if True in spent else len(steps)
        assert spent == [False] * count + [True] * (len(steps) - count)
        small.undo()
        alone = World()
        for step in before:
            alone.run(step)
        done = alone.run(*steps[:count], atomic=False)
        assert done[:count] == outcomes[:count]
        assert done[count:] == told[0][len(steps) :], "what followed"
        for world in stores[1:]:
            world.store.close(clean=True)
