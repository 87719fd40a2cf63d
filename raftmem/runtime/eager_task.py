"""Run a coroutine at once, and continue it without an asyncio task while it waits for promises of ours.

Most requests never wait, and most of the others wait for one promise (`promise.py`). A task with its future and
callbacks costs more than such a request itself. So the coroutine is parked, and it continues in the turn of the loop
after the promise was kept. If it waits for anything else (a future of asyncio), a task takes it over for good.

The rule: until then it is in no task (`asyncio.current_task()` is None, `asyncio.timeout()` refuses). It may be
cancelled at any time, like a task.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Final, TypeVar

T = TypeVar("T")
Ended = Callable[["EagerTask", BaseException | None], None]


class _Parked:
    """A coroutine yields this instead of a future when it waits for a promise."""


PARKED: Final = _Parked()
_running: "EagerTask | None" = None


def running() -> "EagerTask | None":
    """The eager task whose coroutine runs now, if it is in no asyncio task."""
    return _running


def begin(work: Coroutine[object, None, None], loop: asyncio.AbstractEventLoop, ended: Ended) -> "EagerTask | None":
    """Run up to the first wait; None if it is done, and `ended` is not called. Raises: what `work` raised so far."""
    begun = EagerTask(work, loop, ended)
    return None if begun.run_first() else begun


class EagerTask:
    """A coroutine that waits. `ended(this, error)` is called once, when it is over (None: also when it was cancelled);
    it must not raise."""

    __slots__ = ("_ended", "_is_cancelled", "_is_parked", "_loop", "_task", "_work")

    def __init__(self, work: Coroutine[object, None, None], loop: asyncio.AbstractEventLoop, ended: Ended) -> None:
        self._work = work
        self._loop = loop
        self._ended = ended
        self._is_parked = False
        self._is_cancelled = False
        self._task: asyncio.Task[None] | None = None

    def run_first(self) -> bool:
        """Run up to the first wait; True if it is over."""
        try:
            self._wait_for(self._run(None))
        except StopIteration:
            return True
        return False

    def wake(self) -> None:
        """The promise was kept: continue soon. No effect if it is not parked any more."""
        if self._is_parked:
            self._is_parked = False
            self._loop.call_soon(self._go_on, None)

    def cancel(self, msg: object = None) -> None:
        """End its wait with `asyncio.CancelledError`, in a later turn of the loop."""
        if self._task is not None:
            self._task.cancel(msg)
        elif self._is_parked:
            self._is_parked = False
            self._loop.call_soon(self._go_on, asyncio.CancelledError())
        else:
            self._is_cancelled = True

    def _go_on(self, error: BaseException | None) -> None:
        try:
            self._wait_for(self._run(error))
        except StopIteration:
            self._ended(self, None)
        except asyncio.CancelledError:
            self._ended(self, None)
        except Exception as failed:  # noqa: BLE001  # whatever it is, its owner is told
            self._ended(self, failed)

    def _run(self, error: BaseException | None) -> object:
        """Up to its next wait; for what. Raises: what it raises, StopIteration when it is over."""
        global _running  # one thread, one coroutine at a time
        before, _running = _running, self
        try:
            return self._work.send(None) if error is None else self._work.throw(error)
        finally:
            _running = before

    def _wait_for(self, awaited: object) -> None:
        if awaited is PARKED:
            self._is_parked = True
        else:
            self._task = self._loop.create_task(_TakenOver(self._work, awaited))
            self._task.add_done_callback(self._task_ended)
        if self._is_cancelled:
            self._is_cancelled = False
            self.cancel()

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._ended(self, None if task.cancelled() else task.exception())


class _TakenOver(Coroutine[object, None, T]):
    """A coroutine that was begun and waits. `awaited`: what it waits for (None: its next turn of the loop).

    It is not written as a coroutine itself: a task that is cancelled before its first step throws into it, and one
    that is not begun would not pass that on.
    """

    __slots__ = ("_awaited", "_is_told", "_work")

    def __init__(self, work: Coroutine[object, None, T], awaited: object) -> None:
        self._work = work
        self._awaited = awaited
        self._is_told = False

    def send(self, value: None) -> object:
        if self._is_told:
            return self._work.send(value)
        self._is_told = True
        awaited, self._awaited = self._awaited, None
        return awaited

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> object:
        self._is_told = True
        error = kind if isinstance(kind, BaseException) else value if isinstance(value, BaseException) else kind()
        return self._work.throw(error.with_traceback(traceback) if traceback is not None else error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[object, None, T]:
        raise TypeError("only a task may wait for what was begun")
