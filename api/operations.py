"""The table of routes behind the OpenAPI document: each with its parameters, headers, bodies, replies and errors.

Prose only; what a field may hold is said by the structs that decode and encode it. A test holds this table, the hot
table and FastAPI's routes together.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, get_args

from msgspec import Struct

from raftmem import limits
from raftmem.addresses import NODE_ID
from raftmem.api import bodies, replies, views
from raftmem.commands import MemoryType
from raftmem.records import Status
from raftmem.service import Level

Json = dict[str, object]


class Operation(NamedTuple):
    """One route. `query`: names in `PARAMETERS`. `replies`: status -> (what it means, struct or None).

    `named`: the schema of `{id}` in the path, that of a memory if None.
    """

    summary: str
    replies: dict[int, tuple[str, type[Struct] | None]]
    query: tuple[str, ...] = ()
    body: type[Struct] | None = None
    errors: tuple[str, ...] = ()
    request_headers: tuple[str, ...] = ()
    media_type: str = "application/json"
    named: Json | None = None
    body_required: bool = True


def integer(low: int, high: int = limits.JSON_INTEGER_MAX) -> Json:
    return {"type": "integer", "minimum": low, "maximum": high}


def one_of(words: Sequence[str]) -> Json:
    return {"type": "string", "enum": list(words)}


_NAME: Final[Json] = {"type": "string", "minLength": 1, "maxLength": limits.NAME_BYTES_MAX}
MEMORY_ID: Final[Json] = {**_NAME, "pattern": "^[A-Za-z0-9._:@~-]+$"}
_NODE: Final[Json] = {"type": "string", "pattern": NODE_ID}
_SCOPE: Final = ("app_id", "user_id", "agent_id", "run_id")
REPEATABLE: Final = frozenset({"id", "tag", "include"})

OPS: Final = ("ADD", "UPDATE", "DELETE", "NOOP", "EXPIRE", "MEMBER", "RAFT")

PARAMETERS: Final[dict[str, tuple[Json, str]]] = {
    "consistency": (one_of([level.value for level in Level]), "How fresh the read must be; `lease` by default."),
    "min_index": (integer(0), "Wait until this replica has applied this index; at any level, needed by `session`."),
    "max_staleness_ms": (integer(0), "How old the answer may be; only with `consistency=bounded`, needed by it."),
    "at": (integer(1), "Read the state as it was after this entry; stands without a level."),
    "timeout_ms": (
        {**integer(1, limits.TIMEOUT_MS_MAX), "default": limits.TIMEOUT_MS_DEFAULT},
        "Bounds the wait of a read for its level, and of a write for its commit.",
    ),
    "limit": ({**integer(1, limits.LIST_LIMIT_MAX), "default": limits.LIST_LIMIT_DEFAULT}, "Length of a page."),
    "order": (one_of(("asc", "desc")), "Oldest first (`asc`, the default), or the reverse."),
    "cursor": ({"type": "string"}, "`next_cursor` of the page before, with otherwise the same query."),
    "include": (
        _NAME,
        "`embedding` adds the vectors of memories; `internal` adds the entries of Raft and of membership to events.",
    ),
    "id": (MEMORY_ID, "Any of these memories."),
    "tag": (_NAME, "Every one of these tags."),
    "memory_type": (one_of(get_args(MemoryType)), "Only memories of this type."),
    "status": (one_of(get_args(Status)), "`active` by default."),
    "filter": ({"type": "string"}, "URL-encoded JSON of the filter language."),
    "from": (integer(1), "First index, inclusive; the oldest kept one by default."),
    "to": (integer(1), "Last index, inclusive; the newest one by default."),
    "wait_ms": (integer(0, limits.WAIT_MS_MAX), "Long-poll: how long to wait for a first event (not with `desc`)."),
    "op": (one_of(OPS), "Only events of this operation."),
    "memory_id": (MEMORY_ID, "Only events that concern this memory."),
    "actor_id": (_NAME, "Only events of this actor."),
    "request_id": (_NAME, "Only events of this request."),
    "outcome": (one_of(("applied", "refused")), "Only events with this outcome."),
    **{field: (_NAME, f"Bound to exactly this {field}; not given is no constraint.") for field in _SCOPE},
}

REQUEST_HEADERS: Final[dict[str, tuple[Json, str]]] = {
    "X-Request-Id": (
        {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "Comes back in the reply and stands in the event; a new one when not given.",
    ),
    "Raftmem-Actor": (
        {"type": "string", "pattern": "^(agent|user|service|system)/.+$"},
        "Who asks, `<type>/<id>`; or `actor` in the body; else `service/anonymous`.",
    ),
    "Idempotency-Key": (_NAME, "The same key with the same request returns the first reply; with another, 422."),
    "If-Match": ({"type": "string", "pattern": '^("[1-9][0-9]{0,15}"|\\*)$'}, "The version that the memory must have."),
    "If-None-Match": (
        {"type": "string"},
        "On a write `*`: the memory must not exist. On a read an ETag: 304 if equal.",
    ),
}

RESPONSE_HEADERS: Final[dict[str, tuple[Json, str]]] = {
    "Raftmem-Index": (integer(0), "The log index that this answer reflects; absent if nothing was evaluated."),
    "Raftmem-Term": (integer(0), "Raft term."),
    "Raftmem-Node": ({"type": "string"}, "Id of the replica that answered."),
    "Raftmem-Leader": ({"type": "string"}, "Id of the leader; absent if none is known."),
    "Raftmem-Consistency": (one_of([*(level.value for level in Level), "at"]), "On reads: the level that ran."),
    "Raftmem-Cluster": ({"type": "string"}, "`<cluster id>/<incarnation>`."),
    "X-Request-Id": ({"type": "string"}, "The request's own, or a new one."),
    "ETag": ({"type": "string"}, "The version of the memory, in quotes."),
    "Location": ({"type": "string"}, "The path of a new memory."),
    "Idempotent-Replayed": (one_of(("true",)), "This is the first reply under the key, again."),
    "Retry-After": (integer(0), "Seconds."),
    "Allow": ({"type": "string"}, "The methods of the route."),
}

_READ: Final = ("consistency", "min_index", "max_staleness_ms", "timeout_ms")
_TRAVEL: Final = (*_READ, "at")
_LIST: Final = ("limit", "cursor")
ANY_ERRORS: Final = ("invalid-request", "method-not-allowed", "too-large", "internal")
_UNAVAILABLE: Final = ("no-leader", "no-quorum", "too-stale", "shutting-down", "corrupt")
_READ_ERRORS: Final = ("unknown-consistency", *_UNAVAILABLE, "consistency-timeout")
_TRAVEL_ERRORS: Final = (*_READ_ERRORS, "future-index", "index-compacted")
_BODY_ERRORS: Final = ("unsupported-media-type",)
_WRITE_ERRORS: Final = (
    *("precondition-failed", "idempotency-key-reused", "too-many-requests", "no-leader", "shutting-down", "corrupt"),
    *("unknown-outcome", "no-space", "not-found", "already-exists", "merge-type", "wrong-state"),
)
_CHANGE_ERRORS: Final = (
    *("no-leader", "too-many-requests", "shutting-down", "corrupt", "unknown-outcome", "no-space"),
    *("not-found", "wrong-state"),
)
_WRITE_HEADERS: Final = ("Raftmem-Actor", "Idempotency-Key")
_CONDITIONS: Final = (*_WRITE_HEADERS, "If-Match", "If-None-Match")
_MEMORY: Final[dict[int, tuple[str, type[Struct] | None]]] = {200: ("The memory.", replies.MemoryWritten)}

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/v1/memories"): Operation(
        "ADD a memory. With `on_duplicate: noop` an active memory with equal content and scope makes it a NOOP, 200.",
        {201: ("Added.", replies.MemoryWritten), 200: ("NOOP: that memory is there.", replies.MemoryWritten)},
        ("timeout_ms",),
        bodies.AddBody,
        (*_BODY_ERRORS, *_WRITE_ERRORS),
        _CONDITIONS,
    ),
    ("GET", "/v1/memories"): Operation(
        "List memories, oldest first. A cursor pins the index of its first page.",
        {200: ("A page.", replies.MemoryList)},
        (*_TRAVEL, *_LIST, "order", "id", "tag", "memory_type", "status", "filter", "include", *_SCOPE),
        errors=_TRAVEL_ERRORS,
    ),
    ("POST", "/v1/memories/search"): Operation(
        "Search by vector, exactly. Scope, tags and filter are applied inside the search.",
        {200: ("What was found.", replies.SearchResults)},
        _TRAVEL,
        bodies.SearchBody,
        (*_BODY_ERRORS, *_TRAVEL_ERRORS, "too-many-requests"),
    ),
    ("GET", "/v1/memories/{id}"): Operation(
        "Read one memory. A deleted or expired one is 404 with `memory_status` and `updated_index`.",
        {200: ("The memory.", views.MemoryView), 304: ("It is the version of If-None-Match.", None)},
        (*_TRAVEL, "include"),
        errors=(*_TRAVEL_ERRORS, "not-found"),
        request_headers=("If-None-Match",),
    ),
    ("PUT", "/v1/memories/{id}"): Operation(
        "Create a memory, or replace it whole.",
        {201: ("Added.", replies.MemoryWritten), **_MEMORY},
        ("timeout_ms",),
        bodies.PutBody,
        (*_BODY_ERRORS, *_WRITE_ERRORS),
        _CONDITIONS,
    ),
    ("PATCH", "/v1/memories/{id}"): Operation(
        "UPDATE: given fields replace, null clears, then the merges run in order, atomically, inside apply.",
        _MEMORY,
        ("timeout_ms",),
        bodies.PatchBody,
        (*_BODY_ERRORS, *_WRITE_ERRORS),
        _CONDITIONS,
    ),
    ("DELETE", "/v1/memories/{id}"): Operation(
        "DELETE: leaves a tombstone; again is a NOOP. Takes no body: a guarded delete goes through POST /v1/events.",
        _MEMORY,
        ("timeout_ms",),
        errors=_WRITE_ERRORS,
        request_headers=_CONDITIONS,
    ),
    ("GET", "/v1/memories/{id}/history"): Operation(
        "The events of one memory, refused ones too, oldest first, each with `before` and `after`.",
        {200: ("A page.", replies.EventList)},
        (*_TRAVEL, *_LIST),
        errors=(*_TRAVEL_ERRORS, "not-found"),
    ),
    ("POST", "/v1/events"): Operation(
        "Up to 1000 operations as one entry of the log, atomic unless `atomic` is false; later ones see earlier ones.",
        {200: ("What came of each.", replies.BatchWritten)},
        ("timeout_ms",),
        bodies.BatchBody,
        (*_BODY_ERRORS, *_WRITE_ERRORS),
        _WRITE_HEADERS,
    ),
    ("GET", "/v1/events"): Operation(
        "The log, ordered by (index, seq).",
        {200: ("A page.", replies.EventList)},
        (
            *(*_READ, *_LIST, "order", "from", "to", "wait_ms", "include"),
            *("op", "memory_id", "actor_id", "request_id", "outcome", "tag", *_SCOPE),
        ),
        errors=(*_READ_ERRORS, "future-index", "index-compacted"),
    ),
    ("GET", "/v1/events/{index}"): Operation(
        "The events of one entry; none for Raft's own, unless `include=internal`.",
        {200: ("Its events.", replies.EventList)},
        (*_READ, "include"),
        errors=(*_READ_ERRORS, "index-compacted", "not-found"),
    ),
    ("GET", "/v1/state/digest"): Operation(
        "The rolling digest at an index: equal on every replica.",
        {200: ("The digest.", replies.Digest)},
        _TRAVEL,
        errors=_TRAVEL_ERRORS,
    ),
    ("GET", "/v1/cluster"): Operation(
        "The group, as this replica sees it now.", {200: ("The group.", replies.Cluster)}, errors=("corrupt",)
    ),
    ("POST", "/v1/cluster/members"): Operation(
        "Take a replica in: it is sent the log as a learner, without a vote, and becomes a voter by itself once it has "
        "caught up. With `replaces`, that voter leaves then. Again is harmless.",
        {
            201: ("A learner now; or its address or folder has changed.", replies.MemberAdded),
            200: ("It stood like this already.", replies.MemberAdded),
        },
        ("timeout_ms",),
        bodies.NewMember,
        (*_BODY_ERRORS, *_CHANGE_ERRORS),
        ("Raftmem-Actor",),
    ),
    ("DELETE", "/v1/cluster/members/{id}"): Operation(
        "Remove a replica, for good: its id never comes back. Refused when the voters that are left and alive would be "
        "no majority.",
        {200: ("It is no member any more.", replies.MemberRemoved)},
        ("timeout_ms",),
        errors=_CHANGE_ERRORS,
        request_headers=("Raftmem-Actor",),
        named=_NODE,
    ),
    ("POST", "/v1/cluster/leader"): Operation(
        "Have another voter lead: the one that is named, or the one that is furthest.",
        {200: ("It leads now.", replies.LeaderMoved)},
        ("timeout_ms",),
        bodies.NewLeader,
        (*_BODY_ERRORS, "no-leader", "shutting-down", "corrupt", "not-found", "wrong-state", "too-many-requests"),
        body_required=False,
    ),
    ("POST", "/v1/admin/snapshot"): Operation(
        "Take a snapshot of this replica's state as of now, while writes go on.",
        {201: ("It is on this replica's disk.", replies.SnapshotTaken)},
        ("timeout_ms",),
        errors=("no-space", "consistency-timeout", "too-many-requests", "shutting-down", "corrupt"),
    ),
    ("GET", "/v1/admin/snapshots"): Operation(
        "The snapshots on this replica's disk, newest first.",
        {200: ("All of them.", replies.SnapshotList)},
        errors=("corrupt",),
    ),
    ("GET", "/livez"): Operation("Whether this process answers.", {200: ("It does.", replies.Live)}),
    ("GET", "/readyz"): Operation(
        "Whether a real read at the default level succeeds here.",
        {200: ("Ready.", replies.Ready), 503: ("Not ready.", replies.Ready)},
        ("timeout_ms",),
    ),
    ("GET", "/metrics"): Operation(
        "Prometheus text: etcd's names where the thing is the same, with the prefix raftmem_.",
        {200: ("The numbers.", None)},
        media_type="text/plain",
    ),
}
