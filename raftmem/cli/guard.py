"""Between `raftmem lock run` and its command: starts it, and ends it when `lock run` dies, however it dies.

Run as a program of its own: `guard.py WATCHED REPORT GRACE_S COMMAND…`. It leaves a guard behind in the command's
process group and becomes the command. The guard reads the pipe WATCHED, whose other end only `lock run` holds: a byte
says that all is well; the end of the pipe without one says that `lock run` is dead, and the group is ended with SIGTERM
and, GRACE_S later, SIGKILL. When the command cannot be executed, the errno goes to REPORT.

The rule: as long as the guard lives the group keeps its number, so a signal never meets another group. What leaves the
group (setsid) is not ended. It imports the standard library only, and little of it: each `lock run` waits for it.
"""

import os
import signal
import sys
import time

_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def main(watched: int, report: int, grace_s: float, command: list[str]) -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, the command should not
        signal.signal(number, signal.SIG_DFL)
    signal.signal(
        signal.SIGINT, signal.SIG_DFL if signal.getsignal(signal.SIGINT) != signal.SIG_IGN else signal.SIG_IGN
    )
    for descriptor in (watched, report):
        os.set_inheritable(descriptor, False)
    between = os.fork()
    if between == 0:  # forks again, so that the guard is no child of the command
        _leave_guard(watched, grace_s)
    os.waitpid(between, 0)
    _end_with_parent()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(report, str(error.errno).encode())
    os._exit(127)


def _leave_guard(watched: int, grace_s: float) -> None:
    """Never returns."""
    try:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
            signal.signal(number, signal.SIG_IGN)  # the group's signals are for the command
        if os.fork() == 0:
            _guard(watched, grace_s)
    finally:
        os._exit(0)


def _guard(watched: int, grace_s: float) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.closerange(3, watched)  # nobody waits for the guard to close what the command had
    os.closerange(watched + 1, os.sysconf("SC_OPEN_MAX"))
    if os.read(watched, 1):
        return
    group = os.getpgrp()
    os.killpg(group, signal.SIGTERM)
    os.killpg(group, signal.SIGCONT)
    time.sleep(grace_s)
    os.killpg(group, signal.SIGKILL)  # the guard, too


def _end_with_parent() -> None:
    """Where there is such a thing, the command hears SIGTERM even if the guard is killed together with `lock run`."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, int(signal.SIGTERM))
    except (ImportError, OSError, AttributeError):
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
