"""Tasks: known answers."""

import pytest
from histories_made import assert_bad, assert_good, event, evidence, op

from jepsen_like.checkers.tasks import check
from jepsen_like.history.logged import Event

ADDED = event(1, "TASK_ADD", tasks=("t",), payload={"queue": "q", "max_attempts": 2})


def on(index: int, name: str, token: int | None = None, state: str | None = None) -> Event:
    return event(index, f"TASK_{name}", tasks=("t",), token=index if name == "CLAIM" else token, state=state)


def test_task_that_is_tried_twice_and_completed_once_is_good() -> None:
    log = [
        ADDED,
        on(2, "CLAIM"),
        on(3, "HEARTBEAT", 2),
        on(4, "EXPIRE", 2, "available"),
        on(5, "CLAIM"),
        on(6, "RELEASE", 5, "available"),
        on(7, "CLAIM"),
        on(8, "COMPLETE", 7, "completed"),
        on(9, "EXPIRE", None, None),
    ]
    operations = [
        op("add", {"queue": "q"}, {"id": "t"}, at=(0, 1)),
        op("claim", {"worker": "w"}, {"tasks": [{"id": "t", "token": 7, "attempt": 2}]}, at=(2, 3)),
        op("complete", {"id": "t", "token": 7}, at=(4, 5)),
    ]
    finding = check(evidence(operations, log, drained=True))
    assert_good(finding)
    assert finding.counts == {"tasks": 1, "claims": 3, "completed": 1}


def test_dead_task_that_is_retried_begins_anew() -> None:
    tries = [event for index in (2, 4) for event in (on(index, "CLAIM"), on(index + 1, "FAIL", index, "dead"))]
    again = [on(6, "RETRY", state="available"), on(7, "CLAIM"), on(8, "COMPLETE", 7, "completed")]
    tries[1] = on(3, "FAIL", 2, "scheduled")
    assert_good(check(evidence([], [ADDED, *tries, *again], drained=True)))


def test_task_that_waits_in_vain_is_finished_as_it_is_added() -> None:
    waits = event(4, "TASK_ADD", tasks=("u",), payload={"queue": "q", "depends_on": ["t"]})
    assert_good(check(evidence([], [ADDED, on(3, "CANCEL", state="cancelled"), waits], drained=True)))
    assert_bad(check(evidence([], [ADDED, waits, on(5, "CANCEL", state="cancelled")], drained=True)), "unfinished", "u")


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        ("claims-overlap", [on(2, "CLAIM"), on(3, "CLAIM")]),
        ("claims-overlap", [on(2, "CLAIM"), on(3, "COMPLETE", 2, "completed"), on(4, "CLAIM")]),
        ("completed-twice", [on(2, "CLAIM"), on(3, "COMPLETE", 2, "completed"), on(4, "COMPLETE", 2, "completed")]),
        ("stale-claim-taken", [on(2, "CLAIM"), on(3, "EXPIRE", 2), on(4, "CLAIM"), on(5, "COMPLETE", 2, "completed")]),
        ("stale-claim-taken", [on(2, "CLAIM"), on(3, "HEARTBEAT", 9)]),
        (
            "too-many-attempts",
            [event for index in (2, 4, 6) for event in (on(index, "CLAIM"), on(index + 1, "FAIL", index, "scheduled"))],
        ),
        ("never-added", [event(2, "TASK_CLAIM", tasks=("u",), token=2)]),
        ("unfinished", [on(2, "CLAIM")]),
        ("unfinished", []),
    ],
)
def test_log_that_breaks_a_rule_is_bad(kind: str, events: list[Event]) -> None:
    assert_bad(check(evidence([], [ADDED, *events], drained=True)), kind)


def test_what_was_told_stands_in_the_log() -> None:
    log = [ADDED, on(2, "CLAIM"), on(3, "COMPLETE", 2, "completed")]
    wrong = {
        "lost-task": op("add", {"queue": "q"}, {"id": "u"}, at=(0, 1)),
        "claim-without-grant": op("claim", {}, {"tasks": [{"id": "t", "token": 9, "attempt": 1}]}, at=(0, 1)),
        "wrong-attempt": op("claim", {}, {"tasks": [{"id": "t", "token": 2, "attempt": 2}]}, at=(0, 1)),
        "lost-completion": op("complete", {"id": "t", "token": 1}, at=(0, 1)),
    }
    for kind, operation in wrong.items():
        assert_bad(check(evidence([operation], log, drained=True)), kind)


def test_tasks_that_were_not_drained_are_not_judged() -> None:
    assert check(evidence([], [ADDED])).verdict == "unknown"
    assert check(evidence([], None, drained=True)).verdict == "unknown"
