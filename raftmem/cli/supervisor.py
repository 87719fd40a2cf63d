"""Keeps the replicas of one group running: one process each, started again when it dies, stopped together.

It knows processes, log lines and readiness, nothing of consensus or of what is in the folders. It refuses to
restart a replica that ended on purpose (settings or folder refused): that would only hide the reason.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from raftmem.cli.exits import Exit

BACKOFF_S_FIRST: Final = 0.2
BACKOFF_S_MAX: Final = 5.0
BACKOFF_RESET_S: Final = 10.0  # up for so long: the next failure is a new story
STOP_S_MAX: Final = 10.0  # from SIGTERM to SIGKILL
LINE_BYTES_MAX: Final = 1 << 16  # a longer log line is cut into pieces
DELIBERATE: Final = frozenset({Exit.USAGE, Exit.STOPPED})


class Command(NamedTuple):
    """The command that starts one replica.

    `argv` may differ from start to start; `parent_fd` reads end-of-file when we die.
    """

    id: str
    argv: Callable[[int], Sequence[str]]


def backoff(previous_s: float, *, uptime_s: float) -> float:
    """The pause before the next start, seconds. `previous_s`: 0 for the first failure."""
    if previous_s == 0 or uptime_s >= BACKOFF_RESET_S:
        return BACKOFF_S_FIRST
    return min(previous_s * 2, BACKOFF_S_MAX)


class Supervisor:
    """Runs on one asyncio loop. `say(id, line)` gets every log line, and our own words under the same id."""

    def __init__(self, commands: Sequence[Command], *, say: Callable[[str, str], None], restart: bool = True) -> None:
        self._commands = commands
        self._say = say
        self._restart = restart
        self._stopping = asyncio.Event()
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self.down: set[str] = set()  # ended and not started again

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._processes.items()}

    def stop(self) -> None:
        """Ask every replica to end; `run` returns when all have."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    async def run(self) -> None:
        """Returns when `stop` was called, or when every replica is down for good."""
        watched, held = os.pipe()  # the children watch one end; ours closes when we die, however we die
        try:
            async with asyncio.TaskGroup() as tasks:
                for command in self._commands:
                    tasks.create_task(self._keep(command, watched))
        finally:
            os.close(held)
            os.close(watched)

    async def _keep(self, command: Command, watched: int) -> None:
        loop = asyncio.get_running_loop()
        pause_s = 0.0
        while not self._stopping.is_set():
            started = loop.time()
            code = await self._run_once(command, watched)
            if self._stopping.is_set():
                return
            uptime_s = loop.time() - started
            if not self._restart or code in DELIBERATE:
                self.down.add(command.id)
                self._say(command.id, f"ended with {_ending(code)} and is left down; the other replicas go on")
                return
            pause_s = backoff(pause_s, uptime_s=uptime_s)
            self._say(
                command.id, f"died with {_ending(code)} after {uptime_s:.1f} s; starting again in {pause_s:.1f} s"
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _run_once(self, command: Command, watched: int) -> int:
        process = await asyncio.create_subprocess_exec(
            *command.argv(watched),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(watched,),
            start_new_session=True,  # Ctrl-C reaches us alone; we stop them in order
            limit=LINE_BYTES_MAX,
        )
        self._processes[command.id] = process
        reading = asyncio.create_task(self._read_lines(command.id, process))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._end(command.id, process)
            return await ended
        finally:
            stopping.cancel()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await reading
            del self._processes[command.id]

    async def _end(self, name: str, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), STOP_S_MAX)
        except TimeoutError:
            self._say(name, f"did not stop within {STOP_S_MAX:.0f} s; killed")
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _read_lines(self, name: str, process: asyncio.subprocess.Process) -> None:
        stream = process.stdout
        if stream is None:
            return
        while True:
            try:
                line = await stream.readuntil()
            except asyncio.IncompleteReadError as rest:
                line = rest.partial
            except asyncio.LimitOverrunError as overrun:
                line = await stream.readexactly(overrun.consumed)
            if not line:
                return
            self._say(name, line.decode("utf-8", "replace").rstrip("\n"))


def _ending(code: int) -> str:
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def serve_argv(settings_file: str, *, parent_fd: int, bootstrap: bool) -> list[str]:
    """The command of one replica."""
    argv = [sys.executable, "-m", "raftmem", "serve", "--config", settings_file, "--parent-pipe", str(parent_fd)]
    return [*argv, "--bootstrap"] if bootstrap else argv
