"""Gates: who may approve, what closes one, and that one goes through once."""

import random

import pytest
from machine_world import (
    ALICE,
    BOB,
    Step,
    World,
    add,
    approve,
    consume,
    delete,
    expire,
    gate_of,
    gate_put,
    json,
    noop,
    put,
    revoke,
    update,
)

from raftmem.limits import APPROVERS_MAX, GATE_COMMENT_BYTES_MAX, GATES_PINNING_MAX, JSON_INTEGER_MAX, PINS_MAX
from raftmem.model.commands import Actor, Content, GateApprove, GatePut, Pin
from raftmem.model.coordination_rows import GATES, Gate, gate_key, pinned_by
from raftmem.model.records import About, Outcome, Position

CAROL = Actor("user", "carol", "release manager")


def told(outcome: Outcome) -> tuple[str, str | None, bool | None]:
    assert outcome.about is not None
    return outcome.op, outcome.code, outcome.about.open


def test_enough_approvals_open_a_gate_and_one_goes_through() -> None:
    world = World()
    assert told(world.one(gate_put("go", 2))) == ("GATE_PUT", None, False)
    assert told(world.one(approve("go"))) == ("GATE_APPROVE", None, False)
    assert told(world.one(approve("go"), actor=BOB)) == ("GATE_APPROVE", None, True)
    assert told(world.one(consume("go"), actor=CAROL)) == ("GATE_CONSUME", None, False)
    assert gate_of(world, "go").consumed == Position(4, 0)
    assert told(world.one(consume("go"), actor=BOB)) == ("GATE_CONSUME", "wrong-state", False)
    assert world.changes == 0


def test_one_approver_counts_once_whatever_the_role() -> None:
    world = World()
    world.run(gate_put("go", 2), approve("go"))
    again = world.one(approve("go", "me too"), actor=Actor("agent", "alice", "lead"))
    assert (again.op, again.applied, again.requested_op) == ("NOOP", True, "GATE_APPROVE")
    assert again.about == About(gate="go", open=False)
    assert world.changes == 0
    assert told(world.one(approve("go"), actor=Actor("user", "alice"))) == ("GATE_APPROVE", None, True)


APPROVERS = [
    ((), BOB, True),
    (("bob",), BOB, True),
    (("bob",), Actor("user", "bob"), True),
    (("agent/bob",), BOB, True),
    (("agent/bob",), Actor("user", "bob"), False),
    (("agent/bob",), Actor("agent", "agent/bob"), False),
    (("team/bob",), Actor("agent", "team/bob"), True),
    (("team/bob",), BOB, False),
    (("user/a/b",), Actor("user", "a/b"), True),
    (("alice", "user/carol"), BOB, False),
    (("alice", "user/carol"), CAROL, True),
    (("",), BOB, False),
]


@pytest.mark.parametrize(("approvers", "actor", "may"), APPROVERS)
def test_approver(approvers: tuple[str, ...], actor: Actor, may: bool) -> None:
    world = World()
    world.one(gate_put("go", 1, approvers))
    outcome = world.one(approve("go"), actor=actor)
    assert (outcome.applied, outcome.code) == ((True, None) if may else (False, "forbidden"))
    assert gate_of(world, "go").open is may


def test_what_an_approver_says_stands_at_the_approval() -> None:
    world = World()
    world.run(gate_put("go", 1), approve("go", {"text": "é"}))
    world.one(approve("go"), actor=BOB)
    first, second = gate_of(world, "go").approvals
    assert (first.actor, first.at, first.has_comment) == (ALICE, Position(1, 1), True)
    assert world.store.read().content(first.at) == json({"text": "é"})
    assert (second.actor, second.at, second.has_comment) == (BOB, Position(2, 0), False)
    assert world.store.read().content(second.at) is None


@pytest.mark.parametrize(
    "comment", [b"{", b"", b"[" * 65 + b"]" * 65, b'"' + b"x" * (GATE_COMMENT_BYTES_MAX - 1) + b'"', b'"\xff"']
)
def test_a_comment_that_no_proposer_should_send_is_refused(comment: bytes) -> None:
    world = World()
    world.one(gate_put("go", 1))
    outcome = world.one((GateApprove("go"), Content(payload=comment)))
    assert (outcome.code, outcome.path, world.changes) == ("invalid-request", "comment", 0)


def test_a_revoked_approval_closes_and_may_come_again() -> None:
    world = World()
    world.run(gate_put("go", 1), approve("go", "fine"))
    (revoked,) = world.run(revoke("go"), actor=Actor("agent", "alice", "other"))
    assert told(revoked) == ("GATE_REVOKE", None, False)
    again = world.one(revoke("go"))
    assert (again.op, again.applied, again.requested_op) == ("NOOP", True, "GATE_REVOKE")
    assert told(world.one(approve("go"))) == ("GATE_APPROVE", None, True)
    assert gate_of(world, "go").approvals[0].at == Position(4, 0)


def test_a_consumed_gate_stands_until_it_is_put_again() -> None:
    world = World()
    world.run(gate_put("go", 1), approve("go"), consume("go"))
    assert world.one(approve("go"), actor=BOB).code == "wrong-state"
    assert world.one(revoke("go")).code == "wrong-state"
    assert world.one(approve("go")).op == "NOOP"
    assert world.one(revoke("go"), actor=BOB).op == "NOOP"
    assert told(world.one(gate_put("go", 1))) == ("GATE_PUT", None, False)
    gate = gate_of(world, "go")
    assert (gate.approvals, gate.consumed, gate.created, gate.updated) == ((), None, Position(1, 0), Position(6, 0))


@pytest.mark.parametrize("step", [approve("go"), revoke("go"), consume("go")])
def test_a_gate_that_was_never_put_is_not_found(step: Step) -> None:
    outcome = World().one(step)
    assert (outcome.code, outcome.about) == ("not-found", About(gate="go"))


def test_the_same_definition_keeps_the_approvals_in_whatever_order() -> None:
    world = World()
    world.run(gate_put("go", 2, ["alice", "bob"], {"a": 1, "b": 2}), approve("go"))
    again = world.one(gate_put("go", 2, ["bob", "alice"], {"b": 2, "a": 1}))
    assert (again.op, again.applied, again.requested_op, world.changes) == ("NOOP", True, "GATE_PUT", 0)


@pytest.mark.parametrize(
    "other",
    [
        gate_put("go", 1, ["alice", "bob"], {"a": 1}),
        gate_put("go", 2, ["alice"], {"a": 1}),
        gate_put("go", 2, ["alice", "bob"], {"a": 2}),
        gate_put("go", 2, ["alice", "bob"]),
    ],
)
def test_another_definition_drops_the_approvals(other: Step) -> None:
    world = World()
    world.run(gate_put("go", 2, ["alice", "bob"], {"a": 1}), approve("go"))
    assert world.one(other).op == "GATE_PUT"
    assert gate_of(world, "go").approvals == ()


ENDS: list[Step] = [update("a", text="v"), put("a", text="v"), delete("a"), expire("a", 1)]


@pytest.mark.parametrize("end", ENDS)
def test_a_change_of_a_pinned_memory_closes_the_gate_in_the_same_entry(end: Step) -> None:
    world = World()
    world.one(add("a", text="t", ttl_ms=10))
    world.run(gate_put("go", 1, pins={"a": 1}), approve("go"))
    assert gate_of(world, "go").open
    world.later(ms=10)
    outcome, closed = world.run(end)
    assert outcome.applied
    assert told(closed) == ("GATE_CLOSE", None, False)
    assert (closed.about, closed.memory_id) == (About(gate="go", open=False), None)
    gate = gate_of(world, "go")
    assert (gate.open, gate.updated, len(gate.approvals)) == (False, Position(3, 0), 1)
    assert world.store.read().coordination_row(gate_key("go"), Position(2, 1)) != gate


def test_a_pinned_memory_that_is_only_spoken_of_closes_nothing() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(gate_put("go", pins={"a": 1}))
    outcomes = world.run(
        noop("a"), add("b", text="t", on_duplicate="noop"), delete("a"), update("never", text="t"), atomic=True
    )
    assert [outcome.applied for outcome in outcomes] == [False] * 4
    assert len(world.run(noop("a"), add("b", text="t", on_duplicate="noop"))) == 2
    assert gate_of(world, "go").open


def test_a_gate_without_its_approvals_closes_silently() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(gate_put("go", 1, pins={"a": 1}))
    assert len(world.run(update("a", text="u"))) == 1
    assert told(world.one(approve("go"))) == ("GATE_APPROVE", None, False)


def test_a_pin_on_a_version_to_come_holds_when_it_has_come() -> None:
    world = World()
    world.one(gate_put("go", pins={"a": 2}))
    assert len(world.run(add("a", text="t"))) == 1
    assert not gate_of(world, "go").open
    assert len(world.run(update("a", text="u"))) == 1
    assert gate_of(world, "go").open
    assert [outcome.op for outcome in world.run(update("a", text="v"), update("a", text="w"))] == [
        "UPDATE",
        "UPDATE",
        "GATE_CLOSE",
    ]


def test_a_memory_that_comes_back_does_not_open_the_gate_again() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(gate_put("go", pins={"a": 1}))
    world.run(delete("a"), add("a", text="t"))
    assert not gate_of(world, "go").open
    assert world.one(consume("go")).code == "wrong-state"


def test_every_pin_must_hold_and_every_gate_is_looked_at() -> None:
    world = World()
    world.run(add("a", text="t"), add("b", text="u"))
    world.run(gate_put("both", pins={"a": 1, "b": 1}), gate_put("one", pins={"a": 1}), gate_put("other", pins={"b": 1}))
    outcomes = world.run(update("b", text="v"))
    assert {outcome.about.gate for outcome in outcomes[1:] if outcome.about} == {"both", "other"}
    assert [gate_of(world, name).open for name in ("both", "one", "other")] == [False, True, False]


def test_a_gate_is_consumed_by_what_it_is_after_the_operations_before() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.one(gate_put("go", pins={"a": 1}))
    outcomes = world.run(update("a", text="u"), consume("go"))
    assert [outcome.code for outcome in outcomes] == ["batch-refused", "wrong-state"]
    assert gate_of(world, "go").open
    outcomes = world.run(consume("go"), update("a", text="u"))
    assert [outcome.op for outcome in outcomes] == ["GATE_CONSUME", "UPDATE"]


UNUSABLE = [
    ("required", GatePut("go", -1)),
    ("required", GatePut("go", APPROVERS_MAX + 1)),
    ("approvers", GatePut("go", 1, tuple(map(str, range(APPROVERS_MAX + 1))))),
    ("pins", GatePut("go", 1, (), tuple(Pin(str(n), 1) for n in range(PINS_MAX + 1)))),
    ("pins", GatePut("go", 1, (), (Pin("a", 1), Pin("a", 2)))),
    ("pins", GatePut("go", 1, (), (Pin("a", 0),))),
    ("pins", GatePut("go", 1, (), (Pin("a", -1),))),
    ("pins", GatePut("go", 1, (), (Pin("a", JSON_INTEGER_MAX + 1),))),
]


@pytest.mark.parametrize(("path", "operation"), UNUSABLE)
def test_a_definition_that_no_proposer_should_send_is_refused(path: str, operation: GatePut) -> None:
    world = World()
    outcome = world.one((operation, None))
    assert (outcome.code, outcome.path, world.changes) == ("invalid-request", path, 0)


def test_so_many_gates_may_pin_a_version_and_all_of_them_close() -> None:
    world = World()
    world.one(add("a", text="t"))
    world.run(*[gate_put(str(n), pins={"a": 1}) for n in range(GATES_PINNING_MAX)])
    refused = world.one(gate_put("more", pins={"a": 1}))
    assert (refused.code, refused.path) == ("too-large", "pins")
    assert world.one(gate_put("more", pins={"a": 2})).applied
    assert world.one(gate_put("7", 1, pins={"a": 1})).applied  # it is one of them
    world.one(consume("8"))
    assert world.one(gate_put("in its place", pins={"a": 1})).applied
    outcomes = world.run(update("a", text="u"))
    assert [outcome.op for outcome in outcomes[1:]] == ["GATE_CLOSE"] * (GATES_PINNING_MAX - 1)
    assert gate_of(world, "more").open
    assert world.one(gate_put("late", pins={"a": 1})).code == "too-large"  # they stand as they are


def test_a_gate_takes_so_many_approvals() -> None:
    world = World()
    world.one(gate_put("go", APPROVERS_MAX))
    for n in range(APPROVERS_MAX):
        assert world.one(approve("go"), actor=Actor("agent", str(n))).applied
    refused = world.one(approve("go"), actor=Actor("agent", "more"))
    assert (told(refused), refused.path) == (("GATE_APPROVE", "too-large", True), "approvals")
    assert world.one(approve("go"), actor=Actor("agent", "0")).op == "NOOP"


@pytest.mark.parametrize("seed", range(6))
def test_open_is_always_what_the_approvals_and_the_pinned_memories_say(seed: int) -> None:
    rng, world = random.Random(seed), World()
    actors = [ALICE, BOB, CAROL]
    for _ in range(120):
        name, gate = rng.choice("abc"), rng.choice(["g", "h"])
        pins = {rng.choice("abc"): rng.randint(1, 9) for _ in range(rng.randint(0, 2))}
        step = rng.choice(
            [
                put(name, text=str(rng.random())),
                delete(name),
                gate_put(gate, rng.randint(0, 2), rng.choice([(), ("alice", "user/carol")]), pins),
                approve(gate),
                revoke(gate),
                consume(gate),
            ]
        )
        world.run(step, rng.choice([noop(), put("a", text=str(rng.random()))]), actor=rng.choice(actors), atomic=False)
        reader = world.store.read()
        for found in reader.scan(GATES, limit=9):
            row = found.row
            assert isinstance(row, Gate)
            pinned = [reader.memory(pin.memory) for pin in row.pins]
            holds = all(
                record is not None and (record.status, record.version) == ("active", pin.version)
                for record, pin in zip(pinned, row.pins, strict=True)
            )
            assert row.open == (row.consumed is None and len(row.approvals) >= row.required and holds)
            for pin in row.pins:
                pinning = [one.row for one in reader.scan(pinned_by(pin.memory, pin.version), limit=9)]
                assert (row in pinning) == (row.consumed is None)
