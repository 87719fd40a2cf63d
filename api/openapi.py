"""The OpenAPI document: every route, field, header and error of the contract, built from one table.

Schemas come from the structs that decode the requests and encode the replies, limits from `limits.py`, errors from
`problems.py`; so only its prose can lag behind the code. A test holds this table, the hot table and FastAPI's routes
together.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple, get_args

import msgspec
from msgspec import Struct

import raftmem
from raftmem import limits
from raftmem.api import bodies, replies, views
from raftmem.api.problems import KINDS
from raftmem.commands import MemoryType
from raftmem.records import Status
from raftmem.service import Level

Json = dict[str, object]


class Operation(NamedTuple):
    """One route. `query`: names in `PARAMETERS`. `replies`: status -> (what it means, struct or None)."""

    summary: str
    replies: dict[int, tuple[str, type[Struct] | None]]
    query: tuple[str, ...] = ()
    body: type[Struct] | None = None
    errors: tuple[str, ...] = ()
    request_headers: tuple[str, ...] = ()
    media_type: str = "application/json"


def _integer(low: int, high: int = limits.JSON_INTEGER_MAX) -> Json:
    return {"type": "integer", "minimum": low, "maximum": high}


def _one_of(words: Sequence[str]) -> Json:
    return {"type": "string", "enum": list(words)}


_NAME: Final[Json] = {"type": "string", "minLength": 1, "maxLength": limits.NAME_BYTES_MAX}
_ID: Final[Json] = {**_NAME, "pattern": "^[A-Za-z0-9._:@~-]+$"}
_SCOPE: Final = ("app_id", "user_id", "agent_id", "run_id")
_REPEATABLE: Final = frozenset({"id", "tag", "include"})

PARAMETERS: Final[dict[str, tuple[Json, str]]] = {
    "consistency": (_one_of([level.value for level in Level]), "How fresh the read must be; `lease` by default."),
    "min_index": (_integer(0), "Wait until this replica has applied this index; at any level, needed by `session`."),
    "max_staleness_ms": (_integer(0), "How old the answer may be; only with `consistency=bounded`, needed by it."),
    "at": (_integer(1), "Read the state as it was after this entry; stands without a level."),
    "timeout_ms": (
        {**_integer(1, limits.TIMEOUT_MS_MAX), "default": limits.TIMEOUT_MS_DEFAULT},
        "Bounds the wait of a read for its level, and of a write for its commit.",
    ),
    "limit": ({**_integer(1, limits.LIST_LIMIT_MAX), "default": limits.LIST_LIMIT_DEFAULT}, "Length of a page."),
    "order": (_one_of(("asc", "desc")), "Oldest first (`asc`, the default), or the reverse."),
    "cursor": ({"type": "string"}, "`next_cursor` of the page before, with otherwise the same query."),
    "include": (_NAME, "`embedding` adds the vectors of memories; `internal` adds Raft's own entries to events."),
    "id": (_ID, "Any of these memories."),
    "tag": (_NAME, "Every one of these tags."),
    "memory_type": (_one_of(get_args(MemoryType)), "Only memories of this type."),
    "status": (_one_of(get_args(Status)), "`active` by default."),
    "filter": ({"type": "string"}, "URL-encoded JSON of the filter language."),
    "from": (_integer(1), "First index, inclusive; the oldest kept one by default."),
    "to": (_integer(1), "Last index, inclusive; the newest one by default."),
    "wait_ms": (_integer(0, limits.WAIT_MS_MAX), "Long-poll: how long to wait for a first event (not with `desc`)."),
    "op": (_one_of(("ADD", "UPDATE", "DELETE", "NOOP", "EXPIRE", "RAFT")), "Only events of this operation."),
    "memory_id": (_ID, "Only events that concern this memory."),
    "actor_id": (_NAME, "Only events of this actor."),
    "request_id": (_NAME, "Only events of this request."),
    "outcome": (_one_of(("applied", "refused")), "Only events with this outcome."),
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
    "Raftmem-Index": (_integer(0), "The log index that this answer reflects; absent if nothing was evaluated."),
    "Raftmem-Term": (_integer(0), "Raft term."),
    "Raftmem-Node": ({"type": "string"}, "Id of the replica that answered."),
    "Raftmem-Leader": ({"type": "string"}, "Id of the leader; absent if none is known."),
    "Raftmem-Consistency": (_one_of([*(level.value for level in Level), "at"]), "On reads: the level that ran."),
    "Raftmem-Cluster": ({"type": "string"}, "`<cluster id>/<incarnation>`."),
    "X-Request-Id": ({"type": "string"}, "The request's own, or a new one."),
    "ETag": ({"type": "string"}, "The version of the memory, in quotes."),
    "Location": ({"type": "string"}, "The path of a new memory."),
    "Idempotent-Replayed": (_one_of(("true",)), "This is the first reply under the key, again."),
    "Retry-After": (_integer(0), "Seconds."),
    "Allow": ({"type": "string"}, "The methods of the route."),
}

_READ: Final = ("consistency", "min_index", "max_staleness_ms", "timeout_ms")
_TRAVEL: Final = (*_READ, "at")
_LIST: Final = ("limit", "cursor")
_ANY: Final = ("invalid-request", "method-not-allowed", "too-large", "internal")
_UNAVAILABLE: Final = ("no-leader", "no-quorum", "too-stale", "shutting-down", "corrupt")
_READ_ERRORS: Final = ("unknown-consistency", *_UNAVAILABLE, "consistency-timeout")
_TRAVEL_ERRORS: Final = (*_READ_ERRORS, "future-index", "index-compacted")
_BODY_ERRORS: Final = ("unsupported-media-type",)
_WRITE_ERRORS: Final = (
    *("precondition-failed", "idempotency-key-reused", "too-many-requests", "no-leader", "shutting-down", "corrupt"),
    *("unknown-outcome", "no-space", "not-found", "already-exists", "merge-type", "wrong-state"),
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

_PROBLEM: Final[Json] = {
    "type": "object",
    "description": "RFC 9457. The members that are not required stand where they help.",
    "properties": {
        "type": {"type": "string", "pattern": "^urn:raftmem:error:"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "The fact, the numbers, the next step."},
        "instance": {"type": "string"},
        "code": _one_of([code for code in KINDS if code != "batch-refused"]),
        "retryable": {"type": "boolean", "description": "The same request with the same key may succeed later."},
        "outcome": _one_of(("not_applied", "applied", "unknown")),
        "request_id": {"type": "string"},
        "parameter": {"type": "string", "description": "The place in the query, the headers or the body."},
        "allowed": {"type": "array", "items": {"type": "string"}, "description": "What `parameter` may be."},
        "retry_after_ms": {"type": "integer"},
        "leader": {"type": "object", "description": "`id` and `url` of who leads, as this replica knows it."},
        "failed": {
            "type": "array",
            "description": "Every false guard with what stands there: `guard`, `current`.",
        },
        "current": {"description": "What stands there now: of the first false guard, or of a memory that is gone."},
        "failed_seq": {"type": "integer", "description": "The operation that refused an atomic batch."},
        "path": {"type": "string", "description": "The merge path that did not fit."},
        "oldest_index": {"type": "integer", "description": "The oldest index that is still kept."},
        "commit_index": {"type": "integer", "description": "The newest index that can be read."},
        "memory_status": {"type": "string", "description": "`deleted` or `expired`, of a memory that is gone."},
        "updated_index": {"type": "integer", "description": "The index at which a memory was deleted or expired."},
    },
    "required": ["type", "title", "status", "detail", "instance", "code", "retryable", "outcome", "request_id"],
}


@cache
def document() -> Json:
    """The whole document; the same object every time."""
    structs = [kind for operation in OPERATIONS.values() for kind in _structs(operation)]
    _, schemas = msgspec.json.schema_components(
        structs, schema_hook=_any_json, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Json] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "raftmem",
            "version": raftmem.__version__,
            "description": "A replicated log service for the memory of AI agents. Any replica serves all of it. "
            "Unknown query parameters and unknown body fields are 400; HEAD and OPTIONS are 405.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": _PROBLEM},
            "headers": {name: _described(about) for name, about in RESPONSE_HEADERS.items()},
        },
    }


def _any_json(kind: type) -> Json:
    if kind is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError(kind)


def _structs(operation: Operation) -> list[type[Struct]]:
    found = [kind for _, kind in operation.replies.values() if kind is not None]
    return found if operation.body is None else [*found, operation.body]


def _described(about: tuple[Json, str]) -> Json:
    return {"schema": about[0], "description": about[1]}


def _reference(kind: type[Struct]) -> Json:
    return {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}


def _operation(method: str, path: str, operation: Operation) -> Json:
    open_segment = path.partition("{")[2].partition("}")[0]
    parameters: list[Json] = []
    if open_segment:
        schema = _ID if open_segment == "id" else _integer(1)
        parameters.append({"name": open_segment, "in": "path", "required": True, "schema": schema})
    for name in operation.query:
        schema, text = PARAMETERS[name]
        if name in _REPEATABLE:
            schema = {"type": "array", "items": schema}
        parameters.append({"name": name, "in": "query", "schema": schema, "description": text})
    for name in ("X-Request-Id", *operation.request_headers):
        parameters += [{"name": name, "in": "header", **_described(REQUEST_HEADERS[name])}]
    described: Json = {
        "operationId": f"{method.lower()}_{path.strip('/').translate(str.maketrans('/.', '__', '{}'))}",
        "summary": operation.summary,
        "parameters": parameters,
        "responses": _responses(operation),
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": _reference(operation.body)}}
    return described


def _responses(operation: Operation) -> Json:
    responses: Json = {}
    for status, (text, kind) in operation.replies.items():
        response: Json = {"description": text, "headers": _headers(status)}
        if kind is not None:
            response["content"] = {operation.media_type: _reference(kind)}
        elif status == 200:
            response["content"] = {operation.media_type: {"schema": {"type": "string"}}}
        responses[str(status)] = response
    codes: dict[int, list[str]] = {}
    for code in (*_ANY, *operation.errors):
        codes.setdefault(KINDS[code].status, []).append(code)
    for status, found in sorted(codes.items()):
        responses[str(status)] = {
            "description": "; ".join(f"`{code}`: {KINDS[code].title.lower()}" for code in found),
            "headers": _headers(status),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return responses


_SOMETIMES: Final = {
    200: ("ETag", "Idempotent-Replayed"),
    201: ("ETag", "Location", "Idempotent-Replayed"),
    304: ("ETag",),
    405: ("Allow",),
    409: ("ETag",),
    412: ("ETag",),
    **dict.fromkeys((429, 503, 504, 507), ("Retry-After",)),
}
_COMMON: Final = (
    *("Raftmem-Index", "Raftmem-Term", "Raftmem-Node", "Raftmem-Leader"),
    *("Raftmem-Consistency", "Raftmem-Cluster", "X-Request-Id"),
)


def _headers(status: int) -> Json:
    names = (*_COMMON, *_SOMETIMES.get(status, ()))
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
