"""The real seams: asyncio's loop, a writer thread, the operating system's randomness. The simulator has its own."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Final

from raftmem.runtime.interfaces import TimerHandle

DRAW_BYTES: Final = 4096  # one system call for many ids and salts


class SystemClock:
    """CLOCK_BOOTTIME counts suspended time, unlike CLOCK_MONOTONIC."""

    def boottime(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class SystemRandomness:
    """`bytes` from the operating system, drawn in larger pieces; `random` from a generator that it seeded."""

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(16))
        self._drawn = b""
        self._used = 0

    def random(self) -> float:
        return self._random.random()

    def bytes(self, count: int) -> bytes:
        end = self._used + count
        if end > len(self._drawn):
            self._drawn = os.urandom(max(DRAW_BYTES, count))
            self._used, end = 0, count
        piece = self._drawn[self._used : end]
        self._used = end
        return piece


class AsyncioLoop:
    """The running loop as `seams.Loop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        return self._loop.call_later(seconds, callback)


_Work = tuple[Callable[[], None], Callable[[BaseException | None], None]]


class ThreadExecutor:
    """One thread of its own for work that blocks; reports on the loop. Work is done in the order it came.

    Plainer than a pool of one: no future and no lock for each piece of work, and it holds the interpreter's lock only
    to take one and to report it.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        if self._closed:
            raise RuntimeError(f"the executor {self._thread.name} was closed")
        self._queue.put((work, done))

    def close(self) -> None:
        """Wait for what was submitted; nothing is reported any more once the loop is closed."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (one := self._queue.get()) is not None:
            work, done = one
            failed: BaseException | None = None
            try:
                work()
            except BaseException as error:  # noqa: BLE001  # whatever it is, the loop is told
                failed = error
            with suppress(RuntimeError):  # the loop was closed: there is nobody to tell
                self._loop.call_soon_threadsafe(done, failed)
            del one, work, done, failed
