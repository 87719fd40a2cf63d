"""Objects of one event loop each: made at the first use on that loop, forgotten when the loop is closed.

The rule: nothing made on one loop is used on another. So one client serves several calls of `asyncio.run`, one after
the other or on several threads at once.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Any thread."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._guard = threading.Lock()
        self._made: dict[asyncio.AbstractEventLoop, T] = {}

    @property
    def here(self) -> T:
        """That of the running loop. Raises: RuntimeError without one."""
        loop = asyncio.get_running_loop()
        with self._guard:
            found = self._made.get(loop)
            if found is None:
                self._made = {one: made for one, made in self._made.items() if not one.is_closed()}
                found = self._made[loop] = self._make()
            return found

    def taken(self) -> dict[asyncio.AbstractEventLoop, T]:
        """Take out the objects of all open loops; the next `here` makes a new one."""
        with self._guard:
            made, self._made = self._made, {}
        return {loop: one for loop, one in made.items() if not loop.is_closed()}
