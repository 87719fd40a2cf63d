"""A coroutine run at once, up to where it has to wait; what is left of it goes on in a task.

Most requests never wait, and a task costs more than what they do. The rule: until its first wait the coroutine is in
no task (`asyncio.current_task()` is None, `asyncio.timeout()` refuses); from then on it is in an ordinary one, which
takes over the future that it waits for, and may be cancelled like any other.
"""

import asyncio
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


def run_eagerly(work: Coroutine[object, None, T], loop: asyncio.AbstractEventLoop) -> "asyncio.Task[T] | None":
    """None: it is done. Raises: what it raised before it waited."""
    try:
        awaited = work.send(None)
    except StopIteration:
        return None
    return loop.create_task(_Begun(work, awaited))


class _Begun(Coroutine[object, None, T]):
    """A coroutine that has been begun and waits. `awaited`: for what (None: for its next turn of the loop).

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
