"""Claims: which worker has a task, for how long, and how the worker gives it back.

A claim is in force until the log says otherwise, and its token is the index of the entry that granted it. Another
token is refused as `stale-token`. An entry never ends a claim that it granted (`wrong-state`), so no two claims of a
task have the same token, and a task is completed at most once. A claim counts as an attempt; only a release takes
that back.
"""

from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Final, Literal

from msgspec.structs import replace

from raftmem import limits
from raftmem.machine.overlay import Moment, Overlay, Refusal
from raftmem.machine.task_bounds import INVALID, is_ttl, may_claim, may_fail, said
from raftmem.machine.task_ends import about, finish, put, unclaimed, waiting_state
from raftmem.model.commands import Backoff, Content, TaskClaim, TaskComplete, TaskFail, TaskHeartbeat, TaskRelease
from raftmem.model.coordination_rows import Task, TaskError, ready_in
from raftmem.model.records import About, Outcome

LostBy = Literal["expired", "owner-released"]
_CLAIMED_HERE: Final = Refusal("wrong-state")


def claim(overlay: Overlay, moment: Moment, operation: TaskClaim) -> Outcome | Refusal:
    """Claim the first tasks of all the queues together, by priority, then by age. No task: a NOOP."""
    if not may_claim(operation):
        return INVALID
    queues = tuple(dict.fromkeys(operation.queues))
    lines = [_ready(overlay, queue, 1 if len(queues) > 1 else operation.max) for queue in queues]
    first = list(islice(merge(*lines, key=lambda task: (-task.priority, task.created)), operation.max))
    taken = [_taken(overlay, moment, operation, task) for task in first]
    if not taken:
        return Outcome("NOOP", applied=True, requested_op="TASK_CLAIM", about=About(queues=queues))
    ids = tuple(task.id for task in taken)
    found_in = tuple(dict.fromkeys(task.queue for task in taken))
    return Outcome("TASK_CLAIM", applied=True, about=About(task_ids=ids, queues=found_in, token=moment.position.index))


def _ready(overlay: Overlay, queue: str, count: int) -> Iterator[Task]:
    """The available tasks of one queue, in order. `count`: of the first scan; few more are read than are taken."""
    prefix = start = ready_in(queue)
    while True:
        found = overlay.scan(prefix, limit=count, start=start)
        for one in found:
            assert isinstance(one.row, Task)
            yield one.row
        if len(found) < count:
            return
        start, count = found[-1].index_key + b"\0", min(2 * count, limits.TASK_CLAIM_MAX)


def _taken(overlay: Overlay, moment: Moment, operation: TaskClaim, task: Task) -> Task:
    claimed = replace(
        task,
        state="claimed",
        attempt=task.attempt + 1,
        worker=operation.worker,
        token=moment.position.index,
        ttl_ms=operation.ttl_ms,
        due=moment.now + operation.ttl_ms * 1000,
    )
    return put(overlay, moment, claimed)


def heartbeat(overlay: Overlay, moment: Moment, operation: TaskHeartbeat) -> Outcome | Refusal:
    """The new time counts from now. It works past `due` too, until an entry ends the claim."""
    task = held(overlay, operation.task_id, operation.token)
    if isinstance(task, Refusal):
        return task
    ttl_ms = task.ttl_ms if operation.ttl_ms is None else operation.ttl_ms
    if ttl_ms is None or not is_ttl(ttl_ms):
        return INVALID
    task = put(overlay, moment, replace(task, ttl_ms=ttl_ms, due=moment.now + ttl_ms * 1000))
    return Outcome("TASK_HEARTBEAT", applied=True, about=about(task, token=task.token))


def complete(overlay: Overlay, moment: Moment, operation: TaskComplete, content: Content | None) -> Outcome | Refusal:
    """Complete a task. Its result is kept at this position; without one it is JSON null."""
    task = _ending(overlay, moment, operation)
    if isinstance(task, Refusal):
        return task
    result = said(content, bytes_max=limits.VALUE_BYTES_MAX)
    if isinstance(result, Refusal):
        return result
    if result is not None:
        overlay.put_content(moment.position, result)
    task = finish(overlay, moment, task, "completed", result_at=None if result is None else moment.position)
    return Outcome("TASK_COMPLETE", applied=True, about=about(task, token=operation.token))


def fail(overlay: Overlay, moment: Moment, operation: TaskFail, content: Content | None) -> Outcome | Refusal:
    """Fail an attempt: the task is retried after a pause, or not at all. The error is kept at this position."""
    task = _ending(overlay, moment, operation)
    if isinstance(task, Refusal):
        return task
    error = said(content, bytes_max=limits.TASK_ERROR_BYTES_MAX)
    if isinstance(error, Refusal) or not may_fail(operation):
        return INVALID
    if error is not None:
        overlay.put_content(moment.position, error)
    task = _with_error(task, moment, "failed")
    if task.cancel_requested:
        task = finish(overlay, moment, task, "cancelled")
    elif not operation.retryable or task.attempt >= task.max_attempts:
        task = finish(overlay, moment, task, "dead")
    else:
        after_ms = backoff_ms(task.backoff, task.attempt) if operation.delay_ms is None else operation.delay_ms
        again = replace(unclaimed(task), not_before=moment.now + after_ms * 1000)
        task = put(overlay, moment, waiting_state(again, moment.now))
    return Outcome("TASK_FAIL", applied=True, about=about(task, token=operation.token))


def release(overlay: Overlay, moment: Moment, operation: TaskRelease) -> Outcome | Refusal:
    """Give a task back as if it had not been claimed."""
    task = _ending(overlay, moment, operation)
    if isinstance(task, Refusal):
        return task
    task = replace(task, attempt=task.attempt - 1)
    if task.cancel_requested:
        task = finish(overlay, moment, task, "cancelled")
    else:
        task = put(overlay, moment, waiting_state(unclaimed(task), moment.now))
    return Outcome("TASK_RELEASE", applied=True, about=about(task, token=operation.token))


def drop_claim(overlay: Overlay, moment: Moment, task: Task, code: LostBy) -> Outcome:
    """The worker of a claimed task is given up. The attempt counts; if it was not the last, the next may start at once.

    The claim must be one of an earlier entry.
    """
    token = task.token
    task = _with_error(task, moment, code)
    if task.cancel_requested:
        task = finish(overlay, moment, task, "cancelled")
    elif task.attempt >= task.max_attempts:
        task = finish(overlay, moment, task, "dead")
    else:
        task = put(overlay, moment, waiting_state(unclaimed(task), moment.now))
    return Outcome("TASK_EXPIRE", applied=True, about=about(task, token=token))


def held(overlay: Overlay, task_id: str, token: int) -> Task | Refusal:
    """The task, if this token is the one of the claim in force."""
    task = overlay.task(task_id)
    if task is None:
        return Refusal("not-found")
    return task if task.token is not None and task.token == token else Refusal("stale-token")


def _ending(overlay: Overlay, moment: Moment, operation: TaskComplete | TaskFail | TaskRelease) -> Task | Refusal:
    task = held(overlay, operation.task_id, operation.token)
    return _CLAIMED_HERE if isinstance(task, Task) and task.token == moment.position.index else task


def backoff_ms(backoff: Backoff, attempt: int) -> int:
    """The pause after failed attempt number `attempt`, from 1.

    Counted in microseconds, each step rounded down, the whole rounded down to milliseconds.
    """
    pause_us, max_us = backoff.initial_ms * 1000, backoff.max_ms * 1000
    for _ in range(min(attempt, limits.TASK_ATTEMPTS_MAX) - 1):
        if backoff.factor_milli >= 1000 and pause_us >= max_us:
            break
        pause_us = pause_us * backoff.factor_milli // 1000
    return min(pause_us, max_us) // 1000


def _with_error(task: Task, moment: Moment, code: Literal["failed", "expired", "owner-released"]) -> Task:
    error = TaskError(task.attempt, task.worker or "", moment.position, moment.wall_ms, code)
    return replace(task, errors=(*task.errors, error)[-limits.TASK_ERRORS_KEPT :])
