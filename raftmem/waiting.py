"""Callbacks into awaitables: a future with a deadline, on the running loop, without a task of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadline:
    """A moment on the running loop's clock. `remaining` is in seconds, never negative."""

    __slots__ = ("_at", "_loop")

    def __init__(self, timeout_ms: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time() + timeout_ms / 1000

    def call_at(self, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back at that moment."""
        return self._loop.call_at(self._at, callback)

    @property
    def remaining(self) -> float:
        return max(0.0, self._at - self._loop.time())


class TimedOut(Exception):
    """The deadline came first."""


class Promise(Generic[T]):
    """Resolved once by a callback, awaited once. Late callbacks are ignored."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def resolve(self, value: T) -> None:
        if not self._future.done():
            self._future.set_result(value)

    async def wait(self, deadline: Deadline, *, on_timeout: Callable[[], None] | None = None) -> T:
        """Raises: TimedOut."""
        future = self._future
        if future.done():
            return future.result()

        def expire() -> None:
            if not future.done():
                future.set_exception(TimedOut())

        timer = deadline.call_at(expire)
        try:
            return await future
        except (TimedOut, asyncio.CancelledError):
            if on_timeout is not None:
                on_timeout()
            raise
        finally:
            timer.cancel()


@asynccontextmanager
async def until_gone(
    gone: Callable[[], Awaitable[None]], tell: Callable[[], None]
) -> AsyncIterator[Callable[[], bool]]:
    """Gives what says whether `gone()` has ended, and calls `tell` when it does. One that fails has ended too."""

    async def watch() -> None:
        try:
            await gone()
        finally:
            tell()

    watching = asyncio.get_running_loop().create_task(watch())
    try:
        yield watching.done
    finally:
        if watching.done():
            watching.exception()  # a connection that broke: the request is over either way
        else:
            watching.cancel()
