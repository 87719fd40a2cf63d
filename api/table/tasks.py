"""The routes of tasks."""

from typing import Final

from raftmem.api.requests import coordination_bodies as bodies
from raftmem.api.responses import coordination_replies as replies
from raftmem.api.responses import coordination_views as views
from raftmem.api.routes import tasks
from raftmem.api.schema.parts import (
    AS_OF_NOW,
    BODY_WRITE_ERRORS,
    PAGE,
    READ,
    READ_ERRORS,
    WRITE,
    WRITE_HEADERS,
    Operation,
)
from raftmem.api.table.route import Route

_WITH_TOKEN: Final = (*BODY_WRITE_ERRORS, "stale-token")

TASKS: Final[tuple[Route, ...]] = (
    Route(
        "POST",
        "/v1/tasks",
        tasks.add,
        verb="task.add",
        spec=Operation(
            "Add a task. An equal `unique_key` among the unfinished tasks of the queue makes it a NOOP, 200, that "
            "task.",
            {201: ("Added.", replies.TaskChanged), 200: ("NOOP: that task is there.", replies.TaskChanged)},
            WRITE,
            bodies.TaskBody,
            (*BODY_WRITE_ERRORS, "already-exists", "dependency-cycle"),
            WRITE_HEADERS,
        ),
    ),
    Route(
        "GET",
        "/v1/tasks",
        tasks.many,
        verb="task.read",
        spec=Operation(
            f"List tasks, oldest first. {AS_OF_NOW}",
            {200: ("A page.", replies.TaskList)},
            (*PAGE, "queue", "state", "worker"),
            errors=READ_ERRORS,
        ),
    ),
    Route(
        "POST",
        "/v1/tasks/claim",
        tasks.claim,
        verb="task.work",
        spec=Operation(
            "Claim the first tasks of all the queues named: by priority, then by age. With `wait_ms` wait for one.",
            {200: ("The tasks; none if there was nothing to do.", replies.TasksClaimed)},
            WRITE,
            bodies.ClaimBody,
            (*BODY_WRITE_ERRORS, "no-quorum", "consistency-timeout"),
            WRITE_HEADERS,
        ),
    ),
    Route(
        "GET",
        "/v1/tasks/{id}",
        tasks.one,
        verb="task.read",
        spec=Operation(
            "Read one task. Finished ones are kept for a day.",
            {200: ("The task.", views.TaskView)},
            READ,
            errors=(*READ_ERRORS, "not-found"),
        ),
    ),
    Route(
        "POST",
        "/v1/tasks/{id}/heartbeat",
        tasks.heartbeat,
        verb="task.work",
        spec=Operation(
            "The worker is alive: it has the task for another `ttl_ms`, and hears whether to stop.",
            {200: ("It still has it.", replies.Heartbeat)},
            WRITE,
            bodies.HeartbeatBody,
            _WITH_TOKEN,
            WRITE_HEADERS,
        ),
    ),
    Route(
        "POST",
        "/v1/tasks/{id}/complete",
        tasks.complete,
        verb="task.work",
        spec=Operation(
            "Done, with a result. A worker whose claim was given to another is refused.",
            {200: ("Completed.", replies.TaskChanged)},
            WRITE,
            bodies.CompleteBody,
            _WITH_TOKEN,
            WRITE_HEADERS,
        ),
    ),
    Route(
        "POST",
        "/v1/tasks/{id}/fail",
        tasks.fail,
        verb="task.work",
        spec=Operation(
            "Tried again after its backoff while attempts are left and it is `retryable`; else dead, and its "
            "dependents "
            "are cancelled.",
            {200: ("Failed.", replies.TaskChanged)},
            WRITE,
            bodies.FailBody,
            _WITH_TOKEN,
            WRITE_HEADERS,
        ),
    ),
    Route(
        "POST",
        "/v1/tasks/{id}/release",
        tasks.release,
        verb="task.work",
        spec=Operation(
            "Give the task back; the attempt does not count.",
            {200: ("Given back.", replies.TaskChanged)},
            WRITE,
            bodies.GiveBackBody,
            _WITH_TOKEN,
            WRITE_HEADERS,
        ),
    ),
    Route(
        "POST",
        "/v1/tasks/{id}/cancel",
        tasks.cancel,
        verb="task.admin",
        spec=Operation(
            "Cancelled at once if nobody has it; else its worker is asked to stop with its next heartbeat.",
            {200: ("Cancelled, or asked for.", replies.TaskChanged)},
            WRITE,
            bodies.BareBody,
            BODY_WRITE_ERRORS,
            WRITE_HEADERS,
            body_required=False,
        ),
    ),
    Route(
        "POST",
        "/v1/tasks/{id}/retry",
        tasks.retry,
        verb="task.admin",
        spec=Operation(
            "A dead or cancelled task starts anew, its errors kept; a scheduled one is available at once.",
            {200: ("It starts anew.", replies.TaskChanged)},
            WRITE,
            bodies.BareBody,
            (*BODY_WRITE_ERRORS, "already-exists", "dependency-cycle"),
            WRITE_HEADERS,
            body_required=False,
        ),
    ),
)
