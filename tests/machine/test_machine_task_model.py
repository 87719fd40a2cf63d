"""Random histories of tasks, judged after every entry by rules that share no code with the machine.

What is random: the operations, who dares to use which token, how time passes, when the leader looks, and whether its
entry arrives late. `TASK_TELL_MAX` is small, so that telling takes several entries; finished tasks are forgotten soon.
"""

import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_world import (
    Step,
    World,
    add_task,
    cancel,
    claim,
    complete,
    expire_task,
    fail,
    give_back,
    heartbeat,
    retry,
    tasks_due,
)

from raftmem import limits
from raftmem.model.commands import Backoff, TaskAdd, TaskClaim, TaskHeartbeat
from raftmem.model.coordination_rows import TASKS, Task, index_keys
from raftmem.model.records import Outcome
from raftmem.storage.state.store import LmdbStateStore

IDS = "abcdefg"
QUEUES = ("q", "r")
TTL_MS = 200
PREFIXES = (b"t", b"d", b"q", b"r", b"o", b"u", b"e")
FINISHED = ("completed", "cancelled", "dead")


class Do(NamedTuple):
    """One operation; what it needs to know of the state is looked up when it is its turn."""

    kind: str
    task: str = "a"
    others: str = ""
    number: int = 0


class Entry(NamedTuple):
    steps: list[Do]
    atomic: bool
    wait_ms: int


KINDS = ["add"] * 4 + ["claim"] * 4 + ["complete"] * 3 + ["fail", "release", "heartbeat", "cancel", "retry", "retry"]
KINDS += ["leader"] * 3 + ["look", "late"]


class History:
    """The state, and what anybody could know who only saw the outcomes."""

    def __init__(self) -> None:
        self.world = World()
        self.in_force: dict[str, tuple[int, int]] = {}  # claimed task -> token, log time until which it was promised
        self.lost: dict[str, int] = {}  # task -> a token that it was claimed with before
        self.completions: Counter[str] = Counter()  # of the task that has this id now
        self.ever_completed: set[str] = set()
        self.seen: list[Task] = []  # by a leader whose entry is still on its way

    def tasks(self) -> dict[str, Task]:
        found = self.world.store.read().scan(TASKS, limit=1000)
        return {one.row.id: one.row for one in found if isinstance(one.row, Task)}

    def run(self, entry: Entry) -> None:
        self.world.later(ms=entry.wait_ms)
        steps = [step for do in entry.steps for step in self.steps(do)]
        self.apply(steps, atomic=entry.atomic and len(steps) < 4)

    def steps(self, do: Do) -> list[Step]:
        if do.kind in ("complete", "fail", "release", "heartbeat", "cancel") and self.in_force and do.number % 4:
            do = do._replace(task=sorted(self.in_force)[do.number % len(self.in_force)])
        token = self.in_force.get(do.task, (self.lost.get(do.task, 1), 0))[0]
        if do.number % 7 == 6:
            token = self.lost.get(do.task, 1)
        match do.kind:
            case "add":
                return [
                    add_task(
                        do.task,
                        QUEUES[do.number % 2],
                        payload=do.number,
                        priority=do.number % 3,
                        delay_ms=[0, 0, 0, 150][do.number % 4],
                        max_attempts=1 + do.number % 3,
                        backoff=Backoff(initial_ms=100, max_ms=300),
                        depends_on=tuple(do.others),
                        unique_key=[None, None, "k"][do.number % 3],
                    )
                ]
            case "claim":
                return [claim(*QUEUES[: 1 + do.number % 2], most=1 + do.number % 3, ttl_ms=TTL_MS)]
            case "complete":
                return [complete(do.task, token, do.number)]
            case "fail":
                return [fail(do.task, token, "no", retryable=do.number % 5 > 0, delay_ms=[None, 0][do.number % 2])]
            case "release":
                return [give_back(do.task, token)]
            case "heartbeat":
                return [heartbeat(do.task, token)]
            case "cancel":
                return [cancel(do.task)]
            case "retry":
                return [retry(do.task)]
            case "leader":
                return [expire_task(task) for task in tasks_due(self.world)]
            case "look":
                self.seen = tasks_due(self.world)
                return []
            case _:
                return [expire_task(task) for task in self.seen]

    def apply(self, steps: list[Step], *, atomic: bool) -> None:
        before = self.tasks()
        outcomes = self.world.run(*steps, atomic=atomic)
        index = self.world.store.head().index
        for (operation, _), outcome in zip(steps, outcomes, strict=False):
            about = outcome.about
            assert about is not None
            if not outcome.applied:
                self.judge_refusal(outcome, operation, index, alone=len(steps) == 1 or not atomic)
            elif isinstance(operation, TaskClaim):
                if len(steps) == 1:
                    assert list(about.task_ids) == self.best(before, operation)
                for task_id in about.task_ids:
                    assert task_id not in self.in_force
                    self.in_force[task_id] = (index, self.world.time + operation.ttl_ms * 1000)
            elif isinstance(operation, TaskAdd):
                if outcome.op == "TASK_ADD":
                    self.completions[operation.id] = 0
            elif isinstance(operation, TaskHeartbeat):
                assert self.in_force[operation.task_id][0] == operation.token
                self.in_force[operation.task_id] = (operation.token, self.world.time + TTL_MS * 1000)
            elif outcome.op in ("TASK_COMPLETE", "TASK_FAIL", "TASK_RELEASE", "TASK_EXPIRE"):
                self.judge_end(outcome, operation)
        self.judge_state(self.tasks())

    @staticmethod
    def best(tasks: dict[str, Task], operation: TaskClaim) -> list[str]:
        free = [task for task in tasks.values() if task.state == "available" and task.queue in operation.queues]
        free.sort(key=lambda task: (-task.priority, task.created.index, task.created.seq))
        return [task.id for task in free[: operation.max]]

    def judge_refusal(self, outcome: Outcome, operation: object, index: int, *, alone: bool) -> None:
        """A claim in force is honoured, unless this very entry granted it or another operation refused the entry."""
        token = getattr(operation, "token", None)
        held = self.in_force.get(getattr(operation, "task_id", ""))
        if outcome.code == "stale-token":
            assert outcome.about is not None
            assert held is None or held[0] != token or not alone
            assert outcome.about.current_token == (None if held is None else held[0])
        elif token is not None and held is not None and held[0] == token:
            assert outcome.code == "batch-refused" or held[0] == index

    def judge_end(self, outcome: Outcome, operation: object) -> None:
        about = outcome.about
        assert about is not None
        (task_id,) = about.task_ids
        if about.token is None:
            return  # a delay that is over, dependents told, a task forgotten
        token, until = self.in_force.pop(task_id)
        self.lost[task_id] = token
        assert about.token == token
        if outcome.op == "TASK_EXPIRE":
            assert self.world.time >= until, "a claim was taken before its time"
        else:
            assert getattr(operation, "token", None) == token
        if outcome.op == "TASK_COMPLETE":
            self.completions[task_id] += 1
            assert self.completions[task_id] == 1
            self.ever_completed.add(task_id)

    def judge_state(self, tasks: dict[str, Task]) -> None:
        reader = self.world.store.read()
        expected = {index_key for task in tasks.values() for index_key in index_keys(task)}
        assert {one.index_key for prefix in PREFIXES for one in reader.scan(prefix, limit=9999)} == expected
        keys = [(task.queue, task.unique_key) for task in tasks.values() if task.state not in FINISHED]
        assert max(Counter(key for key in keys if key[1]).values(), default=1) == 1
        for task in tasks.values():
            self.judge_task(task, tasks)
        waits = {task.id: self.waits_for(task) for task in tasks.values()}
        while any(not needed & waits.keys() for needed in waits.values()):
            waits = {one: needed for one, needed in waits.items() if needed & waits.keys()}
        assert waits == {}, "they wait for each other"

    @staticmethod
    def waits_for(task: Task) -> set[str]:
        return set(task.depends_on) - set(task.done) if task.state == "blocked" else set()

    def judge_task(self, task: Task, tasks: dict[str, Task]) -> None:
        assert 0 <= task.attempt <= task.max_attempts
        assert (task.state == "claimed") == (task.token is not None) == (task.worker is not None)
        assert (task.state == "claimed") == (task.id in self.in_force)
        assert (task.due is not None) == (task.state in ("claimed", "scheduled", *FINISHED))
        assert task.told or task.state in FINISHED
        assert set(task.done) <= set(task.depends_on) & self.ever_completed
        assert task.pending == len(task.depends_on) - len(task.done)
        assert (task.state == "blocked") == (task.pending > 0) or task.state in FINISHED
        for needed in self.waits_for(task):
            other = tasks.get(needed)
            assert other is None or other.state not in FINISHED or not other.told, "stuck"

    def drain(self) -> None:
        """Workers and the leader go on until nothing moves."""
        for _ in range(200):
            due = tasks_due(self.world)
            self.apply([expire_task(task) for task in due], atomic=False)
            self.apply([claim(*QUEUES, most=9, ttl_ms=TTL_MS)], atomic=True)
            claimed = list(self.in_force.items())
            index = self.world.store.head().index
            self.apply([complete(task_id, token) for task_id, (token, _) in claimed if token <= index], atomic=False)
            self.world.later(ms=100)
            if all(task.state in (*FINISHED, "blocked") and task.told for task in self.tasks().values()):
                return
        raise AssertionError(f"something never ends: {self.tasks()}")


def run_history(entries: list[Entry], again: World) -> None:
    """`again`: a state that is to come to the same from the log alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "TASK_TELL_MAX", 2)
        patch.setattr(limits, "TASK_KEEP_US", 3_000_000)
        history = History()
        for entry in entries:
            history.run(entry)
        history.drain()
        for _ in IDS:  # what is still blocked waits for a task that does not exist, or for one that does so
            missing = set().union(*map(history.waits_for, history.tasks().values())) - history.tasks().keys()
            history.apply([add_task(task_id) for task_id in sorted(missing)], atomic=False)
            history.drain()
        assert not any(task.state == "blocked" for task in history.tasks().values())
        history.world.later(ms=3000)
        history.apply([expire_task(task) for task in tasks_due(history.world)], atomic=False)
        assert history.tasks() == {}
        for data in history.world.log:
            again.feed(data)
        assert again.store.head() == history.world.store.head()


DOES = st.builds(
    Do,
    st.sampled_from(KINDS),
    st.sampled_from(IDS),
    st.text(IDS, max_size=3),
    st.integers(0, 60),
)
ENTRIES = st.builds(
    Entry, st.lists(DOES, min_size=1, max_size=2), st.booleans(), st.sampled_from([0, 0, 10, 100, 250, 3000])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ENTRIES, min_size=1, max_size=40))
def test_what_must_hold_of_tasks_holds(entries: list[Entry]) -> None:
    run_history(entries, World())


@pytest.mark.parametrize("seed", range(20))
def test_what_must_hold_of_tasks_holds_over_a_long_history(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    store = LmdbStateStore(tmp_path / "state", map_bytes=64 << 20)
    run_history([drawn(dice) for _ in range(250)], World(store))
    store.close(clean=True)


def drawn(dice: random.Random) -> Entry:
    many = dice.choice([1, 1, 1, 2, 3])
    does = [
        Do(
            dice.choice(KINDS),
            dice.choice(IDS),
            "".join(dice.choices(IDS, k=dice.choice([0, 0, 1, 2]))),
            dice.randrange(61),
        )
        for _ in range(many)
    ]
    return Entry(does, dice.random() < 0.5, dice.choice([0, 0, 10, 50, 250, 1000 if dice.random() < 0.2 else 0]))


COMES_TO = """
    TASK_ADD:available TASK_ADD:scheduled TASK_ADD:blocked TASK_ADD:cancelled TASK_ADD:already-exists
    TASK_ADD:dependency-cycle TASK_ADD:batch-refused NOOP:for:TASK_ADD:available
    TASK_CLAIM:None NOOP:for:TASK_CLAIM:None TASK_HEARTBEAT:claimed TASK_HEARTBEAT:stale-token
    TASK_COMPLETE:completed TASK_COMPLETE:stale-token TASK_COMPLETE:not-found
    TASK_FAIL:scheduled TASK_FAIL:available TASK_FAIL:dead TASK_FAIL:cancelled TASK_FAIL:stale-token
    TASK_RELEASE:available TASK_RELEASE:cancelled TASK_RELEASE:stale-token
    TASK_CANCEL:cancelled TASK_CANCEL:claimed NOOP:for:TASK_CANCEL:cancelled TASK_CANCEL:wrong-state
    TASK_RETRY:available TASK_RETRY:blocked TASK_RETRY:wrong-state TASK_RETRY:already-exists
    TASK_EXPIRE:available TASK_EXPIRE:dead TASK_EXPIRE:cancelled TASK_EXPIRE:moved TASK_EXPIRE:None
"""


def test_histories_come_to_everything() -> None:
    """The judge is worth something only if the histories get there."""
    dice, told = random.Random(1), Counter[str]()
    history = History()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "TASK_TELL_MAX", 2)
        patch.setattr(limits, "TASK_KEEP_US", 3_000_000)
        for _ in range(3000):
            history.run(drawn(dice))
            assert history.world.last is not None
            for outcome in history.world.last.row.result.outcomes:
                assert outcome.about is not None
                op = outcome.op if outcome.op != "NOOP" else f"NOOP for {outcome.requested_op}"
                told[f"{op} {outcome.code or outcome.about.state}"] += 1
    assert set(COMES_TO.split()) <= {one.replace(" ", ":") for one in told}
