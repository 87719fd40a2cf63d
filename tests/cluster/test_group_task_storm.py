"""Tasks whose workers are killed at random: each is completed once, none is stuck, attempts are as configured.

RAFTMEM_TEST_TASKS=10000 RAFTMEM_TEST_WORKERS=20 RAFTMEM_TEST_WORKER_KILLS=60 is the full form (400, 5, 5 if not set).
"""

import os
import random
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from client_process import Program, Programs, programs
from task_history import task_history

from jepsen_like.cluster.client import PATIENCE_S
from jepsen_like.cluster.group import LoopbackGroup
from raftmem.client import Actor, Event, RaftmemClient, Task

TASKS = int(os.environ.get("RAFTMEM_TEST_TASKS", "400"))
WORKERS = int(os.environ.get("RAFTMEM_TEST_WORKERS", "5"))
KILLS = int(os.environ.get("RAFTMEM_TEST_WORKER_KILLS", "5"))
DEADLY = 2  # tasks that kill whoever tries them
FLAKY_EVERY = 10
DEADLY_ATTEMPTS = 2
ATTEMPTS = 25
CONCURRENCY = 4
TTL_S = 2.0
QUEUE = "storm"


def put(client: RaftmemClient) -> dict[str, dict[str, object]]:
    """The payloads by id: most plain, some flaky, few deadly and these between the others."""
    kinds = ["flaky" if number % FLAKY_EVERY == 0 else "plain" for number in range(TASKS)]
    for number in range(DEADLY):
        kinds.insert((number + 1) * TASKS // (DEADLY + 1), "deadly")
    payloads: dict[str, dict[str, object]] = {
        f"storm-{number}": {"n": number, "kind": kind} for number, kind in enumerate(kinds)
    }
    items = [
        {
            "op": "TASK_ADD",
            "queue": QUEUE,
            "id": name,
            "payload": payload,
            "max_attempts": attempts_max(payload),
            "backoff": {"initial_ms": 100, "factor": 1, "max_ms": 100},
        }
        for name, payload in payloads.items()
    ]
    for first in range(0, len(items), 100):
        client.txn(then=items[first : first + 100])
    return payloads


def attempts_max(payload: dict[str, object]) -> int:
    return DEADLY_ATTEMPTS if payload["kind"] == "deadly" else ATTEMPTS


class Storm:
    """Workers, each replaced by another when it is dead. `killed`: by us; the others died of a task."""

    def __init__(self, programs_of_it: Programs) -> None:
        self._programs = programs_of_it
        self._at_work: list[Program] = []
        self.killed = 0
        self.died = 0
        for _ in range(WORKERS):
            self._begin()

    def _begin(self) -> None:
        self._at_work.append(self._programs.begin("worker", QUEUE, CONCURRENCY, TTL_S))

    def kill_one(self) -> None:
        self.replace_the_dead()
        victim = random.choice(self._at_work)
        if victim.runs:
            victim.kill()
            self._at_work.remove(victim)
            self._begin()
            self.killed += 1

    def replace_the_dead(self) -> None:
        for dead in [one for one in self._at_work if not one.runs]:
            self._at_work.remove(dead)
            self._begin()
            self.died += 1


def until_completed(client: RaftmemClient, storm: Storm) -> float:
    """Kills as the work goes on, and comes back when all is done. The longest time without a completion, seconds."""
    done, seen, longest, last = 0, 1, 0.0, time.monotonic()
    while done < TASKS:
        found = client.events(seen, op="TASK_COMPLETE", queue=QUEUE, outcome="applied", wait=1.0, page_size=1000).all()
        storm.replace_the_dead()
        if found:
            done += len(found)
            seen = found[-1].index + 1
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert time.monotonic() < last + PATIENCE_S, f"stuck with {done} of {TASKS} completed"
        while storm.killed < KILLS and done >= (storm.killed + 1) * TASKS // (KILLS + 1):
            storm.kill_one()
    return longest


def until_dead(client: RaftmemClient, storm: Storm) -> list[Task]:
    """The deadly ones, when all of them are."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = client.tasks.list(queue=QUEUE, state="dead").all()
        if len(found) == DEADLY:
            return found
        assert time.monotonic() < deadline, f"dead are only {found}"
        client.events(client.index + 1, op="TASK_EXPIRE", wait=0.5).all()
        storm.replace_the_dead()


def test_tasks_are_completed_once_though_their_workers_are_killed(shared_group: LoopbackGroup) -> None:
    with RaftmemClient(shared_group.urls, actor="agent/tester") as client, programs(shared_group) as begun:
        payloads = put(client)
        began = time.monotonic()
        storm = Storm(begun)
        longest = until_completed(client, storm)
        seconds = time.monotonic() - began
        dead = until_dead(client, storm)
        kept = client.tasks.list(queue=QUEUE, page_size=1000).all()
        log = client.events(queue=QUEUE, page_size=1000).all()

    attempts = {name: attempts_max(payload) for name, payload in payloads.items()}
    history = task_history(log, attempts)
    print(
        f"{TASKS} tasks in {seconds:.1f} s ({TASKS / seconds:.0f}/s), {storm.killed} workers killed, {storm.died} died "
        f"of a task, {history.ran_out} claims ran out, {history.stale} stale requests refused, at most "
        f"{max(history.attempts.values())} attempts, longest stall {longest:.2f} s"
    )
    wanted = {name: "dead" if payload["kind"] == "deadly" else "completed" for name, payload in payloads.items()}
    assert storm.killed == KILLS
    assert history.ended == wanted
    assert history.completed == Counter(name for name, state in wanted.items() if state == "completed")
    assert history.token == {}
    assert {task.id: task.state for task in kept} == wanted
    assert {task.id: task.attempt for task in kept} == history.attempts
    assert {task.id: task.result for task in kept} == {name: result_of(one) for name, one in payloads.items()}
    for task in kept:
        codes = [error.code for error in task.errors]
        assert len(codes) == task.attempt - (task.state == "completed")
        assert (codes.count("failed") > 0) <= (payloads[task.id]["kind"] == "flaky"), task
    assert [[error.code for error in task.errors] for task in dead] == [["expired"] * DEADLY_ATTEMPTS] * DEADLY
    assert history.ran_out >= DEADLY * DEADLY_ATTEMPTS


def result_of(payload: dict[str, object]) -> object:
    number = payload["n"]
    assert isinstance(number, int)
    return None if payload["kind"] == "deadly" else {"n": number, "doubled": 2 * number}


# --- the judge itself ---------------------------------------------------------------------------------
def told(story: str) -> list[Event]:
    """`1 CLAIM available`, `2 EXPIRE available 1`, … of one task; the index first, a token last."""
    found = []
    for line in story.split(", "):
        index, op, state, *token = line.split()
        event = Event(
            index=int(index),
            seq=0,
            term=1,
            time=datetime(2026, 1, 1, tzinfo=UTC),
            op=f"TASK_{op}",
            actor=Actor("agent", "a"),
            outcome="applied",
            task_ids=["t"],
            token=int(index) if op == "CLAIM" else int(token[0]),
            task_state=state,
        )
        found.append(event)
    return found


@pytest.mark.parametrize(
    ("story", "complaint"),
    [
        ("1 CLAIM -, 2 CLAIM -", "claimed with 1"),
        ("1 CLAIM -, 2 COMPLETE completed 1, 3 COMPLETE completed 1", "not by the claim in force"),
        ("1 CLAIM -, 2 EXPIRE available 1, 3 CLAIM -, 4 COMPLETE completed 1", "not by the claim in force"),
        ("1 CLAIM -, 2 COMPLETE completed 1, 3 CLAIM -", "t is completed"),
        ("1 CLAIM -, 2 EXPIRE available 1, 3 CLAIM -, 4 FAIL available 3, 5 CLAIM -", "3 attempts"),
    ],
)
def test_history_of_a_task_that_breaks_a_rule_is_found(story: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        task_history(told(story), {"t": 2})
