"""The routes that read the log: a list of events with filters and long-poll, and the events of one entry.

Ordered by (index, seq); `limit` counts events. A page that looked at `LIST_SCAN_ROWS_MAX` entries answers what it has
and hands out a cursor. What followed from operations (a grant, a gate that closed) shows like them. Raft's own entries
and changes of the members show only under `include=internal`, the latter also when `op=MEMBER` asks for them.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from raftmem.api.http import levels
from raftmem.api.http.call import Call, Reply
from raftmem.api.http.cursors import Cursors, EventCursor
from raftmem.api.http.parameters import Conflict, Parameters, memory_id
from raftmem.api.http.problems import not_found
from raftmem.api.responses import memory_views
from raftmem.api.responses.payloads import payload
from raftmem.api.routes.memory_reads import ORDERS, SCOPE_IDS, page_limit, read_page, scope_pairs
from raftmem.api.routes.slices import Slices, item_text, list_text
from raftmem.api.schema.parts import OPS
from raftmem.errors import BadRequest, IndexCompacted
from raftmem.limits import JSON_INTEGER_MAX, LIST_SCAN_ROWS_MAX, PAGE_BYTES_MAX, WAIT_MS_MAX
from raftmem.model.codec import Entry, decode
from raftmem.model.commands import Scope
from raftmem.model.records import SEQ_LAST, About, Outcome, Position
from raftmem.service.interface import Level, Point, ReadOptions, Topic
from raftmem.storage.state.contract import EventRow, StateReader

INTERNAL_OPS: Final = ("MEMBER", "RAFT")
OUTCOMES: Final = ("applied", "refused")
FILTERS: Final = (*SCOPE_IDS, "op", "memory_id", "lock", "queue", "gate", "actor_id", "request_id", "outcome")
FILTERS_REPEATABLE: Final = ("tag", "include")
_ONCE: Final = (*levels.READ, *FILTERS, "from", "to", "order", "limit", "wait_ms", "cursor")
_INCLUDE: Final = ("internal",)


class Wanted(NamedTuple):
    """A filter of events for a list or a stream; None does not constrain."""

    op: str | None = None
    memory_id: str | None = None
    lock: str | None = None
    queue: str | None = None
    gate: str | None = None
    actor_id: str | None = None
    request_id: str | None = None
    outcome: str | None = None
    scope: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    internal: bool = False

    def asked(self, row: EventRow, entry: Entry, seq: int) -> bool:
        """True if the filter wants the actor and the request of this event."""
        if self.actor_id is None and self.request_id is None:
            return True
        who = _asker(row, entry, seq)
        return who is not None and self.actor_id in (None, who[0]) and self.request_id in (None, who[1])

    def event(self, reader: StateReader, row: EventRow, seq: int) -> bool:
        found = row.result.outcomes[seq]
        if self.op not in (None, found.op) or self.memory_id not in (None, found.memory_id):
            return False
        if self.outcome is not None and found.applied != (self.outcome == "applied"):
            return False
        if self._coordinates and not self._about(found.about):
            return False
        if self.scope and not _within(found, self.scope):
            return False
        return not self.tags or _tagged(reader, row, seq, self.tags)

    @property
    def _coordinates(self) -> bool:
        return self.lock is not None or self.queue is not None or self.gate is not None

    def _about(self, found: About | None) -> bool:
        return (
            found is not None
            and self.lock in (None, found.lock)
            and self.gate in (None, found.gate)
            and (self.queue is None or self.queue in found.queues)
        )

    def raft(self) -> bool:
        """True if an entry without events shows."""
        other = self.memory_id is not None or self.outcome == "refused" or bool(self.scope) or bool(self.tags)
        return self.internal and self.op in (None, *INTERNAL_OPS) and not other and not self._coordinates

    def topics(self) -> list[Topic]:
        """The topics that every shown event concerns."""
        if self.raft() and self.op is None:
            return []
        named = (("lock", self.lock), ("gate", self.gate), ("queue", self.queue), ("memory_id", self.memory_id))
        given = [(kind, name) for kind, name in (*named, ("op", self.op)) if name is not None]
        return [*given, *self.scope]


def _asker(row: EventRow, entry: Entry, seq: int) -> tuple[str, str] | None:
    """(actor id, request id): of a renewal that shares its entry its own, else the entry's; None of Raft's own."""
    if entry.header is not None and row.result.outcomes:
        actor, request_id = memory_views.asked_by(entry.header, row.result.outcomes, seq)
        return actor.id, request_id
    asked = entry.header if entry.members is None else entry.members.change
    return None if asked is None else (asked.actor.id, asked.request_id)


def _within(found: Outcome, wanted: tuple[tuple[str, str], ...]) -> bool:
    ids = found.scope
    return ids is not None and all(getattr(ids, field) == value for field, value in wanted)


def _tagged(reader: StateReader, row: EventRow, seq: int, tags: tuple[str, ...]) -> bool:
    """True if the memory had all these tags right after the event, or right before it (a tombstone has none)."""
    before = Position(row.index, seq - 1) if seq else Position(row.index - 1, SEQ_LAST)
    target = row.result.outcomes[seq].memory_id
    if target is None:
        return False
    stood = (reader.memory(target, at) for at in (Position(row.index, seq), before))
    return any(record is not None and set(tags).issubset(record.tags) for record in stood)


class Range(NamedTuple):
    """The part of the log that a page looks at: `first` <= index <= `last`, past `after` in its direction."""

    first: int
    last: int
    descending: bool
    after: Position | None

    def past(self, place: Position) -> bool:
        """True if an event is still to be shown."""
        if self.after is None:
            return True
        return place < self.after if self.descending else place > self.after


class Found(NamedTuple):
    """One page. `texts`: the events as JSON. `after`: where the next one goes on; None at the end."""

    texts: list[bytes]
    after: Position | None


# --- routes ---------------------------------------------------------------------------------------
async def many(call: Call) -> Reply:
    """`GET /v1/events`."""
    given = call.parameters(once=_ONCE, repeatable=FILTERS_REPEATABLE)
    wanted, limit = wanted_of(given), page_limit(given)
    descending = given.choice("order", ORDERS) == "desc"
    first, last = given.integer("from", low=1), given.integer("to", low=1)
    wait_ms = _wait_ms(given, first, last, descending=descending)
    cursors = Cursors(EventCursor, call, given)
    cursor = cursors.given()
    level = call.settings.level(wanted.tags, Scope(**dict(wanted.scope)))
    options = levels.read_options(given, level)
    point = await read_page(call, options, cursor)
    if first is not None and first < point.reader.oldest_index():
        raise IndexCompacted(first, point.reader.oldest_index())
    after = cursor.after if cursor else None
    span = Range(first or point.reader.oldest_index(), min(last or point.index, point.index), descending, after)
    found = await _page(call, point, span, wanted, limit)
    if wait_ms and cursor is None and not found.texts:
        point, found = await _wait(call, point, found, span, last, wanted, limit, wait_ms)
    following = None if found.after is None else cursors.next(EventCursor(point.index, found.after))
    return Reply(200, list_text("events", found.texts, following), point.index, options.level.value)


async def one(call: Call) -> Reply:
    """`GET /v1/events/{index}`."""
    given = call.parameters(once=levels.READ, repeatable=("include",))
    segment = call.segments[0]
    if not (segment.isascii() and segment.isdigit() and len(segment) <= 16 and 1 <= int(segment) <= JSON_INTEGER_MAX):
        raise BadRequest("the index of an entry is an integer of 1 or more", parameter="index")
    index = int(segment)
    internal = "internal" in given.choices("include", _INCLUDE)
    point = await call.read(levels.read_options(given, call.settings.level()))
    oldest = point.reader.oldest_index()
    if index < oldest:
        raise IndexCompacted(index, oldest)
    row = point.reader.event(index)
    if row is None:
        raise not_found(f"index {index} is above the applied index {point.index}", index=point.index)
    slices = Slices(call, point, at=None)
    texts: list[bytes] = []
    for _, event in shown(point.reader, row, Wanted(internal=internal)):
        texts.append(item_text(event))
        slices.spend(rows=1, count=len(texts[-1]))
        if slices.is_over:
            await slices.next()
    return Reply(200, list_text("events", texts, None), point.index, point.level)


def wanted_of(given: Parameters) -> Wanted:
    """Raises: BadRequest."""
    target = given.text("memory_id")
    return Wanted(
        op=given.choice("op", OPS),
        memory_id=None if target is None else memory_id(target, "memory_id"),
        lock=given.name("lock"),
        queue=given.name("queue"),
        gate=given.name("gate"),
        actor_id=given.name("actor_id"),
        request_id=given.name("request_id"),
        outcome=given.choice("outcome", OUTCOMES),
        scope=scope_pairs(given),
        tags=given.many("tag"),
        internal="internal" in given.choices("include", _INCLUDE) or given.choice("op", OPS) == "MEMBER",
    )


def _wait_ms(given: Parameters, first: int | None, last: int | None, *, descending: bool) -> int:
    """The time to wait for a first event, milliseconds.

    Raises: BadRequest for parameters that contradict each other.
    """
    if first is not None and last is not None and last < first:
        raise BadRequest(f"to={last} lies below from={first}; turn the order with order=desc", parameter="to")
    wait_ms = given.integer("wait_ms", high=WAIT_MS_MAX) or 0
    if wait_ms and descending:
        raise Conflict("wait_ms", "order=desc", "what is still to come stands at the end").error()
    return wait_ms


# --- looking --------------------------------------------------------------------------------------
async def _page(call: Call, point: Point, span: Range, wanted: Wanted, limit: int) -> Found:
    """A page, looked at in slices. It ends with a cursor once it has shown, or looked at, as much as one may."""
    start, last = span.first, span.last
    if span.after is not None:
        start, last = (start, min(last, span.after.index)) if span.descending else (max(start, span.after.index), last)
    slices = Slices(call, point, at=point.index)
    texts: list[bytes] = []
    newest: Position | None = None
    looked = size = 0
    while start <= last:
        scanned = slices.count
        for row in slices.reader.events(start, last + 1, descending=span.descending):
            if looked == LIST_SCAN_ROWS_MAX:
                return Found(
                    texts, Position(row.index, SEQ_LAST) if span.descending else Position(row.index - 1, SEQ_LAST)
                )
            looked += 1
            slices.spend(rows=1, count=len(row.data))
            for place, event in looked_at(lambda: slices.reader, row, wanted, span):
                if event is None:
                    slices.spend(rows=1)
                elif len(texts) == limit or size >= PAGE_BYTES_MAX:
                    return Found(texts, newest)
                else:
                    texts.append(item_text(event))
                    size += len(texts[-1])
                    slices.spend(rows=1, count=len(texts[-1]))
                    newest = place
                if slices.is_over:
                    await slices.next()
            if span.descending:
                last = row.index - 1
            else:
                start = row.index + 1
            if slices.is_over or slices.count != scanned:
                break  # a scan ends with the slice whose reader it reads
        else:
            break
        if slices.is_over:
            await slices.next()
    return Found(texts, None)


def shown(reader: StateReader, row: EventRow, wanted: Wanted) -> Iterator[tuple[Position, memory_views.EventView]]:
    """The events of one entry that a stream shows, in order."""
    for place, event in looked_at(lambda: reader, row, wanted):
        if event is not None:
            yield place, event


def looked_at(
    reader: Callable[[], StateReader], row: EventRow, wanted: Wanted, span: Range | None = None
) -> Iterator[tuple[Position, memory_views.EventView | None]]:
    """The events of one entry, in the order of a list; None: it does not show. `reader`: the one that is good now."""
    count = len(row.result.outcomes)
    if count == 0:
        if wanted.raft() and (span is None or span.past(Position(row.index, 0))):
            entry = decode(row.data, index=row.index)
            event = memory_views.internal_event(row, entry)
            if wanted.asked(row, entry, 0) and wanted.op in (None, event.op):
                yield Position(row.index, 0), event
        return
    decoded: Entry | None = None
    for seq in reversed(range(count)) if span is not None and span.descending else range(count):
        place = Position(row.index, seq)
        if span is not None and not span.past(place):
            continue
        if wanted.event(reader(), row, seq):
            decoded = decoded or decode(row.data, index=row.index)
            if wanted.asked(row, decoded, seq):
                yield place, memory_views.event(row, decoded, seq, payload=payload(row, decoded, seq))
                continue
        yield place, None


async def _wait(
    call: Call, point: Point, found: Found, span: Range, last: int | None, wanted: Wanted, limit: int, wait_ms: int
) -> tuple[Point, Found]:
    """Look on, a page's worth at a time, and again whenever something was applied here: until an event shows, `last` is
    passed or the time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_ms / 1000
    seen = max(point.index, span.first - 1) if found.after is None else found.after.index
    while not found.texts and (last is None or seen < last):
        left_ms = int((deadline - loop.time()) * 1000)
        if left_ms <= 0:
            break
        with call.wait(left_ms):
            if not await call.service.wait_applied(seen + 1, timeout_ms=left_ms):
                break
        await asyncio.sleep(0)  # others get their turn between two pages
        point = await call.read(ReadOptions(Level.EVENTUAL, min_index=seen + 1))
        upto = point.index if last is None else min(last, point.index)
        found = await _page(call, point, Range(seen + 1, upto, descending=False, after=None), wanted, limit)
        seen = upto if found.after is None else found.after.index
    return point, found
