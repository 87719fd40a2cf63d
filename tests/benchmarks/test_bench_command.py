"""What the command says before it measures anything."""

import io
import shutil
from pathlib import Path

import pytest
from bench_world import point, run_of, sample

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.bench import Bench, Options
from benchmarks.measures import Sample
from benchmarks.plan import PARTS, chosen
from benchmarks.raftmem_group import batch_body, get_requests
from benchmarks.systems import missing_peers, values


@pytest.fixture
def empty_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No program is found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("etcd") is None


@pytest.mark.usefixtures("empty_path")
def test_missing_peer_is_named_with_its_package_and_left_out() -> None:
    said = missing_peers(["etcd", "redis"])
    assert said == {
        "etcd": "etcd is not installed (Debian: apt-get install etcd-server); its columns are left out",
        "redis": "redis-server is not installed (Debian: apt-get install redis-server); its columns are left out",
    }
    out = io.StringIO()
    bench = Bench(Options(peers=("etcd",)), out=out)
    try:
        assert (bench.peers, bench.etcd, bench.redis) == ([], None, None)
        assert "apt-get install etcd-server" in out.getvalue()
        assert said["etcd"] in bench.notes
    finally:
        bench.close()


@pytest.mark.usefixtures("empty_path")
def test_without_wrk_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks"])
    with pytest.raises(SystemExit, match=r"wrk is not installed \(Debian: apt-get install wrk\)"):
        main()


def test_figures_of_before_are_shown_and_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(point(raftmem=[sample(100)], etcd=[sample(100)]))
    (tmp_path / "run.json").write_bytes(report.to_json(run))
    document = tmp_path / "new.md"
    words = ["benchmarks", "--from", str(tmp_path / "run.json"), "--markdown", str(document), "--judge"]
    monkeypatch.setattr("sys.argv", words)
    assert main() == 1, "a goal is missed"
    assert "not met, by 33%" in capsys.readouterr().out
    assert "not met, by 33%" in document.read_text()
    assert "![Goals" in document.read_text()
    assert (tmp_path / "pictures" / "goals.svg").exists()


@pytest.mark.parametrize(
    "wrong", [["--only", "nothing"], ["--peers", "consul"], ["--clients", "0"], ["--rounds", "0"], ["--seconds", "-1"]]
)
def test_names_that_nothing_has_are_refused(wrong: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", *wrong])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_short_form_leaves_out_what_takes_long() -> None:
    short, full = chosen([], is_full=False), chosen([], is_full=True)
    assert full == list(PARTS)
    assert {part.name for part in PARTS} - {part.name for part in short} >= {"sizes", "snapshots"}
    assert [part.name for part in chosen(["gets", "adds"], is_full=False)] == ["adds", "gets"]


def test_race_runs_in_turns_and_goes_on_without_what_fails() -> None:
    turns: list[str] = []

    def ours() -> Sample:
        turns.append("ours")
        return sample(100)

    def theirs() -> Sample:
        turns.append("theirs")
        if turns.count("theirs") == 2:
            raise OSError("gone")
        return sample(50)

    bench = Bench(Options(rounds=3), out=io.StringIO())
    try:
        raced = bench.point("ADD", 64, "leader")
        bench.race(raced, {"raftmem": ours, "etcd": theirs, "redis": lambda: sample(1)}, once=("redis",))
    finally:
        bench.close()
    assert turns == ["ours", "theirs"] * 3
    assert {name: len(samples) for name, samples in raced.samples.items()} == {"raftmem": 3, "etcd": 2, "redis": 1}
    assert len(bench.failures) == 1
    assert "gone" in bench.failures[0]


def test_folder_is_gone_after_a_run() -> None:
    bench = Bench(Options(), out=io.StringIO())
    assert bench.folder.is_dir()
    bench.close()
    assert not bench.folder.exists()


def test_scratch_of_a_part_is_gone_after_it_also_when_the_part_fails() -> None:
    bench = Bench(Options(), out=io.StringIO())
    folders: list[Path] = []

    def failing() -> None:
        with bench.scratch("part") as folder:
            folders.append(folder)
            (folder / "file").write_text("x")
            raise OSError("gone")

    try:
        with pytest.raises(OSError, match="gone"):
            failing()
        assert [folder.exists() for folder in folders] == [False]
    finally:
        bench.close()


def test_values_have_their_size_and_nothing_that_json_escapes() -> None:
    texts = values(10, 256)
    assert {len(text) for text in texts} == {256}
    assert len(set(texts)) == 10
    assert texts == values(10, 256), "both systems and all runs store the same"
    assert texts[0] in batch_body(texts)


def test_reads_ask_for_keys_that_were_stored() -> None:
    asked = {request.path for request in get_requests("?consistency=lease", among=50)}
    assert asked <= {f"/v1/memories/m{number:07}?consistency=lease" for number in range(50)}
    assert len(asked) > 40
