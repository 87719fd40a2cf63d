"""The routes of locks, and of an owner that is dead."""

from typing import Final

from raftmem.api.requests import coordination_bodies as bodies
from raftmem.api.responses import coordination_replies as replies
from raftmem.api.responses import coordination_views as views
from raftmem.api.routes import locks
from raftmem.api.schema.parts import (
    AS_OF_NOW,
    BODY_WRITE_ERRORS,
    PAGE,
    READ,
    READ_ERRORS,
    WRITE,
    WRITE_ERRORS,
    WRITE_HEADERS,
    Operation,
)
from raftmem.api.table.route import Route

_WITH_TOKEN: Final = (*BODY_WRITE_ERRORS, "stale-token")

LOCKS: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        "/v1/locks",
        locks.many,
        verb="lock.read",
        spec=Operation(
            f"List locks that somebody holds, oldest first. {AS_OF_NOW}",
            {200: ("A page.", replies.LockList)},
            (*PAGE, "owner", "prefix"),
            errors=READ_ERRORS,
        ),
    ),
    Route(
        "POST",
        "/v1/locks/renew",
        locks.renew_many,
        verb="lock.use",
        spec=Operation(
            "Renew many locks of one owner, each for itself: one that is lost carries its `error`.",
            {200: ("What came of each.", replies.RenewedMany)},
            WRITE,
            bodies.RenewManyBody,
            BODY_WRITE_ERRORS,
            WRITE_HEADERS,
        ),
    ),
    Route(
        "GET",
        "/v1/locks/{name}",
        locks.one,
        verb="lock.read",
        spec=Operation(
            "Read one lock; a free one has no holders. A name may hold `/`, plain or as %2F.",
            {200: ("The lock.", views.LockView)},
            READ,
            errors=READ_ERRORS,
        ),
    ),
    Route(
        "DELETE",
        "/v1/locks/{name}",
        locks.force_release,
        verb="lock.force",
        spec=Operation(
            "Force release: whoever holds the lock holds it no more, and who waits is served. Of a free lock a NOOP.",
            {200: ("It was taken away.", replies.LockChanged)},
            WRITE,
            errors=WRITE_ERRORS,
            request_headers=WRITE_HEADERS,
        ),
    ),
    Route(
        "POST",
        "/v1/locks/{name}/acquire",
        locks.acquire,
        verb="lock.use",
        spec=Operation(
            "Take a lock, or a permit of a semaphore (`permits` > 1). With `wait_ms` queue for it, first come first "
            "served;"
            " a client that hangs up leaves the queue. Asking again as its owner renews it with the new `ttl_ms` and "
            "gives "
            "the same token.",
            {200: ("Granted: the token is the log index of the grant.", replies.Granted)},
            WRITE,
            bodies.AcquireBody,
            (*BODY_WRITE_ERRORS, "lock-held", "permits-mismatch"),
            WRITE_HEADERS,
        ),
    ),
    Route(
        "POST",
        "/v1/locks/{name}/renew",
        locks.renew,
        verb="lock.use",
        spec=Operation(
            "Hold it for another `ttl_ms`, counted from the log time of this entry.",
            {200: ("Renewed.", replies.Granted)},
            WRITE,
            bodies.RenewBody,
            _WITH_TOKEN,
            WRITE_HEADERS,
        ),
    ),
    Route(
        "POST",
        "/v1/locks/{name}/release",
        locks.release,
        verb="lock.use",
        spec=Operation(
            "Give it back; the first of the queue has it then.",
            {200: ("Released.", replies.LockChanged)},
            WRITE,
            bodies.ReleaseBody,
            _WITH_TOKEN,
            WRITE_HEADERS,
        ),
    ),
    Route(
        "POST",
        "/v1/owners/{owner}/release",
        locks.release_owner,
        verb="lock.force",
        spec=Operation(
            "The owner is dead: its locks, its waits and its claims go at once, each as an event of its own.",
            {200: ("What it had.", replies.OwnerReleased)},
            WRITE,
            bodies.BareBody,
            BODY_WRITE_ERRORS,
            WRITE_HEADERS,
            body_required=False,
        ),
    ),
)
