"""The table of routes behind the OpenAPI document: each with its parameters, headers, bodies, replies and errors.

Prose only; what a field may hold is said by the structs that decode and encode it. A test holds this table, the hot
table and FastAPI's routes together. Coordination has a table of its own, `coordination_operations.py`.
"""

from typing import Final

from msgspec import Struct

from raftmem.api.requests import memory_bodies
from raftmem.api.responses import memory_replies, memory_views
from raftmem.api.schema.coordination_operations import COORDINATION
from raftmem.api.schema.parts import (
    BODY_ERRORS,
    CHANGE_ERRORS,
    CONDITIONS,
    LIST,
    MEMORY_ERRORS,
    NODE,
    READ,
    READ_ERRORS,
    SCOPE,
    TRAVEL,
    TRAVEL_ERRORS,
    WRITE_ERRORS,
    WRITE_HEADERS,
    Operation,
)
from raftmem.api.schema.parts import OPS as OPS
from raftmem.api.schema.parts import PARAMETERS as PARAMETERS

_MEMORY: Final[dict[int, tuple[str, type[Struct] | None]]] = {200: ("The memory.", memory_replies.MemoryWritten)}

_ROUTES: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/v1/memories"): Operation(
        "ADD a memory. With `on_duplicate: noop` an active memory with equal content and scope makes it a NOOP, 200.",
        {
            201: ("Added.", memory_replies.MemoryWritten),
            200: ("NOOP: that memory is there.", memory_replies.MemoryWritten),
        },
        ("timeout_ms",),
        memory_bodies.AddBody,
        (*BODY_ERRORS, *WRITE_ERRORS, *MEMORY_ERRORS),
        CONDITIONS,
    ),
    ("GET", "/v1/memories"): Operation(
        "List memories, oldest first. A cursor pins the index of its first page.",
        {200: ("A page.", memory_replies.MemoryList)},
        (*TRAVEL, *LIST, "order", "id", "tag", "memory_type", "status", "filter", "include", *SCOPE),
        errors=TRAVEL_ERRORS,
    ),
    ("POST", "/v1/memories/search"): Operation(
        "Search by vector, exactly. Scope, tags and filter are applied inside the search.",
        {200: ("What was found.", memory_replies.SearchResults)},
        TRAVEL,
        memory_bodies.SearchBody,
        (*BODY_ERRORS, *TRAVEL_ERRORS, "too-many-requests", "no-space"),
    ),
    ("GET", "/v1/memories/{id}"): Operation(
        "Read one memory. A deleted or expired one is 404 with `memory_status` and `updated_index`.",
        {200: ("The memory.", memory_views.MemoryView), 304: ("It is the version of If-None-Match.", None)},
        (*TRAVEL, "include"),
        errors=(*TRAVEL_ERRORS, "not-found"),
        request_headers=("If-None-Match",),
    ),
    ("PUT", "/v1/memories/{id}"): Operation(
        "Create a memory, or replace it whole.",
        {201: ("Added.", memory_replies.MemoryWritten), **_MEMORY},
        ("timeout_ms",),
        memory_bodies.PutBody,
        (*BODY_ERRORS, *WRITE_ERRORS, *MEMORY_ERRORS),
        CONDITIONS,
    ),
    ("PATCH", "/v1/memories/{id}"): Operation(
        "UPDATE: given fields replace, null clears, then the merges run in order, atomically, inside apply.",
        _MEMORY,
        ("timeout_ms",),
        memory_bodies.PatchBody,
        (*BODY_ERRORS, *WRITE_ERRORS, *MEMORY_ERRORS),
        CONDITIONS,
    ),
    ("DELETE", "/v1/memories/{id}"): Operation(
        "DELETE: leaves a tombstone; again is a NOOP. Takes no body: a guarded delete goes through POST /v1/events.",
        _MEMORY,
        ("timeout_ms",),
        errors=(*WRITE_ERRORS, *MEMORY_ERRORS),
        request_headers=CONDITIONS,
    ),
    ("GET", "/v1/memories/{id}/history"): Operation(
        "The events of one memory, refused ones too, oldest first, each with `before` and `after`.",
        {200: ("A page.", memory_replies.EventList)},
        (*TRAVEL, *LIST),
        errors=(*TRAVEL_ERRORS, "not-found"),
    ),
    ("POST", "/v1/events"): Operation(
        "Up to 1000 operations as one entry of the log, atomic unless `atomic` is false; later ones see earlier ones.",
        {200: ("What came of each.", memory_replies.BatchWritten)},
        ("timeout_ms",),
        memory_bodies.BatchBody,
        (*BODY_ERRORS, *WRITE_ERRORS, *MEMORY_ERRORS),
        WRITE_HEADERS,
    ),
    ("GET", "/v1/events"): Operation(
        "The log, ordered by (index, seq).",
        {200: ("A page.", memory_replies.EventList)},
        (
            *(*READ, *LIST, "order", "from", "to", "wait_ms", "include"),
            *("op", "memory_id", "lock", "queue", "gate", "actor_id", "request_id", "outcome", "tag", *SCOPE),
        ),
        errors=(*READ_ERRORS, "future-index", "index-compacted"),
    ),
    ("GET", "/v1/events/{index}"): Operation(
        "The events of one entry; none for Raft's own, unless `include=internal`.",
        {200: ("Its events.", memory_replies.EventList)},
        (*READ, "include"),
        errors=(*READ_ERRORS, "index-compacted", "not-found"),
    ),
    ("GET", "/v1/state/digest"): Operation(
        "The rolling digest at an index: equal on every replica.",
        {200: ("The digest.", memory_replies.Digest)},
        TRAVEL,
        errors=TRAVEL_ERRORS,
    ),
    ("GET", "/v1/cluster"): Operation(
        "The group, as this replica sees it now.", {200: ("The group.", memory_replies.Cluster)}, errors=("corrupt",)
    ),
    ("POST", "/v1/cluster/members"): Operation(
        "Take a replica in: it is sent the log as a learner, without a vote, and becomes a voter by itself once it has "
        "caught up. With `replaces`, that voter leaves then. Again is harmless.",
        {
            201: ("A learner now; or its address or folder has changed.", memory_replies.MemberAdded),
            200: ("It stood like this already.", memory_replies.MemberAdded),
        },
        ("timeout_ms",),
        memory_bodies.NewMember,
        (*BODY_ERRORS, *CHANGE_ERRORS),
        ("Raftmem-Actor",),
    ),
    ("DELETE", "/v1/cluster/members/{id}"): Operation(
        "Remove a replica, for good: its id never comes back. Refused when the voters that are left and alive would be "
        "no majority.",
        {200: ("It is no member any more.", memory_replies.MemberRemoved)},
        ("timeout_ms",),
        errors=CHANGE_ERRORS,
        request_headers=("Raftmem-Actor",),
        named=NODE,
    ),
    ("POST", "/v1/cluster/leader"): Operation(
        "Have another voter lead: the one that is named, or the one that is furthest.",
        {200: ("It leads now.", memory_replies.LeaderMoved)},
        ("timeout_ms",),
        memory_bodies.NewLeader,
        (*BODY_ERRORS, "no-leader", "shutting-down", "corrupt", "not-found", "wrong-state", "too-many-requests"),
        body_required=False,
    ),
    ("POST", "/v1/admin/snapshot"): Operation(
        "Take a snapshot of this replica's state as of now, while writes go on.",
        {201: ("It is on this replica's disk.", memory_replies.SnapshotTaken)},
        ("timeout_ms",),
        errors=("no-space", "consistency-timeout", "too-many-requests", "shutting-down", "corrupt"),
    ),
    ("GET", "/v1/admin/snapshots"): Operation(
        "The snapshots on this replica's disk, newest first.",
        {200: ("All of them.", memory_replies.SnapshotList)},
        errors=("corrupt",),
    ),
    ("GET", "/livez"): Operation("Whether this process answers.", {200: ("It does.", memory_replies.Live)}),
    ("GET", "/readyz"): Operation(
        "Whether a real read at the default level succeeds here.",
        {200: ("Ready.", memory_replies.Ready), 503: ("Not ready.", memory_replies.Ready)},
        ("timeout_ms",),
    ),
    ("GET", "/metrics"): Operation(
        "Prometheus text: etcd's names where the thing is the same, with the prefix raftmem_.",
        {200: ("The numbers.", None)},
        media_types=("text/plain",),
    ),
}

OPERATIONS: Final = {**_ROUTES, **COORDINATION}
