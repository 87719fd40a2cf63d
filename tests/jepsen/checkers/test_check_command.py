"""`python -m jepsen_like check`: verdict first, exit codes, formats, models."""

import json
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from histories_made import event, op

from jepsen_like.checkers.evidence import Finding
from jepsen_like.cli import main
from jepsen_like.history.record import Operation, Start
from jepsen_like.runs.folder import Result, RunFolder

GOOD = """{:process 0, :type :invoke, :f :write, :value 1}
{:process 0, :type :ok, :f :write, :value 1}
{:process 0, :type :invoke, :f :read, :value nil}
{:process 0, :type :ok, :f :read, :value 1}
"""
BAD = GOOD.replace(":value 1}\n{:process 0, :type :invoke, :f :read", ":value 2}\n{:process 0, :type :invoke, :f :read")


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["check", *map(str, words)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "good.edn").write_text(GOOD)
    return tmp_path / "good.edn"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    stale = GOOD + GOOD.replace(":value 1", ":value 2").replace(":f :read, :value 2", ":f :read, :value 1")
    (tmp_path / "bad.edn").write_text(stale)
    return tmp_path / "bad.edn"


def own(path: Path, model: str | None, *operations: Operation) -> Path:
    lines = [Start(workload="made", model=model), *operations]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    return path


def test_good_history_ends_with_0_and_the_verdict_first(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(good) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"LINEARIZABLE  {good}"
    assert said[1] == "  linearizable as cas-register: 2 operations on 1 key (edn)"


def test_bad_history_ends_with_1_shows_why_and_is_drawn(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bad, "--svg", bad.with_suffix(".svg")) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"NOT LINEARIZABLE  {bad}"
    assert [line.split("  ")[-1] for line in said[4:6]] == ["write 2", "read → 1"]
    assert ElementTree.parse(bad.with_suffix(".svg")).getroot().tag.endswith("svg")


def test_picture_that_cannot_be_written_ends_with_3_and_one_line(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bad, "--svg", bad.parent / "nowhere" / "a.svg") == 3
    assert capsys.readouterr().err == f"jepsen_like: {bad.parent / 'nowhere' / 'a.svg'}: No such file or directory\n"


def test_worst_of_several_files_is_the_exit_code(good: Path, bad: Path) -> None:
    assert run(good, bad, good) == 1


def test_no_time_at_all_is_unknown(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(good, "--seconds", "0") == 2
    assert capsys.readouterr().out.startswith("UNKNOWN")


def test_json_holds_the_finding_without_pictures(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bad, "--json") == 1
    [checked] = json.loads(capsys.readouterr().out)
    assert (checked["verdict"], checked["model"], checked["format"]) == ("bad", "cas-register", "edn")
    assert checked["finding"]["pictures"] == []


@pytest.mark.parametrize(
    ("text", "words", "complaint"),
    [
        ("{:process 0", (), "line 1: { is not closed"),
        (GOOD, ("--model", "quorum"), "the model 'quorum' is none of register, cas-register"),
        (GOOD, ("--format", "xml"), "the format 'xml' is none of jsonl, jepsen-log, edn, porcupine-kv"),
        (GOOD, ("--model", "lock"), "the model lock knows no operation 'read'"),
        ("{:process 0, :type :invoke, :f :enqueue}", (), "no model is known for its operations (enqueue)"),
        (GOOD, ("--format", "jepsen-log"), "line 1: not of a Jepsen log"),
    ],
)
def test_what_cannot_be_judged_ends_with_3_and_one_line(
    text: str, words: tuple[str, ...], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "history.edn").write_text(text)
    assert run(tmp_path / "history.edn", *words) == 3
    said = capsys.readouterr()
    assert (complaint in said.err, said.err.count("\n"), said.out) == (True, 1, "")


def test_file_that_is_not_there_ends_with_3(tmp_path: Path) -> None:
    assert run(tmp_path / "nowhere.edn") == 3


def test_history_in_which_no_client_did_anything_is_linearizable(tmp_path: Path) -> None:
    (tmp_path / "empty.edn").write_text("[{:process :nemesis, :type :info, :f :start}]")
    assert run(tmp_path / "empty.edn") == 0


def test_own_history_names_its_model_and_option_overrules_it(tmp_path: Path) -> None:
    write, read = op("write", 1, at=(0, 1)), op("read", None, None, at=(2, 3))
    file = own(tmp_path / "history.jsonl", "register", write, read)
    assert run(file) == 1
    assert run(file, "--model", "lock") == 2
    assert run(own(tmp_path / "other.jsonl", None, write)) == 3


def test_lists_are_judged_by_their_own_checker(tmp_path: Path) -> None:
    append = op("append", 1, at=(0, 1))
    assert run(own(tmp_path / "a.jsonl", "list-append", append, op("read", None, [1], at=(2, 3), level="lease"))) == 0
    assert run(own(tmp_path / "b.jsonl", "list-append", append, op("read", None, [], at=(2, 3), level="lease"))) == 1


def test_log_beside_a_history_of_a_run_settles_what_had_no_answer(tmp_path: Path) -> None:
    lost = op("write", 1, at=(0, 0), type_="unknown", request="r1")
    own(tmp_path / "history.jsonl", "register", lost, op("read", None, 1, at=(2, 3), level="lease", index=9))
    assert run(tmp_path / "history.jsonl") == 0
    (tmp_path / "log.jsonl").write_bytes(msgspec.json.encode(event(9, "RAFT")))
    assert run(tmp_path) == 1


def recorded_run(path: Path, *, read: int, found: Finding | None) -> Path:
    """Of the register workload; `found`: what its result says beside, None if it did not get to one."""
    folder = RunFolder(path)
    start = Start(workload="register", model="register", clients=1, seconds=1, options={"keys": 1, "rate": 0.0})
    operations = (op("write", 1, at=(0, 1)), op("read", None, read, at=(2, 3), level="lease"))
    folder.history.write_bytes(b"\n".join(map(msgspec.json.encode, [start, *operations])))
    if found is not None:
        folder.result.write_bytes(msgspec.json.encode(Result(verdict=found.verdict, findings=(found,))))
    return path


def test_folder_of_a_run_is_judged_by_all_of_its_checkers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recorded_run(tmp_path, read=2, found=None)) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"BAD  {tmp_path}"
    assert said[1].startswith("  bad     linearizability of register: not linearizable as register: 1 of 2 operations")
    assert "  unknown tested: 2 of 2 operations succeeded, at least 10 were wanted" in said


def test_run_that_was_cut_short_is_not_good_when_it_is_judged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recorded_run(tmp_path, read=1, found=None)) == 2
    assert "  unknown result: the run did not get to its end" in capsys.readouterr().out.splitlines()
    assert run(recorded_run(tmp_path, read=1, found=Finding(name="exits", verdict="bad", summary="n1 ended"))) == 1
    assert "  bad     exits: n1 ended" in capsys.readouterr().out.splitlines()


def test_folder_that_holds_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 3
    assert (
        capsys.readouterr().err
        == f"jepsen_like: {tmp_path} holds no history.jsonl; give the folder of a run, or files\n"
    )


def test_stale_read_is_told_with_when_its_value_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writes = [op("write", value, at=(10 * value, 10 * value + 1)) for value in (1, 2, 3)]
    stale = op("read", None, 1, at=(40, 41), level="lease")
    assert run(own(tmp_path / "history.jsonl", "register", *writes, stale)) == 1
    assert "  1 was written by process 0, 10.000 ms to 11.000 ms" in capsys.readouterr().out.splitlines()
