"""The routes of memories: what each takes and answers, and what it asks of the caller."""

from typing import Final

from msgspec import Struct

from raftmem.api.requests import memory_bodies
from raftmem.api.responses import memory_replies, memory_views
from raftmem.api.routes import memory_reads, memory_writes
from raftmem.api.schema.parts import (
    BODY_ERRORS,
    CONDITIONS,
    LIST,
    MEMORY_ERRORS,
    SCOPE,
    TRAVEL,
    TRAVEL_ERRORS,
    WRITE_ERRORS,
    Operation,
)
from raftmem.api.table.route import Route

_MEMORY: Final[dict[int, tuple[str, type[Struct] | None]]] = {200: ("The memory.", memory_replies.MemoryWritten)}

MEMORIES: Final[tuple[Route, ...]] = (
    Route(
        "POST",
        "/v1/memories",
        memory_writes.add,
        verb="memory.write",
        spec=Operation(
            "ADD a memory. With `on_duplicate: noop` an active memory with equal content and scope makes it a NOOP, "
            "200.",
            {
                201: ("Added.", memory_replies.MemoryWritten),
                200: ("NOOP: that memory is there.", memory_replies.MemoryWritten),
            },
            ("timeout_ms",),
            memory_bodies.AddBody,
            (*BODY_ERRORS, *WRITE_ERRORS, *MEMORY_ERRORS),
            CONDITIONS,
        ),
    ),
    Route(
        "GET",
        "/v1/memories",
        memory_reads.many,
        verb="memory.read",
        spec=Operation(
            "List memories, oldest first. A cursor pins the index of its first page.",
            {200: ("A page.", memory_replies.MemoryList)},
            (*TRAVEL, *LIST, "order", "id", "tag", "memory_type", "status", "filter", "include", *SCOPE),
            errors=TRAVEL_ERRORS,
        ),
    ),
    Route(
        "POST",
        "/v1/memories/search",
        memory_reads.search,
        verb="memory.read",
        spec=Operation(
            "Search by vector, exactly. Scope, tags and filter are applied inside the search.",
            {200: ("What was found.", memory_replies.SearchResults)},
            TRAVEL,
            memory_bodies.SearchBody,
            (*BODY_ERRORS, *TRAVEL_ERRORS, "too-many-requests", "no-space"),
        ),
    ),
    Route(
        "GET",
        "/v1/memories/{id}",
        memory_reads.one,
        verb="memory.read",
        spec=Operation(
            "Read one memory. A deleted or expired one is 404 with `memory_status` and `updated_index`.",
            {200: ("The memory.", memory_views.MemoryView), 304: ("It is the version of If-None-Match.", None)},
            (*TRAVEL, "include"),
            errors=(*TRAVEL_ERRORS, "not-found"),
            request_headers=("If-None-Match",),
        ),
    ),
    Route(
        "PUT",
        "/v1/memories/{id}",
        memory_writes.put,
        verb="memory.write",
        spec=Operation(
            "Create a memory, or replace it whole.",
            {201: ("Added.", memory_replies.MemoryWritten), **_MEMORY},
            ("timeout_ms",),
            memory_bodies.PutBody,
            (*BODY_ERRORS, *WRITE_ERRORS, *MEMORY_ERRORS),
            CONDITIONS,
        ),
    ),
    Route(
        "PATCH",
        "/v1/memories/{id}",
        memory_writes.patch,
        verb="memory.write",
        spec=Operation(
            "UPDATE: given fields replace, null clears, then the merges run in order, atomically, inside apply.",
            _MEMORY,
            ("timeout_ms",),
            memory_bodies.PatchBody,
            (*BODY_ERRORS, *WRITE_ERRORS, *MEMORY_ERRORS),
            CONDITIONS,
        ),
    ),
    Route(
        "DELETE",
        "/v1/memories/{id}",
        memory_writes.delete,
        verb="memory.delete",
        spec=Operation(
            "DELETE: leaves a tombstone; again is a NOOP. Takes no body: a guarded delete goes through POST "
            "/v1/events.",
            _MEMORY,
            ("timeout_ms",),
            errors=(*WRITE_ERRORS, *MEMORY_ERRORS),
            request_headers=CONDITIONS,
        ),
    ),
    Route(
        "GET",
        "/v1/memories/{id}/history",
        memory_reads.history,
        verb="memory.read",
        spec=Operation(
            "The events of one memory, refused ones too, oldest first, each with `before` and `after`.",
            {200: ("A page.", memory_replies.EventList)},
            (*TRAVEL, *LIST),
            errors=(*TRAVEL_ERRORS, "not-found"),
        ),
    ),
)
