"""Tasks: added with priorities, delays, dependencies and unique keys; claimed, kept, completed, failed, given back.

Some workers vanish with a claim, and some wake up when theirs is over and complete it all the same, which must be
refused. Every client adds and works; in the end everything is done.
"""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Final

from jepsen_like.checkers import tasks
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer, Client, Lost, until
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Agent, Workload
from jepsen_like.workloads.locks import owner_of

TTL_MS: Final = 1_500
SHORT_MS: Final = 250  # of a claim that its worker oversleeps
DRAIN_TTL_MS: Final = 5_000
BACKOFF: Final = {"initial_ms": 100, "factor": 1.5, "max_ms": 800}
WAITS_MS: Final = (0, 0, 200)
UNFINISHED: Final = ("claimed", "blocked", "scheduled", "available")  # a task only goes on to the right by itself


class Tasks(Workload):
    name = "tasks"
    about = "producers and workers, some of which die or come too late: each task is completed once"

    @property
    def queues(self) -> list[str]:
        return [f"queue-{k}" for k in range(max(1, self.choices.keys // 2))]

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> Agent:
        del world
        return TaskAgent(connection, self.queues, number, chance)

    def final(self, world: World) -> Mapping[str, object]:
        """Every task is finished when this returns. Raises: Trouble."""
        until(lambda: drain(world, self.queues), what="every task is finished")
        return {"drained": True}

    def checkers(self) -> tuple[Checker, ...]:
        return (tasks.check,)


class TaskAgent(Agent):
    """`added`: tasks of its own that others may depend on, the newest last."""

    def __init__(self, connection: Connection, queues: list[str], number: int, chance: random.Random) -> None:
        self._connection = connection
        self._queues = queues
        self._number = number
        self._chance = chance
        self._count = 0
        self._added: list[str] = []

    def step(self) -> None:
        if self._chance.random() < 0.3:
            self._add()
        else:
            self._claim()

    # --- adding -------------------------------------------------------------------------------------
    def _add(self) -> None:
        chance = self._chance
        self._count += 1
        body: dict[str, object] = {
            "queue": chance.choice(self._queues),
            "id": f"task-{self._number}-{self._count}",
            "payload": {"number": self._count},
            "priority": chance.randrange(3),
            "max_attempts": chance.choice((2, 25, 25)),
            "backoff": BACKOFF,
        }
        if chance.random() < 0.2:
            body["delay_ms"] = chance.randrange(50, 600)
        if chance.random() < 0.2 and self._added:
            body["depends_on"] = chance.sample(self._added, min(2, len(self._added)))
        if chance.random() < 0.15:
            body["unique_key"] = f"key-{chance.randrange(5)}"
        request = Request("POST", "/v1/tasks", body)
        operation = self._connection.do("add", str(body["queue"]), body, request, _id_of)
        if isinstance(operation.result, dict):
            self._added = [*self._added[-7:], str(operation.result["id"])]

    # --- working ------------------------------------------------------------------------------------
    def _claim(self) -> None:
        chance = self._chance
        ttl_ms = SHORT_MS if chance.random() < 0.1 else TTL_MS
        value = {"worker": owner_of(self._connection)}
        body = {**value, "queues": self._queues, "ttl_ms": ttl_ms, "max": chance.choice((1, 1, 3))}
        wait_ms = chance.choice(WAITS_MS)
        request = Request("POST", "/v1/tasks/claim", {**body, "wait_ms": wait_ms}, wait_ms=wait_ms)
        operation = self._connection.do("claim", "", value, request, _claims_of)
        claimed = operation.result.get("tasks") if isinstance(operation.result, dict) else None
        if not isinstance(claimed, list):
            return
        if ttl_ms == SHORT_MS and claimed:
            time.sleep(2 * SHORT_MS / 1000)
        for one in claimed:
            if self._connection.process != operation.process:
                return  # retired since: what it has left runs out
            if chance.random() < 0.06:
                self._connection.retire()
                return
            self._work(one["id"], one["token"])

    def _work(self, task: str, token: int) -> None:
        if self._chance.random() < 0.25:
            self._ask("heartbeat", task, token, {})
        draw = self._chance.random()
        if draw < 0.75:
            self._ask("complete", task, token, {"result": {"by": self._number}})
        elif draw < 0.9:
            self._ask("fail", task, token, {"error": "made up", "retryable": self._chance.random() < 0.9})
        else:
            self._ask("release", task, token, {})

    def _ask(self, f: str, task: str, token: int, more: Mapping[str, object]) -> None:
        request = Request("POST", f"/v1/tasks/{task}/{f}", {"token": token, **more})
        self._connection.do(f, task, {"id": task, "token": token}, request)

    def close(self) -> None:
        self._connection.close()


def _id_of(answer: Answer) -> object:
    return {"id": answer.text("task", "id")}


def _claims_of(answer: Answer) -> object:
    return {"tasks": [{name: row[name] for name in ("id", "token", "attempt")} for row in answer.rows("tasks")]}


# --- the end ----------------------------------------------------------------------------------------
def drain(world: World, queues: Sequence[str]) -> bool:
    """Complete all that can be claimed now; whether nothing is left."""
    client = Client(next(replica.url for replica in world.group.replicas if replica.runs), actor="agent/drain")
    body = {"queues": queues, "worker": "drain", "ttl_ms": DRAIN_TTL_MS, "max": 100}
    try:
        claim = client.ask("POST", "/v1/tasks/claim", body)
        for row in claim.rows("tasks") if claim.status == 200 else []:
            client.ask("POST", f"/v1/tasks/{row['id']}/complete", {"token": row["token"]})
        left = [client.ask("GET", f"/v1/tasks?state={state}&limit=1&consistency=linearizable") for state in UNFINISHED]
    except Lost:
        return False
    finally:
        client.close()
    return all(answer.status == 200 and not answer.rows("tasks") for answer in left)
