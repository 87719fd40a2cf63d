"""A look at the event loop of an async worker: a handler that blocks it is named while it does so.

A blocked loop sends no heartbeat, so every claim of the worker runs out. A thread of its own asks the loop for a sign
of life and, without one, logs the line of code that the loop stands at.
"""

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

_log = logging.getLogger("raftmem.client")
_LIMIT_S_MAX: Final = 1.0
_LIMIT_S_MIN: Final = 0.05
_TTL_SHARE: Final = 1 / 6  # half of the time between two heartbeats


class LoopWatch:
    """`running`: the ids of the tasks in hand; without any a loop may stand still. `noticed`: called for each stall."""

    def __init__(self, ttl: float, running: Callable[[], Sequence[str]], noticed: Callable[[], None]) -> None:
        self._limit_s = min(max(ttl * _TTL_SHARE, _LIMIT_S_MIN), _LIMIT_S_MAX)
        self._running = running
        self._noticed = noticed
        self._over = threading.Event()

    def __enter__(self) -> Self:
        loop, watched = asyncio.get_running_loop(), threading.get_ident()
        threading.Thread(
            target=self._watch, args=(loop, watched), name="raftmem-client-loop-watch", daemon=True
        ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, watched: int) -> None:
        while not self._over.wait(self._limit_s):
            answered = threading.Event()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop is closed
                return
            if answered.wait(self._limit_s) or self._over.is_set():
                continue
            tasks = self._running()
            if tasks:
                self._noticed()
                _log.warning(
                    "the event loop has stood still for %g s at %s, with tasks %s in hand: a handler that blocks stops "
                    "the heartbeats of every claim; await asyncio.to_thread(…), or use the worker of RaftmemClient",
                    self._limit_s,
                    _place(watched),
                    ", ".join(tasks),
                )
            while not answered.wait(self._limit_s) and not self._over.is_set():
                pass


def _place(thread: int) -> str:
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "an unknown place"
    at = traceback.extract_stack(frame, limit=1)[-1]
    return f"{at.filename}:{at.lineno} ({at.name})"
