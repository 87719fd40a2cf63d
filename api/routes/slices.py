"""Long reads in slices: a request looks at a bounded number of rows and bytes, then the loop serves others.

A reader is good until the next await, so the next slice reads again, as of the index that the first one reflects. The
rule that must hold: nothing that a request can ask for holds the loop longer than a slice takes.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from msgspec import Struct

from raftmem.api.http.call import Call
from raftmem.api.responses import memory_views
from raftmem.limits import SLICE_BYTES_MAX, SLICE_ROWS_MAX
from raftmem.service.interface import Point, ReadOptions
from raftmem.storage.state.contract import StateReader

T = TypeVar("T")
_DIGITS: Final = 12  # bytes of one float as JSON text, about


class Slices:
    """The slices of one request. `reader`: of the current one. `at`: as given in the first, then the index of `point`.

    `count`: how many have begun.
    """

    def __init__(self, call: Call, point: Point, *, at: int | None) -> None:
        self._call = call
        self._index = point.index
        self._rows = SLICE_ROWS_MAX
        self._bytes = SLICE_BYTES_MAX
        self.reader: StateReader = point.reader
        self.at = at
        self.count = 1

    def spend(self, *, rows: int = 0, count: int = 0) -> None:
        """Count rows and bytes that were looked at."""
        self._rows -= rows
        self._bytes -= count

    @property
    def is_over(self) -> bool:
        """True once this slice has looked at as much as one may."""
        return self._rows <= 0 or self._bytes <= 0

    async def next(self) -> None:
        """Let the loop serve others, then begin a slice."""
        await asyncio.sleep(0)
        await self.again()

    async def again(self) -> None:
        """Begin a slice after an await. `reader` is another one from here on. Raises: as `Service.read`."""
        self._rows, self._bytes = SLICE_ROWS_MAX, SLICE_BYTES_MAX
        self.at = self._index
        self.count += 1
        self.reader = (await self._call.service.read(ReadOptions(at=self._index))).reader


async def on_a_thread(work: Callable[[], T]) -> T:
    """Do long work that reads no state. Another thread shares the interpreter, so the loop goes on meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


def vector_bytes(dimension: int | None) -> int:
    """About how many bytes of JSON a vector takes."""
    return (dimension or 0) * _DIGITS


def joined(before: bytes, items: Iterable[bytes], after: bytes) -> bytes:
    """One JSON text from the encoded items of its array."""
    return b"%b%b%b" % (before, b",".join(items), after)


def list_text(name: str, items: Iterable[bytes], next_cursor: str | None) -> bytes:
    """`{"<name>": [items], "next_cursor": …}`, as the structs of `memory_replies` are encoded."""
    return joined(b'{"%b":[' % name.encode(), items, b'],"next_cursor":%b}' % memory_views.encode(next_cursor))


def item_text(item: Struct) -> bytes:
    """One item of such a list."""
    return memory_views.encode(item)
