"""One page of memories, looked at and encoded in slices.

A filter that may look at much is applied on a thread, to the records of one slice at a time. A page that has shown, or
looked at, as much as one may ends with a cursor, and so does one whose time is over.
"""

import asyncio
from functools import partial
from typing import NamedTuple

from raftmem.api.http.call import Call
from raftmem.api.http.filter import Filter
from raftmem.api.responses import memory_views
from raftmem.api.routes.slices import Slices, item_text, on_a_thread, vector_bytes
from raftmem.limits import (
    FILTER_BYTES_AT_ONCE,
    LIST_LIMIT_MAX,
    LIST_SCAN_ROWS_MAX,
    PAGE_BYTES_MAX,
    SLICE_BYTES_MAX,
    SLICE_ROWS_MAX,
)
from raftmem.model.records import Record
from raftmem.service.interface import Point
from raftmem.storage.state.contract import Bounds, Query
from raftmem.storage.state.query import Cursor, content_bytes


class MemoryQuery(NamedTuple):
    """`accept`: a condition beyond the query. `after`: where the page begins. `at`: None for the state as it is."""

    query: Query
    accept: Filter | None
    after: Cursor | None
    at: int | None
    limit: int
    descending: bool
    with_vector: bool


class MemoryPage(NamedTuple):
    """`texts`: the memories as JSON. `after`: where the next page begins; None at the end."""

    texts: list[bytes]
    after: Cursor | None


async def memory_page(call: Call, point: Point, wanted: MemoryQuery, *, timeout_ms: int) -> MemoryPage:
    """Raises: as `Service.read`."""
    slices = Slices(call, point, at=wanted.at)
    texts: list[bytes] = []
    last = after = wanted.after
    looked = shown = 0
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_ms / 1000
    while True:
        left = wanted.limit - len(texts)
        found = slices.reader.memories(
            wanted.query,
            at=slices.at,
            after=after,
            limit=LIST_LIMIT_MAX if wanted.accept is not None else max(left, 1),
            descending=wanted.descending,
            bounds=Bounds(min(SLICE_ROWS_MAX, LIST_SCAN_ROWS_MAX - looked), SLICE_BYTES_MAX),
        )
        looked += found.looked
        records = found.records
        if wanted.accept is not None:
            records = await accepted(slices, records, wanted.accept)
        for record in records[:left]:
            if slices.is_over:
                await slices.next()
            texts.append(item_text(memory_views.memory_of(slices.reader, record, with_vector=wanted.with_vector)))
            last = (record.created.index, record.id)
            slices.spend(rows=1, count=len(texts[-1]) + _vector_bytes(record, wanted))
            shown += len(texts[-1])
            if shown >= PAGE_BYTES_MAX:
                return MemoryPage(texts, None if found.after is None and record is records[-1] else last)
        if len(records) > left:
            return MemoryPage(texts, last)
        is_full = len(texts) == wanted.limit and found.after == last
        if found.after is None or is_full or looked >= LIST_SCAN_ROWS_MAX or loop.time() >= deadline:
            return MemoryPage(texts, found.after)
        after = found.after
        await slices.next()


def _vector_bytes(record: Record, wanted: MemoryQuery) -> int:
    return vector_bytes(record.dimension) if wanted.with_vector else 0


async def accepted(slices: Slices, records: list[Record], accept: Filter) -> list[Record]:
    """Those that a filter accepts, in their order."""
    work = partial(_accepted, records, accept)
    if sum(map(content_bytes, records)) * accept.conditions <= FILTER_BYTES_AT_ONCE:
        return work()
    kept = await on_a_thread(work)
    await slices.again()
    return kept


def _accepted(records: list[Record], accept: Filter) -> list[Record]:
    return [record for record in records if accept.matches(record)]
