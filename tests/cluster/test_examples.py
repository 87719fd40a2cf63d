"""The programs of docs/examples, run as a user does, against a group of three: what they say is what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_command import command

from jepsen_like.cluster.client import PATIENCE_S
from jepsen_like.cluster.group import LoopbackGroup

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def said(program: str, group: LoopbackGroup) -> list[str]:
    """What it prints, once it has ended well."""
    argv = [sys.executable, EXAMPLES / program, ",".join(group.urls)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()


def test_every_example_is_run_here_and_named_in_their_readme() -> None:
    here, readme = Path(__file__).read_text("utf-8"), (EXAMPLES / "README.md").read_text("utf-8")
    programs = [path.name for path in EXAMPLES.glob("*.py")]
    assert len(programs) == 4
    assert [name for name in programs if f'said("{name}"' not in here or f"[{name}]" not in readme] == []


def test_stale_holder_of_the_deployment_lock_is_refused(shared_group: LoopbackGroup) -> None:
    planner, coder, refused, released = said("deployment_lock.py", shared_group)
    stale, token = (int(line.split("token ")[1].split(",")[0]) for line in (planner, coder))
    assert stale < token
    assert f"held with token {token}, not {stale}" in refused
    assert released == "in production: {'version': '1.4', 'by': 'coder-2'}"


def test_task_of_the_worker_that_died_is_done_by_another(shared_group: LoopbackGroup) -> None:
    assert said("task_queue.py", shared_group) == [
        "the summary is blocked",
        "the careless worker begins api.py and dies",
        "api.py: completed, attempt 2, ['expired']",
        "cli.py: completed, attempt 1, []",
        "log.py: completed, attempt 1, []",
        "the summary: nothing to complain about",
    ]


def test_changed_test_result_closes_the_gate_and_one_goes_through(shared_group: LoopbackGroup) -> None:
    approved = ["one approval: open is False", "two approvals: open is True"]
    assert said("gate.py", shared_group) == [
        *approved,
        "the test result has changed: open is False",
        "the deployer cannot go through",
        *approved,
        "released: True",
        "a second time: False",
    ]


def test_agents_at_the_blackboard_react_to_each_other(shared_group: LoopbackGroup) -> None:
    *_, last_count, summary = said("blackboard.py", shared_group)
    assert last_count == "the writer has read 3 findings"
    assert summary.count("I looked it up.") == 3


@pytest.mark.slow
def test_script_of_the_readme_writes_while_it_holds_the_lock_and_not_after(
    shared_group: LoopbackGroup, tmp_path: Path
) -> None:
    (script,) = re.findall(r"```sh\n(raftmem txn .*?)```", (EXAMPLES / "README.md").read_text("utf-8"), re.DOTALL)
    deploy = tmp_path / "deploy.sh"
    deploy.write_text(f"set -e\nenv | grep ^RAFTMEM_ | sort\n{script}")
    urls = ("--url", ",".join(shared_group.urls))
    environ = {**os.environ, "RAFTMEM_URL": ",".join(shared_group.urls)}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    assert command("memory", "add", "what runs", "--id", "prod-release", *urls).returncode in (0, 1)  # 1: it is there
    run = [sys.executable, "-m", "raftmem", "lock", "run", "examples/script", "--", "sh", str(deploy)]
    held = subprocess.run(run, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=environ)
    assert held.returncode == 0, held.stderr
    named = dict(re.findall(r"^(RAFTMEM_LOCK|RAFTMEM_TOKEN)=(.*)$", held.stdout, re.MULTILINE))
    late = subprocess.run(
        ["sh", deploy], capture_output=True, text=True, timeout=PATIENCE_S, check=False, env={**environ, **named}
    )
    assert (named["RAFTMEM_LOCK"], late.returncode) == ("examples/script", 4)
    assert '"token"' in late.stderr
