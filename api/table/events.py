"""The routes of the log: batches, events, digests, the watch."""

from typing import Final

from raftmem.api.requests import memory_bodies
from raftmem.api.responses import memory_replies
from raftmem.api.routes import events, memory_writes, status, watch
from raftmem.api.schema.parts import (
    BODY_ERRORS,
    LIST,
    MEMORY_ERRORS,
    READ,
    READ_ERRORS,
    SCOPE,
    TRAVEL,
    TRAVEL_ERRORS,
    WRITE_ERRORS,
    WRITE_HEADERS,
    Operation,
)
from raftmem.api.table.route import Route

EVENTS: Final[tuple[Route, ...]] = (
    Route(
        "POST",
        "/v1/events",
        memory_writes.batch,
        verb="per-operation",
        spec=Operation(
            "Up to 1000 operations as one entry of the log, atomic unless `atomic` is false; later ones see earlier "
            "ones.",
            {200: ("What came of each.", memory_replies.BatchWritten)},
            ("timeout_ms",),
            memory_bodies.BatchBody,
            (*BODY_ERRORS, *WRITE_ERRORS, *MEMORY_ERRORS),
            WRITE_HEADERS,
        ),
    ),
    Route(
        "GET",
        "/v1/events",
        events.many,
        verb="event.read",
        spec=Operation(
            "The log, ordered by (index, seq).",
            {200: ("A page.", memory_replies.EventList)},
            (
                *(*READ, *LIST, "order", "from", "to", "wait_ms", "include"),
                *("op", "memory_id", "lock", "queue", "gate", "actor_id", "request_id", "outcome", "tag", *SCOPE),
            ),
            errors=(*READ_ERRORS, "future-index", "index-compacted"),
        ),
    ),
    Route(
        "GET",
        "/v1/events/{index}",
        events.one,
        verb="event.read",
        spec=Operation(
            "The events of one entry; none for Raft's own, unless `include=internal`.",
            {200: ("Its events.", memory_replies.EventList)},
            (*READ, "include"),
            errors=(*READ_ERRORS, "index-compacted", "not-found"),
        ),
    ),
    Route(
        "GET",
        "/v1/state/digest",
        status.digest,
        verb="event.read",
        hot=False,
        spec=Operation(
            "The rolling digest at an index: equal on every replica.",
            {200: ("The digest.", memory_replies.Digest)},
            TRAVEL,
            errors=TRAVEL_ERRORS,
        ),
    ),
)

WATCH: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        "/v1/watch",
        watch.watch,
        verb="event.read",
        spec=Operation(
            "The log as it grows, from the entry `from` (default: from now): in order, no gap, no repeat, an entry is "
            "never split. Server-sent events (`id:` is the index) or lines of JSON, objects with `type` and `index`: "
            "`entry` with `prev_index` (the item before under the same filter) and `events`; `bookmark`, at the "
            "start and "
            "every ten seconds: everything up to `index` was delivered; `compacted`, `lagged` (the reader was too "
            "slow) "
            "and `goodbye` (the replica leaves) end the stream.",
            {200: ("A stream, until it is ended.", None)},
            (
                *("from", "include", "op", "memory_id", "lock", "queue", "gate", "actor_id", "request_id", "outcome"),
                *("tag", *SCOPE),
            ),
            errors=(*READ_ERRORS, "future-index", "index-compacted", "too-many-requests"),
            request_headers=("Last-Event-ID", "Accept"),
            media_types=("text/event-stream", "application/x-ndjson"),
        ),
    ),
)
