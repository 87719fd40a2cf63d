"""Promises with a deadline: they turn callbacks into awaitables on the running loop.

Awaiting a promise parks an eager coroutine (`eager_task.py`); elsewhere it uses an asyncio future. Far deadlines are
checked together, twenty times a second: nearly every promise is kept long before its deadline.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from raftmem.runtime import eager_task

T = TypeVar("T")
_SLOT_SECONDS: Final = 0.05  # a deadline that is far off may come so much late
_FAR_SECONDS: Final = 1.0


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

    def watch(self, expire: Callable[[], None]) -> Callable[[], object]:
        """`expire` is called at that moment, or soon after it; what is returned ends the watch."""
        if self._at - self._loop.time() < _FAR_SECONDS:
            return self._loop.call_at(self._at, expire).cancel
        slot, key = _slots_of(self._loop).at(self._at), object()
        slot[key] = expire
        return lambda: slot.pop(key, None)


class _Slots:
    """The far deadlines of one loop, by the slot of time in which they are looked at."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._slots: dict[int, dict[object, Callable[[], None]]] = {}

    def at(self, moment: float) -> dict[object, Callable[[], None]]:
        number = int(moment / _SLOT_SECONDS) + 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
            self.loop.call_at(number * _SLOT_SECONDS, self._look, number)
        return slot

    def _look(self, number: int) -> None:
        for expire in list(self._slots.pop(number).values()):
            expire()


_slots: "_Slots | None" = None


def _slots_of(loop: asyncio.AbstractEventLoop) -> _Slots:
    global _slots  # a process has one loop at a time; tests have one after the other
    if _slots is None or _slots.loop is not loop:
        _slots = _Slots(loop)
    return _slots


class TimedOut(Exception):
    """The deadline came first."""


class Promise(Generic[T]):
    """Resolved once by a callback, awaited once. Late callbacks are ignored."""

    __slots__ = ("_is_kept", "_is_over", "_value", "_wake")

    _value: T

    def __init__(self) -> None:
        self._is_kept = False
        self._is_over = False  # kept, or its deadline came first
        self._wake: Callable[[], None] | None = None

    def resolve(self, value: T) -> None:
        if not self._is_over:
            self._value = value
            self._is_kept = True
            self.expire()

    def expire(self) -> None:
        """End the wait at its deadline."""
        self._is_over = True
        if self._wake is not None:
            self._wake()

    async def wait(self, deadline: Deadline, *, on_timeout: Callable[[], None] | None = None) -> T:
        """`on_timeout` is called when the wait is cancelled, too. Raises: TimedOut."""
        if not self._is_over:
            forget = deadline.watch(self.expire)
            try:
                await self
            except asyncio.CancelledError:
                if on_timeout is not None:
                    on_timeout()
                raise
            finally:
                forget()
        if self._is_kept:
            return self._value
        if on_timeout is not None:
            on_timeout()
        raise TimedOut

    def __await__(self) -> Generator[object, None, None]:
        begun = eager_task.running()
        try:
            if begun is not None:
                self._wake = begun.wake
                yield eager_task.PARKED
            else:
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._wake = lambda: None if future.done() else future.set_result(None)
                yield from future
        finally:
            self._wake = None


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


def has_ended(gone: Callable[[], Awaitable[None]]) -> bool:
    """True if `gone()` ends at once, also by failing. Nothing waits."""
    looking = gone().__await__()
    try:
        next(looking)
    except StopIteration:
        return True
    except Exception:  # noqa: BLE001  a connection that broke
        return True
    looking.close()
    return False
