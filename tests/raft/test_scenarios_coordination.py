"""The oracles of locks and tasks: what they let pass, what they object to, and that old schedules do not meet them."""

from collections.abc import Sequence
from unittest import mock

import pytest

from jepsen_like.simulator import campaign, recorded
from jepsen_like.simulator.leases import Leases
from jepsen_like.simulator.lock_oracle import LockOracle
from jepsen_like.simulator.options import draw, overridden
from jepsen_like.simulator.oracles import Violation
from jepsen_like.simulator.sometimes import Sometimes
from jepsen_like.simulator.task_oracle import TaskOracle
from jepsen_like.simulator.world import World
from raftmem.machine.run import Applied
from raftmem.model.codec import Entry
from raftmem.model.commands import (
    Actor,
    Guard,
    Header,
    LockAcquire,
    LockExpire,
    LockForceRelease,
    LockRelease,
    LockRenew,
    Operation,
    OwnerRelease,
    TaskAdd,
    TaskClaim,
    TaskComplete,
    TaskExpire,
    TaskFail,
    TaskHeartbeat,
    TaskRelease,
)
from raftmem.model.records import About, Outcome, Result, Step
from raftmem.service import expiry
from raftmem.storage.state.contract import EventRow


class Log:
    """Entries as an oracle is shown them, one after the other from index 1 on. Drift is 1 %."""

    def __init__(self) -> None:
        self.world = World(0)
        self.met = Sometimes()
        self.leases = Leases(self.world, 0.01)
        self.locks = LockOracle(self.leases, self.met, Violation)
        self.tasks = TaskOracle(self.leases, self.met, Violation)
        self.index = 0
        self.term = 1

    def shows(
        self, operation: Operation, *outcomes: Outcome, guards: tuple[Guard, ...] = (), after: float = 0.0
    ) -> None:
        """`after`: seconds since the entry before it, at once asked for and applied."""
        self.world.now += after
        self.index += 1
        request_id = f"q{self.index}"
        self.leases.asked[request_id] = self.world.now
        header = Header(Actor("agent", "x"), request_id, (operation,), guards)
        self.leases.raise_floor(header)
        result = Result(outcomes)
        row = EventRow(self.index, self.term, b"", result, b"")
        applied = Applied(row, Step(result, ()), Entry(0, 0, 0, header, (None,), (b"",), b"", (None,)))
        self.locks.applies(applied)
        self.tasks.applies(applied)


def of(op: str, owner: str, token: int | None = None, *, refused: str | None = None) -> Outcome:
    return Outcome(op, applied=refused is None, code=refused, about=About(lock="l", owner=owner, token=token))


def task(op: str, token: int | None = None, *, state: str | None = None, refused: str | None = None) -> Outcome:
    about = About(task_ids=("t",), token=token, state=state)
    return Outcome(op, applied=refused is None, code=refused, about=about)


def ask(owner: str, *, permits: int = 1, wait_ms: int = 0) -> LockAcquire:
    return LockAcquire("l", owner, 1000, permits, wait_ms)


Shown = tuple[Operation, tuple[Outcome, ...], float]
HELD: list[Shown] = [(ask("a"), (of("LOCK_ACQUIRE", "a", 1),), 0.0)]
QUEUED: list[Shown] = [
    *HELD,
    (ask("b", wait_ms=5000), (of("LOCK_WAIT", "b"),), 0.0),
    (ask("c", wait_ms=5000), (of("LOCK_WAIT", "c"),), 0.0),
]
CLAIMED: list[Shown] = [
    (TaskAdd("t", "q", max_attempts=1), (task("TASK_ADD", state="available"),), 0.0),
    (TaskClaim(("q",), "w", 1000), (task("TASK_CLAIM", 2),), 0.0),
]
FREED = of("LOCK_RELEASE", "a", 1)
EXPIRED = (of("LOCK_EXPIRE", "a", 1),)

OBJECTIONS: list[tuple[str, list[Shown], str]] = [
    ("a second holder", [*HELD, (ask("b"), (of("LOCK_ACQUIRE", "b", 2),), 0.0)], "hold it"),
    (
        "a grant out of turn",
        [*QUEUED, (LockRelease("l", "a", 1), (FREED, of("LOCK_GRANT", "c", 4)), 0.0)],
        "b has asked before",
    ),
    (
        "an acquire that overtakes the queue",
        [*QUEUED, (LockRelease("l", "a", 1), (FREED,), 0.0), (ask("d"), (of("LOCK_ACQUIRE", "d", 5),), 0.0)],
        "b has asked before",
    ),
    (
        "a grant to nobody in the queue",
        [*HELD, (LockRelease("l", "a", 1), (FREED, of("LOCK_GRANT", "z", 2)), 0.0)],
        "does not wait",
    ),
    (
        "a token that is not the entry's",
        [*HELD, (LockRelease("l", "a", 1), (FREED,), 0.0), (ask("b"), (of("LOCK_ACQUIRE", "b", 1),), 0.0)],
        "does not rise",
    ),
    ("a wait for a free lock", [(ask("b", wait_ms=9), (of("LOCK_WAIT", "b"),), 0.0)], "only .* hold it"),
    ("a refusal of a free lock", [(ask("b"), (of("LOCK_ACQUIRE", "b", refused="lock-held"),), 0.0)], "only .* hold it"),
    ("an early end of a hold", [*HELD, (LockExpire("l", "a", 1, 0, 1), EXPIRED, 0.98)], "1.000 s were promised"),
    (
        "an early end of a hold that was renewed",
        [*HELD, (LockRenew("l", "a", 1), (of("LOCK_RENEW", "a", 1),), 0.9), (ask("z"), EXPIRED, 0.9)],
        "1.000 s were promised",
    ),
    (
        "an early end of a wait",
        [*QUEUED, (LockExpire("l", "b", None, 0, 1), (of("LOCK_EXPIRE", "b"),), 4.9)],
        "5.000 s were promised",
    ),
    (
        "a renewal after the end",
        [*HELD, (LockRelease("l", "a", 1), (FREED,), 0.0), (LockRenew("l", "a", 1), (of("LOCK_RENEW", "a", 1),), 0.0)],
        "who holds None",
    ),
    (
        "a holder that is called stale",
        [*HELD, (LockRenew("l", "a", 1), (of("LOCK_RENEW", "a", 1, refused="stale-token"),), 0.0)],
        "stale",
    ),
    ("a second claim", [*CLAIMED, (TaskClaim(("q",), "v", 1000), (task("TASK_CLAIM", 3),), 0.0)], "gives the task t"),
    (
        "a completion by another's token",
        [*CLAIMED, (TaskComplete("t", 1), (task("TASK_COMPLETE", 1, state="completed"),), 0.0)],
        "with 1: it was",
    ),
    (
        "a second completion",
        [*CLAIMED, *[(TaskComplete("t", 2), (task("TASK_COMPLETE", 2, state="completed"),), 0.0)] * 2],
        "with 2: it was",
    ),
    (
        "an early end of a claim",
        [*CLAIMED, (TaskExpire("t", 2, 0, 1), (task("TASK_EXPIRE", 2, state="available"),), 0.98)],
        "1.000 s were promised",
    ),
    (
        "an early end of a delay",
        [
            (TaskAdd("t", "q", delay_ms=1000), (task("TASK_ADD", state="scheduled"),), 0.0),
            (TaskExpire("t", 1, 0, 1), (task("TASK_EXPIRE", state="available"),), 0.98),
        ],
        "1.000 s were promised",
    ),
    (
        "more attempts than were allowed",
        [
            *CLAIMED,
            (TaskFail("t", 2), (task("TASK_FAIL", 2, state="available"),), 0.0),
            (TaskClaim(("q",), "v", 1000), (task("TASK_CLAIM", 4),), 0.0),
        ],
        "2th time of 1",
    ),
    (
        "a worker that is called stale",
        [*CLAIMED, (TaskHeartbeat("t", 2), (task("TASK_HEARTBEAT", 2, refused="stale-token"),), 0.0)],
        "stale",
    ),
]


def play(shown: Sequence[Shown]) -> Log:
    log = Log()
    for operation, outcomes, after in shown:
        log.shows(operation, *outcomes, after=after)
    return log


@pytest.mark.parametrize(("shown", "what"), [row[1:] for row in OBJECTIONS], ids=[row[0] for row in OBJECTIONS])
def test_what_must_not_happen_is_a_violation_at_its_last_event(shown: list[Shown], what: str) -> None:
    play(shown[:-1])
    with pytest.raises(Violation, match=what):
        play(shown)


@pytest.mark.parametrize(("token", "owner", "failed"), [(1, None, (0,)), (7, None, ()), (1, "b", ())])
def test_a_guard_that_is_decided_against_the_log_is_a_violation(
    token: int, owner: str | None, failed: tuple[int, ...]
) -> None:
    log = play(HELD)
    write = Outcome("UPDATE", applied=not failed, failed=failed)
    with pytest.raises(Violation, match="holds"):
        log.shows(LockForceRelease("other"), write, guards=(Guard(lock="l", token=token, owner=owner),))


def test_a_lock_goes_from_hand_to_hand_and_all_is_let_go() -> None:
    log = play(QUEUED)
    log.term = 2
    log.shows(LockRenew("l", "a", 1), of("LOCK_RENEW", "a", 1))
    log.shows(LockExpire("l", "a", 1, 1, 2), *EXPIRED, of("LOCK_GRANT", "b", 5), after=1.0)
    guard = Guard(lock="l", token=5)
    log.shows(LockForceRelease("other"), Outcome("UPDATE", applied=True), guards=(guard,))
    log.shows(LockRenew("l", "a", 1), of("LOCK_RENEW", "a", 1, refused="stale-token"))
    assert log.locks.leases_left() == ["b holds l", "c waits for l"]
    dead = Outcome("OWNER_RELEASE", applied=True, about=About(owner="b"))
    log.shows(OwnerRelease("b"), dead, of("LOCK_FORCE_RELEASE", "b", 5), of("LOCK_GRANT", "c", 8))
    log.shows(LockRelease("l", "c", 8), of("LOCK_RELEASE", "c", 8))
    assert log.locks.leases_left() == []
    for what in ("renewal after a leader change", "lease expired", "waiter granted after an expiry"):
        assert log.met[what] == 1
    assert log.met["stale token refused"] == 1


def test_a_semaphore_may_give_two_permits_by_one_entry() -> None:
    log = Log()
    for owner in ("a", "b"):
        log.shows(ask(owner, permits=2), of("LOCK_ACQUIRE", owner, log.index + 1))
    for owner in ("c", "d"):
        log.shows(ask(owner, permits=2, wait_ms=5000), of("LOCK_WAIT", owner))
    ended = (of("LOCK_FORCE_RELEASE", "a", 1), of("LOCK_FORCE_RELEASE", "b", 2))
    log.shows(LockForceRelease("l"), *ended, of("LOCK_GRANT", "c", 5), of("LOCK_GRANT", "d", 5))
    assert log.locks.leases_left() == ["c holds l", "d holds l"]


def test_a_task_goes_on_to_another_worker_when_its_claim_runs_out() -> None:
    log = play([(TaskAdd("t", "q", max_attempts=2), (task("TASK_ADD", state="available"),), 0.0), CLAIMED[1]])
    log.shows(TaskExpire("t", 2, 0, 1), task("TASK_EXPIRE", 2, state="available"), after=1.0)
    log.shows(TaskClaim(("q",), "v", 1000), task("TASK_CLAIM", 4))
    log.shows(TaskRelease("t", 4), task("TASK_RELEASE", 4, state="available"))
    log.shows(TaskClaim(("q",), "v", 1000), task("TASK_CLAIM", 6))
    assert log.tasks.claims_left() == ["v has t"]
    log.shows(TaskComplete("t", 6), task("TASK_COMPLETE", 6, state="completed"))
    assert log.tasks.claims_left() == []
    assert log.met["expired claim completed by another"] == 1


def test_what_stood_earlier_in_the_log_was_asked_for_before_all_that_follows() -> None:
    """A grant answers no request of its own: its time counts from the newest request before it, not from nothing."""
    log = play(QUEUED)
    log.shows(LockRelease("l", "a", 1), FREED, of("LOCK_GRANT", "b", 4), after=3.0)
    with pytest.raises(Violation, match=r"1\.000 s were promised"):
        log.shows(LockExpire("l", "b", 4, 0, 1), of("LOCK_EXPIRE", "b", 4), after=0.9)


# --- schedules -----------------------------------------------------------------------------------------
def test_a_schedule_of_old_has_no_agents_and_keeps_its_meaning() -> None:
    old = [kept.options for kept in recorded.load()[:5]]
    assert old
    assert all(options.agents == 0 for options in old)
    result = campaign.one(overridden(draw(4), {"agents": "0", "seconds": "6"}))
    assert isinstance(result, Sometimes)
    assert not result.keys() & {"lease expired", "agent died"}


def test_what_the_dead_keep_is_a_liveness_failure() -> None:
    given = {"agents": "8", "mode": "liveness", "seconds": "12"}
    with mock.patch.object(expiry, "_due", return_value=[]):
        result = campaign.one(overridden(draw(4), given))
    assert isinstance(result, campaign.Failed)
    assert result.kind == "STUCK"
    assert "of their agents' death there is still: " in result.what
