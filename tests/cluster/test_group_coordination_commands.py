"""The commands of locks, tasks, gates, transactions and the watch against a running group: one story each."""

import json
import signal
import subprocess
import sys

import pytest

from jepsen_like.cluster.client import PATIENCE_S
from jepsen_like.cluster.group import LoopbackGroup
from raftmem.cli import main
from raftmem.cli.exits import Exit

Row = dict[str, object]


class Shell:
    """Commands in this process, against any replica of a group. What they print on either side is one text."""

    def __init__(self, group: LoopbackGroup, capture: pytest.CaptureFixture[str]) -> None:
        self._url = ("--url", ",".join(group.urls))
        self._capture = capture

    def __call__(self, *arguments: str, code: Exit = Exit.OK) -> str:
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main((*arguments, *self._url))
        said = "".join(self._capture.readouterr())
        assert (ended.value.code or 0) == code, said
        return said

    def json(self, *arguments: str) -> Row:
        found = json.loads(self(*arguments, "--json"))
        assert isinstance(found, dict)
        return found


def test_lock_goes_from_hand_to_hand_and_the_watch_shows_all_of_it(
    shared_group: LoopbackGroup, capfd: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(shared_group, capfd)
    name, mine, yours = "commands/lock", ("--owner", "me#1"), ("--owner", "you#2")
    grant = shell.json("lock", "acquire", name, *mine, "--ttl", "60")
    assert "me#1" in shell("lock", "acquire", name, *yours, code=Exit.PRECONDITION)
    assert "me#1" in shell("lock", "list", "--prefix", "commands/")
    token = ("--token", str(grant["token"]))
    shell("lock", "renew", name, *mine, *token, "--ttl", "30")
    shell("lock", "release", name, *mine, *token)
    assert shell("lock", "show", name) == f"{name} is free\n"
    assert "current" in shell("lock", "release", name, *mine, *token, "--json", code=Exit.PRECONDITION)
    stale = ("--guard", json.dumps({"lock": name, "token": grant["token"]}))
    assert "held by nobody now" in shell("memory", "add", "too late", *stale, code=Exit.PRECONDITION)
    shell("lock", "acquire", name, *yours)
    assert shell("lock", "force-release", name).startswith(f"LOCK_FORCE_RELEASE {name} token ")
    shell("lock", "acquire", name, *yours)
    assert name in shell("owner", "release", "you#2")
    first = ("--from", str(grant["token"]))
    watched = [json.loads(line) for line in shell("watch", *first, "--lock", name, "--max", "9", "--json").splitlines()]
    asked = [(event.get("requested_op", event["op"]), event["outcome"]) for event in watched]
    assert asked[:1] + asked[-5:] == [
        ("LOCK_ACQUIRE", "applied"),
        ("LOCK_RELEASE", "refused"),
        ("LOCK_ACQUIRE", "applied"),
        ("LOCK_FORCE_RELEASE", "applied"),
        ("LOCK_ACQUIRE", "applied"),
        ("LOCK_FORCE_RELEASE", "applied"),
    ]


def test_task_is_done_at_the_second_attempt(shared_group: LoopbackGroup, capfd: pytest.CaptureFixture[str]) -> None:
    shell = Shell(shared_group, capfd)
    shell("task", "add", "commands", '{"n": 1}', "--id", "commands-1", "--backoff", "0,1,0")
    shell("task", "add", "commands", "--id", "commands-2", "--after", "commands-1")

    def claimed() -> str:
        tasks = shell.json("task", "claim", "commands", "--worker", "w#1")["tasks"]
        assert isinstance(tasks, list)
        assert [task["id"] for task in tasks] == ["commands-1"]
        return str(tasks[0]["token"])

    failed = shell("task", "fail", "commands-1", "--token", claimed(), "--error", '"no disk"')
    assert "available" in failed
    token = claimed()
    shell("task", "heartbeat", "commands-1", "--token", token)
    assert "completed" in shell("task", "complete", "commands-1", "--token", token, "--result", "[1]")
    assert "no disk" in shell("task", "show", "commands-1")
    assert "stale-token" in shell("task", "complete", "commands-1", "--token", token, code=Exit.PRECONDITION)
    assert "cancelled" in shell("task", "cancel", "commands-2")
    assert "available" in shell("task", "retry", "commands-2")


def test_gate_opens_is_waited_for_and_used_up_in_a_transaction(
    shared_group: LoopbackGroup, capfd: pytest.CaptureFixture[str]
) -> None:
    shell, name = Shell(shared_group, capfd), "commands/gate"
    shell("gate", "put", name, "--required", "1", "--approver", "mia")
    shell("gate", "wait", name, "--wait", "0", code=Exit.PRECONDITION)
    shell("gate", "consume", name, code=Exit.PRECONDITION)
    waiting = [sys.executable, "-m", "raftmem", "gate", "wait", name, "--url", shared_group.urls[0]]
    with subprocess.Popen(waiting, stdout=subprocess.PIPE) as waiter:
        assert "open" in shell("gate", "approve", name, "--comment", "fine", "--actor", "user/mia")
        assert waiter.wait(PATIENCE_S) == Exit.OK
    assert "user/mia" in shell("gate", "show", name)
    txn = json.dumps({"guards": [{"gate": name, "open": True}], "then": [{"op": "GATE_CONSUME", "name": name}]})
    argv = [sys.executable, "-m", "raftmem", "txn", "-", "--url", shared_group.urls[1]]
    codes = [subprocess.run(argv, input=txn, text=True, capture_output=True, check=False).returncode for _ in range(2)]
    assert codes == [Exit.OK, Exit.PRECONDITION]
    assert "consumed" in shell("gate", "list", "--prefix", name)


def test_command_under_a_lock_is_ended_when_an_operator_takes_the_lock(
    shared_group: LoopbackGroup, capfd: pytest.CaptureFixture[str]
) -> None:
    shell, name = Shell(shared_group, capfd), "commands/run"
    says = "import os, signal; print(os.environ['RAFTMEM_TOKEN'], flush=True); signal.pause()"
    run = ("lock", "run", name, "--ttl", "1", "--url", ",".join(shared_group.urls), "--", sys.executable, "-c", says)
    with subprocess.Popen([sys.executable, "-m", "raftmem", *run], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        token = int(process.stdout.readline())
        assert f"token {token}" in shell("lock", "force-release", name)
        assert process.wait(PATIENCE_S) == Exit.PRECONDITION


def test_watch_that_is_interrupted_says_where_to_go_on(
    shared_group: LoopbackGroup, capfd: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(shared_group, capfd)
    grant = shell.json("lock", "acquire", "commands/watch", "--owner", "me#1", "--ttl", "1")
    argv = [sys.executable, "-m", "raftmem", "watch", "--lock", "commands/watch", "--from", str(grant["token"])]
    argv += ["--url", shared_group.urls[2]]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "LOCK_ACQUIRE" in process.stdout.readline()
        assert "LOCK_EXPIRE" in process.stdout.readline()  # an entry of its own, by the leader
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 128 + signal.SIGINT
        assert process.stderr.read().startswith("to go on: --from ")
