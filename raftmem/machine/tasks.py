"""The operations on tasks: add, claim, heartbeat, complete, fail, release, cancel, retry and expire.

A task is blocked (a dependency has not completed), scheduled (its delay is not over), available, claimed, or finished
(completed, cancelled or dead). It must hold that an unfinished task always makes progress: it can be claimed, is due,
or waits for tasks that have not completed. No two unfinished tasks of a queue have the same unique key.

Refused are values that a proposer should have checked (`invalid-request`), `already-exists`, `dependency-cycle`,
`too-large` (a graph of dependencies), `not-found`, `stale-token`, `wrong-state`, and an expiry that saw another state
(`moved`). Claims are in `task_claims.py`, dependencies in `task_graph.py`, the end of a task in `task_ends.py`.
"""

from typing import Final, assert_never

from msgspec.structs import replace

from raftmem import limits
from raftmem.machine.overlay import Moment, Overlay, Refusal
from raftmem.machine.task_bounds import INVALID, may_add, said
from raftmem.machine.task_claims import claim, complete, fail, heartbeat, release
from raftmem.machine.task_claims import drop_claim as drop_claim
from raftmem.machine.task_ends import about, finish, put, tell, waiting_state
from raftmem.machine.task_graph import closes_a_circle, needs
from raftmem.model.commands import (
    Content,
    TaskAdd,
    TaskCancel,
    TaskClaim,
    TaskComplete,
    TaskExpire,
    TaskFail,
    TaskHeartbeat,
    TaskOperation,
    TaskRelease,
    TaskRetry,
)
from raftmem.model.coordination_rows import UNFINISHED, Task, task_key, unique_in
from raftmem.model.records import About, Outcome, Position

_NOT_FOUND: Final = Refusal("not-found")
_WRONG_STATE: Final = Refusal("wrong-state")
_MOVED: Final = Refusal("moved")
_ByToken = TaskHeartbeat | TaskComplete | TaskFail | TaskRelease


def perform(overlay: Overlay, moment: Moment, operation: TaskOperation, content: Content | None) -> Outcome | Refusal:
    """Do one operation; guards and idempotency are checked already. `content.payload`: its JSON text."""
    match operation:
        case TaskAdd():
            return _add(overlay, moment, operation, content)
        case TaskClaim():
            return claim(overlay, moment, operation)
        case TaskHeartbeat():
            return heartbeat(overlay, moment, operation)
        case TaskComplete():
            return complete(overlay, moment, operation, content)
        case TaskFail():
            return fail(overlay, moment, operation, content)
        case TaskRelease():
            return release(overlay, moment, operation)
        case TaskCancel():
            return _cancel(overlay, moment, operation)
        case TaskRetry():
            return _retry(overlay, moment, operation)
        case TaskExpire():
            return _expire(overlay, moment, operation)
        case _:
            assert_never(operation)


def refused(overlay: Overlay, operation: TaskOperation, refusal: Refusal) -> Outcome:
    """The outcome of a refused operation; queue, state and the token in force are those of the task in `overlay`.

    Not as the refusal saw them: the changes of a refused atomic entry never happened.
    """
    if isinstance(operation, TaskClaim):
        named = About(queues=tuple(dict.fromkeys(operation.queues)))
    else:
        task_id = operation.id if isinstance(operation, TaskAdd) else operation.task_id
        task = overlay.task(task_id)
        if isinstance(operation, TaskAdd):
            queues: tuple[str, ...] = (operation.queue,)
        else:
            queues = () if task is None else (task.queue,)
        named = About(
            task_ids=(task_id,),
            queues=queues,
            token=operation.token if isinstance(operation, _ByToken) else None,
            state=None if task is None else task.state,
            current_token=task.token if task is not None and refusal.code == "stale-token" else None,
        )
    return Outcome(
        _name_of(operation),
        applied=False,
        code=refusal.code,
        failed=refusal.failed,
        path=refusal.path,
        about=named,
    )


def _name_of(operation: TaskOperation) -> str:
    match operation:
        case TaskAdd():
            return "TASK_ADD"
        case TaskClaim():
            return "TASK_CLAIM"
        case TaskHeartbeat():
            return "TASK_HEARTBEAT"
        case TaskComplete():
            return "TASK_COMPLETE"
        case TaskFail():
            return "TASK_FAIL"
        case TaskRelease():
            return "TASK_RELEASE"
        case TaskCancel():
            return "TASK_CANCEL"
        case TaskRetry():
            return "TASK_RETRY"
        case TaskExpire():
            return "TASK_EXPIRE"
        case _:
            assert_never(operation)


def _done(op: str, task: Task) -> Outcome:
    return Outcome(op, applied=True, about=about(task))


def _nothing_to_do(requested_op: str, task: Task) -> Outcome:
    return Outcome("NOOP", applied=True, requested_op=requested_op, about=about(task))


def _add(overlay: Overlay, moment: Moment, operation: TaskAdd, content: Content | None) -> Outcome | Refusal:
    if not may_add(operation):
        return INVALID
    payload = said(content, bytes_max=limits.VALUE_BYTES_MAX)
    if isinstance(payload, Refusal):
        return payload
    if overlay.task(operation.id) is not None:
        return Refusal("already-exists")
    twin = _unfinished(overlay, operation.queue, operation.unique_key)
    if twin is not None:
        return _nothing_to_do("TASK_ADD", twin)
    task = _born(moment, operation, None if payload is None else moment.position)
    standing = needs(overlay, task.depends_on)
    task = replace(task, done=standing.done, pending=len(task.depends_on) - len(standing.done))
    if task.pending > 0:
        refusal = closes_a_circle(overlay, task)
        if refusal is not None:
            return refusal
    if payload is not None:
        overlay.put_content(moment.position, payload)
    if standing.failed:
        return _done("TASK_ADD", finish(overlay, moment, task, "cancelled"))
    return _done("TASK_ADD", put(overlay, moment, waiting_state(task, moment.now)))


def _born(moment: Moment, operation: TaskAdd, payload_at: Position | None) -> Task:
    return Task(
        id=operation.id,
        queue=operation.queue,
        state="available",
        priority=operation.priority,
        attempt=0,
        max_attempts=operation.max_attempts,
        backoff=operation.backoff,
        depends_on=tuple(dict.fromkeys(operation.depends_on)),
        pending=0,
        unique_key=operation.unique_key,
        actor=moment.actor,
        created=moment.position,
        updated=moment.position,
        payload_at=payload_at,
        not_before=moment.now + operation.delay_ms * 1000 if operation.delay_ms else None,
    )


def _unfinished(overlay: Overlay, queue: str, unique_key: str | None) -> Task | None:
    """The unfinished task of the queue that has this key."""
    if unique_key is None:
        return None
    for one in overlay.scan(unique_in(queue, unique_key), limit=1):
        if isinstance(one.row, Task):
            return one.row
    return None


def _cancel(overlay: Overlay, moment: Moment, operation: TaskCancel) -> Outcome | Refusal:
    """Cancel a task. A worker that has claimed it is only asked to stop, at its next heartbeat."""
    task = overlay.task(operation.task_id)
    if task is None:
        return _NOT_FOUND
    if task.state in ("completed", "dead"):
        return _WRONG_STATE
    if task.state == "cancelled" or task.cancel_requested:
        return _nothing_to_do("TASK_CANCEL", task)
    if task.state == "claimed":
        return _done("TASK_CANCEL", put(overlay, moment, replace(task, cancel_requested=True)))
    return _done("TASK_CANCEL", finish(overlay, moment, task, "cancelled"))


def _retry(overlay: Overlay, moment: Moment, operation: TaskRetry) -> Outcome | Refusal:
    """A dead or cancelled task starts anew, its errors kept; a scheduled one does not wait any longer."""
    task = overlay.task(operation.task_id)
    if task is None:
        return _NOT_FOUND
    if task.state == "scheduled":
        return _done("TASK_RETRY", put(overlay, moment, waiting_state(replace(task, not_before=None), moment.now)))
    if task.state not in ("dead", "cancelled"):
        return _WRONG_STATE
    standing = needs(overlay, task.depends_on, task.done)
    if standing.failed:
        return _WRONG_STATE
    if _unfinished(overlay, task.queue, task.unique_key) is not None:
        return Refusal("already-exists", path="unique_key")
    pending = len(task.depends_on) - len(standing.done)
    task = replace(task, attempt=0, done=standing.done, pending=pending, told=True, result_at=None)
    if pending > 0:
        refusal = closes_a_circle(overlay, task)
        if refusal is not None:
            return refusal
    return _done("TASK_RETRY", put(overlay, moment, waiting_state(task, moment.now)))


def _expire(overlay: Overlay, moment: Moment, operation: TaskExpire) -> Outcome | Refusal:
    """The claim ran out, the delay is over, dependents are left to tell, or the task is removed (state None then)."""
    task = overlay.task(operation.task_id)
    if (
        task is None
        or task.updated != Position(operation.index, operation.seq)
        or operation.term != moment.term
        or task.due is None
        or task.due > moment.now
    ):
        return _MOVED
    if task.state == "claimed":
        return drop_claim(overlay, moment, task, "expired")
    if task.state in UNFINISHED:
        return _done("TASK_EXPIRE", put(overlay, moment, waiting_state(task, moment.now)))
    if not task.told and overlay.told >= limits.TASK_TELLS_PER_ENTRY_MAX:
        return _MOVED  # not by this entry: it has told enough
    if not task.told:
        return _done("TASK_EXPIRE", tell(overlay, moment, task))
    overlay.put_row(task_key(task.id), None, moment.position)
    return Outcome("TASK_EXPIRE", applied=True, about=replace(about(task), state=None))
