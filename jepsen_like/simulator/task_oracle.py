"""The oracle of tasks: it judges the events of the log alone against true time.

A task is in one worker's hands at a time; it is completed once at most, by the token in force; a claim, like a delay,
ends by itself no earlier than promised; no task is begun more often than its attempts allow; whoever names a token is
believed if, and only if, that token holds.
"""

from msgspec import Struct

from jepsen_like.simulator.leases import Fail, Lease, Leases, Told, told
from jepsen_like.simulator.sometimes import Sometimes
from raftmem.machine.run import Applied
from raftmem.model.commands import TaskAdd, TaskClaim, TaskComplete, TaskFail, TaskHeartbeat, TaskRelease, TaskRetry

ByToken = TaskHeartbeat | TaskComplete | TaskFail | TaskRelease


class Claimed(Struct):
    worker: str
    token: int
    lease: Lease


class TaskSeen(Struct):
    """`delay`: until it may be claimed again. `lost`: workers whose claim ran out. `attempts`: that count."""

    max_attempts: int
    claim: Claimed | None = None
    delay: Lease | None = None
    lost: set[str] = set()
    attempts: int = 0
    completed: bool = False


class TaskOracle:
    """Sees every entry once, in order, when it is first applied anywhere."""

    def __init__(self, leases: Leases, sometimes: Sometimes, fail: Fail) -> None:
        self.tasks: dict[str, TaskSeen] = {}
        self._leases = leases
        self._sometimes = sometimes
        self._fail = fail

    def claims_left(self) -> list[str]:
        """The workers that have a task."""
        return [f"{seen.claim.worker} has {task}" for task, seen in self.tasks.items() if seen.claim is not None]

    def applies(self, applied: Applied) -> None:
        """Raises: Violation."""
        for one in told(applied):
            about = one.outcome.about
            for task in about.task_ids if about is not None else ():
                self._one(one, task)

    def _one(self, one: Told, task: str) -> None:
        outcome, operation = one.outcome, one.operation
        if outcome.op == "TASK_ADD" and isinstance(operation, TaskAdd):
            if outcome.applied:
                self.tasks[task] = TaskSeen(operation.max_attempts)
                self._pause(one, self.tasks[task], operation.delay_ms)
            return
        seen = self.tasks.get(task)
        if seen is None:
            return
        if not outcome.applied:
            self._refused(one, task, seen)
        elif isinstance(operation, TaskClaim):
            self._begins(one, task, seen, operation)
        elif isinstance(operation, ByToken):
            self._goes_on(one, task, seen, operation)
        elif outcome.op == "TASK_EXPIRE":
            self._expires(one, task, seen)
        elif outcome.op == "TASK_CANCEL" and seen.claim is None:
            seen.delay = None
        elif isinstance(operation, TaskRetry) and outcome.op == "TASK_RETRY":
            if seen.delay is None:  # it was dead or cancelled, and begins anew
                seen.attempts = 0
            seen.delay = None

    def _pause(self, one: Told, seen: TaskSeen, delay_ms: int) -> None:
        seen.delay = self._leases.given(delay_ms, one.term) if delay_ms else None

    def _begins(self, one: Told, task: str, seen: TaskSeen, operation: TaskClaim) -> None:
        if seen.claim is not None or seen.completed:
            raise self._fail(f"{one.index} gives the task {task} to {operation.worker}: it was {seen}")
        if seen.delay is not None and one.outcome.about is not None:
            self._leases.check_over(seen.delay, f"at {one.index} the delay of {task}", self._fail)
        seen.delay = None
        seen.attempts += 1
        if seen.attempts > seen.max_attempts:
            raise self._fail(f"{one.index} begins {task} for the {seen.attempts}th time of {seen.max_attempts}")
        seen.claim = Claimed(operation.worker, one.index, self._leases.given(operation.ttl_ms, one.term))

    def _goes_on(self, one: Told, task: str, seen: TaskSeen, operation: ByToken) -> None:
        claim = seen.claim
        if claim is None or claim.token != operation.token:
            raise self._fail(f"{one.index} does {one.outcome.op} of {task} with {operation.token}: it was {seen}")
        match operation:
            case TaskHeartbeat():
                ttl_ms = round(claim.lease.seconds * 1000) if operation.ttl_ms is None else operation.ttl_ms
                claim.lease = self._leases.given(ttl_ms, one.term)
                return
            case TaskComplete():
                seen.completed = True
                if seen.lost - {claim.worker}:
                    self._sometimes.saw("expired claim completed by another")
            case TaskFail():
                is_tried_again = one.outcome.about is not None and one.outcome.about.state == "scheduled"
                self._pause(one, seen, (is_tried_again and operation.delay_ms) or 0)
            case TaskRelease():
                seen.attempts -= 1
        seen.claim = None

    def _expires(self, one: Told, task: str, seen: TaskSeen) -> None:
        """A claim that ran out, a delay that is over, or (no token named) an end that is told or forgotten."""
        if seen.claim is not None:
            if one.operation is not None:  # else its owner was declared dead
                self._leases.check_over(seen.claim.lease, f"at {one.index} the claim of {task}", self._fail)
                self._sometimes.saw("claim expired")
            seen.lost.add(seen.claim.worker)
            seen.claim = None
        elif seen.delay is not None:
            self._leases.check_over(seen.delay, f"at {one.index} the delay of {task}", self._fail)
            seen.delay = None

    def _refused(self, one: Told, task: str, seen: TaskSeen) -> None:
        operation = one.operation
        if one.outcome.code == "stale-token" and isinstance(operation, ByToken):
            if seen.claim is not None and seen.claim.token == operation.token:
                raise self._fail(f"{one.index} calls the token {operation.token} of {task} stale")
            self._sometimes.saw("stale token refused")
