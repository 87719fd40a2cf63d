"""The watchers' share of the loop: a thousand of them must not slow down the writes that they watch.

They run one at a time, and the loop serves everything else between two of them. The rule: while entries are being
applied, all watchers together take at most a tenth of the loop; while few are applied, a half. A watcher that finds
nobody ahead of it, and no rest under way, runs at once.
"""

import asyncio
from collections import deque
from typing import Final

from raftmem.runtime.interfaces import Clock, Loop

ROUND_SECONDS: Final = 0.010  # of work, then everybody rests
_REST: Final = 10  # how many times longer than it worked a round rests while writes go on
_REST_CALM: Final = 1
_REST_SECONDS_MAX: Final = 0.25
_CALM_RATE: Final = 100  # entries a second; below it nobody notices


class WatchFairShare:
    """Loop thread only."""

    def __init__(self, *, loop: Loop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._queue: deque[asyncio.Future[None]] = deque()
        self._on = False  # a round is under way, or will be once it has rested
        self._began = 0.0
        self._spent = 0.0  # seconds of work in this round
        self._rested_from = clock.boottime()
        self._rests_until = 0.0
        self._applied = 0

    def count(self, entries: int) -> None:
        """Count entries that were just applied."""
        self._applied += entries

    def ask(self, waiting: "asyncio.Future[None]") -> None:
        """Resolve `waiting` when its watcher may run; the watcher runs until it awaits something else."""
        self._queue.append(waiting)
        if not self._on:
            self._on = True
            self._go_on()

    def _go_on(self) -> None:
        left = self._rests_until - self._clock.boottime()
        if left > 0:
            self._loop.call_later(left, self._next)
        else:
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        while self._queue and self._queue[0].done():
            self._queue.popleft()
        if not self._queue or self._spent >= ROUND_SECONDS:
            self._rest()
            return
        # Nothing else of the loop comes between these three, so what is measured is that one's work alone.
        self._loop.call_soon(self._begin)
        self._queue.popleft().set_result(None)
        self._loop.call_soon(self._end)

    def _begin(self) -> None:
        self._began = self._clock.boottime()

    def _end(self) -> None:
        self._spent += self._clock.boottime() - self._began
        self._next()

    def _rest(self) -> None:
        now = self._clock.boottime()
        calm = self._applied < _CALM_RATE * (now - self._rested_from)
        self._rests_until = now + min(_REST_SECONDS_MAX, self._spent * (_REST_CALM if calm else _REST))
        self._rested_from, self._applied, self._spent = now, 0, 0.0
        self._on = bool(self._queue)
        if self._on:
            self._go_on()
