"""`raftmem lock` and `raftmem owner` against a scripted group: what is asked, what is said, which exit code."""

import pytest
from cli_world import Cli
from scripted_group import ScriptedGroup, event, problem

from raftmem.cli.exits import Exit

HOLDER = {"owner": "planner#1", "token": 7, "remaining_ms": 8450, "metadata": {"host": "a"}}
HELD = {"name": "deploy/prod", "permits": 1, "holders": [HOLDER], "queue": [{"owner": "coder#2", "position": 1}]}
FREE = {"name": "deploy/prod", "permits": 1, "holders": [], "queue": []}
GRANT = {"name": "deploy/prod", "owner": "me#1", "token": 12, "remaining_ms": 10000, "event": event("LOCK_ACQUIRE")}
ACQUIRE = "POST /v1/locks/deploy%2Fprod/acquire"
HERE = ("deploy/prod", "--owner", "me#1")


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_acquired_lock_is_told_with_its_token(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies[ACQUIRE] = (200, GRANT)
    ended = cli("lock", "acquire", *HERE, "--ttl", "2.5", "--metadata", '{"pr": 812}', "--actor", "agent/x")
    assert (ended.code, ended.out) == (0, "deploy/prod is held by me#1 with token 12 for 10.0 s\n")
    asked = scripted.asked[0]
    assert asked.body == {"owner": "me#1", "ttl_ms": 2500, "wait_ms": 0, "permits": 1, "metadata": {"pr": 812}}
    assert asked.headers["Raftmem-Actor"] == "agent/x"
    assert "Idempotency-Key" not in asked.headers  # as the same owner it may be asked for twice


def test_lock_that_others_have_is_code_4_at_once(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies[ACQUIRE] = problem(409, "lock-held", "held by planner#1", retryable=True, retry_after_ms=8450)
    ended = cli("lock", "acquire", *HERE, "--json")
    assert (ended.code, ended.part("code")) == (Exit.PRECONDITION, "lock-held")
    assert ended.err == "raftmem: lock-held: held by planner#1\n"
    assert len(scripted.asked) == 1


def test_lock_is_renewed_and_released_with_what_a_run_leaves_in_the_environment(
    scripted: ScriptedGroup, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAFTMEM_OWNER", "me#1")
    monkeypatch.setenv("RAFTMEM_TOKEN", "12")
    scripted.replies["POST /v1/locks/deploy%2Fprod/renew"] = (200, {**GRANT, "remaining_ms": 30000})
    assert cli("lock", "renew", "deploy/prod", "--ttl", "30").out.endswith("token 12 for 30.0 s\n")
    assert scripted.body() == {"owner": "me#1", "token": 12, "ttl_ms": 30000}
    released = event("LOCK_RELEASE", lock="deploy/prod", token=12)
    scripted.replies["POST /v1/locks/deploy%2Fprod/release"] = (200, {"lock": FREE, "event": released})
    assert cli("lock", "release", "deploy/prod").out == "LOCK_RELEASE deploy/prod token 12 at index 12\n"
    assert scripted.body() == {"owner": "me#1", "token": 12}
    assert "Idempotency-Key" in scripted.asked[-1].headers


def test_stale_token_is_code_4(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies["POST /v1/locks/deploy%2Fprod/release"] = problem(409, "stale-token", current_token=14)
    assert cli("lock", "release", *HERE, "--token", "12").code == Exit.PRECONDITION


def test_list_has_a_line_a_holder_and_names_the_next_page(scripted: ScriptedGroup, cli: Cli) -> None:
    semaphore = {**HELD, "name": "gpu", "permits": 2, "holders": [HOLDER, {**HOLDER, "owner": "c#3"}], "queue": []}
    page = {"locks": [HELD, semaphore], "next_cursor": "abc"}
    scripted.replies["GET /v1/locks?owner=planner%231&prefix=d&limit=100"] = (200, page)
    ended = cli("lock", "list", "--owner", "planner#1", "--prefix", "d")
    assert words(ended.out) == [
        ["lock", "owner", "token", "remaining", "permits", "waiting", "metadata"],
        ["deploy/prod", "planner#1", "7", "8.4", "s", "1", "1", '{"host":"a"}'],
        ["gpu", "planner#1", "7", "8.4", "s", "2", "0", '{"host":"a"}'],
        ["gpu", "c#3", "7", "8.4", "s", "2", "0", '{"host":"a"}'],
    ]
    assert ended.err == "more: --cursor abc\n"


def test_shown_lock_has_its_queue_and_a_free_one_is_said_to_be_free(scripted: ScriptedGroup, cli: Cli) -> None:
    scripted.replies["GET /v1/locks/deploy%2Fprod"] = (200, HELD)
    shown = cli("lock", "show", "deploy/prod")
    assert words(shown.out)[-2:] == [["position", "waiting"], ["1", "coder#2"]]
    assert cli("lock", "show", "deploy/prod", "--json").json() == HELD
    scripted.replies["GET /v1/locks/deploy%2Fprod"] = (200, FREE)
    assert cli("lock", "show", "deploy/prod").out == "deploy/prod is free\n"


def test_force_release_says_what_was_taken_and_who_has_it_now(scripted: ScriptedGroup, cli: Cli) -> None:
    forced = event("LOCK_FORCE_RELEASE", lock="deploy/prod", token=7, owner="planner#1")
    scripted.replies["DELETE /v1/locks/deploy%2Fprod"] = (200, {"lock": HELD, "event": forced})
    ended = cli("lock", "force-release", "deploy/prod")
    assert words(ended.out)[0] == ["LOCK_FORCE_RELEASE", "deploy/prod", "token", "7", "planner#1", "at", "index", "12"]
    assert words(ended.out)[2][1] == "planner#1"


def test_dead_owner_loses_everything_and_it_is_listed(scripted: ScriptedGroup, cli: Cli) -> None:
    had = {"locks": [{"name": "deploy/prod", "token": 7}], "waits": ["gpu"], "tasks": ["t-1"]}
    answer = {"owner": "planner#1", "released": had, "event": event("OWNER_RELEASE")}
    scripted.replies["POST /v1/owners/planner%231/release"] = (200, answer)
    assert words(cli("owner", "release", "planner#1").out)[1:] == [
        ["lock", "deploy/prod", "7"],
        ["place", "in", "the", "queue", "of", "gpu", "-"],
        ["task", "t-1", "-"],
    ]
    answer["released"] = {"locks": [], "waits": [], "tasks": []}
    assert cli("owner", "release", "planner#1").out == "planner#1 had nothing\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("lock", "acquire", "x"),
        ("lock", "acquire", *HERE, "--metadata", "{"),
        ("lock", "acquire", *HERE, "--wait", "61"),
        ("lock", "release", "x", "--owner", "me"),
        ("lock", "run", "x"),
        ("lock", "run", "x", "--metadata", "[]", "--", "true"),
    ],
)
def test_usage_error_is_code_2_and_asks_nobody(scripted: ScriptedGroup, cli: Cli, arguments: tuple[str, ...]) -> None:
    assert (cli(*arguments).code, scripted.asked) == (Exit.USAGE, [])
