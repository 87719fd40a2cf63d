"""Real runs, by the command that users give: the verdict, the exit code, and what is left in the folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from jepsen_like.history.jsonl import read_history
from jepsen_like.runs.broken import ROWS
from jepsen_like.runs.folder import RunFolder
from jepsen_like.runs.options import words

FAR_S = 240


def _said(*words: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "jepsen_like", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=FAR_S, env={**os.environ, "COLUMNS": "300"})


def test_run_under_kills_is_judged_good_and_leaves_its_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    ended = _said(
        *("run", "--workload", "register", "--nemesis", "kill", "--time", "6", "--seed", "11", "--rate", "200"),
        *("--folder", str(folder.path), "--json"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert told["verdict"] == "good"
    assert told["command"].startswith("python -m jepsen_like run --workload register --nemesis kill --time 6 ")
    assert {finding["name"] for finding in told["findings"]} >= {"recovery", "exits", "durability", "agreement"}
    history = read_history(folder.history)
    assert history.start is not None
    assert history.start.command == told["command"]
    assert {fault.event for fault in history.faults} == {"begin", "end"}
    assert folder.outcome().sometimes["replica ended"] >= 1
    assert folder.log.exists()
    assert folder.report.exists()
    assert set(folder.evidence().ending.digests) == {"n1", "n2", "n3"}
    assert sorted(path.name for path in folder.nodes.iterdir() if path.suffix == ".output") == [
        "n1.output",
        "n2.output",
        "n3.output",
    ]
    assert not (folder.path / "data").exists()


@pytest.mark.slow
def test_replicas_that_forget_idempotency_keys_are_found_out_by_the_checker_that_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    options = next(row for row in ROWS if row.without == ("one-effect",))
    ended = _said(*words(structs.replace(options, seconds=3)), "--folder", str(folder.path))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    result = folder.outcome()
    found = next(finding for finding in result.findings if finding.name == "idempotency")
    assert (result.passed, found.verdict) == (True, "bad")
    assert found.counts["two-effects"] > 0
    assert "BAD: idempotency was to be bad, and is" in ended.stdout
    assert "WITHOUT one-effect: THIS REPLICA IS BROKEN ON PURPOSE" in (folder.nodes / "n1.output").read_text()
    assert not (folder.path / "data").exists()


def test_run_that_hardly_did_anything_is_unknown_and_keeps_its_data(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    ended = _said(
        *("run", "--workload", "register", "--time", "1", "--clients", "1", "--nodes", "1", "--rate", "0.5"),
        *("--folder", str(folder.path)),
    )
    tested = next(finding for finding in folder.outcome().findings if finding.name == "tested")
    assert (ended.returncode, tested.verdict) == (2, "unknown"), ended.stdout
    assert "UNKNOWN" in ended.stdout
    assert (folder.path / "data" / "n1").is_dir()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", "--workload", "regster"), "no workload regster; there are: "),
        (("run", "--workload", "register", "--nemesis", "kil"), "no nemesis kil; there are: "),
        (("campaign", "--profile", "day"), "no profile day; there are: ci, night, broken"),
        (("run", "--workload", "bank", "--shows", "banks"), "bank has no finding banks; there are: bank, "),
        (("run", "--workload", "register", "--nodes", "many"), "Invalid value for '--nodes'"),
        (("campaign", "--folder", "/proc/nowhere"), "nothing can be written there: "),
        (("report", "/nonexistent"), "holds neither a run nor a campaign"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_there_is(words: tuple[str, ...], complaint: str) -> None:
    ended = _said(*words)
    assert ended.returncode == 3
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_folder_that_holds_something_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    ended = _said("run", "--workload", "register", "--folder", str(tmp_path))
    assert ended.returncode == 3
    assert "is not empty" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_list_names_what_there_is_and_what_is_not_available_here() -> None:
    told = json.loads(_said("list", "--json").stdout)
    assert "register" in {one["name"] for one in told["workloads"]}
    assert {"kill", "partition", "fsync-slow"} <= {one["name"] for one in told["nemeses"]}
    assert set(told["profiles"]) == {"ci", "night", "broken"}
