"""A reply without end: piece behind piece, for a reader who may be slow, stop reading, or leave.

The rule: what waits for a reader is bounded, since the next piece is only put when the line has room; and one who
takes nothing for `WATCH_STALL_SECONDS` is given up, with a last word behind what it has not read.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from raftmem.api.http.exchange import Exchange, Line
from raftmem.limits import WATCH_STALL_SECONDS

LINGER_SECONDS: Final = 1.0  # how long a connection stays for what its reader has not taken, when the replica leaves
_LOOK_SECONDS: Final = 0.25  # between two looks at whether a slow reader takes anything


class Outlet:
    """Where the pieces of one reply go. A server that is not ours offers no line, and has its own flow control.

    `closing`: whether there is no time left to wait for a reader.
    """

    def __init__(self, exchange: Exchange, closing: Callable[[], bool]) -> None:
        self._exchange = exchange
        self._line = exchange.line
        self._closing = closing

    async def put(self, piece: bytes) -> bool:
        """False: the reader was not waited for any longer, and the piece is not put."""
        if self._line is not None and self._line.full and not await self._room(self._line):
            return False
        await self._exchange.put(piece)
        return True

    async def end(self, last: bytes) -> None:
        if self._line is not None and self._line.full:
            self._line.end(last, linger_seconds=LINGER_SECONDS if self._closing() else WATCH_STALL_SECONDS)
        else:
            await self._exchange.end(last)

    async def _room(self, line: Line) -> bool:
        loop = asyncio.get_running_loop()
        draining = asyncio.ensure_future(line.drained())
        unread, since = line.unread, loop.time()
        try:
            while not self._closing():
                await asyncio.wait({draining}, timeout=_LOOK_SECONDS)
                if draining.done():
                    return True
                if line.unread < unread:
                    unread, since = line.unread, loop.time()
                elif loop.time() - since >= WATCH_STALL_SECONDS:
                    return False
            return False
        finally:
            draining.cancel()
