"""Where lines for a person or a log collector go: what is said there never makes the one who says it wait or fail.

A thread of its own does the writing. A reader that stops reading costs lines, which are counted, and one that leaves
ends the writing; both for this outlet only. The rule: whoever serves others (a replica, the supervisor of a group)
writes to the outside through an outlet alone.
"""

import contextlib
from collections.abc import Callable
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Final

LINES_MAX: Final = 4096  # that wait to be written
LAST_S: Final = 1.0  # for what is left at the end


class Outlet:
    """`tell_lost(count)` writes that so many lines were dropped. Any thread."""

    def __init__(self, tell_lost: Callable[[int], None], *, lines_max: int = LINES_MAX) -> None:
        self._tell_lost = tell_lost
        self._waiting: Queue[Callable[[], object]] = Queue(lines_max)
        self._is_closing = Event()
        self._ended = Event()
        self._lost = 0
        self._thread = Thread(target=self._run, name="outlet", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """The reader has left, or the outlet was closed."""
        return self._ended.is_set()

    def put(self, write: Callable[[], object]) -> None:
        """Call `write` in the outlet's thread, in order; dropped when too many wait. Never waits, never raises."""
        if self._ended.is_set():
            return
        try:
            self._waiting.put_nowait(write)
        except Full:
            self._lost += 1

    def close(self, patience_s: float = LAST_S) -> None:
        """Write what waits, for so long at most. Again is nothing."""
        self._is_closing.set()
        with contextlib.suppress(Full):  # the thread is not asleep then
            self._waiting.put_nowait(lambda: None)
        self._ended.wait(patience_s)

    def _run(self) -> None:
        try:
            while not (self._is_closing.is_set() and self._waiting.empty()):
                try:
                    write = self._waiting.get(timeout=0.1 if self._is_closing.is_set() else None)
                except Empty:
                    continue
                write()
                lost, self._lost = self._lost, 0
                if lost:
                    self._tell_lost(lost)
        except (OSError, ValueError):  # the reader has left; ValueError: the stream was closed
            pass
        finally:
            self._ended.set()
