"""One replica of a group under test: a process of its own, ended by its pid, its folder under the group's.

It watches a pipe of the harness, so it ends with the harness, however that ends.
"""

import os
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from jepsen_like.cluster.client import PATIENCE_S, Answer, Lost, Trouble, once
from raftmem.cli.group import Replica
from raftmem.cli.supervisor import serve_argv


class End(NamedTuple):
    """Of a process. `words`: the last line that it wrote."""

    code: int
    words: str


class Served:
    """One replica: its folder, and its process while there is one.

    `environment`, `wrapper`: variables and the words before its command, from its next start. `without`: obligations
    that its next process does not keep (see `jepsen_like.cluster.serve`). `may_end`: if its process ends, that is as
    expected; true from when it is asked to end until its next start.
    """

    def __init__(self, replica: Replica, settings: Path, folder: Path) -> None:
        self.id = replica.id
        self.url = replica.rest_url
        self.peer = replica.peer
        self.settings = settings
        self.folder = folder
        self.output = settings.with_suffix(".output")
        self.environment: dict[str, str] = {}
        self.wrapper: tuple[str, ...] = ()
        self.without: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._held: int | None = None
        self.may_end = True
        self.is_paused = False

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of its last process, if that has ended."""
        return None if self._process is None else self._process.poll()

    def start(self, *, bootstrap: bool = False, may_end: bool = False) -> None:
        """Not ready yet when this returns. `may_end`: by itself, which is then as expected."""
        if self.runs:
            raise Trouble(f"{self.id} runs already")
        self._let_go()
        self.may_end, self.is_paused = True, False  # while the process of before is the one that has ended
        watched, self._held = os.pipe()
        try:
            with self.output.open("ab") as output:
                self._process = subprocess.Popen(
                    self._command(watched, bootstrap=bootstrap),
                    env={**os.environ, **self.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(watched,),
                    start_new_session=True,
                )
        finally:
            os.close(watched)
        self.may_end = may_end

    def _command(self, watched: int, *, bootstrap: bool) -> list[str]:
        argv = serve_argv(str(self.settings), parent_fd=watched, bootstrap=bootstrap)
        if self.without:
            place = argv.index("raftmem")
            argv[place : place + 1] = ["jepsen_like.cluster.serve", *(f"--without={name}" for name in self.without)]
        return [*self.wrapper, *argv]

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise Trouble(f"{self.id} was never started")
        return self._process

    def send(self, number: signal.Signals) -> None:
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            self.may_end = True
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.is_paused = number == signal.SIGSTOP
        self._started.send_signal(number)

    @property
    def stands(self) -> bool:
        """True if it runs, is not paused, and was not asked to end."""
        return self.runs and not self.is_paused and not self.may_end

    def unexpected(self) -> End | None:
        """The way in which its process ended without being asked to; kept until the next start."""
        if self.may_end or self.runs:
            return None
        code = self._started.returncode
        return End(code, self.last_words())

    def ended(self, *, seconds: float = PATIENCE_S) -> int:
        """The exit code, once there is one."""
        try:
            code = self._started.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{self.id} has not ended within {seconds:.0f} s:\n{self.said()[-2000:]}") from None
        self._let_go()
        return code

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        if (code := self.ended()) != -signal.SIGKILL:
            raise Trouble(f"{self.id} ended with {code} before it was killed:\n{self.said()[-2000:]}")

    def stop(self) -> None:
        """Ask it to end, as an operator does."""
        self.send(signal.SIGTERM)
        if (code := self.ended()) != 0:
            raise Trouble(f"{self.id} ended with {code} when it was asked to:\n{self.said()[-2000:]}")

    def clean_up(self) -> None:
        """Gone, in whatever state it was."""
        self.may_end = True
        if self._process is not None and self.runs:
            self._process.kill()
            self._process.wait(PATIENCE_S)
        self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def said(self) -> str:
        """Everything the process has written."""
        return self.output.read_text("utf-8", "replace") if self.output.exists() else ""

    def last_words(self) -> str:
        """The last line of that."""
        lines = self.said().rstrip().splitlines()
        return lines[-1] if lines else ""

    def ask(self, method: str, target: str, body: object = None, **headers: str) -> Answer:
        """One request. Raises: Lost."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return once(self.url, method, target, body, headers=named)

    def look(self, target: str) -> Answer | None:
        """A read that may fail: None then."""
        try:
            answer = self.ask("GET", target)
        except Lost:
            return None
        return answer if answer.status == 200 else None
