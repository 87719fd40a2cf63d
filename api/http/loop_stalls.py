"""Stalls of the event loop: their length, and the route behind them. A timer that is late has waited for somebody.

Rule of the service: nothing that a request can ask for holds the loop longer than 10 ms. A busy machine makes the timer
late as well, so a stall is a hint, and the log names the route that began last before it.
"""

import logging
from bisect import bisect_left
from collections.abc import Callable
from typing import Final, Protocol

log = logging.getLogger("raftmem.http")
INTERVAL_SECONDS: Final = 0.02
BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # upper bounds of the buckets, seconds
LOGGED_SECONDS: Final = 0.1  # a stall that long is logged
LOG_EVERY_SECONDS: Final = 1.0


class Timers(Protocol):
    """The part of an asyncio loop that this needs."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], object]) -> object: ...


class LoopStalls:
    """`route`: the one that began last. `counts`: stalls by bucket, the last for longer ones. `seconds`: their sum."""

    def __init__(self) -> None:
        self.route = ""
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self._loop: Timers | None = None
        self._due = self._logged = 0.0

    def watch(self, loop: Timers) -> None:
        """From now on, for as long as this loop runs."""
        self._loop = loop
        self._logged = loop.time() - LOG_EVERY_SECONDS
        self._next(loop)

    def _next(self, loop: Timers) -> None:
        self._due = loop.time() + INTERVAL_SECONDS
        loop.call_later(INTERVAL_SECONDS, self._tick)

    def _tick(self) -> None:
        loop = self._loop
        assert loop is not None, "a timer was set"
        now = loop.time()
        late = now - self._due
        if late >= BOUNDS[0]:
            self.counts[bisect_left(BOUNDS, late)] += 1
            self.seconds += late
            if late >= LOGGED_SECONDS and now - self._logged >= LOG_EVERY_SECONDS:
                self._logged = now
                route = self.route or "no route"
                log.warning("the event loop was held for %.0f ms; %s began last before that", late * 1000, route)
        self._next(loop)
