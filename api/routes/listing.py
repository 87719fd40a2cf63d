"""Lists of locks, tasks and gates: by age, a page at a time.

Each page shows how things stand now: a cursor keeps the place and pins no index, because locks have no past. What was
made meanwhile comes at its end, what has gone is not shown. A page looks at a bounded number of rows, so it may be
short, or empty, and still go on.
"""

from collections.abc import Callable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from msgspec import Struct

from raftmem.api.http import levels
from raftmem.api.http.call import Call, Reply
from raftmem.api.http.cursors import Cursors, PlaceCursor
from raftmem.api.http.parameters import Parameters
from raftmem.api.routes.memory_reads import ORDERS, page_limit
from raftmem.api.routes.slices import item_text, list_text
from raftmem.limits import LIST_NOW_BYTES_MAX, LIST_NOW_ROWS_MAX, OPERATIONS_MAX
from raftmem.model.coordination_rows import Gate, Lock, Task, after, place_key
from raftmem.model.records import Position
from raftmem.service.interface import Point
from raftmem.storage.state.contract import StateReader

PARAMETERS: Final = (*levels.READ, "limit", "order", "cursor")
_AT_ONCE: Final = 2 * OPERATIONS_MAX + 1  # more rows than two entries can make
_START: Final = Position(0, 0)
_Row = TypeVar("_Row", Lock, Task, Gate)


class Page(NamedTuple):
    """`texts`: the rows as JSON. `next_cursor`: None on the last page."""

    texts: list[bytes]
    point: Point
    next_cursor: str | None

    def reply(self, name: str) -> Reply:
        """The page under the name of what it lists."""
        text = list_text(name, self.texts, self.next_cursor)
        return Reply(200, text, self.point.index, self.point.level)


class Source(NamedTuple, Generic[_Row]):
    """The rows of a list. `prefix`: an index that is ordered by `created`. `accept`: which of them show.

    `view`: what is shown of one, at this log time.
    `among`: rows to choose from instead of the index, None where there are too many of them. `weight`: how many rows
    of the state the view of one takes.
    """

    kind: type[_Row]
    prefix: bytes
    accept: Callable[[StateReader, _Row], bool]
    view: Callable[[StateReader, _Row, int], Struct]
    among: Callable[[StateReader], list[_Row] | None] | None = None
    weight: Callable[[_Row], int] = lambda _: 1


async def read(call: Call, given: Parameters, source: Source[_Row]) -> Page:
    """One page, at the level that the query asks for. Raises: BadRequest, and as `Service.read`."""
    limit, descending = page_limit(given), given.choice("order", ORDERS) == "desc"
    cursors = Cursors(PlaceCursor, call, given)
    cursor = cursors.given()
    point = await call.read(levels.read_options(given, call.settings.level()))
    place = None if cursor is None else cursor.after
    now = call.service.log_time()
    texts: list[bytes] = []
    looked = size = 0
    for row in _walk(point.reader, source, place, descending=descending):
        if len(texts) == limit or looked >= LIST_NOW_ROWS_MAX or size >= LIST_NOW_BYTES_MAX:
            assert place is not None, "a row was looked at"
            return Page(texts, point, cursors.next(PlaceCursor(place)))
        looked += 1
        if source.accept(point.reader, row):
            texts.append(item_text(source.view(point.reader, row, now)))
            looked += source.weight(row)
            size += len(texts[-1])
        place = row.created
    return Page(texts, point, None)


def _walk(reader: StateReader, source: Source[_Row], place: Position | None, *, descending: bool) -> Iterator[_Row]:
    """The rows past a place, in the order of the list."""
    among = None if source.among is None else source.among(reader)
    if among is not None:
        among.sort(key=lambda row: row.created, reverse=descending)
        return (row for row in among if place is None or (row.created < place if descending else row.created > place))
    found = _backwards(reader, source.prefix, place) if descending else _forwards(reader, source.prefix, place)
    return (row for row in found if isinstance(row, source.kind))


def _forwards(reader: StateReader, prefix: bytes, place: Position | None) -> Iterator[object]:
    start = prefix if place is None else after(prefix, place)
    while True:
        found = reader.scan(prefix, limit=_AT_ONCE, start=start)
        yield from (marked.row for marked in found)
        if len(found) < _AT_ONCE:
            return
        start = found[-1].index_key + b"\0"


def _backwards(reader: StateReader, prefix: bytes, place: Position | None) -> Iterator[object]:
    """A scan only goes forwards: so by ranges of the log, from its end, as wide as their rows are few."""
    stop = place or Position(reader.head.index + 1, 0)
    width = 1 << 10
    while stop > _START:
        start = Position(max(0, stop.index - width), 0)
        found = reader.scan(prefix, limit=_AT_ONCE, start=_mark(prefix, start), stop=_mark(prefix, stop))
        if len(found) == _AT_ONCE and width > 1:
            width = max(1, width >> 2)
            continue
        yield from (marked.row for marked in reversed(found))
        stop, width = start, width << 1


def _mark(prefix: bytes, place: Position) -> bytes:
    return prefix + place_key(place)
