"""The dependencies of a task: their states when it is added or retried, and the check that they form no cycle.

A dependency that does not exist (not yet, or no longer) counts as not completed, so tasks may be added in any order. It
must hold that blocked tasks never wait for each other in a cycle. Only a task that becomes blocked while others are
blocked on it can close a cycle, so only then is the graph walked. A walk that would look at more than `TASK_GRAPH_MAX`
tasks refuses the task instead.
"""

from collections import deque
from typing import Final, NamedTuple

from raftmem import limits
from raftmem.machine.overlay import Overlay, Refusal
from raftmem.model.coordination_rows import Task, dependents_of

_PATH_SHOWN_MAX: Final = 16  # ids of one path, which is told in the outcome: longer ones lose their middle


class Needs(NamedTuple):
    """`done`: the dependencies that have completed. `failed`: one of the others is dead or cancelled."""

    done: tuple[str, ...]
    failed: bool


def needs(overlay: Overlay, depends_on: tuple[str, ...], done: tuple[str, ...] = ()) -> Needs:
    """The states of the dependencies now; those in `done` have completed, whatever happened to them since."""
    failed = False
    completed: list[str] = []
    for task_id in depends_on:
        if task_id in done:
            completed.append(task_id)
            continue
        task = overlay.task(task_id)
        if task is None:
            continue
        if task.state == "completed":
            completed.append(task_id)
        failed = failed or task.state in ("dead", "cancelled")
    return Needs(tuple(completed), failed)


def closes_a_circle(overlay: Overlay, task: Task) -> Refusal | None:
    """The refusal if this task, new or finished, cannot become blocked; None if it can."""
    task_id = task.id
    waits_for = [needed for needed in task.depends_on if needed not in task.done]
    if task_id in waits_for:
        return _circle([task_id, task_id])
    if not overlay.scan(dependents_of(task_id), limit=1):
        return None
    came_from = dict.fromkeys(waits_for, task_id)  # the nearest first, so the path told is a shortest one
    to_visit = deque(came_from)
    while to_visit:
        at = to_visit.popleft()
        found = overlay.task(at)
        if found is None or found.state != "blocked":
            continue
        for needed in found.depends_on:
            if needed in found.done or needed in came_from:
                continue
            came_from[needed] = at
            if needed == task_id:
                return _circle(_path(came_from, task_id))
            if len(came_from) > limits.TASK_GRAPH_MAX:
                return Refusal("too-large")
            to_visit.append(needed)
    return None


def _path(came_from: dict[str, str], task_id: str) -> list[str]:
    """From `task_id` along what waits for what, back to it."""
    backwards = [task_id]
    at = came_from[task_id]
    while at != task_id:
        backwards.append(at)
        at = came_from[at]
    return [task_id, *reversed(backwards)]


def _circle(path: list[str]) -> Refusal:
    if len(path) > _PATH_SHOWN_MAX:
        half = _PATH_SHOWN_MAX // 2
        path = [*path[:half], "...", *path[-half:]]
    return Refusal("dependency-cycle", path=" -> ".join(path))
