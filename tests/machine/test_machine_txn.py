"""Transactions: which arm runs, whole or not at all, and what stands in the log of it."""

import pytest
from machine_world import (
    ALICE,
    BOB,
    World,
    acquire,
    add,
    add_task,
    approve,
    claim,
    complete,
    consume,
    delete,
    gate_of,
    gate_put,
    json,
    noop,
    release,
    renew,
    task_of,
    txn,
    update,
)

from raftmem.model.commands import Guard, Header, Operation, Txn
from raftmem.model.coordination_rows import LOCKS, Hold, hold_key, lock_key
from raftmem.model.records import About, Outcome, Position, operation_of

M1, M2 = Guard(memory="m", version=1), Guard(memory="m", version=2)


def codes(outcomes: tuple[Outcome, ...]) -> list[tuple[str, str | None]]:
    return [(outcome.op, outcome.code) for outcome in outcomes]


def answers(world: World) -> list[int | None]:
    """Which operation of its header each outcome of the last entry answers."""
    assert world.last is not None
    header: Header | None = world.last.entry.header
    assert header is not None
    outcomes = world.last.row.result.outcomes
    return [operation_of(header, outcomes, seq) for seq in range(len(outcomes))]


def test_true_guards_run_the_first_arm() -> None:
    world = World()
    world.one(add("m", text="t"))
    ran, one, two = world.run(*txn([update("m", text="u"), add("n", text="t")], [delete("m")]), guards=(M1,))
    assert (ran.op, ran.applied, ran.about, ran.failed) == ("TXN", True, About(succeeded=True), ())
    assert [(one.op, one.version), (two.op, two.version)] == [("UPDATE", 2), ("ADD", 1)]
    assert answers(world) == [0, 1, 2]
    assert world.memory("n").created == Position(2, 2)


def test_a_false_guard_runs_the_other_arm_and_is_told() -> None:
    world = World()
    world.one(add("m", text="t"))
    steps = txn([update("m", text="u"), noop("m")], [add("n", text="t"), delete("m")])
    ran, one, two = world.run(*steps, guards=(M1, M2, Guard(lock="l", token=1)))
    assert (ran.applied, ran.about, ran.failed) == (True, About(succeeded=False), (1, 2))
    assert [one.op, two.op] == ["ADD", "DELETE"]
    assert answers(world) == [0, 3, 4]
    assert world.memory("n").created == Position(2, 1)


@pytest.mark.parametrize("guards", [(), (M1,)])
def test_an_arm_without_operations_is_applied(guards: tuple[Guard, ...]) -> None:
    world = World()
    outcomes = world.run(*txn([], []), guards=guards)
    assert [(outcome.op, outcome.applied) for outcome in outcomes] == [("TXN", True)]
    assert world.changes == 0


def test_a_refused_operation_refuses_the_whole() -> None:
    world = World()
    world.run(gate_put("g", 1), acquire("held", "x"))
    steps = txn(
        [
            add("n", text="t"),
            approve("g", "yes"),
            acquire("free", "a", metadata={"why": 1}),
            acquire("held", "a"),
            delete("n"),
        ],
        [add("other", text="t")],
    )
    outcomes = world.run(*steps)
    assert codes(outcomes) == [
        ("TXN", "lock-held"),
        ("ADD", "batch-refused"),
        ("GATE_APPROVE", "batch-refused"),
        ("LOCK_ACQUIRE", "batch-refused"),
        ("LOCK_ACQUIRE", "lock-held"),
        ("DELETE", "batch-refused"),
    ]
    assert not any(outcome.applied for outcome in outcomes)
    assert outcomes[0].about == About(succeeded=True)
    assert answers(world) == [0, 1, 2, 3, 4, 5]
    assert world.changes == 0
    reader = world.store.read()
    assert [reader.content(Position(2, seq)) for seq in range(6)] == [None] * 6
    assert (reader.memory("n"), reader.coordination_row(lock_key("free"))) == (None, None)
    assert gate_of(world, "g").approvals == ()


def test_an_operation_that_the_other_arm_refuses_refuses_the_whole() -> None:
    world = World()
    outcomes = world.run(*txn([add("m", text="t")], [add("n", text="t"), update("m", text="u")]), guards=(M1,))
    assert codes(outcomes) == [("TXN", "not-found"), ("ADD", "batch-refused"), ("UPDATE", "not-found")]
    assert (outcomes[0].failed, outcomes[0].about) == ((0,), About(succeeded=False))
    assert answers(world) == [0, 2, 3]
    assert world.changes == 0


def test_several_locks_of_which_one_is_held_and_none_is_taken() -> None:
    world = World()
    world.one(acquire("c", "x"))
    names = "abcd"
    outcomes = world.run(*txn([acquire(name, "me") for name in names]))
    assert outcomes[0].code == "lock-held"
    assert [found.row for found in world.store.read().scan(LOCKS, limit=9)] == [
        world.store.read().coordination_row(lock_key("c"))
    ]
    world.one(release("c", "x", 1))
    outcomes = world.run(*txn([acquire(name, "me") for name in names]))
    assert [outcome.about for outcome in outcomes[1:]] == [About(lock=name, owner="me", token=4) for name in names]
    for name in names:
        hold = world.store.read().coordination_row(hold_key(name, "me"))
        assert isinstance(hold, Hold)
        assert hold.token == 4


def test_a_grant_that_follows_is_an_event_of_nobodys_operation() -> None:
    world = World()
    world.one(acquire("l", "a"))
    world.one(acquire("l", "b", wait_ms=1000))
    outcomes = world.run(*txn([release("l", "a", 1), add("m", text="t")], [noop()]))
    assert [outcome.op for outcome in outcomes] == ["TXN", "LOCK_RELEASE", "ADD", "LOCK_GRANT"]
    assert outcomes[3].about == About(lock="l", owner="b", token=3)
    assert answers(world) == [0, 1, 2, None]
    world.one(acquire("l", "a", wait_ms=1000))
    steps = txn([noop()], [release("l", "b", 3), noop()])
    outcomes = world.run(*steps, guards=(Guard(gate="g", open=True),))
    assert [outcome.op for outcome in outcomes] == ["TXN", "LOCK_RELEASE", "NOOP", "LOCK_GRANT"]
    assert answers(world) == [0, 2, 3, None]


def test_a_consequence_of_a_refused_transaction_does_not_stand() -> None:
    world = World()
    world.one(add("m", text="t"))
    world.one(gate_put("g", pins={"m": 1}))
    outcomes = world.run(*txn([update("m", text="u"), delete("never")]))
    assert [outcome.op for outcome in outcomes] == ["TXN", "UPDATE", "DELETE"]
    assert gate_of(world, "g").open


def test_a_gate_is_consumed_with_a_write_and_the_end_of_a_task() -> None:
    world = World()
    world.run(gate_put("deploy", 2, ["alice", "bob"]), add_task("t"), approve("deploy"))
    world.one(claim())
    steps = txn([consume("deploy"), add("deployed", text="yes"), complete("t", 2, {"ok": True})])
    outcomes = world.run(*steps)
    assert codes(outcomes)[:2] == [("TXN", "wrong-state"), ("GATE_CONSUME", "wrong-state")]
    assert world.changes == 0
    world.one(approve("deploy"), actor=BOB)
    assert all(outcome.applied for outcome in world.run(*steps))
    reader = world.store.read()
    task = task_of(world, "t")
    assert (task.state, task.result_at) == ("completed", Position(5, 3))
    assert reader.content(Position(5, 3)) == json({"ok": True})
    assert gate_of(world, "deploy").consumed == Position(5, 1)
    assert world.memory("deployed").created == Position(5, 2)
    assert codes(world.run(*steps))[0] == ("TXN", "wrong-state")


def test_later_operations_of_an_arm_see_earlier_ones() -> None:
    world = World()
    outcomes = world.run(
        *txn([add("m", text="t"), gate_put("g", 1, pins={"m": 1}), approve("g"), consume("g"), update("m", text="u")])
    )
    assert [outcome.op for outcome in outcomes] == ["TXN", "ADD", "GATE_PUT", "GATE_APPROVE", "GATE_CONSUME", "UPDATE"]
    assert outcomes[3].about == About(gate="g", open=True)


def test_guards_are_of_the_state_before_the_entry() -> None:
    world = World()
    world.one(add("m", text="t"))
    outcomes = world.run(*txn([update("m", text="u"), update("m", text="v")], [noop()]), guards=(M1,))
    assert [outcome.version for outcome in outcomes] == [None, 2, 3]


def test_a_transaction_under_a_used_key_is_replayed() -> None:
    world = World()
    steps = txn([acquire("l", "a")], [noop()])
    world.run(*steps, key="k")
    assert world.run(*steps, key="k") == ()
    assert world.last is not None
    assert (world.last.row.result.replay_of, world.changes) == (1, 0)
    (refused,) = world.run(*steps, key="k", fingerprint=b"g" * 32)
    assert (refused.op, refused.code, refused.about) == ("TXN", "idempotency-key-reused", About())
    assert answers(world) == [0]


def test_a_refused_transaction_leaves_its_key_free() -> None:
    world = World()
    world.one(acquire("l", "x"))
    steps = txn([add("m", text="t"), acquire("l", "a")])
    assert world.run(*steps, key="k")[0].code == "lock-held"
    world.one(release("l", "x", 1))
    outcomes = world.run(*steps, key="k", actor=ALICE)
    assert all(outcome.applied for outcome in outcomes)


MALFORMED: list[tuple[Operation, ...]] = [
    (Txn(-1),),
    (Txn(1),),
    (Txn(2**63 - 1),),
    (Txn(-(2**63)), Txn(0)),
]


@pytest.mark.parametrize("operations", MALFORMED)
@pytest.mark.parametrize("guards", [(), (M1,)])
def test_a_transaction_longer_than_its_entry_is_refused(
    operations: tuple[Operation, ...], guards: tuple[Guard, ...]
) -> None:
    world = World()
    (outcome,) = world.run(*[(operation, None) for operation in operations], guards=guards)
    assert (outcome.op, outcome.code, world.changes) == ("TXN", "invalid-request", 0)


@pytest.mark.parametrize("atomic", [True, False])
def test_a_transaction_inside_another_command_is_refused(atomic: bool) -> None:
    world = World()
    outcomes = world.run(add("m", text="t"), *txn([add("n", text="t")]), atomic=atomic)
    assert codes(outcomes)[1] == ("TXN", "invalid-request")
    assert outcomes[0].applied is not atomic
    inner = world.run(*txn([*txn([noop()])]))
    assert codes(inner) == [("TXN", "invalid-request"), ("TXN", "invalid-request"), ("NOOP", "batch-refused")]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_transaction_is_whole_whatever_its_header_says(atomic: bool) -> None:
    world = World()
    outcomes = world.run(*txn([add("m", text="t"), delete("never")]), atomic=atomic)
    assert not any(outcome.applied for outcome in outcomes)
    assert world.changes == 0


def test_a_stale_token_is_held_against_the_state_that_stays_not_against_what_the_refused_txn_had_taken() -> None:
    world = World()
    steps = txn([acquire("l", "x"), renew("l", "y", token=1)], [])
    head, taken, renewed = world.run(*steps)
    assert (head.code, taken.code, renewed.code) == ("stale-token", "batch-refused", "stale-token")
    assert renewed.about is not None
    assert renewed.about.current_token is None
