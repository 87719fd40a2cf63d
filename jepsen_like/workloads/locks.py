"""Locks and semaphores: taken, awaited, asked for again, renewed, given back, left behind, and used too late.

Every life of a client has an owner of its own: a process that is retired, or vanishes with its holds, never comes back
under its name. Most holds end by their release; some run out.
"""

import random
import time
from typing import ClassVar, NamedTuple

from jepsen_like.checkers import linearizability, locks
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.history.record import Operation
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Agent, Workload

LONG_MS = 1_500  # ends by its release, unless its owner is gone
SHORT_MS = 400  # runs out under who oversleeps
OVERSLEEPS = (0.9, 1.3)  # of such a time: many come back just when it ends
WAITS_MS = (0, 100, 400, 1_500)
SECTION_S = 0.01  # between two turns of who holds a lock, at most


class Hold(NamedTuple):
    lock: str
    owner: str
    token: int
    ttl_ms: int


def owner_of(connection: Connection) -> str:
    """Of the client's process of now."""
    return f"{connection.actor}.{connection.process}"


def token_of(answer: Answer) -> object:
    return {"token": answer.integer("token")}


def acquire(
    connection: Connection, lock: str, *, ttl_ms: int, wait_ms: int = 0, permits: int = 1
) -> tuple[Operation, Hold | None]:
    """Ask once; the hold, if it was told."""
    owner = owner_of(connection)
    body = {"owner": owner, "ttl_ms": ttl_ms, "wait_ms": wait_ms, "permits": permits}
    request = Request("POST", f"/v1/locks/{lock}/acquire", body, wait_ms=wait_ms)
    operation = connection.do("acquire", lock, shown(owner, permits=permits), request, token_of)
    result = operation.result
    if operation.type != "ok" or not isinstance(result, dict):
        return operation, None
    return operation, Hold(lock, owner, result["token"], ttl_ms)


def release(connection: Connection, hold: Hold, *, permits: int = 1) -> Operation:
    value = shown(hold.owner, token=hold.token, permits=permits)
    body = {"owner": hold.owner, "token": hold.token}
    return connection.do("release", hold.lock, value, Request("POST", f"/v1/locks/{hold.lock}/release", body))


def shown(owner: str, *, token: int | None = None, permits: int) -> dict[str, object]:
    """The value of an operation in the history."""
    value: dict[str, object] = {"owner": owner}
    if token is not None:
        value["token"] = token
    if permits > 1:
        value["permits"] = permits
    return value


class LockAgent(Agent):
    """Holds one lock at a time, or none."""

    def __init__(self, connection: Connection, chance: random.Random, names: list[str], permits: int) -> None:
        self._connection = connection
        self._chance = chance
        self._names = names
        self._permits = permits
        self._hold: Hold | None = None

    def step(self) -> None:
        hold = self._hold
        if hold is None:
            self._take(self._chance.choice(self._names))
            return
        time.sleep(self._chance.uniform(0, SECTION_S))
        if hold.ttl_ms == SHORT_MS and self._chance.random() < 0.5:
            time.sleep(self._chance.uniform(*OVERSLEEPS) * SHORT_MS / 1000)
            if self._chance.random() < 0.5:
                self._after(self._renew(hold))
                return
        draw = self._chance.random()
        if draw < 0.1:
            self._take(hold.lock)
        elif draw < 0.3:
            self._after(self._renew(hold))
        elif draw < 0.32:
            self._connection.retire()
            self._hold = None
        else:
            self._give_back(hold)

    def _take(self, lock: str) -> None:
        ttl_ms = SHORT_MS if self._chance.random() < 0.15 else LONG_MS
        wait_ms = self._chance.choice(WAITS_MS)
        operation, hold = acquire(self._connection, lock, ttl_ms=ttl_ms, wait_ms=wait_ms, permits=self._permits)
        if hold is not None:
            self._hold = hold
        else:
            self._after(operation)

    def _renew(self, hold: Hold) -> Operation:
        value = shown(hold.owner, token=hold.token, permits=self._permits)
        body = {"owner": hold.owner, "token": hold.token}
        return self._connection.do("renew", hold.lock, value, Request("POST", f"/v1/locks/{hold.lock}/renew", body))

    def _give_back(self, hold: Hold) -> None:
        operation = release(self._connection, hold, permits=self._permits)
        if operation.type == "ok":
            self._hold = None
        self._after(operation)

    def _after(self, operation: Operation) -> None:
        """Forgets holds that are known to be lost, or that belong to an earlier life."""
        if operation.type == "unknown" or operation.error in ("stale-token", "lock-held"):
            self._hold = None

    def close(self) -> None:
        self._connection.close()


class Locks(Workload):
    name = "lock"
    about = "a few locks: acquire, wait, renew, release, vanish; each linearizable"
    model = "lock"
    permits: ClassVar[int] = 1

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> Agent:
        del world, number
        names = [f"{self.name}-{k}" for k in range(max(1, self.choices.keys // 2))]
        return LockAgent(connection, chance, names, self.permits)

    def checkers(self) -> tuple[Checker, ...]:
        return linearizability.checker(self.name), locks.check
