"""Descriptors kept in reserve, so that the log can open a file when clients have taken all the others.

A process may open a limited number of files (EMFILE), and so may the machine (ENFILE). The reserve holds some open; an
open that finds none is repeated after one of them was closed. The rule that must hold: the reserve is filled again as
soon as there is a free descriptor, so that the next shortage finds it full.
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

from raftmem.errors import is_no_descriptor

T = TypeVar("T")


class DescriptorReserve:
    """`count` descriptors of /dev/null. Any thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._spares: list[int] = []
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, _close_all, self._spares)  # also of a log that nobody closes
        self.refill()

    @property
    def is_full(self) -> bool:
        return len(self._spares) == self._count

    def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, repeated with one spare less for each time that it finds no descriptor.

        `work` must change nothing before it has its descriptors. Raises: whatever `work` raises, OSError with EMFILE or
        ENFILE once no spare is left.
        """
        while True:
            try:
                return work()
            except OSError as error:
                if not is_no_descriptor(error) or not self._give_up_one():
                    raise

    def refill(self) -> None:
        """Take as many free descriptors as the reserve lacks; without a free one it stays as it is."""
        with self._lock:
            while len(self._spares) < self._count:
                try:
                    self._spares.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
                except OSError as error:
                    if is_no_descriptor(error):
                        return
                    raise

    def _give_up_one(self) -> bool:
        with self._lock:
            if not self._spares:
                return False
            os.close(self._spares.pop())
            return True

    def close(self) -> None:
        """Again has no effect."""
        with self._lock:
            self._count = 0
            self._close()


def _close_all(spares: list[int]) -> None:
    while spares:
        os.close(spares.pop())
