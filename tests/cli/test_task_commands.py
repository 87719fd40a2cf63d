"""`raftmem task` against a scripted group: what is asked, what is said, which exit code."""

import pytest
from cli_world import Cli
from scripted_group import ScriptedGroup, event, problem

from raftmem.cli.exits import Exit

TASK: dict[str, object] = {
    **{"id": "t-1", "queue": "review", "state": "available", "payload": {"pr": 812}, "priority": 0, "attempt": 0},
    **{"max_attempts": 25, "worker": None, "token": None, "remaining_ms": None, "result": None, "errors": []},
    **{"depends_on": [], "created_index": 12, "updated_index": 12},
}
CLAIMED = {**TASK, "state": "claimed", "attempt": 1, "worker": "w#1", "token": 13, "remaining_ms": 30000}
ERROR = {"attempt": 1, "worker": "w#1", "code": "failed", "error": "no disk", "index": 14, "time": "t"}


def test_added_task_carries_what_was_given_and_nothing_else(scripted: ScriptedGroup, cli: Cli) -> None:
    added = event("TASK_ADD", task_ids=["t-1"], token=None)
    scripted.replies["POST /v1/tasks"] = (201, {"task": TASK, "event": added})
    ended = cli("task", "add", "review", '{"pr": 812}')
    assert (ended.code, ended.out) == (0, "TASK_ADD t-1 at index 12, available\n")
    assert scripted.body() == {"queue": "review", "payload": {"pr": 812}}
    options = ("--id", "t-1", "--priority", "5", "--delay", "1.5", "--max-attempts", "3", "--backoff", "1,1.5,60")
    cli("task", "add", "review", *options, "--after", "a", "--after", "b", "--unique-key", "pr-812")
    assert scripted.body() == {
        **{"queue": "review", "payload": None, "id": "t-1", "priority": 5, "delay_ms": 1500, "max_attempts": 3},
        **{"backoff": {"initial_ms": 1000, "factor": 1.5, "max_ms": 60000}, "depends_on": ["a", "b"]},
        "unique_key": "pr-812",
    }


def test_claimed_tasks_are_shown_with_their_tokens(scripted: ScriptedGroup, cli: Cli) -> None:
    claim = {"tasks": [CLAIMED], "event": event("TASK_CLAIM", task_ids=["t-1"], token=13)}
    scripted.replies["POST /v1/tasks/claim"] = (200, claim)
    ended = cli("task", "claim", "review", "build", "--worker", "w#1", "--max", "2")
    head, row = ended.out.splitlines()
    assert head.split() == ["id", "queue", "state", "priority", "attempt", "worker", "token", "remaining", "payload"]
    assert row.split() == ["t-1", "review", "claimed", "0", "1", "of", "25", "w#1", "13", "30.0", "s", '{"pr":812}']
    assert scripted.body() == {
        "queues": ["review", "build"],
        **{"worker": "w#1", "ttl_ms": 30000, "max": 2, "wait_ms": 0},
    }


def test_nothing_to_claim_is_no_error(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies["POST /v1/tasks/claim"] = (200, {"tasks": [], "event": None})
    ended = cli("task", "claim", "review", "--worker", "w#1")
    assert (ended.code, ended.out, ended.err) == (0, "", "nothing to do in review\n")


def test_heartbeat_says_when_somebody_wants_it_stopped(scripted: ScriptedGroup, cli: Cli) -> None:
    beat = {"cancel_requested": True, "remaining_ms": 30000, "event": event("TASK_HEARTBEAT")}
    scripted.replies["POST /v1/tasks/t-1/heartbeat"] = (200, beat)
    ended = cli("task", "heartbeat", "t-1", "--token", "13", "--ttl", "30")
    assert ended.out.startswith("t-1 is yours for 30.0 s; somebody wants it stopped")
    assert scripted.body() == {"token": 13, "ttl_ms": 30000}


@pytest.mark.parametrize(
    ("arguments", "verb", "body"),
    [
        (("complete", "t-1", "--token", "13", "--result", '"fine"'), "complete", {"token": 13, "result": "fine"}),
        (("fail", "t-1", "--token", "13", "--error", '"no disk"'), "fail", {"token": 13, "error": "no disk"}),
        (
            ("fail", "t-1", "--token", "13", "--final", "--delay", "2"),
            "fail",
            {"token": 13, "retryable": False, "delay_ms": 2000},
        ),
        (("release", "t-1", "--token", "13"), "release", {"token": 13}),
        (("cancel", "t-1"), "cancel", {}),
        (
            ("retry", "t-1", "--guard", '{"gate": "g", "open": true}'),
            "retry",
            {"guards": [{"gate": "g", "open": True}]},
        ),
    ],
)
def test_task_is_changed_under_a_key(
    scripted: ScriptedGroup, cli: Cli, arguments: tuple[str, ...], verb: str, body: dict[str, object]
) -> None:
    changed = event(f"TASK_{verb.upper()}", task_ids=["t-1"], token=13, task_state="scheduled")
    scripted.replies[f"POST /v1/tasks/t-1/{verb}"] = (200, {"task": TASK, "event": changed})
    ended = cli("task", *arguments)
    assert (ended.code, ended.out) == (0, f"TASK_{verb.upper()} t-1 token 13 scheduled at index 12\n")
    assert scripted.body() == body
    assert "Idempotency-Key" in scripted.asked[0].headers


def test_claim_that_was_lost_is_code_4(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies["POST /v1/tasks/t-1/complete"] = problem(409, "stale-token", "w#2 has it with token 20")
    ended = cli("task", "complete", "t-1", "--token", "13")
    assert (ended.code, ended.err) == (
        Exit.PRECONDITION,
        "raftmem: stale-token: w#2 has it with token 20: stop what relied on it\n",
    )


def test_list_and_show_tell_state_and_errors(scripted: ScriptedGroup, cli: Cli) -> None:
    page = {"tasks": [TASK], "next_cursor": None}
    scripted.replies["GET /v1/tasks?queue=review&state=available&worker=w%231&order=desc&limit=100"] = (200, page)
    listed = cli("task", "list", "--queue", "review", "--state", "available", "--worker", "w#1", "--newest-first")
    assert listed.out.splitlines()[1].split()[:5] == ["t-1", "review", "available", "0", "0"]
    scripted.replies["GET /v1/tasks/t-1"] = (200, {**TASK, "errors": [ERROR]})
    shown = cli("task", "show", "t-1").out.splitlines()
    assert shown[2].split() == ["state", "available"]
    assert shown[-1].split() == ["1", "w#1", "failed", "no", "disk", "14", "t"]


@pytest.mark.parametrize(
    "arguments",
    [("add",), ("add", "q", "{"), ("add", "q", "--backoff", "1,2"), ("claim", "q"), ("complete", "t-1"), ("claim",)],
)
def test_usage_error_is_code_2_and_asks_nobody(scripted: ScriptedGroup, cli: Cli, arguments: tuple[str, ...]) -> None:
    assert (cli("task", *arguments).code, scripted.asked) == (Exit.USAGE, [])
