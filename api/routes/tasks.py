"""The routes of tasks: add, claim, what a worker says of its claim, cancel and retry, and looking.

A write is answered with the task as that write left it. `remaining_ms` counts from the log time of the entry; of a
claim under a replayed Idempotency-Key it is what remains now (0: lost since).
"""

from typing import Final, get_args

from msgspec.structs import replace

from raftmem.api.http import levels
from raftmem.api.http.call import Call, Headers, Reply
from raftmem.api.http.parameters import Parameters
from raftmem.api.http.parameters import memory_id as task_id
from raftmem.api.http.problems import not_found
from raftmem.api.requests import coordination_drafts
from raftmem.api.requests.coordination_bodies import (
    BareBody,
    ClaimBody,
    CompleteBody,
    FailBody,
    GiveBackBody,
    HeartbeatBody,
    TaskBody,
)
from raftmem.api.requests.memory_bodies import convert
from raftmem.api.requests.memory_drafts import Step
from raftmem.api.responses import coordination_views, memory_views
from raftmem.api.responses.coordination_replies import Heartbeat, TaskChanged, TasksClaimed
from raftmem.api.responses.coordination_views import TaskView
from raftmem.api.routes import listing
from raftmem.api.routes.coordination import Applied, applied, draft, optional_body, write
from raftmem.limits import LIST_SCAN_ROWS_MAX
from raftmem.model.commands import TaskCancel, TaskRelease, TaskRetry
from raftmem.model.coordination_rows import TASKS, Task, TaskState, owned_by, task_key, tasks_in
from raftmem.service.interface import Point
from raftmem.storage.state.contract import StateReader

_LIST: Final = (*listing.PARAMETERS, "queue", "state", "worker")


# --- writing --------------------------------------------------------------------------------------
async def add(call: Call) -> Reply:
    """`POST /v1/tasks`."""
    query = call.parameters(once=levels.WRITE)
    raw = await call.json()
    body = convert(raw, TaskBody)
    done = await write(call, query, coordination_drafts.add_task(body, call.service.new_id), body, raw)
    task = _task_of(done)
    if done.outcome.op == "NOOP":
        return _changed(done, task)
    location = ((b"location", b"/v1/tasks/" + task.id.encode()),)
    return _changed(done, task, status=201, headers=location)


async def claim(call: Call) -> Reply:
    """`POST /v1/tasks/claim`."""
    query = call.parameters(once=levels.WRITE)
    raw = await call.json()
    body = convert(raw, ClaimBody)
    asked = draft(call, query, coordination_drafts.claim(body), body, raw)
    timeout_ms = levels.timeout_ms(query)
    with call.wait(body.wait_ms):
        found = await call.service.claim(asked, wait_ms=body.wait_ms, timeout_ms=timeout_ms, gone=call.gone)
    if isinstance(found, Point):
        call.point = found  # said under a lease, which must cover the answer
        return Reply(200, memory_views.encode(TasksClaimed([], None)), found.index)
    done = applied(found)
    tasks = claimed(done)
    if found.replayed:
        tasks = [_as_of_now(task, found.reader, call.service.log_time()) for task in tasks]
    text = memory_views.encode(TasksClaimed(tasks, done.event if tasks else None))
    return Reply(200, text, done.index, headers=done.headers)


def claimed(done: Applied) -> list[TaskView]:
    """The tasks of a claim, as they were right after it."""
    about = done.outcome.about
    ids = () if about is None else about.task_ids
    found = (coordination_views.task_at(done.written.reader, task, done.at, done.now) for task in ids)
    return [task for task in found if task is not None]


def _as_of_now(task: TaskView, reader: StateReader, now: int) -> TaskView:
    """The task of a claim that was answered before, with the time that remains now."""
    row = reader.coordination_row(task_key(task.id))
    until = row.due if isinstance(row, Task) and row.token == task.token else None
    return replace(task, remaining_ms=0 if until is None else coordination_views.remaining_ms(until, now))


async def heartbeat(call: Call) -> Reply:
    """`POST /v1/tasks/{id}/heartbeat`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, HeartbeatBody)
    done = await write(call, query, coordination_drafts.heartbeat(target, body), body, raw)
    remaining_ms = _task_of(done).remaining_ms or 0
    text = memory_views.encode(Heartbeat(cancel_requested(done, target), remaining_ms, done.event))
    return Reply(200, text, done.index, headers=done.headers)


def cancel_requested(done: Applied, target: str) -> bool:
    """Right after a heartbeat."""
    row = done.written.reader.coordination_row(task_key(target), done.at)
    return isinstance(row, Task) and row.cancel_requested


async def complete(call: Call) -> Reply:
    """`POST /v1/tasks/{id}/complete`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, CompleteBody)
    return _changed(await write(call, query, coordination_drafts.complete(target, body), body, raw))


async def fail(call: Call) -> Reply:
    """`POST /v1/tasks/{id}/fail`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, FailBody)
    return _changed(await write(call, query, coordination_drafts.fail(target, body), body, raw))


async def release(call: Call) -> Reply:
    """`POST /v1/tasks/{id}/release`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, GiveBackBody)
    return _changed(await write(call, query, Step(TaskRelease(target, body.token), None), body, raw))


async def cancel(call: Call) -> Reply:
    """`POST /v1/tasks/{id}/cancel`."""
    query, target = _target(call)
    body, raw = await optional_body(call, BareBody)
    return _changed(await write(call, query, Step(TaskCancel(target), None), body, raw))


async def retry(call: Call) -> Reply:
    """`POST /v1/tasks/{id}/retry`."""
    query, target = _target(call)
    body, raw = await optional_body(call, BareBody)
    return _changed(await write(call, query, Step(TaskRetry(target), None), body, raw))


def _target(call: Call) -> tuple[Parameters, str]:
    query = call.parameters(once=levels.WRITE)
    return query, task_id(call.segments[0])


def _task_of(done: Applied) -> TaskView:
    """The one task of an operation, as it was right after it."""
    about = done.outcome.about
    assert about is not None, "an operation on a task says which"
    task = coordination_views.task_at(done.written.reader, about.task_ids[0], done.at, done.now)
    assert task is not None, "every version of a task is kept"
    return task


def _changed(done: Applied, task: TaskView | None = None, *, status: int = 200, headers: Headers = ()) -> Reply:
    text = memory_views.encode(TaskChanged(task or _task_of(done), done.event))
    return Reply(status, text, done.index, headers=(*done.headers, *headers))


# --- looking --------------------------------------------------------------------------------------
async def one(call: Call) -> Reply:
    """`GET /v1/tasks/{id}`."""
    given = call.parameters(once=levels.READ)
    target = task_id(call.segments[0])
    point = await call.read(levels.read_options(given, call.settings.level()))
    row = point.reader.coordination_row(task_key(target))
    if not isinstance(row, Task):
        raise not_found(f"there is no task {target}; finished ones are forgotten after a day", index=point.index)
    text = memory_views.encode(coordination_views.task(point.reader, row, call.service.log_time()))
    return Reply(200, text, point.index, point.level)


async def many(call: Call) -> Reply:
    """`GET /v1/tasks`."""
    given = call.parameters(once=_LIST)
    queue, worker = given.name("queue"), given.name("worker")
    state = given.choice("state", get_args(TaskState))
    page = await listing.read(
        call,
        given,
        listing.Source(
            Task,
            TASKS if queue is None else tasks_in(queue),
            lambda _, task: (
                queue in (None, task.queue) and state in (None, task.state) and worker in (None, task.worker)
            ),
            view=coordination_views.task,
            among=None if worker is None else lambda reader: _of_worker(reader, worker),
        ),
    )
    return page.reply("tasks")


def _of_worker(reader: StateReader, worker: str) -> list[Task] | None:
    """All that it has claimed; None: more than a page looks at."""
    found = [marked.row for marked in reader.scan(owned_by(worker), limit=LIST_SCAN_ROWS_MAX)]
    return None if len(found) == LIST_SCAN_ROWS_MAX else [row for row in found if isinstance(row, Task)]
