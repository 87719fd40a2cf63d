"""The routes of coordination behind the OpenAPI document: locks, tasks, gates, transactions, watching.

As `operations.py`: prose only, and each error that a route can give.
"""

from typing import Final

from raftmem.api.requests import coordination_bodies as bodies
from raftmem.api.requests.transaction_bodies import TxnBody
from raftmem.api.responses import coordination_replies as replies
from raftmem.api.responses import coordination_views as views
from raftmem.api.schema.parts import (
    BODY_ERRORS,
    LIST,
    MEMORY_ERRORS,
    READ,
    READ_ERRORS,
    SCOPE,
    WRITE_ERRORS,
    WRITE_HEADERS,
    Operation,
)

_PAGE: Final = (*READ, *LIST, "order")
_WRITE: Final = ("timeout_ms",)
_BODY: Final = (*BODY_ERRORS, *WRITE_ERRORS)
_WITH_TOKEN: Final = (*_BODY, "stale-token")
_AS_OF_NOW: Final = "Each page shows how things stand now; a cursor keeps the place and pins no index."

_LOCKS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/v1/locks"): Operation(
        f"List locks that somebody holds, oldest first. {_AS_OF_NOW}",
        {200: ("A page.", replies.LockList)},
        (*_PAGE, "owner", "prefix"),
        errors=READ_ERRORS,
    ),
    ("POST", "/v1/locks/renew"): Operation(
        "Renew many locks of one owner, each for itself: one that is lost carries its `error`.",
        {200: ("What came of each.", replies.RenewedMany)},
        _WRITE,
        bodies.RenewManyBody,
        _BODY,
        WRITE_HEADERS,
    ),
    ("GET", "/v1/locks/{name}"): Operation(
        "Read one lock; a free one has no holders. A name may hold `/`, plain or as %2F.",
        {200: ("The lock.", views.LockView)},
        READ,
        errors=READ_ERRORS,
    ),
    ("DELETE", "/v1/locks/{name}"): Operation(
        "Force release: whoever holds the lock holds it no more, and who waits is served. Of a free lock a NOOP.",
        {200: ("It was taken away.", replies.LockChanged)},
        _WRITE,
        errors=WRITE_ERRORS,
        request_headers=WRITE_HEADERS,
    ),
    ("POST", "/v1/locks/{name}/acquire"): Operation(
        "Take a lock, or a permit of a semaphore (`permits` > 1). With `wait_ms` queue for it, first come first served;"
        " a client that hangs up leaves the queue. Asking again as its owner renews it with the new `ttl_ms` and gives "
        "the same token.",
        {200: ("Granted: the token is the log index of the grant.", replies.Granted)},
        _WRITE,
        bodies.AcquireBody,
        (*_BODY, "lock-held", "permits-mismatch"),
        WRITE_HEADERS,
    ),
    ("POST", "/v1/locks/{name}/renew"): Operation(
        "Hold it for another `ttl_ms`, counted from the log time of this entry.",
        {200: ("Renewed.", replies.Granted)},
        _WRITE,
        bodies.RenewBody,
        _WITH_TOKEN,
        WRITE_HEADERS,
    ),
    ("POST", "/v1/locks/{name}/release"): Operation(
        "Give it back; the first of the queue has it then.",
        {200: ("Released.", replies.LockChanged)},
        _WRITE,
        bodies.ReleaseBody,
        _WITH_TOKEN,
        WRITE_HEADERS,
    ),
    ("POST", "/v1/owners/{owner}/release"): Operation(
        "The owner is dead: its locks, its waits and its claims go at once, each as an event of its own.",
        {200: ("What it had.", replies.OwnerReleased)},
        _WRITE,
        bodies.BareBody,
        _BODY,
        WRITE_HEADERS,
        body_required=False,
    ),
}

_TASKS: Final[dict[tuple[str, str], Operation]] = {
    ("POST", "/v1/tasks"): Operation(
        "Add a task. An equal `unique_key` among the unfinished tasks of the queue makes it a NOOP, 200, that task.",
        {201: ("Added.", replies.TaskChanged), 200: ("NOOP: that task is there.", replies.TaskChanged)},
        _WRITE,
        bodies.TaskBody,
        (*_BODY, "already-exists", "dependency-cycle"),
        WRITE_HEADERS,
    ),
    ("GET", "/v1/tasks"): Operation(
        f"List tasks, oldest first. {_AS_OF_NOW}",
        {200: ("A page.", replies.TaskList)},
        (*_PAGE, "queue", "state", "worker"),
        errors=READ_ERRORS,
    ),
    ("POST", "/v1/tasks/claim"): Operation(
        "Claim the first tasks of all the queues named: by priority, then by age. With `wait_ms` wait for one.",
        {200: ("The tasks; none if there was nothing to do.", replies.TasksClaimed)},
        _WRITE,
        bodies.ClaimBody,
        (*_BODY, "no-quorum", "consistency-timeout"),
        WRITE_HEADERS,
    ),
    ("GET", "/v1/tasks/{id}"): Operation(
        "Read one task. Finished ones are kept for a day.",
        {200: ("The task.", views.TaskView)},
        READ,
        errors=(*READ_ERRORS, "not-found"),
    ),
    ("POST", "/v1/tasks/{id}/heartbeat"): Operation(
        "The worker is alive: it has the task for another `ttl_ms`, and hears whether to stop.",
        {200: ("It still has it.", replies.Heartbeat)},
        _WRITE,
        bodies.HeartbeatBody,
        _WITH_TOKEN,
        WRITE_HEADERS,
    ),
    ("POST", "/v1/tasks/{id}/complete"): Operation(
        "Done, with a result. A worker whose claim was given to another is refused.",
        {200: ("Completed.", replies.TaskChanged)},
        _WRITE,
        bodies.CompleteBody,
        _WITH_TOKEN,
        WRITE_HEADERS,
    ),
    ("POST", "/v1/tasks/{id}/fail"): Operation(
        "Tried again after its backoff while attempts are left and it is `retryable`; else dead, and its dependents "
        "are cancelled.",
        {200: ("Failed.", replies.TaskChanged)},
        _WRITE,
        bodies.FailBody,
        _WITH_TOKEN,
        WRITE_HEADERS,
    ),
    ("POST", "/v1/tasks/{id}/release"): Operation(
        "Give the task back; the attempt does not count.",
        {200: ("Given back.", replies.TaskChanged)},
        _WRITE,
        bodies.GiveBackBody,
        _WITH_TOKEN,
        WRITE_HEADERS,
    ),
    ("POST", "/v1/tasks/{id}/cancel"): Operation(
        "Cancelled at once if nobody has it; else its worker is asked to stop with its next heartbeat.",
        {200: ("Cancelled, or asked for.", replies.TaskChanged)},
        _WRITE,
        bodies.BareBody,
        _BODY,
        WRITE_HEADERS,
        body_required=False,
    ),
    ("POST", "/v1/tasks/{id}/retry"): Operation(
        "A dead or cancelled task starts anew, its errors kept; a scheduled one is available at once.",
        {200: ("It starts anew.", replies.TaskChanged)},
        _WRITE,
        bodies.BareBody,
        (*_BODY, "already-exists", "dependency-cycle"),
        WRITE_HEADERS,
        body_required=False,
    ),
}

_GATES: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/v1/gates"): Operation(
        f"List gates, oldest first. {_AS_OF_NOW}",
        {200: ("A page.", replies.GateList)},
        (*_PAGE, "prefix"),
        errors=READ_ERRORS,
    ),
    ("PUT", "/v1/gates/{name}"): Operation(
        "Define a gate. Another definition, or one of a gate that was consumed, drops its approvals; the same one is a "
        "NOOP.",
        {201: ("Made.", replies.GateChanged), 200: ("Defined anew, or as it was.", replies.GateChanged)},
        _WRITE,
        bodies.GateBody,
        _BODY,
        WRITE_HEADERS,
    ),
    ("GET", "/v1/gates/{name}"): Operation(
        "Read one gate; with `wait_ms` as soon as it is open, or when the time is over.",
        {200: ("The gate.", views.GateView)},
        (*READ, "wait_ms"),
        errors=(*READ_ERRORS, "not-found", "too-many-requests"),
    ),
    ("POST", "/v1/gates/{name}/approve"): Operation(
        "Approve, as the actor of this request; one approver counts once.",
        {200: ("The gate with the approval.", replies.GateChanged)},
        _WRITE,
        bodies.ApproveBody,
        (*_BODY, "forbidden"),
        WRITE_HEADERS,
        body_required=False,
    ),
    ("POST", "/v1/gates/{name}/revoke"): Operation(
        "Take one's own approval back.",
        {200: ("The gate without it.", replies.GateChanged)},
        _WRITE,
        bodies.BareBody,
        _BODY,
        WRITE_HEADERS,
        body_required=False,
    ),
    ("POST", "/v1/gates/{name}/consume"): Operation(
        "Go through an open gate, once: it is closed then until it is defined anew.",
        {200: ("Consumed by this request.", replies.GateChanged)},
        _WRITE,
        bodies.BareBody,
        _BODY,
        WRITE_HEADERS,
        body_required=False,
    ),
}

COORDINATION: Final[dict[tuple[str, str], Operation]] = {
    **_LOCKS,
    **_TASKS,
    **_GATES,
    ("POST", "/v1/txn"): Operation(
        "If every guard is true the operations of `then`, else those of `else`: whole or not at all, as one entry. "
        "Later operations see earlier ones; one operation on each lock in an arm. A lock is shown as it stands now.",
        {200: ("What came of the arm that ran.", replies.TxnWritten)},
        _WRITE,
        TxnBody,
        (*_BODY, *MEMORY_ERRORS, "lock-held", "stale-token", "permits-mismatch", "dependency-cycle", "forbidden"),
        WRITE_HEADERS,
    ),
    ("GET", "/v1/watch"): Operation(
        "The log as it grows, from the entry `from` (default: from now): in order, no gap, no repeat, an entry is "
        "never split. Server-sent events (`id:` is the index) or lines of JSON, objects with `type` and `index`: "
        "`entry` with `prev_index` (the item before under the same filter) and `events`; `bookmark`, at the start and "
        "every ten seconds: everything up to `index` was delivered; `compacted`, `lagged` (the reader was too slow) "
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
}
