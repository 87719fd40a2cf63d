"""The routes that read memories: one, a list, a search, a history.

A read passes the barrier of its level first and is then answered from one consistent snapshot. Pages after the
first are read as of the index that the first page pinned.
"""

from collections.abc import Iterable
from typing import Final, get_args

from msgspec import UNSET

from raftmem.api.http import embedding, levels
from raftmem.api.http.call import Call, Reply
from raftmem.api.http.cursors import Cursors, EventCursor, MemoryCursor
from raftmem.api.http.filter import Filter
from raftmem.api.http.filter import parse as parse_filter
from raftmem.api.http.parameters import Parameters, memory_id, name
from raftmem.api.http.problems import not_found
from raftmem.api.http.settings import stronger
from raftmem.api.requests.memory_bodies import SearchBody, convert
from raftmem.api.responses import memory_refusals, memory_views
from raftmem.api.responses.memory_replies import ScoreDetails, SearchHit
from raftmem.api.responses.payloads import payload
from raftmem.api.routes.memory_pages import MemoryQuery, memory_page
from raftmem.api.routes.slices import Slices, item_text, joined, list_text, vector_bytes
from raftmem.errors import TooLarge
from raftmem.limits import LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, PAGE_BYTES_MAX
from raftmem.model.codec import Entry, decode
from raftmem.model.commands import MemoryType, Scope
from raftmem.model.records import SEQ_LAST, Position, Record, Status
from raftmem.service.interface import Level, Point, ReadOptions
from raftmem.storage.state.contract import EventRow, Query, StateReader
from raftmem.storage.vectors.contract import VectorQuery

SCOPE_IDS: Final = ("app_id", "user_id", "agent_id", "run_id")
ORDERS: Final = ("asc", "desc")
_LIST: Final = (*levels.TRAVEL, *SCOPE_IDS, "memory_type", "status", "filter", "limit", "order", "cursor")
_LIST_REPEATABLE: Final = ("id", "tag", "include")
_INCLUDE: Final = ("embedding",)
_HISTORY: Final = (*levels.TRAVEL, "limit", "cursor")


# --- one ------------------------------------------------------------------------------------------
async def one(call: Call) -> Reply:
    """`GET /v1/memories/{id}`."""
    given = call.parameters(once=levels.TRAVEL, repeatable=("include",))
    target = memory_id(call.segments[0])
    with_vector = bool(given.pairs) and "embedding" in given.choices("include", _INCLUDE)
    if call.settings.overrides:
        point, record = await _read_one(call, given, target)
    else:
        options = levels.read_options(given, call.settings.level())
        point = call.read_now(options) or await call.read(options)
        record = point.reader.memory(target, _moment(given, point))
    if record is None:
        raise not_found(f"there is no memory {target}", index=point.index)
    if record.status != "active":
        raise memory_refusals.gone(record, index=point.index)
    etag = memory_views.etag(record)
    known = call.header(b"if-none-match")
    if known is not None and _names(known, etag[1].decode()):
        return Reply(304, b"", point.index, point.level, (etag,))
    if with_vector:
        text = memory_views.encode(memory_views.memory_of(point.reader, record, with_vector=True))
    else:
        text = call.cache.text(record)
    return Reply(200, text, point.index, point.level, (etag,))


async def _read_one(call: Call, given: Parameters, target: str) -> tuple[Point, Record | None]:
    """The memory, at the level that the query, or the overrides for this memory's own tags and scope, ask for.

    Its tags are known only once it was read: a look at this replica says which level to begin with, and what was
    then read is read again when it asks for a stronger one.
    """
    settings, service = call.settings, call.service
    level = settings.level()
    fixed = given.text("consistency") is not None or given.text("at") is not None
    if not fixed:
        options = levels.read_options(given, level)
        look = await service.read(ReadOptions(Level.EVENTUAL, timeout_ms=options.timeout_ms))
        level = _level_of(call, look.reader.memory(target))
    point = await call.read(levels.read_options(given, level))
    record = point.reader.memory(target, _moment(given, point))
    if not fixed and stronger(_level_of(call, record), level):
        point = await call.read(levels.read_options(given, _level_of(call, record)))
        record = point.reader.memory(target)
    return point, record


def _level_of(call: Call, record: Record | None) -> Level:
    return call.settings.level() if record is None else call.settings.level(record.tags, record.scope)


def _moment(given: Parameters, point: Point) -> Position | None:
    return None if given.text("at") is None else Position(point.index, SEQ_LAST)


def _names(if_none_match: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


# --- many -----------------------------------------------------------------------------------------
async def many(call: Call) -> Reply:
    """`GET /v1/memories`."""
    given = call.parameters(once=_LIST, repeatable=_LIST_REPEATABLE)
    query = _list_query(given)
    accept, limit = given.filter(), page_limit(given)
    descending = given.choice("order", ORDERS) == "desc"
    with_vector = "embedding" in given.choices("include", _INCLUDE)
    cursors = Cursors(MemoryCursor, call, given)
    cursor = cursors.given()
    options = levels.read_options(given, call.settings.level(query.tags, Scope(**dict(query.scope))))
    point = await read_page(call, options, cursor)
    pinned = None if cursor is None and options.at is None else point.index
    after = cursor.after if cursor else None
    wanted = MemoryQuery(query, accept, after, pinned, limit, descending, with_vector)
    page = await memory_page(call, point, wanted, timeout_ms=options.timeout_ms)
    following = None if page.after is None else cursors.next(MemoryCursor(point.index, page.after))
    return Reply(200, list_text("memories", page.texts, following), point.index, _shown_level(point, options))


def page_limit(given: Parameters) -> int:
    return given.integer("limit", low=1, high=LIST_LIMIT_MAX) or LIST_LIMIT_DEFAULT


async def read_page(call: Call, options: ReadOptions, cursor: MemoryCursor | EventCursor | None) -> Point:
    """The first page at its level; a later one as of the index that the first one pinned."""
    if cursor is not None:
        options = ReadOptions(options.level, at=cursor.index, timeout_ms=options.timeout_ms)
    return await call.read(options)


def _shown_level(point: Point, options: ReadOptions) -> str:
    """A later page shows the level of its list: what it pinned was read at that level."""
    return point.level if options.at is not None else options.level.value


def scope_pairs(given: Parameters) -> tuple[tuple[str, str], ...]:
    found = ((field, given.name(field)) for field in SCOPE_IDS)
    return tuple((field, value) for field, value in found if value is not None)


def _list_query(given: Parameters) -> Query:
    return Query(
        scope=scope_pairs(given),
        ids=tuple(memory_id(value) for value in given.many("id")),
        tags=given.many("tag"),
        memory_type=given.choice("memory_type", get_args(MemoryType)),
        status=given.choice("status", get_args(Status)) or "active",
    )


# --- search ---------------------------------------------------------------------------------------
async def search(call: Call) -> Reply:
    """`POST /v1/memories/search`."""
    given = call.parameters(once=levels.TRAVEL)
    body = convert(await call.json(), SearchBody)
    scope = tuple((field, name(value, field)) for field, value in _scope_of(body) if value is not None)
    tags = tuple(name(tag, "tags") for tag in body.tags)
    accept: Filter | None = None if body.filter is UNSET or body.filter is None else parse_filter(body.filter)
    query = Query(
        scope=scope,
        tags=tags,
        accept=None if accept is None else accept.matches,
        conditions=0 if accept is None else accept.conditions,
    )
    wanted = VectorQuery(embedding.pack(body.embedding), body.top_k, body.threshold, query)
    point = await call.read(levels.read_options(given, call.settings.level(tags, Scope(**dict(scope)))))
    index, level = point.index, point.level
    with call.shared.shares.searches.hold(call.exchange.client):
        hits = await call.service.search(point, wanted)
    with_vector = "embedding" in body.include
    slices = Slices(call, point, at=index)
    if with_vector and hits:
        await slices.again()
    texts: list[bytes] = []
    shown = 0
    for hit in hits:
        if slices.is_over:
            await slices.next()
        view = memory_views.memory(hit.record, slices.reader.vector(hit.record) if with_vector else None)
        texts.append(item_text(SearchHit(view, hit.score, ScoreDetails(hit.score))))
        shown += len(texts[-1])
        if shown > PAGE_BYTES_MAX:
            raise TooLarge(f"the results are larger than {PAGE_BYTES_MAX} bytes; ask for a smaller top_k")
        slices.spend(rows=1, count=len(texts[-1]) + vector_bytes(hit.record.dimension if with_vector else None))
    return Reply(200, joined(b'{"results":[', texts, b"]}"), index, level)


def _scope_of(body: SearchBody) -> Iterable[tuple[str, str | None]]:
    return zip(SCOPE_IDS, (body.app_id, body.user_id, body.agent_id, body.run_id), strict=True)


# --- history --------------------------------------------------------------------------------------
async def history(call: Call) -> Reply:
    """`GET /v1/memories/{id}/history`."""
    given = call.parameters(once=_HISTORY)
    target = memory_id(call.segments[0])
    limit = page_limit(given)
    cursors = Cursors(EventCursor, call, given)
    cursor = cursors.given()
    options = levels.read_options(given, call.settings.level())
    point = await read_page(call, options, cursor)
    places = point.reader.history(target, after=cursor.after if cursor else None, limit=limit + 1)
    places = [place for place in places if place.index <= point.index]
    if not places and cursor is None:
        raise not_found(f"there is no memory {target}, and there never was", index=point.index)
    slices = Slices(call, point, at=point.index)
    texts: list[bytes] = []
    shown = 0
    kept: tuple[EventRow, Entry] | None = None
    for place in places[:limit]:
        if slices.is_over:
            await slices.next()
        if kept is None or kept[0].index != place.index:
            kept = _entry(slices.reader, place.index)
            slices.spend(count=len(kept[0].data))
        texts.append(item_text(_past(slices.reader, target, *kept, place)))
        slices.spend(rows=1, count=len(texts[-1]))
        shown += len(texts[-1])
        if shown >= PAGE_BYTES_MAX:
            break
    following = cursors.next(EventCursor(point.index, places[len(texts) - 1])) if len(places) > len(texts) else None
    return Reply(200, list_text("events", texts, following), point.index, _shown_level(point, options))


def _entry(reader: StateReader, index: int) -> tuple[EventRow, Entry]:
    row = reader.event(index)
    assert row is not None, "the history names events that are kept"
    return row, decode(row.data, index=row.index)


def _past(reader: StateReader, target: str, row: EventRow, entry: Entry, place: Position) -> memory_views.EventView:
    """One event with the memory before and after it."""
    previous = Position(place.index, place.seq - 1) if place.seq else Position(place.index - 1, SEQ_LAST)
    before, after = reader.memory(target, previous), reader.memory(target, place)
    return memory_views.event(
        row,
        entry,
        place.seq,
        payload=payload(row, entry, place.seq),
        before=None if before is None else memory_views.memory(before),
        after=None if after is None else memory_views.memory(after),
    )
