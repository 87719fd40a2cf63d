"""Tasks: adding, claiming, giving back, ends and what follows from them, expiry."""

import msgspec
import pytest
from machine_world import (
    ALICE,
    BOB,
    SECOND,
    Step,
    World,
    add,
    add_task,
    cancel,
    claim,
    complete,
    expire_task,
    fail,
    find_task,
    give_back,
    heartbeat,
    json,
    release_owner,
    retry,
    task_of,
    tasks_due,
    update,
)

from raftmem import limits
from raftmem.machine import tasks
from raftmem.machine.overlay import Moment, Overlay
from raftmem.machine.task_claims import backoff_ms, drop_claim
from raftmem.model.commands import Backoff, Content, Operation, TaskAdd, TaskClaim, TaskHeartbeat
from raftmem.model.coordination_rows import DUE, TASKS, Task, TaskError, task_key
from raftmem.model.records import About, IndexedRow, Outcome, Position


def about(outcome: Outcome) -> About:
    assert outcome.about is not None
    return outcome.about


def token_of(world: World, task_id: str) -> int:
    token = task_of(world, task_id).token
    assert token is not None, task_id
    return token


def granted(world: World, step: Step) -> int:
    """The token of a claim made now."""
    token = about(world.one(step)).token
    assert token is not None
    return token


def states(world: World, *ids: str) -> list[str]:
    return [task_of(world, task_id).state for task_id in ids]


def content(world: World, at: Position | None) -> object:
    assert at is not None
    text = world.store.read().content(at)
    return None if text is None else msgspec.json.decode(text)


def expire_due(world: World) -> tuple[Outcome, ...]:
    """What a leader proposes when it looks."""
    return world.run(*(expire_task(task) for task in tasks_due(world)), atomic=False)


def claimed(world: World, task_id: str = "t", **given: object) -> int:
    """A task of that name, claimed. Its token."""
    world.one(add_task(task_id, "q", **given))
    world.one(claim("q"))
    return token_of(world, task_id)


# --- adding -----------------------------------------------------------------------------------------
def test_an_added_task_is_available_with_its_payload_beside_it() -> None:
    world = World()
    outcome = world.one(add_task("t", payload={"pr": 812}, priority=3))
    assert outcome == Outcome("TASK_ADD", applied=True, about=About(task_ids=("t",), queues=("q",), state="available"))
    task = task_of(world, "t")
    assert (task.attempt, task.actor, task.due) == (0, ALICE, None)
    assert content(world, task.payload_at) == {"pr": 812}


def test_a_task_without_a_payload_has_no_place_for_one() -> None:
    world = World()
    world.one(add_task("t"))
    assert task_of(world, "t").payload_at is None


def test_an_id_is_taken_until_its_task_is_forgotten() -> None:
    world = World()
    world.one(complete("t", claimed(world)))
    assert world.one(add_task("t")).code == "already-exists"
    world.later(ms=limits.TASK_KEEP_US // 1000)
    (gone,) = expire_due(world)
    assert (gone.op, about(gone).state) == ("TASK_EXPIRE", None)
    assert find_task(world, "t") is None
    assert world.one(add_task("t")).applied


def test_a_delay_counts_from_the_adding() -> None:
    world = World()
    assert about(world.one(add_task("t", delay_ms=500))).state == "scheduled"
    world.later(ms=499)
    assert tasks_due(world) == []
    world.later(ms=1)
    (outcome,) = expire_due(world)
    assert (outcome.op, about(outcome).state) == ("TASK_EXPIRE", "available")
    assert tasks_due(world) == []


def test_an_equal_unique_key_is_the_task_that_is_there() -> None:
    world = World()
    world.one(add_task("a", unique_key="pr-1"))
    outcome = world.one(add_task("b", unique_key="pr-1", payload=1))
    assert (outcome.op, outcome.applied, outcome.requested_op) == ("NOOP", True, "TASK_ADD")
    assert (about(outcome).task_ids, about(outcome).state) == (("a",), "available")
    assert world.changes == 0
    assert world.one(add_task("b", "elsewhere", unique_key="pr-1")).op == "TASK_ADD"


def test_a_finished_task_does_not_keep_its_unique_key() -> None:
    world = World()
    world.one(complete("a", claimed(world, "a", unique_key="k")))
    assert world.one(add_task("b", unique_key="k")).op == "TASK_ADD"


@pytest.mark.parametrize(
    "step",
    [
        add_task(""),
        add_task("i" * 256),
        add_task("t", ""),
        add_task("t", "é" * 128),
        add_task("t", unique_key=""),
        add_task("t", priority=limits.TASK_PRIORITY_MAX + 1),
        add_task("t", priority=-(2**63)),
        add_task("t", delay_ms=-1),
        add_task("t", delay_ms=limits.TASK_DELAY_MS_MAX + 1),
        add_task("t", max_attempts=0),
        add_task("t", max_attempts=limits.TASK_ATTEMPTS_MAX + 1),
        add_task("t", depends_on=tuple(map(str, range(limits.TASK_DEPENDS_MAX + 1)))),
        add_task("t", depends_on=("",)),
        add_task("t", backoff=Backoff(initial_ms=-1)),
        add_task("t", backoff=Backoff(factor_milli=0)),
        add_task("t", backoff=Backoff(factor_milli=2**62)),
        add_task("t", backoff=Backoff(max_ms=limits.TASK_DELAY_MS_MAX + 1)),
        add_task("t", payload="x" * limits.VALUE_BYTES_MAX),
        (TaskAdd("t", "q"), Content(payload=b"{")),
        (TaskAdd("t", "q"), Content(payload=b"[" * 100_000)),
        (TaskClaim((), "w", 1000), None),
        (TaskClaim(tuple(map(str, range(limits.TASK_QUEUES_MAX + 1))), "w", 1000), None),
        claim("q", worker=""),
        claim(""),
        claim(ttl_ms=limits.LOCK_TTL_MS_MIN - 1),
        claim(ttl_ms=limits.LOCK_TTL_MS_MAX + 1),
        claim(most=0),
        claim(most=limits.TASK_CLAIM_MAX + 1),
    ],
    ids=range(28),
)
def test_what_is_out_of_bounds_is_refused(step: Step) -> None:
    world = World()
    assert world.one(step).code == "invalid-request"
    assert world.changes == 0


def test_everything_at_its_bounds_applies() -> None:
    world = World()
    largest = {
        "priority": limits.TASK_PRIORITY_MAX,
        "delay_ms": limits.TASK_DELAY_MS_MAX,
        "max_attempts": limits.TASK_ATTEMPTS_MAX,
        "backoff": Backoff(limits.TASK_DELAY_MS_MAX, limits.TASK_BACKOFF_FACTOR_MILLI_MAX, limits.TASK_DELAY_MS_MAX),
        "depends_on": tuple(f"{n:0>255}" for n in range(limits.TASK_DEPENDS_MAX)),
        "unique_key": "é" * 127,
    }
    assert world.one(add_task("i" * 255, "\0" * 255, payload="x" * (limits.VALUE_BYTES_MAX - 2), **largest)).applied
    assert world.one(add_task("a", priority=-limits.TASK_PRIORITY_MAX)).applied
    assert world.one(claim(ttl_ms=limits.LOCK_TTL_MS_MAX, most=limits.TASK_CLAIM_MAX)).op == "TASK_CLAIM"


# --- claiming ---------------------------------------------------------------------------------------
def test_a_claim_takes_by_priority_then_by_age_over_all_its_queues() -> None:
    world = World()
    for task_id, queue, priority in [("a", "q", 0), ("b", "r", 0), ("c", "q", 5), ("d", "r", -1), ("e", "s", 9)]:
        world.one(add_task(task_id, queue, priority=priority))
    world.one(add_task("f", "r", priority=5))
    outcome = world.one(claim("r", "q", "r", most=4))
    told = about(outcome)
    assert (outcome.op, told.task_ids, told.queues, told.token) == (
        "TASK_CLAIM",
        ("c", "f", "a", "b"),
        ("q", "r"),
        world.store.head().index,
    )
    assert about(world.one(claim("r", "q", most=4))).task_ids == ("d",)
    assert states(world, "e") == ["available"]


@pytest.mark.parametrize("queues", [1, 40])
def test_claims_of_an_entry_look_at_little_more_than_they_take(monkeypatch: pytest.MonkeyPatch, queues: int) -> None:
    world, names = World(), [f"q{n}" for n in range(queues)]
    for start in range(0, 2000, 500):
        world.run(*(add_task(f"t{n}", queue=names[n % queues]) for n in range(start, start + 500)))
    reader = world.store.read()
    scan, seen = reader.scan, []

    def counted(prefix: bytes, *, limit: int, start: bytes = b"", stop: bytes | None = None) -> list[IndexedRow]:
        found = scan(prefix, limit=limit, start=start, stop=stop)
        seen.extend(found)
        return found

    monkeypatch.setattr(reader, "scan", counted)
    overlay = Overlay(reader)
    moment = Moment(Position(5, 0), world.time, 0, ALICE)
    for _ in range(20):
        tasks.perform(overlay, moment, TaskClaim(tuple(names), "w", 1000, 50), None)
    assert len(overlay.changes) == 1000
    assert len(seen) < 4000


def test_a_claim_is_an_attempt_with_a_token_and_an_end() -> None:
    world = World()
    token = claimed(world)
    task = task_of(world, "t")
    assert (task.state, task.attempt, task.worker, task.ttl_ms, task.due) == (
        "claimed",
        1,
        "w",
        1000,
        world.time + SECOND,
    )
    assert token == world.store.head().index == task.updated.index


def test_a_claim_that_finds_nothing_is_a_noop() -> None:
    world = World()
    outcome = world.one(claim("q", "r", "q"))
    assert outcome == Outcome("NOOP", applied=True, requested_op="TASK_CLAIM", about=About(queues=("q", "r")))
    assert world.changes == 0


def test_later_claims_of_an_entry_see_the_earlier_ones() -> None:
    world = World()
    world.run(add_task("a"), add_task("b"))
    outcomes = world.run(claim(worker="w1"), claim(worker="w2"), claim(worker="w3"))
    assert [about(outcome).task_ids for outcome in outcomes] == [("a",), ("b",), ()]
    assert [task_of(world, task_id).worker for task_id in "ab"] == ["w1", "w2"]


# --- while it is claimed ----------------------------------------------------------------------------
def test_a_heartbeat_counts_from_now_and_may_bring_a_new_ttl() -> None:
    world = World()
    token = claimed(world)
    world.later(ms=900)
    outcome = world.one(heartbeat("t", token))
    assert outcome.about == About(task_ids=("t",), queues=("q",), token=token, state="claimed")
    assert task_of(world, "t").due == world.time + SECOND
    world.one(heartbeat("t", token, ttl_ms=200))
    assert (task_of(world, "t").due, task_of(world, "t").ttl_ms) == (world.time + SECOND // 5, 200)
    for ttl_ms in (0, -1, limits.LOCK_TTL_MS_MAX + 1):
        assert world.one(heartbeat("t", token, ttl_ms=ttl_ms)).code == "invalid-request"


def test_a_heartbeat_after_the_time_but_before_the_expiry_keeps_the_claim() -> None:
    world = World()
    token = claimed(world)
    seen = task_of(world, "t")
    world.later(ms=5000)
    assert world.one(heartbeat("t", token)).applied
    assert world.one(expire_task(seen)).code == "moved"
    assert task_of(world, "t").token == token


def test_one_entry_renews_for_many_and_refuses_only_the_lost_ones() -> None:
    world = World()
    world.run(add_task("a"), add_task("b"))
    token = granted(world, claim(most=2))
    world.one(complete("b", token))
    grouped: list[tuple[Operation, Content | None]] = [
        (TaskHeartbeat(task_id, token, None, BOB, "r-1"), None) for task_id in ("a", "b", "c")
    ]
    outcomes = world.run(*grouped, atomic=False)
    assert [outcome.code for outcome in outcomes] == [None, "stale-token", "not-found"]


@pytest.mark.parametrize("ending", [complete, fail, give_back, heartbeat])
def test_a_token_that_is_not_in_force_is_stale(ending: object) -> None:
    world = World()
    old = claimed(world)
    world.later(ms=1000)
    expire_due(world)
    outcome = world.one(ending("t", old))  # type: ignore[operator]  # one of the words above
    assert (outcome.applied, outcome.code, about(outcome).token) == (False, "stale-token", old)
    assert (about(outcome).current_token, about(outcome).state) == (None, "available")
    world.one(claim(worker="other"))
    outcome = world.one(ending("t", old))  # type: ignore[operator]  # one of the words above
    assert (outcome.code, about(outcome).current_token) == ("stale-token", token_of(world, "t"))
    assert world.one(ending("none", old)).code == "not-found"  # type: ignore[operator]  # one of the words above


@pytest.mark.parametrize("ending", [complete, fail, give_back])
def test_an_entry_cannot_end_the_claim_that_it_grants(ending: object) -> None:
    """Else the task could be claimed again with the same token."""
    world = World()
    world.one(add_task("t"))
    token = world.store.head().index + 1
    outcomes = world.run(claim(), ending("t", token), claim(), atomic=False)  # type: ignore[operator]  # a word
    assert [(outcome.op, outcome.code) for outcome in outcomes[1:]] == [
        (outcomes[1].op, "wrong-state"),
        ("NOOP", None),
    ]


# --- ends -------------------------------------------------------------------------------------------
def test_a_completed_task_keeps_its_result_for_a_while() -> None:
    world = World()
    token = claimed(world)
    outcome = world.one(complete("t", token, {"ok": True}))
    assert outcome.about == About(task_ids=("t",), queues=("q",), token=token, state="completed")
    task = task_of(world, "t")
    assert (task.worker, task.token, task.ttl_ms, task.told) == (None, None, None, True)
    assert task.due == world.time + limits.TASK_KEEP_US
    assert content(world, task.result_at) == {"ok": True}
    assert world.one(complete("t", token)).code == "stale-token"


def test_a_task_can_be_read_as_it_was_at_a_position() -> None:
    world = World()
    token = claimed(world)
    world.one(complete("t", token))
    reader = world.store.read()
    versions = [reader.coordination_row(task_key("t"), Position(index, 0)) for index in (token - 1, token, token + 1)]
    assert [task.state for task in versions if isinstance(task, Task)] == ["available", "claimed", "completed"]


@pytest.mark.parametrize(
    ("result", "code"), [(b"x" * 9, "invalid-request"), (b"1" + b" " * 300_000, "invalid-request")]
)
def test_a_result_that_cannot_be_kept_is_refused_and_the_claim_stands(result: bytes, code: str) -> None:
    world = World()
    token = claimed(world)
    operation, _ = complete("t", token)
    assert world.one((operation, Content(payload=result))).code == code
    assert world.changes == 0
    assert world.one(complete("t", token)).applied


def test_a_failed_task_is_tried_again_after_its_pause() -> None:
    world = World()
    token = claimed(world, backoff=Backoff(initial_ms=100, factor_milli=3000), max_attempts=3)
    outcome = world.one(fail("t", token, {"why": "timeout"}))
    assert (outcome.op, about(outcome).state, about(outcome).token) == ("TASK_FAIL", "scheduled", token)
    task = task_of(world, "t")
    assert task.due == world.time + SECOND // 10
    assert task.errors == (TaskError(1, "w", task.updated, world.wall_ms, "failed"),)
    assert content(world, task.errors[0].at) == {"why": "timeout"}
    for pause_ms in (100, 300):
        world.later(ms=pause_ms)
        expire_due(world)
        world.one(claim())
        world.one(fail("t", token_of(world, "t")))
    assert states(world, "t") == ["dead"]
    assert [error.attempt for error in task_of(world, "t").errors] == [1, 2, 3]


def test_a_worker_may_set_the_pause_or_give_up() -> None:
    world = World()
    token = claimed(world)
    assert world.one(fail("t", token, delay_ms=-1)).code == "invalid-request"
    assert world.one(fail("t", token, "x" * limits.TASK_ERROR_BYTES_MAX)).code == "invalid-request"
    assert about(world.one(fail("t", token, delay_ms=0))).state == "available"
    world.one(claim())
    assert about(world.one(fail("t", token_of(world, "t"), retryable=False))).state == "dead"


@pytest.mark.parametrize(
    ("backoff", "attempt", "expected_ms"),
    [
        (Backoff(), 1, 1000),
        (Backoff(), 2, 2000),
        (Backoff(), 12, 2_048_000),
        (Backoff(), 13, 3_600_000),
        (Backoff(), 1000, 3_600_000),
        (Backoff(initial_ms=1, factor_milli=1500), 2, 1),
        (Backoff(initial_ms=1, factor_milli=1500), 3, 2),
        (Backoff(initial_ms=1, factor_milli=1500), 5, 5),
        (Backoff(initial_ms=500, max_ms=100), 1, 100),
        (Backoff(initial_ms=0), 1000, 0),
        (Backoff(initial_ms=1000, factor_milli=500, max_ms=300), 2, 300),
        (Backoff(initial_ms=1000, factor_milli=500, max_ms=300), 3, 250),
        (Backoff(initial_ms=1000, factor_milli=1), 1000, 0),
        (Backoff(initial_ms=1, factor_milli=1000), 1000, 1),
    ],
)
def test_backoff_is_counted_in_integers(backoff: Backoff, attempt: int, expected_ms: int) -> None:
    assert backoff_ms(backoff, attempt) == expected_ms


def test_only_the_newest_errors_are_kept() -> None:
    world = World()
    world.one(add_task("t", max_attempts=1000))
    for _ in range(limits.TASK_ERRORS_KEPT + 3):
        world.one(claim())
        world.one(fail("t", token_of(world, "t"), delay_ms=0))
    attempts = [error.attempt for error in task_of(world, "t").errors]
    assert attempts == list(range(4, limits.TASK_ERRORS_KEPT + 4))


def test_a_task_given_back_is_as_if_never_claimed() -> None:
    world = World()
    token = claimed(world)
    assert about(world.one(give_back("t", token))).state == "available"
    task = task_of(world, "t")
    assert (task.attempt, task.worker, task.token, task.errors, task.due) == (0, None, None, (), None)
    assert about(world.one(claim())).task_ids == ("t",)


# --- expiry -----------------------------------------------------------------------------------------
def test_a_claim_that_runs_out_is_free_at_once_and_counts() -> None:
    world = World()
    token = claimed(world, max_attempts=2)
    world.later(ms=1000)
    (outcome,) = expire_due(world)
    assert (outcome.op, about(outcome).token, about(outcome).state) == ("TASK_EXPIRE", token, "available")
    assert [error.code for error in task_of(world, "t").errors] == ["expired"]
    world.one(claim())
    world.later(ms=1000)
    expire_due(world)
    assert states(world, "t") == ["dead"]
    assert task_of(world, "t").attempt == 2


def test_an_expiry_that_saw_something_else_is_nothing() -> None:
    world = World()
    token = claimed(world)
    task = task_of(world, "t")
    assert world.one(expire_task(task)).code == "moved"  # not due
    world.later(ms=1000)
    assert world.one(expire_task(task, term=2)).code == "moved"
    elsewhere = msgspec.structs.replace(task, updated=Position(token, 1))
    assert world.one(expire_task(elsewhere)).code == "moved"
    assert world.one(expire_task(msgspec.structs.replace(task, id="none"))).code == "moved"
    assert world.one(expire_task(task)).applied
    outcome = world.one(expire_task(task))
    assert (outcome.code, about(outcome).state) == ("moved", "available")


def test_a_dead_owner_loses_its_claim_as_if_it_had_run_out() -> None:
    world = World()
    token = claimed(world, max_attempts=1)
    overlay = Overlay(world.store.read())
    moment = Moment(Position(99, 0), world.time, 7, BOB, 1)
    outcome = drop_claim(overlay, moment, task_of(world, "t"), "owner-released")
    assert outcome == Outcome(
        "TASK_EXPIRE", applied=True, about=About(task_ids=("t",), queues=("q",), token=token, state="dead")
    )
    task = overlay.task("t")
    assert task is not None
    assert task.errors == (TaskError(1, "w", Position(99, 0), 7, "owner-released"),)


# --- cancel and retry -------------------------------------------------------------------------------
@pytest.mark.parametrize("given", [{}, {"delay_ms": 1000}, {"depends_on": ("later",)}])
def test_an_unclaimed_task_is_cancelled_at_once(given: dict[str, object]) -> None:
    world = World()
    world.one(add_task("t", "q", **given))
    assert about(world.one(cancel("t"))).state == "cancelled"
    again = world.one(cancel("t"))
    assert (again.op, again.requested_op, again.applied) == ("NOOP", "TASK_CANCEL", True)
    assert world.one(claim()).op == "NOOP"
    assert world.one(cancel("none")).code == "not-found"


def test_a_claimed_task_is_asked_to_stop() -> None:
    world = World()
    token = claimed(world)
    outcome = world.one(cancel("t"))
    assert (outcome.op, about(outcome).state) == ("TASK_CANCEL", "claimed")
    assert task_of(world, "t").cancel_requested
    assert world.one(cancel("t")).op == "NOOP"
    assert world.one(heartbeat("t", token)).applied
    assert task_of(world, "t").cancel_requested


@pytest.mark.parametrize(("ending", "state"), [(complete, "completed"), (fail, "cancelled"), (give_back, "cancelled")])
def test_how_a_worker_answers_a_cancel(ending: object, state: str) -> None:
    world = World()
    token = claimed(world)
    world.one(cancel("t"))
    assert about(world.one(ending("t", token))).state == state  # type: ignore[operator]  # one of the words above
    assert not task_of(world, "t").cancel_requested


def test_a_claim_that_runs_out_after_a_cancel_is_cancelled() -> None:
    world = World()
    claimed(world)
    world.one(cancel("t"))
    world.later(ms=1000)
    expire_due(world)
    assert states(world, "t") == ["cancelled"]


def test_a_dead_task_starts_anew_and_keeps_its_errors() -> None:
    world = World()
    token = claimed(world)
    assert world.one(retry("t")).code == "wrong-state"
    world.one(fail("t", token, retryable=False))
    assert world.one(cancel("t")).code == "wrong-state"
    assert about(world.one(retry("t"))).state == "available"
    task = task_of(world, "t")
    assert (task.attempt, len(task.errors), task.due) == (0, 1, None)
    world.one(complete("t", granted(world, claim())))
    assert world.one(retry("t")).code == "wrong-state"
    assert world.one(cancel("t")).code == "wrong-state"
    assert world.one(retry("none")).code == "not-found"


def test_a_scheduled_task_can_be_tried_now() -> None:
    world = World()
    world.one(fail("t", claimed(world)))
    assert about(world.one(retry("t"))).state == "available"
    assert task_of(world, "t").attempt == 1
    assert tasks_due(world) == []


def test_a_retry_does_not_make_a_second_task_with_its_unique_key() -> None:
    world = World()
    world.one(add_task("a", unique_key="k"))
    world.one(cancel("a"))
    world.one(add_task("b", unique_key="k"))
    outcome = world.one(retry("a"))
    assert (outcome.code, outcome.path) == ("already-exists", "unique_key")
    world.one(cancel("b"))
    assert world.one(retry("a")).applied


# --- dependencies -----------------------------------------------------------------------------------
def test_a_task_waits_for_all_it_depends_on() -> None:
    world = World()
    world.run(add_task("a"), add_task("b"), add_task("c", depends_on=("a", "b", "a")))
    assert (task_of(world, "c").state, task_of(world, "c").pending) == ("blocked", 2)
    token = granted(world, claim(most=9))
    world.one(complete("a", token))
    assert (task_of(world, "c").state, task_of(world, "c").pending, task_of(world, "c").done) == ("blocked", 1, ("a",))
    outcomes = world.run(complete("b", token))
    assert [outcome.op for outcome in outcomes] == ["TASK_COMPLETE"]
    assert (task_of(world, "c").state, task_of(world, "c").pending) == ("available", 0)


def test_a_task_may_depend_on_one_that_does_not_exist_yet() -> None:
    world = World()
    world.one(add_task("b", depends_on=("a",)))
    assert states(world, "b") == ["blocked"]
    world.one(complete("a", claimed(world, "a")))
    assert states(world, "b") == ["available"]


def test_a_dependency_that_has_completed_is_none() -> None:
    world = World()
    world.one(complete("a", claimed(world, "a")))
    assert about(world.one(add_task("b", depends_on=("a",)))).state == "available"
    assert task_of(world, "b").depends_on == ("a",)


def test_a_delay_goes_on_while_a_task_is_blocked() -> None:
    world = World()
    world.run(
        add_task("a"), add_task("b", depends_on=("a",), delay_ms=900), add_task("c", depends_on=("a",), delay_ms=100)
    )
    assert states(world, "b", "c") == ["blocked", "blocked"]
    world.later(ms=500)
    assert tasks_due(world) == []
    world.one(complete("a", granted(world, claim())))
    assert states(world, "b", "c") == ["scheduled", "available"]
    world.later(ms=400)
    expire_due(world)
    assert states(world, "b") == ["available"]


@pytest.mark.parametrize("end", ["dead", "cancelled"])
def test_dependents_of_a_task_that_fails_are_cancelled_in_the_same_entry(end: str) -> None:
    world = World()
    world.run(add_task("a"), add_task("b", depends_on=("a", "x")), add_task("c", depends_on=("a",)))
    if end == "dead":
        step = fail("a", granted(world, claim()), retryable=False)
    else:
        step = cancel("a")
    first, *after = world.run(step)
    assert about(first).state == end
    assert [(one.op, about(one).task_ids, about(one).state) for one in after] == [
        ("TASK_CANCEL", ("b",), "cancelled"),
        ("TASK_CANCEL", ("c",), "cancelled"),
    ]
    assert about(world.one(add_task("d", depends_on=("a",)))).state == "cancelled"


def test_a_chain_is_cancelled_link_by_link() -> None:
    world = World()
    world.run(add_task("a"), *(add_task(f"b{n}", depends_on=(f"b{n - 1}" if n else "a",)) for n in range(5)))
    world.run(cancel("a"))
    rounds = 0
    while tasks_due(world):
        expire_due(world)
        rounds += 1
    assert states(world, *(f"b{n}" for n in range(5))) == ["cancelled"] * 5
    assert rounds == 4


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_many_dependents_are_told_over_several_entries_and_each_once(end: str) -> None:
    world = World()
    many = [f"d{n}" for n in range(2 * limits.TASK_TELL_MAX + 1)]
    world.run(add_task("a", priority=1), *(add_task(task_id, depends_on=("a", "x")) for task_id in many))
    step = cancel("a") if end == "cancelled" else complete("a", granted(world, claim()))
    outcomes = world.run(step)
    assert len(outcomes) == (1 + limits.TASK_TELL_MAX if end == "cancelled" else 1)
    told = []
    while tasks_due(world):
        assert not task_of(world, "a").told
        assert [about(outcome).task_ids for outcome in expire_due(world)[:1]] == [("a",)]
        told.append(world.changes)
    assert told == [1 + limits.TASK_TELL_MAX, 2]
    assert task_of(world, "a").told
    state = "cancelled" if end == "cancelled" else "blocked"
    assert {(task_of(world, one).state, task_of(world, one).pending) for one in many} == {
        (state, 2 if end == "cancelled" else 1)
    }


def test_one_entry_tells_so_many_however_many_tasks_end_by_it_and_the_next_entries_go_on() -> None:
    world, each = World(), 2 * limits.TASK_TELL_MAX
    parents = [f"p{n}" for n in range(limits.TASK_TELLS_PER_ENTRY_MAX // limits.TASK_TELL_MAX + 4)]
    world.run(*(add_task(parent, max_attempts=1) for parent in parents))
    for n in range(each):
        world.run(*(add_task(f"{parent}-{n}", depends_on=(parent,)) for parent in parents))
    world.one(claim(worker="dead", most=len(parents)))
    entries = [world.run(release_owner("dead"))]
    while tasks_due(world):
        entries.append(expire_due(world))
    told = [sum(outcome.op == "TASK_CANCEL" for outcome in outcomes) for outcomes in entries]
    assert max(told) == limits.TASK_TELLS_PER_ENTRY_MAX
    assert sum(told) == each * len(parents)
    assert len(told) <= 2 + sum(told) // limits.TASK_TELLS_PER_ENTRY_MAX
    assert {task_of(world, f"{parent}-{each - 1}").state for parent in parents} == {"cancelled"}


def test_a_task_added_while_others_are_still_told_is_not_told_twice() -> None:
    world = World()
    many = [f"d{n}" for n in range(limits.TASK_TELL_MAX + 1)]
    world.run(add_task("a", priority=1), *(add_task(task_id, depends_on=("a", "x")) for task_id in many))
    world.run(complete("a", granted(world, claim())))
    world.one(add_task("late", depends_on=("a", "x")))
    expire_due(world)
    assert {task_of(world, one).pending for one in [*many, "late"]} == {1}


@pytest.mark.parametrize(
    ("there", "added", "path"),
    [
        ({}, ("a", ("a",)), "a -> a"),
        ({"b": ("a",)}, ("a", ("b",)), "a -> b -> a"),
        ({"b": ("c", "a"), "c": ("a",)}, ("a", ("c", "b")), "a -> c -> a"),
        ({"b": ("a",), "c": ("b", "z"), "d": ("c",)}, ("a", ("z", "d")), "a -> d -> c -> b -> a"),
    ],
)
def test_a_circle_is_refused_with_its_path(
    there: dict[str, tuple[str, ...]], added: tuple[str, tuple[str, ...]], path: str
) -> None:
    world = World()
    for task_id, depends_on in there.items():
        assert world.one(add_task(task_id, depends_on=depends_on)).applied
    task_id, depends_on = added
    outcome = world.one(add_task(task_id, depends_on=depends_on))
    assert (outcome.code, outcome.path) == ("dependency-cycle", path)
    assert about(outcome).state is None
    assert find_task(world, task_id) is None


def test_a_circle_cannot_be_closed_by_a_retry() -> None:
    """x waits for y; cancelled, it still has one of its dependents to tell, which y comes to wait for."""
    world = World()
    many = [f"d{n:02}" for n in range(limits.TASK_TELL_MAX + 1)]
    world.run(add_task("x", depends_on=("y",)), *(add_task(one, depends_on=("x",)) for one in many))
    world.run(cancel("x"))
    assert states(world, many[0], many[-1]) == ["cancelled", "blocked"]
    assert world.one(add_task("y", depends_on=(many[-1],))).applied
    outcome = world.one(retry("x"))
    assert (outcome.code, outcome.path) == ("dependency-cycle", f"x -> y -> {many[-1]} -> x")


def test_a_graph_too_large_to_look_at_is_refused() -> None:
    world = World()
    width = limits.TASK_DEPENDS_MAX
    for n in range(limits.TASK_GRAPH_MAX // width + 1):
        world.one(add_task(f"w{n}", depends_on=tuple(f"leaf-{n}-{m}" for m in range(width))))
    top = tuple(f"w{n}" for n in range(limits.TASK_GRAPH_MAX // width + 1))
    world.one(add_task("waits", depends_on=("top",)))
    assert world.one(add_task("top", depends_on=top)).code == "too-large"
    assert world.one(add_task("top", depends_on=top[:9])).applied


def test_a_long_circle_shows_both_of_its_ends() -> None:
    world = World()
    world.run(*(add_task(f"n{n}", depends_on=(f"n{n + 1}",)) for n in range(99)))
    path = world.one(add_task("n99", depends_on=("n0",))).path
    assert path is not None
    assert path.startswith("n99 -> n0 -> n1 ")
    assert " -> ... -> " in path
    assert path.endswith(" -> n98 -> n99")


def test_a_cancelled_task_that_is_retried_waits_for_what_has_not_completed() -> None:
    world = World()
    world.run(add_task("a"), add_task("b"), add_task("c", depends_on=("a", "b")))
    token = granted(world, claim(most=2))
    world.one(complete("a", token))
    world.one(cancel("c"))
    assert about(world.one(retry("c"))).state == "blocked"
    world.one(cancel("c"))
    world.one(complete("b", token))
    assert about(world.one(retry("c"))).state == "available"


def test_a_retry_needs_dependencies_that_can_still_complete() -> None:
    world = World()
    world.run(add_task("a"), add_task("b", depends_on=("a",)))
    world.run(cancel("a"))
    assert world.one(retry("b")).code == "wrong-state"
    world.one(retry("a"))
    assert about(world.one(retry("b"))).state == "blocked"


def forgotten(world: World, task_id: str) -> None:
    """Completed, and its time over."""
    world.one(complete(task_id, claimed(world, task_id)))
    world.later(ms=limits.TASK_KEEP_US // 1000)
    expire_due(world)
    assert find_task(world, task_id) is None


def test_a_dependency_counts_as_completed_also_when_it_is_forgotten() -> None:
    world = World()
    world.one(add_task("b", depends_on=("a",)))
    forgotten(world, "a")
    world.one(fail("b", granted(world, claim()), retryable=False))
    assert about(world.one(retry("b"))).state == "available"


def test_a_dependency_that_has_completed_is_no_part_of_a_circle() -> None:
    world = World()
    world.one(add_task("b", depends_on=("a", "z")))
    forgotten(world, "a")
    world.one(add_task("c", depends_on=("a",)))
    assert about(world.one(add_task("a", depends_on=("b",)))).state == "blocked"


def test_a_task_retried_before_all_were_told_tells_nobody_until_it_ends_again() -> None:
    world = World()
    many = [f"d{n:02}" for n in range(limits.TASK_TELL_MAX + 1)]
    world.run(add_task("a"), *(add_task(one, depends_on=("a",)) for one in many))
    world.run(cancel("a"))
    world.one(retry("a"))
    assert (task_of(world, "a").told, task_of(world, "a").due) == (True, None)
    world.one(complete("a", granted(world, claim())))
    assert states(world, many[0], many[-1]) == ["cancelled", "available"]


# --- entries ----------------------------------------------------------------------------------------
def test_an_atomic_entry_with_a_refused_task_operation_leaves_nothing() -> None:
    world = World()
    token = claimed(world)
    outcomes = world.run(add("m", text="x"), add_task("n", payload=1), complete("t", token + 7, "late"))
    assert [outcome.code for outcome in outcomes] == ["batch-refused", "batch-refused", "stale-token"]
    assert world.changes == 0
    world.run(complete("t", token, "done"), add("m", text="x"), update("m", text="y"))
    assert (states(world, "t"), world.memory("m").text) == (["completed"], "y")


def test_tasks_that_are_gone_leave_nothing_in_the_indexes() -> None:
    world = World()
    world.run(
        add_task("a", unique_key="k"),
        add_task("b", "r", depends_on=("a",)),
        add_task("c", delay_ms=10),
        add_task("d", depends_on=("none",)),
    )
    world.one(complete("a", granted(world, claim())))
    world.one(fail("b", granted(world, claim("r")), json("no").decode(), retryable=False))
    world.run(cancel("c"), cancel("d"))
    world.later(ms=limits.TASK_KEEP_US // 1000)
    assert len(expire_due(world)) == 4
    for index in (DUE, TASKS, b"q", b"r", b"u", b"o", b"e"):
        assert world.store.read().scan(index, limit=9) == []
