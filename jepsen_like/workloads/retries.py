"""Writes under an Idempotency-Key, with so little time that their outcome is often unknown, asked again and again:
elsewhere, at once from two connections, also after they succeeded. Each has one effect.
"""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from jepsen_like.checkers import idempotency
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.history.record import Operation
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import TIMEOUT_MS, Connection, Request
from jepsen_like.workloads.counters import Counted
from jepsen_like.workloads.drawing import Client, Draws

HASTE_MS = 8  # about what a write takes


class Retries(Counted):
    name = "idempotent"
    about = "writes under an Idempotency-Key are asked many times over; each has one effect"
    app = "retried"

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        del world
        return _Client(connection, Draws(self.choices, number, chance))

    def checkers(self) -> tuple[Checker, ...]:
        return (idempotency.check,)


@dataclass
class _Write:
    """One that is under way. `key`: the memory. `done`: a reply said so."""

    key: str
    idempotency: str
    attempts: int = 0
    done: bool = False


class _Client(Client):
    """`_second`: a connection on a thread of its own, for requests that are sent twice at once."""

    def __init__(self, connection: Connection, draws: Draws) -> None:
        super().__init__(connection, draws)
        self._second = connection.another()
        self._pool = ThreadPoolExecutor(1)
        self._write: _Write | None = None

    def turn(self) -> None:
        write = self._write or _Write(f"retried-{self.draws.slot()}", f"add-{self.draws.value()}")
        if write.attempts:
            self.connection.move()
        hasty = write.attempts < 3 and self.chance.random() < 0.7
        asked = _add(write, self.chance.randint(1, HASTE_MS) if hasty else TIMEOUT_MS)
        if self.chance.random() < 0.3:
            other = self._pool.submit(_do, self._second, write, asked)
            told = [_do(self.connection, write, asked), other.result()]
        else:
            told = [_do(self.connection, write, asked)]
        write.attempts += 1
        write.done = write.done or any(one.type == "ok" for one in told)
        self._write = write if self.chance.random() < (0.4 if write.done else 0.97) else None
        if self._write is None and write.done and self.chance.random() < 0.1:
            self._reuse(write)

    def _reuse(self, write: _Write) -> None:
        """Another request under a key that is used up: refused."""
        body = {"merge": {"value": {"op": "inc", "by": 1}}, "importance": 1.0}
        asked = Request("PATCH", f"/v1/memories/{write.key}", body, key=write.idempotency)
        self.connection.do("reuse", write.key, 1, asked, _effect)

    def close(self) -> None:
        self._pool.shutdown()
        self._second.close()
        super().close()


def _add(write: _Write, timeout_ms: int) -> Request:
    body = {"merge": {"value": {"op": "inc", "by": 1}}}
    return Request("PATCH", f"/v1/memories/{write.key}", body, key=write.idempotency, timeout_ms=timeout_ms)


def _do(connection: Connection, write: _Write, asked: Request) -> Operation:
    return connection.do("add", write.key, 1, asked, _effect)


def _effect(answer: Answer) -> object:
    return {"value": answer.integer("memory", "value"), "index": answer.index}
