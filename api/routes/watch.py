"""`GET /v1/watch`: the log as it grows, entry by entry, as server-sent events or lines of JSON.

A stream is a place in the event table and nothing more: what was applied is found there, and a follower says only
which indexes are worth a look. The rules: in order, no gap, no repeat, an entry whole; a bookmark N says that
everything up to N was delivered; a stream ends with a word why (`compacted`, `lagged`, `goodbye`) unless its client
left.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Final

from raftmem.api.http.call import Call, Reply
from raftmem.api.http.parameters import Parameters
from raftmem.api.http.streaming import LINGER_SECONDS, Outlet
from raftmem.api.routes import watch_lines
from raftmem.api.routes.events import FILTERS, FILTERS_REPEATABLE, wanted_of
from raftmem.api.routes.watch_items import Items, items_of
from raftmem.api.routes.watch_lines import Word
from raftmem.errors import BadRequest, FutureIndex, IndexCompacted, ShuttingDown
from raftmem.limits import JSON_INTEGER_MAX, WATCH_BOOKMARK_SECONDS, WATCH_PIECE_BYTES
from raftmem.model.commands import Scope
from raftmem.service.interface import Level, ReadOptions, Subscription
from raftmem.storage.state.contract import StateReader

LOOKS_A_TURN: Final = 100  # events looked at in one turn of the loop: about a millisecond
LOOK_BACK_ROWS: Final = 100  # for the item before the first one of a stream that goes on where another ended
_AS_IT_IS: Final = ReadOptions(Level.EVENTUAL)
_HEADERS: Final = ((b"x-accel-buffering", b"no"),)
_LAST_EVENT: Final = re.compile(r"0|[1-9][0-9]{0,15}")


async def watch(call: Call) -> Reply:
    """The reply goes on until it is ended; what is refused is refused before it begins."""
    given = call.parameters(once=(*FILTERS, "from"), repeatable=FILTERS_REPEATABLE)
    wanted = wanted_of(given)
    media_type = watch_lines.media_type_of(call.header(b"accept"))
    first = _first(call, given)
    point = await call.service.read(_AS_IT_IS)
    resumes = first is not None
    if first is None:
        first = point.index + 1
    elif first > point.index + 1:
        point = await call.service.read(ReadOptions(call.settings.level(wanted.tags, Scope(**dict(wanted.scope)))))
        newest = max(point.index, call.service.status().commit_index)
        if first > newest + 1:
            raise _Ahead(first, newest)
    if first < point.reader.oldest_index():
        raise IndexCompacted(first, point.reader.oldest_index())
    if call.method == "HEAD":
        return Reply(200, b"", first - 1, headers=_HEADERS, media_type=media_type, stream=_no_stream)
    call.shared.shares.watches.check(call.exchange.client)
    follower = call.service.subscribe(wanted.topics())
    items, line = items_of(call.service, wanted), watch_lines.line_of(media_type)
    stream = _Stream(call, follower, items, line, range(first, point.index + 1), resumes=resumes)
    return Reply(200, b"", first - 1, headers=_HEADERS, media_type=media_type, stream=stream.run)


async def _no_stream(head: bytes) -> None:
    """A reply to HEAD has no body, and says no length either. Never run."""


class _Ahead(FutureIndex):
    def __init__(self, first: int, commit_index: int) -> None:
        super().__init__(first, commit_index)
        self.detail = f"from={first} is above the next index {commit_index + 1}; watch from one that exists, or from it"
        self.args, self.parameter = (self.detail,), "from"


def _first(call: Call, given: Parameters) -> int | None:
    """The index to begin with; None: what comes next. A client that comes back says what it had last.

    Raises: BadRequest.
    """
    first = given.integer("from", low=1)
    last = call.header(b"last-event-id")
    if not last:
        return first
    if _LAST_EVENT.fullmatch(last) is None or int(last) >= JSON_INTEGER_MAX:
        raise BadRequest(f"Last-Event-ID {last[:40]!r} is no index; send the id of an event", parameter="Last-Event-ID")
    return int(last) + 1


class _Stream:
    """One client's place. Everything below `_next` was looked at when there is nothing left to do.

    `past`: what was applied already when the follower began, from where the stream begins. `resumes`: its client may
    have had what came before, and is told which item that was.
    """

    def __init__(
        self, call: Call, follower: Subscription, items: Items, line: watch_lines.Line, past: range, *, resumes: bool
    ) -> None:
        self._call = call
        self._follower = follower
        self._items = items
        self._line = line
        self._first = past.start
        self._next = max(past.start, past.stop)
        self._todo: Sequence[int] = past  # indexes worth a look
        self._done = 0  # how many of them
        self._delivered = past.start - 1
        self._previous: int | None = None  # the item before; None: there is none near, or it has not been looked for
        self._looks_back = resumes
        self._oldest = 0

    async def run(self, head: bytes) -> None:
        """Until the client leaves or the stream has ended. Whatever happens, nobody follows afterwards."""
        follower = self._follower
        gone = asyncio.ensure_future(self._call.gone())
        gone.add_done_callback(lambda _: follower.close())
        exchange = self._call.exchange
        outlet = Outlet(exchange, lambda: follower.closing)
        try:
            await exchange.begin(200, head)
            why = await self._deliver(outlet, gone)
            if why is not None:
                oldest = self._oldest if why == "compacted" else None
                await outlet.end(watch_lines.word(self._line, why, self._delivered, oldest_index=oldest))
        except asyncio.CancelledError:
            if not follower.closing:
                raise
            if exchange.line is not None:  # cut off with the replica: no time for more than a word
                last = watch_lines.word(self._line, "goodbye", self._delivered)
                exchange.line.end(last, linger_seconds=LINGER_SECONDS)
        finally:
            gone.cancel()
            follower.close()
            self._items.leave()

    async def _deliver(self, outlet: Outlet, gone: "asyncio.Future[None]") -> Word | None:
        """Why it ended; None: there is nobody to tell."""
        loop, follower = asyncio.get_running_loop(), self._follower
        piece, bookmark_at = self._bookmark(), loop.time() + WATCH_BOOKMARK_SECONDS
        while not gone.done():
            if piece and not await outlet.put(piece):
                return "goodbye" if follower.closing else "lagged"
            self._delivered = self._covered
            if self._done < len(self._todo):
                await follower.turn()
            else:
                await follower.wait(max(0.0, bookmark_at - loop.time()))
            if follower.closing:
                return None if gone.done() else "goodbye"
            try:
                piece = await self._look()
            except ShuttingDown:
                return "goodbye"
            except IndexCompacted as error:
                self._oldest = error.oldest_index
                return "compacted"
            if loop.time() >= bookmark_at:
                piece += self._bookmark()
                bookmark_at = loop.time() + WATCH_BOOKMARK_SECONDS
        return None

    def _bookmark(self) -> bytes:
        return watch_lines.word(self._line, "bookmark", self._covered)

    @property
    def _covered(self) -> int:
        """Everything up to here was looked at."""
        return self._next - 1 if self._done == len(self._todo) else self._todo[self._done] - 1

    # --- one turn -----------------------------------------------------------------------------------
    async def _look(self) -> bytes:
        """The shown events of a bounded piece of the log. Raises: ShuttingDown, IndexCompacted."""
        point = await self._call.service.read(_AS_IT_IS)  # the last await: the reader is good
        if self._done == len(self._todo):
            self._find_more(point.index)
        lines: list[bytes] = []
        size = looked = 0
        todo = self._todo
        if self._done < len(todo) and todo[self._done] < point.reader.oldest_index():
            raise IndexCompacted(todo[self._done], point.reader.oldest_index())
        while self._done < len(todo) and size < WATCH_PIECE_BYTES and looked < LOOKS_A_TURN:
            index = todo[self._done]
            events, cost = self._items.find(point.reader, index)
            looked += cost
            if events is not None:
                if self._looks_back:
                    self._looks_back = False
                    self._previous = self._before(point.reader)
                lines.append(watch_lines.entry(self._line, index, self._previous, events))
                size += len(lines[-1])
                self._previous = index
            self._done += 1
        return b"".join(lines)

    def _find_more(self, applied: int) -> None:
        """Take the indexes that were applied since the last call and may concern this stream.

        Call it when none is left.
        """
        found = self._follower.take()
        if found is None:
            self._todo = range(self._next, applied + 1)
        else:
            self._todo = [index for index in found if index >= self._next]
        self._done = 0
        self._next = max(self._next, applied + 1)

    def _before(self, reader: StateReader) -> int | None:
        """The item before those of this stream, if it stands near."""
        for index in range(self._first - 1, max(reader.oldest_index(), self._first - LOOK_BACK_ROWS) - 1, -1):
            events, _ = self._items.find(reader, index)
            if events is not None:
                return index
        return None
