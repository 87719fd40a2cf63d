"""The end of a task, and its effect on the tasks that depend on it.

If the task completed, its dependents wait for one task less, and those that wait for none become claimable (or due
after their delay). If it is dead or cancelled, they are cancelled. One operation tells at most `TASK_TELL_MAX`
dependents and none of their own dependents; one entry tells at most `TASK_TELLS_PER_ENTRY_MAX`. Until all dependents
are told, the task is not `told` and due at once, so that the leader's TASK_EXPIRE continues. Then it is due when it
may be forgotten.

The rule that must hold: a dependent is told once. Telling removes it from the index of dependents.
"""

from typing import Literal

from msgspec.structs import replace

from raftmem import limits
from raftmem.machine.overlay import Moment, Overlay
from raftmem.model.coordination_rows import Task, dependents_of, task_key
from raftmem.model.records import About, Outcome, Position

End = Literal["completed", "cancelled", "dead"]


def put(overlay: Overlay, moment: Moment, task: Task) -> Task:
    """`task` is the newest version of itself from here on."""
    task = replace(task, updated=moment.position)
    overlay.put_row(task_key(task.id), task, moment.position)
    return task


def about(task: Task, *, token: int | None = None) -> About:
    return About(task_ids=(task.id,), queues=(task.queue,), token=token, state=task.state)


def unclaimed(task: Task) -> Task:
    """Without a worker. State and attempt are the caller's to set."""
    return replace(task, worker=None, token=None, ttl_ms=None, due=None, cancel_requested=False)


def finish(overlay: Overlay, moment: Moment, task: Task, end: End, *, result_at: Position | None = None) -> Task:
    """The task ends as `end`; its dependents are told as far as one operation goes."""
    return tell(overlay, moment, replace(unclaimed(task), state=end, not_before=None, result_at=result_at))


def tell(overlay: Overlay, moment: Moment, task: Task) -> Task:
    """A finished task tells its dependents, or goes on doing so."""
    most = min(limits.TASK_TELL_MAX, limits.TASK_TELLS_PER_ENTRY_MAX - overlay.told)
    found = overlay.scan(dependents_of(task.id), limit=most + 1)
    dependents = [one.row for one in found if isinstance(one.row, Task)]
    now = dependents[:most]
    overlay.told += len(now)
    if task.state == "completed":
        changed = [_freed(dependent, task.id, moment.now) for dependent in now]
    else:
        changed = [_given_up(overlay, dependent, moment.now) for dependent in now]
    task = put(overlay, moment, _told(task, len(dependents) == len(now), moment.now))
    for dependent in changed:
        dependent = put(overlay, moment, dependent)
        if dependent.state == "cancelled":
            overlay.consequences.append(Outcome("TASK_CANCEL", applied=True, about=about(dependent)))
    return task


def waiting_state(task: Task, now: int) -> Task:
    """A task that nobody has: blocked, scheduled or available, as its dependencies and its delay are."""
    if task.pending > 0:
        return replace(task, state="blocked", due=None)
    if task.not_before is not None and task.not_before > now:
        return replace(task, state="scheduled", due=task.not_before)
    return replace(task, state="available", due=None, not_before=None)


def _freed(dependent: Task, task_id: str, now: int) -> Task:
    done = (*dependent.done, task_id)
    return waiting_state(replace(dependent, done=done, pending=dependent.pending - 1), now)


def _given_up(overlay: Overlay, dependent: Task, now: int) -> Task:
    alone = not overlay.scan(dependents_of(dependent.id), limit=1)
    return _told(replace(unclaimed(dependent), state="cancelled", not_before=None), alone, now)


def _told(task: Task, told: bool, now: int) -> Task:
    return replace(task, told=told, due=now + limits.TASK_KEEP_US if told else now)
