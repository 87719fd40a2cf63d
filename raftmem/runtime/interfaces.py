"""Interfaces given to a replica from outside, so that a test can own them: clock, randomness, executor, timers.

Nothing else in the project reads a clock, draws a random number or starts a thread.
"""

from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """`boottime`: seconds, monotonic, counts suspended time (CLOCK_BOOTTIME). `wall_ms`: Unix time, for people."""

    def boottime(self) -> float: ...

    def wall_ms(self) -> int: ...


class Randomness(Protocol):
    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def bytes(self, count: int) -> bytes:
        """Unpredictable in production, seeded in a simulation."""
        ...


class TimerHandle(Protocol):
    def cancel(self) -> None: ...


class Loop(Protocol):
    """The event loop as the replica sees it; everything given to it runs on one thread, in order."""

    def call_soon(self, callback: Callable[[], None]) -> None: ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle: ...


class Executor(Protocol):
    """Runs what blocks (fsync) elsewhere, one piece of work at a time, and reports on the loop's thread."""

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Run `work` off the loop, then call `done(error or None)` on the loop. Order is kept."""
        ...
