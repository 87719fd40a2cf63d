"""The command line as a test calls it, and a real group under `raftmem up`."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from raftmem.cli import main
from raftmem.cli.group import PEER_PORT_OFFSET
from raftmem.cli.ports import is_free

PORT_MIN: Final = 28_000  # with the peers' still below the ports that the kernel gives to clients


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.out, type=dict[str, object])

    def part(self, *path: str | int) -> object:
        """A part of the JSON, by keys and positions."""
        found: object = msgspec.json.decode(self.out)
        for step in path:
            match found, step:
                case dict(), str():
                    found = found[step]
                case list(), int():
                    found = found[step]
                case _:
                    raise KeyError(f"no {step} in {found}")
        return found


class Cli:
    """Commands run in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str) -> Ended:
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = self._capture.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, out, err)


def free_ports(count: int) -> int:
    """The first of `count` ports that are free, and free for peers too."""
    first = os.getpid() * 7 % 290
    for k in range(290):
        port = PORT_MIN + (first + k) % 290 * 10
        if all(is_free(port + i) and is_free(port + PEER_PORT_OFFSET + i) for i in range(count)):
            return port
    raise RuntimeError(f"no {count} free ports from {PORT_MIN} on")


@contextlib.contextmanager
def running(
    *command: str, stdout: int = subprocess.PIPE, stderr: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, with its stdout to read; killed at the end, so that nothing waits for it."""
    with subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def on_terminal(*command: str) -> Iterator[tuple[int, FileIO]]:
    """A process that leads a session on a terminal of its own, and the other end of that; killed at the end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    try:
        with open(terminal, "r+b", buffering=0) as both:
            yield pid, both
    finally:
        with contextlib.suppress(ChildProcessError):  # the test has seen its end
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


class Up:
    """`raftmem up --json` in a process of its own. Its log lines go to DATA/../up.log."""

    def __init__(self, data: Path, *arguments: str, **options: Any) -> None:
        command = [sys.executable, "-m", "raftmem", "up", "--json", "--data", str(data), *arguments]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("RAFTMEM_")}
        self.log = data.with_suffix(".log")
        with self.log.open("ab") as log:
            given = {"stdout": subprocess.PIPE, "stderr": log, "stdin": subprocess.DEVNULL, **options}
            self.process = subprocess.Popen(command, env=environ, **given)

    def ready(self) -> dict[str, object]:
        """Wait for the one JSON line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"`raftmem up` ended with {self.process.wait()}:\n{self.log.read_text()}"
        return msgspec.json.decode(line, type=dict[str, object])

    def stop(self, number: int = signal.SIGINT) -> int:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def __enter__(self) -> "Up":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        if self.process.stdout is not None:
            self.process.stdout.close()


class ReplicaSeen(msgspec.Struct):
    id: str
    url: str
    peer: str
    data: str
    pid: int | None


def replicas(ready: dict[str, object]) -> list[ReplicaSeen]:
    return msgspec.convert(ready["replicas"], list[ReplicaSeen])
