"""The requests about tasks."""

from collections.abc import Mapping, Sequence
from typing import Final

from raftmem.client.coordination_shapes import Claim, Heartbeat, Task, TaskWritten
from raftmem.client.plan import (
    Guard,
    Level,
    ListPlan,
    Plan,
    Reading,
    Shape,
    get,
    given,
    guards_of,
    listing,
    ms,
    parser,
    segment,
    write,
)
from raftmem.client.values import names

_TASK: Final = parser(Task)
_WRITTEN: Final = parser(TaskWritten)
_CLAIM: Final = parser(Claim)
_HEARTBEAT: Final = parser(Heartbeat)


def add(
    queue: str,
    payload: object = None,
    *,
    id: str | None = None,
    priority: int = 0,
    delay: float = 0.0,
    max_attempts: int | None = None,
    backoff: Mapping[str, object] | None = None,
    depends_on: Sequence[str] = (),
    unique_key: str | None = None,
    guards: Sequence[Guard] = (),
    key: str | None = None,
) -> Plan[TaskWritten]:
    """Add a task. A higher priority comes first; `delay` in seconds; `backoff`: `{initial_ms, factor, max_ms}`. If an
    unfinished task of the queue has this `unique_key`, that task is answered and its event is a NOOP.

    Raises: AlreadyExists, DependencyCycle.
    """
    body = given(
        id=id,
        priority=priority or None,
        delay_ms=ms(delay, "delay") or None,
        max_attempts=max_attempts,
        backoff=backoff,
        depends_on=names(depends_on, "depends_on") or None,
        unique_key=unique_key,
        guards=guards_of(guards),
    )
    return write("POST", "/v1/tasks", _WRITTEN, {"queue": queue, "payload": payload, **body}, key=key)


def claim(
    queues: Sequence[str], *, worker: str, ttl: float, max: int = 1, wait: float = 0.0, key: str | None = None
) -> Plan[Claim]:
    """Claim up to `max` tasks; the answer may hold none. `wait` is 60 s at most. `worker` is unique to one process."""
    body = given(
        queues=names(queues, "queues"), worker=worker, ttl_ms=ms(ttl, "ttl"), max=max, wait_ms=ms(wait, "wait") or None
    )
    return write("POST", "/v1/tasks/claim", _CLAIM, body, key=key, wait_s=wait)


def heartbeat(id: str, *, token: int, ttl: float | None = None) -> Plan[Heartbeat]:
    """Renew a claim; `ttl` None: by the same time as before. Raises: StaleToken."""
    return write("POST", _path(id, "heartbeat"), _HEARTBEAT, given(token=token, ttl_ms=ms(ttl, "ttl")), keyed=False)


def complete(
    id: str, *, token: int, result: object = None, guards: Sequence[Guard] = (), key: str | None = None
) -> Plan[TaskWritten]:
    """The task is done. Raises: StaleToken when the claim went to another worker."""
    body = {"token": token, "result": result, **given(guards=guards_of(guards))}
    return write("POST", _path(id, "complete"), _WRITTEN, body, key=key)


def fail(
    id: str,
    *,
    token: int,
    error: object = None,
    retryable: bool = True,
    delay: float | None = None,
    key: str | None = None,
) -> Plan[TaskWritten]:
    """This attempt failed. `delay` None: by the task's backoff. Raises: StaleToken."""
    body = {"token": token, "error": error, "retryable": retryable, **given(delay_ms=ms(delay, "delay"))}
    return write("POST", _path(id, "fail"), _WRITTEN, body, key=key)


def release(id: str, *, token: int, key: str | None = None) -> Plan[TaskWritten]:
    """Give the task back; the attempt does not count. Raises: StaleToken."""
    return write("POST", _path(id, "release"), _WRITTEN, {"token": token}, key=key)


def cancel(id: str, *, key: str | None = None) -> Plan[TaskWritten]:
    """Cancel a task: at once if it is not claimed; otherwise its worker is told. Raises: NotFound, WrongState."""
    return write("POST", _path(id, "cancel"), _WRITTEN, {}, key=key)


def retry(id: str, *, key: str | None = None) -> Plan[TaskWritten]:
    """Start a dead or cancelled task anew, a scheduled one now. Raises: NotFound, WrongState."""
    return write("POST", _path(id, "retry"), _WRITTEN, {}, key=key)


def show(id: str, *, consistency: Level | None = None) -> Plan[Task]:
    """One task. Raises: NotFound."""
    return get(f"/v1/tasks/{segment(id, 'id')}", _TASK, reading=Reading(consistency))


def many(
    *,
    queue: str | None = None,
    state: str | None = None,
    worker: str | None = None,
    descending: bool = False,
    consistency: Level | None = None,
    page_size: int = 100,
) -> ListPlan[Task]:
    """List tasks. Each page shows its own moment."""
    asked = given(queue=queue, state=state, worker=worker)
    return listing("/v1/tasks", "tasks", list[Task], asked, Shape(page_size, descending, consistency))


def _path(id: str, verb: str) -> str:
    return f"/v1/tasks/{segment(id, 'id')}/{verb}"
