"""What was started is ended, whatever happens."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import NotStarted, children, cpu_seconds, disk_bytes, end, free_ports, since, started, until

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_process_ends_with_its_context_also_when_that_fails(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupted() -> None:
        with started([sys.executable, "-c", "import signal; signal.pause()"], log=tmp_path / "log") as process:
            pids.append(process.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [pid for pid in pids if is_running(pid)] == []


def test_process_that_ignores_the_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.processes.END_WAIT_S", 0.0)
    with started([sys.executable, "-c", STUBBORN], log=tmp_path / "log") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    assert process.returncode == -signal.SIGKILL


def test_ending_what_has_ended_does_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], text=True)
    process.wait()
    end(process)
    assert process.returncode == 0


def test_children_are_found_with_their_words(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import signal; signal.pause()", "a name"]
    with started(words, log=tmp_path / "log") as process:
        assert process.pid in [pid for pid, _ in children(os.getpid())]


def test_ports_are_free_with_those_above() -> None:
    port = free_ports(3, offsets=(0, 1000))
    assert 21_000 <= port < 31_000


def test_cpu_of_a_process_that_came_later_is_not_counted() -> None:
    assert since({"a": 1.0}, {"a": 1.5, "b": 9.0}) == {"a": 0.5}
    assert since({"a": 1.0, "gone": 1.0}, {"a": 1.5}) == {"a": 0.5}
    assert cpu_seconds({"own": os.getpid()})["own"] > 0


def test_what_is_never_ready_is_given_up() -> None:
    with pytest.raises(NotStarted, match=r"the thing was not ready within 0 s"):
        until(lambda: False, seconds=0.0, what="the thing")


def test_bytes_on_disk_are_those_of_all_files_below(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 10_000)
    assert disk_bytes(tmp_path) >= 10_000
