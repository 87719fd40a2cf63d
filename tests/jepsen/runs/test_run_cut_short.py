"""A run that is ended by a signal: what it started is gone, and what it saw is judged if there is time for that."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FAR_S = 120.0


def _wait_for_a_fault(history: Path, run: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + FAR_S
    while not (history.exists() and '"event":"begin"' in history.read_text()):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)  # another process writes it


def _processes_of(folder: Path) -> list[str]:
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = one.read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if os.fsencode(folder) in words:
            found.append(words.replace(b"\0", b" ").decode())
    return found


def _interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may run where it is ignored


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGTERM, 3, "jepsen_like: ended by SIGTERM; the processes are gone\n"),
        (signal.SIGINT, 2, "replays the logs (interrupted; Ctrl-C again gives up)"),
    ],
)
def test_run_that_is_ended_while_a_replica_is_paused_leaves_no_process(
    number: signal.Signals, code: int, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = ["run", "--workload", "register", "--nemesis", "pause", "--time", "60", "--rate", "50", "--clients", "2"]
    argv = [sys.executable, "-m", "jepsen_like", *words, "--folder", str(folder)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_interrupt
    ) as run:
        _wait_for_a_fault(folder / "history.jsonl", run)
        run.send_signal(number)
        output, _ = run.communicate(timeout=FAR_S)
    assert (run.returncode, _processes_of(folder)) == (code, []), output
    assert said in output
    assert (folder / "report.html").exists() == (number == signal.SIGINT)
