"""A command that runs only while something else is true: in a process group of its own, which can be ended whole.

Signals are passed on to it; where it has a terminal it is in the foreground there, and can be suspended as any other
command. When it must end it is asked to (SIGTERM), and after a grace its whole group is killed. The rule: nobody gets a
signal who is not of this group, since the command is not reaped before the last one is sent. When this process dies
first, however it dies, `guard` does the same.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Final, NamedTuple

from raftmem.cli import guard

PASSED_ON: Final = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
)


class Note(Enum):
    """`MUST_END`: the condition that the command runs under is over."""

    MUST_END = "must end"
    ENDED = "ended"


class _Passed(NamedTuple):
    number: int


class _Stopped(NamedTuple):
    by: int


Inbox = SimpleQueue[Note | _Passed | _Stopped]  # may be put into by any thread, and by a signal handler


def run(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    inbox: Inbox,
    is_over: Callable[[], bool],
    grace_s: float,
    say: Callable[[str], None],
) -> int:
    """Run the command to its end and return its exit code as a shell counts. Main thread only.

    `Note.MUST_END` in the inbox ends it. `is_over` is asked before the command goes on after a suspension.

    Raises: OSError when it cannot be started.
    """
    with _signals_into(inbox), _Guarded(argv, environ, grace_s) as process:
        terminal = _Terminal(process.pid)
        try:
            threading.Thread(target=_watch, args=(process.pid, inbox, terminal.is_ours), daemon=True).start()
            _until_it_ends(_Group(process.pid, say), inbox, terminal, is_over, grace_s)
        except BaseException:
            _Group(process.pid, say).send(signal.SIGKILL)
            raise
        finally:
            terminal.give(os.getpgrp())
            code = process.wait()
    return 128 - code if code < 0 else code


class _Guarded:
    """The command, started under a guard that ends it when this process dies. Raises: OSError when it cannot start."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], grace_s: float) -> None:
        watched, self._alive = os.pipe()
        reading, report = os.pipe()
        for descriptor in (watched, report):
            os.set_inheritable(descriptor, True)
        start = [sys.executable, "-I", "-S", guard.__file__, str(watched), str(report), str(grace_s), *argv]
        try:
            # The command inherits what we inherited, as from a shell; our other files are not inheritable.
            self._process = subprocess.Popen(start, env=environ, process_group=0, close_fds=False)
        finally:
            os.close(watched)
            os.close(report)
        with open(reading, "rb") as told:
            failed = told.read()  # to its end: the command has begun, or could not
        if failed:
            self._process.wait()
            self.__exit__()
            raise OSError(int(failed), os.strerror(int(failed)))

    def __enter__(self) -> "subprocess.Popen[bytes]":
        return self._process

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # the guard has been killed
            os.write(self._alive, b".")
        os.close(self._alive)


def _until_it_ends(
    group: "_Group", inbox: Inbox, terminal: "_Terminal", is_over: Callable[[], bool], grace_s: float
) -> None:
    must_end, kill_at = False, None
    while True:
        try:
            note = inbox.get(timeout=None if kill_at is None else max(0.0, kill_at - monotonic()))
        except Empty:
            group.say(f"it did not end within {grace_s:g} s of SIGTERM and is killed")
            group.send(signal.SIGKILL)
            kill_at = None
            continue
        match note:
            case Note.ENDED:
                if must_end:
                    group.send(signal.SIGKILL)  # what it has left behind
                return
            case Note.MUST_END:
                if not must_end:
                    must_end, kill_at = True, monotonic() + grace_s
                    group.send(signal.SIGTERM)
                    group.send(signal.SIGCONT)
            case _Passed(number):
                group.send(number)
            case _Stopped(by):
                terminal.suspended(by)
                if is_over() and not must_end:
                    inbox.put(Note.MUST_END)  # it hears that before it goes on
                else:
                    group.send(signal.SIGCONT)


class _Group(NamedTuple):
    """The processes of the command."""

    id: int
    say: Callable[[str], None]

    def send(self, number: int) -> None:
        try:
            os.killpg(self.id, number)
        except ProcessLookupError:
            return  # nobody is left
        except PermissionError:
            self.say(f"signal {number} cannot be sent to it: it has become another user's")


def _watch(pid: int, inbox: Inbox, has_terminal: bool) -> None:
    """Put the end and each stop of the child into the inbox, without reaping it."""
    stopped = os.WSTOPPED if has_terminal else 0
    while True:
        seen = os.waitid(os.P_PID, pid, os.WEXITED | stopped | os.WNOWAIT)
        if seen is None or seen.si_code != os.CLD_STOPPED:
            inbox.put(Note.ENDED)
            return
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG)
        inbox.put(_Stopped(seen.si_status))


@contextlib.contextmanager
def _signals_into(inbox: Inbox) -> Iterator[None]:
    """Put signals into the inbox. A signal that is ignored here (nohup) stays ignored, here and in the child."""
    before = {number: signal.getsignal(number) for number in PASSED_ON}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, lambda got, _: inbox.put(_Passed(got)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Terminal:
    """The terminal of stdin, if this process is in its foreground: it goes to the child's group, and back."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._file: int | None = None
        with contextlib.suppress(OSError, ValueError):  # no terminal, or stdin is closed
            file = sys.stdin.fileno()
            if os.tcgetpgrp(file) == os.getpgrp():
                self._file = file
        self.give(group)

    @property
    def is_ours(self) -> bool:
        return self._file is not None

    def give(self, group: int) -> None:
        """Give the terminal to a process group. A process in the background may only do this with SIGTTOU blocked."""
        if self._file is None:
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            with contextlib.suppress(OSError):  # the terminal has gone
                os.tcsetpgrp(self._file, group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def suspended(self, by: int) -> None:
        """Stop with the child, as the shell expects; return when both go on.

        A child that asked for the terminal before it had it (SIGTTIN, SIGTTOU) has only to be given it.
        """
        if by not in (signal.SIGTTIN, signal.SIGTTOU):
            self.give(os.getpgrp())
            os.kill(os.getpid(), signal.SIGSTOP)
        self.give(self._group)
