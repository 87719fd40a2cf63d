"""A streamed reply, piece by piece, for a client that may read slowly, stop reading, or leave.

The rule: unread bytes are bounded, because a piece is written only when the line has room. A client that takes nothing
for `WATCH_STALL_SECONDS` gets a last line behind its unread bytes, and its stream ends.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from raftmem.api.http.exchange import Exchange, Line
from raftmem.limits import WATCH_STALL_SECONDS

LINGER_SECONDS: Final = 1.0  # for unread bytes when the replica stops
_LOOK_SECONDS: Final = 0.25  # between two checks that a slow client reads


class Outlet:
    """The pieces of one reply. A foreign server offers no line, and has its own flow control.

    `closing`: returns True once there is no time left to wait for the reader.
    """

    def __init__(self, exchange: Exchange, closing: Callable[[], bool]) -> None:
        self._exchange = exchange
        self._line = exchange.line
        self._closing = closing

    async def put(self, piece: bytes) -> bool:
        """False: the client read nothing for too long, and the piece was not written."""
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
