"""Tasks: each is claimed by one worker at a time, completed once, by the token in force, and none is lost.

The log is replayed. Claims of a task never overlap. Attempts count up by one and stay within their number. A worker
that completes, fails, releases or keeps a task names the claim that it has. The log has everything that clients were
told. In the end, if everything was drained, every task is finished.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, convert

from jepsen_like.checkers.complaints import Complaints, tell
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.payloads import fields, integer
from jepsen_like.history.logged import Event, Log
from jepsen_like.history.record import Operation

FINISHED: Final = ("completed", "cancelled", "dead")
_ATTEMPTS: Final = 25  # that a task has if nobody says otherwise


class _Task(Struct):
    """`claim`: the token in force. `claims`: token -> number of the attempt. `completed`: (index, token)."""

    max_attempts: int
    state: str = ""
    claim: int | None = None
    attempts: int = 0
    claims: dict[int, int] = {}
    completed: tuple[int, int | None] | None = None


class _Named(Struct, frozen=True):
    id: str
    token: int | None = None
    attempt: int | None = None


class _Claimed(Struct, frozen=True):
    tasks: tuple[_Named, ...] = ()


def check(evidence: Evidence) -> Finding:
    """`Ending.extra["drained"]`: true if nothing unfinished was to be left."""
    complaints = Complaints("tasks")
    if evidence.log is None:
        complaints.doubt("nobody could be asked for the log")
        return complaints.finding("")
    tasks = _Replay(complaints).replay(evidence.log)
    operations = evidence.history.operations
    _told(operations, tasks, complaints)
    if evidence.ending.extra.get("drained") is True:
        for name, task in tasks.items():
            if task.state not in FINISHED:
                complaints.add("unfinished", f"task {name} is {task.state or 'waiting'} after {task.attempts} attempts")
    else:
        complaints.doubt("the tasks were not drained in the end")
    if not tasks:
        complaints.doubt("no task was added")
    completed = sum(task.completed is not None for task in tasks.values())
    claims = sum(len(task.claims) for task in tasks.values())
    return complaints.finding(
        f"{len(tasks)} tasks, {claims} claims that never overlap, {completed} completed once, all finished",
        {"tasks": len(tasks), "claims": claims, "completed": completed},
    )


class _Replay:
    def __init__(self, complaints: Complaints) -> None:
        self._tasks: dict[str, _Task] = {}
        self._complaints = complaints

    def replay(self, log: Log) -> dict[str, _Task]:
        for event in log.events:
            if event.outcome != "applied":
                continue
            for name in event.task_ids:
                if event.op == "TASK_ADD":
                    before = self._tasks.get(name)
                    if before is not None and before.state not in FINISHED:
                        self._complaints.add("added-twice", f"index {event.index} adds task {name} again, unfinished")
                    attempts = integer(event, "max_attempts") or _ATTEMPTS
                    self._tasks[name] = _Task(attempts, "cancelled" if self._in_vain(event) else "")
                elif name in self._tasks:
                    self._one(event, name, self._tasks[name])
                elif event.op != "TASK_EXPIRE":  # one that is forgotten may come again
                    self._complaints.add("never-added", f"{event.op} of task {name} at index {event.index}")
        return self._tasks

    def _in_vain(self, event: Event) -> bool:
        """A task that waits for one that never completes is cancelled as it is added; its event does not say so."""
        waits_for = convert(fields(event).get("depends_on", ()), tuple[str, ...])
        return any(self._tasks[name].state in ("cancelled", "dead") for name in waits_for if name in self._tasks)

    def _one(self, event: Event, name: str, task: _Task) -> None:
        match event.op:
            case "TASK_CLAIM":
                self._begins(event, name, task)
                return
            case "TASK_HEARTBEAT":
                self._in_force(event, name, task)
                return
            case "TASK_COMPLETE":
                if task.completed is not None:
                    self._complaints.add(
                        "completed-twice", f"task {name}: at index {task.completed[0]}, and at {event.index}"
                    )
                self._in_force(event, name, task)
                task.completed = event.index, event.token
                task.claim = None
            case "TASK_FAIL":
                self._in_force(event, name, task)
                task.claim = None
            case "TASK_RELEASE":
                self._in_force(event, name, task)
                task.claim = None
                task.attempts -= 1
            case "TASK_EXPIRE" if task.claim is not None and event.token is not None:
                self._in_force(event, name, task)
                task.claim = None
            case "TASK_RETRY" if task.state in FINISHED:
                task.attempts = 0
        if event.task_state is not None and event.op != "NOOP":
            task.state = event.task_state

    def _begins(self, event: Event, name: str, task: _Task) -> None:
        task.attempts += 1
        if task.claim is not None or task.completed is not None or task.state in FINISHED:
            was = f"claimed with token {task.claim}" if task.claim is not None else task.state
            self._complaints.add("claims-overlap", f"index {event.index} gives task {name}, which was {was}")
        if task.attempts > task.max_attempts:
            self._complaints.add(
                "too-many-attempts",
                f"index {event.index} begins task {name} for time {task.attempts}, of {task.max_attempts}",
            )
        if event.token != event.index:
            self._complaints.add("wrong-token", f"index {event.index} gives task {name} with token {event.token}")
        task.claim, task.state = event.index, "claimed"
        task.claims[event.index] = task.attempts

    def _in_force(self, event: Event, name: str, task: _Task) -> None:
        if event.token is None or task.claim != event.token:
            self._complaints.add(
                "stale-claim-taken",
                f"{event.op} of task {name} with token {event.token} was done at index {event.index}; in force was "
                f"{'none' if task.claim is None else task.claim}",
            )


def _told(operations: Sequence[Operation], tasks: dict[str, _Task], complaints: Complaints) -> None:
    """Every acknowledged operation is in the log."""
    for one in operations:
        if one.type != "ok":
            continue
        match one.f:
            case "add":
                if convert(one.result, _Named).id not in tasks:
                    complaints.add("lost-task", f"{tell(one)}: the log has no such task")
            case "claim":
                for told in convert(one.result, _Claimed).tasks if one.result is not None else ():
                    _claimed(one, told, tasks, complaints)
            case "complete":
                named = convert(one.value, _Named)
                task = tasks.get(named.id)
                if task is None or task.completed is None or task.completed[1] != named.token:
                    complaints.add("lost-completion", f"{tell(one)}: by the log it was not completed by this token")


def _claimed(one: Operation, told: _Named, tasks: dict[str, _Task], complaints: Complaints) -> None:
    task = tasks.get(told.id)
    attempt = None if task is None or told.token is None else task.claims.get(told.token)
    if attempt is None:
        complaints.add("claim-without-grant", f"{tell(one)}: the log has no such claim of {told.id}")
    elif told.attempt is not None and told.attempt != attempt:
        complaints.add("wrong-attempt", f"{tell(one)}: by the log it was attempt {attempt} of {told.id}")
