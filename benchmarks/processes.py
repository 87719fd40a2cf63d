"""The processes of a run: free ports, their CPU, and their certain end.

The rule: a process is ended by its id, and only if it was started here. `started` is a context, so Ctrl-C and errors
end the process as well.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]  # children run there, and so find this checkout
END_WAIT_S: Final = 20.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class NotStarted(Exception):
    """A peer ended or did not become ready; says what it printed."""


def free_ports(count: int, *, offsets: Sequence[int] = (0,)) -> int:
    """The first of `count` consecutive free ports, below those that the kernel gives out by itself."""
    for port in range(21_000 + os.getpid() % 800 * 10, 31_000, 10):
        if all(_is_free(port + place + offset) for place in range(count) for offset in offsets):
            return port
    raise NotStarted("no free ports between 21000 and 31000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def started(command: Sequence[str], *, log: Path, end_with: int = signal.SIGTERM) -> Iterator["subprocess.Popen[str]"]:
    """A process of ours in a session of its own (Ctrl-C is for us to pass on), what it says in `log`."""
    with log.open("ab") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
            cwd=ROOT,
        )
    try:
        yield process
    finally:
        end(process, end_with)


def end(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> None:
    """Ask it to end, and make it after a while, or at once if we are interrupted again."""
    try:
        if process.poll() is None:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(END_WAIT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system time so far, by name."""
    used = {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used[name] = (int(fields[11]) + int(fields[12])) / _TICKS
    return used


def since(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - used for name, used in before.items() if name in after}


def children(pid: int) -> list[tuple[int, list[str]]]:
    """The running children of a process: ids and command lines."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, listed.read_text().split()):
            words = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")
            found.append((child, words[:-1]))
    return found


def resident_mb(pid: int) -> dict[str, float]:
    """Anonymous and file-backed resident memory; the second is mostly page cache that the kernel may take back."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
    return {"anonymous_mb": found["RssAnon"], "file_mb": found["RssFile"]}


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def until(ready: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Ask `ready()` until it is true. Raises: NotStarted."""
    give_up = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > give_up:
            raise NotStarted(f"{what} was not ready within {seconds:g} s")
        time.sleep(0.05)
