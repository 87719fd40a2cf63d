"""The parts of the OpenAPI document that routes share: the shape of an entry, parameters, headers, groups of errors.

Prose and schemas only; nothing here knows a route.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, get_args

from msgspec import Struct

from raftmem import limits
from raftmem.model.addresses import NODE_ID
from raftmem.model.commands import MemoryType
from raftmem.model.coordination_rows import TaskState
from raftmem.model.records import Status
from raftmem.service.interface import Level

Json = dict[str, object]


class Operation(NamedTuple):
    """One route. `query`: names in `PARAMETERS`. `replies`: status -> (what it means, struct or None).

    `named`: the schema of what the path leaves open, that of `PATH` if None.
    """

    summary: str
    replies: dict[int, tuple[str, type[Struct] | None]]
    query: tuple[str, ...] = ()
    body: type[Struct] | None = None
    errors: tuple[str, ...] = ()
    request_headers: tuple[str, ...] = ()
    media_types: tuple[str, ...] = ("application/json",)
    named: Json | None = None
    body_required: bool = True


def integer(low: int, high: int = limits.JSON_INTEGER_MAX) -> Json:
    return {"type": "integer", "minimum": low, "maximum": high}


def one_of(words: Sequence[str]) -> Json:
    return {"type": "string", "enum": list(words)}


NAME: Final[Json] = {"type": "string", "minLength": 1, "maxLength": limits.NAME_BYTES_MAX}
MEMORY_ID: Final[Json] = {**NAME, "pattern": "^[A-Za-z0-9._:@~-]+$"}
NODE: Final[Json] = {"type": "string", "pattern": NODE_ID}
SCOPE: Final = ("app_id", "user_id", "agent_id", "run_id")
PATH: Final[dict[str, Json]] = {"id": MEMORY_ID, "index": integer(1), "name": NAME, "owner": NAME}
REPEATABLE: Final = frozenset({"id", "tag", "include"})

OPS: Final = (
    *("ADD", "UPDATE", "DELETE", "NOOP", "EXPIRE"),
    *("LOCK_ACQUIRE", "LOCK_WAIT", "LOCK_GRANT", "LOCK_LEAVE", "LOCK_RENEW", "LOCK_RELEASE", "LOCK_FORCE_RELEASE"),
    *("LOCK_EXPIRE", "OWNER_RELEASE"),
    *("TASK_ADD", "TASK_CLAIM", "TASK_HEARTBEAT", "TASK_COMPLETE", "TASK_FAIL", "TASK_RELEASE", "TASK_CANCEL"),
    *("TASK_RETRY", "TASK_EXPIRE"),
    *("GATE_PUT", "GATE_APPROVE", "GATE_REVOKE", "GATE_CLOSE", "GATE_CONSUME"),
    *("TXN", "MEMBER", "RAFT"),
)

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
        NAME,
        "`embedding` adds the vectors of memories; `internal` adds the entries of Raft and of membership to events.",
    ),
    "id": (MEMORY_ID, "Any of these memories."),
    "tag": (NAME, "Every one of these tags."),
    "memory_type": (one_of(get_args(MemoryType)), "Only memories of this type."),
    "status": (one_of(get_args(Status)), "`active` by default."),
    "filter": ({"type": "string"}, "URL-encoded JSON of the filter language."),
    "from": (integer(1), "First index, inclusive; the oldest kept one by default."),
    "to": (integer(1), "Last index, inclusive; the newest one by default."),
    "wait_ms": (
        integer(0, limits.WAIT_MS_MAX),
        "How long to wait: of events for a first one (not with `desc`), of a gate until it is open.",
    ),
    "op": (one_of(OPS), "Only events of this operation."),
    "memory_id": (MEMORY_ID, "Only events that concern this memory."),
    "lock": (NAME, "Only events that concern this lock."),
    "queue": (NAME, "Only events that concern tasks of this queue; of a list of tasks, those in it."),
    "gate": (NAME, "Only events that concern this gate."),
    "owner": (NAME, "Only locks that this owner holds or waits for."),
    "prefix": (NAME, "Only names that begin with this."),
    "state": (one_of(get_args(TaskState)), "Only tasks in this state."),
    "worker": (NAME, "Only tasks that this worker has claimed."),
    "actor_id": (NAME, "Only events of this actor."),
    "request_id": (NAME, "Only events of this request."),
    "outcome": (one_of(("applied", "refused")), "Only events with this outcome."),
    **{field: (NAME, f"Bound to exactly this {field}; not given is no constraint.") for field in SCOPE},
}

REQUEST_HEADERS: Final[dict[str, tuple[Json, str]]] = {
    "X-Request-Id": (
        {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "Comes back in the reply and stands in the event; a new one when not given.",
    ),
    "Raftmem-Actor": (
        {"type": "string", "pattern": "^(agent|user|service)/.+$"},
        "Who asks, `<type>/<id>`; or `actor` in the body; else `service/anonymous`. `system` is reserved for the "
        "replicas.",
    ),
    "Last-Event-ID": (
        {"type": "string", "pattern": "^[0-9]{1,16}$"},
        "The last index that came; the stream goes on after it. Stands for `from`.",
    ),
    "Accept": ({"type": "string"}, "`text/event-stream` (the default) or `application/x-ndjson`."),
    "Idempotency-Key": (NAME, "The same key with the same request returns the first reply; with another, 422."),
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

READ: Final = ("consistency", "min_index", "max_staleness_ms", "timeout_ms")
TRAVEL: Final = (*READ, "at")
LIST: Final = ("limit", "cursor")
PAGE: Final = (*READ, *LIST, "order")
WRITE: Final = ("timeout_ms",)
AS_OF_NOW: Final = "Each page shows how things stand now; a cursor keeps the place and pins no index."
ANY_ERRORS: Final = (
    *("invalid-request", "forbidden", "method-not-allowed", "too-large", "too-many-requests", "internal", "overloaded"),
)
_UNAVAILABLE: Final = ("no-leader", "no-quorum", "too-stale", "shutting-down", "corrupt")
READ_ERRORS: Final = ("unknown-consistency", *_UNAVAILABLE, "consistency-timeout")
TRAVEL_ERRORS: Final = (*READ_ERRORS, "future-index", "index-compacted")
BODY_ERRORS: Final = ("unsupported-media-type",)
WRITE_ERRORS: Final = (
    *("precondition-failed", "idempotency-key-reused", "too-many-requests", "no-leader", "shutting-down", "corrupt"),
    *("unknown-outcome", "no-space", "not-found", "wrong-state"),
)
MEMORY_ERRORS: Final = ("already-exists", "merge-type")
CHANGE_ERRORS: Final = (
    *("no-leader", "too-many-requests", "shutting-down", "corrupt", "unknown-outcome", "no-space"),
    *("not-found", "wrong-state"),
)
BODY_WRITE_ERRORS: Final = (*BODY_ERRORS, *WRITE_ERRORS)
WRITE_HEADERS: Final = ("Raftmem-Actor", "Idempotency-Key")
CONDITIONS: Final = (*WRITE_HEADERS, "If-Match", "If-None-Match")
