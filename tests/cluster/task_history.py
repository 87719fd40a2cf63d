"""What the log says of tasks, judged event by event: one claim at most, ended by its own token, completed once.

It knows nothing of the service's rows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from raftmem.client import Event

CLAIM_ENDS = ("TASK_COMPLETE", "TASK_FAIL", "TASK_RELEASE", "TASK_EXPIRE")


class TaskHistory:
    """By task id. `token`: of the claim in force, if there is one. `attempts`: claims, without those given back.

    `ended`: completed, or dead, which no later event may change. `ran_out`: claims that expired. `stale`: what was
    asked by a claim that was over, and refused.
    """

    def __init__(self, attempts_max: dict[str, int]) -> None:
        self._attempts_max = attempts_max
        self.token: dict[str, int] = {}
        self.attempts: defaultdict[str, int] = defaultdict(int)
        self.ended: dict[str, str] = {}
        self.completed: Counter[str] = Counter()
        self.ran_out = 0
        self.stale = 0

    def take(self, event: Event) -> None:
        if event.op == "TASK_CLAIM" and event.applied:
            for task in event.task_ids:
                self._claim(task, event)
        elif event.op in CLAIM_ENDS or event.op == "TASK_HEARTBEAT":
            (task,) = event.task_ids
            if not event.applied:
                self._refused(task, event)
            elif event.op != "TASK_HEARTBEAT":
                self._end_claim(task, event)
            else:
                assert event.token == self.token.get(task), f"{self.token.get(task)} is in force: {event}"

    def _claim(self, task: str, event: Event) -> None:
        assert task not in self.token, f"claimed with {self.token[task]}: {event}"
        assert task not in self.ended, f"{task} is {self.ended[task]}: {event}"
        assert event.token == event.index, f"a token is the index of its claim: {event}"
        self.attempts[task] += 1
        assert self.attempts[task] <= self._attempts_max[task], f"{self.attempts[task]} attempts: {event}"
        self.token[task] = event.index

    def _refused(self, task: str, event: Event) -> None:
        if event.code == "stale-token":
            self.stale += 1
            assert event.token != self.token.get(task), f"in force, and refused: {event}"

    def _end_claim(self, task: str, event: Event) -> None:
        if event.op == "TASK_EXPIRE" and event.token is None:  # a delay that is over
            assert task not in self.token, f"claimed with {self.token[task]}: {event}"
            return
        assert event.token == self.token.pop(task, None), f"not by the claim in force: {event}"
        self.attempts[task] -= event.op == "TASK_RELEASE"
        self.ran_out += event.op == "TASK_EXPIRE"
        self.completed[task] += event.op == "TASK_COMPLETE"
        if event.task_state in ("completed", "dead"):
            self.ended[task] = event.task_state
        used_up = self.attempts[task] == self._attempts_max[task]
        if event.op == "TASK_EXPIRE":
            assert event.task_state == ("dead" if used_up else "available"), event


def task_history(events: Iterable[Event], attempts_max: dict[str, int]) -> TaskHistory:
    """Of the events of a queue, in order."""
    history = TaskHistory(attempts_max)
    for event in events:
        history.take(event)
    return history
