"""The real seams: asyncio's loop, a writer thread, the operating system's randomness. The simulator has its own."""

import asyncio
import os
import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from raftmem.seams import TimerHandle

DRAW_BYTES: Final = 4096  # one system call for many ids and salts


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


class ThreadExecutor:
    """One thread of its own for work that blocks; reports on the loop. Work is done in the order it came."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        def report(finished: Future[None]) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(done, finished.exception())

        self._pool.submit(work).add_done_callback(report)

    def close(self) -> None:
        """Wait for what is under way; nothing is reported any more once the loop is closed."""
        self._pool.shutdown(wait=True)
