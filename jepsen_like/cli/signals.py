"""SIGTERM and SIGHUP end a command as a second Ctrl-C does: at once, and without leaving anything behind.

A paused replica does not notice the end of the process that started it, and a fault of the network or of a disk
outlives the process that made it. So a command that is told to end cleans up first. The rule: one signal is enough,
and more of them do not cut the cleaning up short. SIGKILL leaves no chance for it.
"""

import signal
from collections.abc import Callable
from types import FrameType


class ToldToEnd(BaseException):
    """By a signal; its name is the message."""


def heed(first: Callable[[], None] | None = None) -> None:
    """From now on. `first`: called in the main thread before it is told. A SIGHUP that is ignored (nohup) stays so."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        for one in heeded:
            signal.signal(one, signal.SIG_IGN)
        if first is not None:
            first()
        raise ToldToEnd(signal.Signals(number).name)

    asked = (signal.SIGTERM, signal.SIGHUP)
    heeded = [one for one in asked if signal.getsignal(one) != signal.SIG_IGN]
    for one in heeded:
        signal.signal(one, end)
