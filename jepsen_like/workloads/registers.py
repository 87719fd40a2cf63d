"""Registers: a memory is read and written as a whole, and in one of the two workloads also compared and deleted.

Keys live for some seconds only, so that no history of one grows long.
"""

import random
from typing import ClassVar

import msgspec

from jepsen_like.checkers import linearizability
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Workload
from jepsen_like.workloads.drawing import Client, Draws
from raftmem.machine.canonical_json import content_sha256

KEY_NS = 10 * 10**9  # that a key is used for


class Registers(Workload):
    """Reads and writes only."""

    name = "register"
    about = "memories are read and written whole; every read shows the last write"
    model = "register"
    weights: ClassVar[tuple[int, int, int, int]] = (5, 5, 0, 0)  # read, write, cas, delete

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        return _Client(self, world, connection, Draws(self.choices, number, chance))

    def checkers(self) -> tuple[Checker, ...]:
        return (linearizability.checker("register"),)


class ComparedRegisters(Registers):
    """The hash of what it holds is the guard of a compare-and-set."""

    name = "cas"
    about = "memories are read, written, deleted, and changed only if they still hold what was read"
    weights = (5, 3, 6, 1)


class _Client(Client):
    """`_known`: what each key held when this client last heard of it."""

    def __init__(self, workload: Registers, world: World, connection: Connection, draws: Draws) -> None:
        super().__init__(connection, draws)
        self._name = workload.name
        self._weights = workload.weights
        self._now = world.recorder.now
        self._known: dict[str, int] = {}

    def turn(self) -> None:
        key = f"{self._name}-{self.draws.slot()}-{self._now() // KEY_NS}"
        turns = (self._read, self._write, self._compare_and_set, self._delete)
        self.chance.choices(turns, self._weights)[0](key)

    def _read(self, key: str) -> None:
        asked = Request("GET", f"/v1/memories/{key}?{self.draws.level()}", reads=True)
        told = self.draws.saw(self.connection.do("read", key, None, asked, value_of))
        self._knows(key, told.result if told.type == "ok" else None)

    def _write(self, key: str) -> None:
        value = self.draws.value()
        told = self.connection.do("write", key, value, Request("PUT", f"/v1/memories/{key}", {"value": value}))
        self._knows(key, value if told.type == "ok" else None)
        self.draws.saw(told)

    def _compare_and_set(self, key: str) -> None:
        if key not in self._known:
            return self._read(key)
        old, new = self._known[key], self.draws.value()
        body = {
            "value": new,
            "guards": [{"memory": key, "sha256": content_sha256(None, msgspec.json.encode(old)).hex()}],
        }
        told = self.draws.saw(self.connection.do("cas", key, [old, new], Request("PATCH", f"/v1/memories/{key}", body)))
        return self._knows(key, new if told.type == "ok" else None)

    def _delete(self, key: str) -> None:
        self.draws.saw(self.connection.do("delete", key, None, Request("DELETE", f"/v1/memories/{key}")))
        self._knows(key, None)

    def _knows(self, key: str, value: object) -> None:
        self._known.pop(key, None)
        if isinstance(value, int):
            self._known[key] = value


def value_of(answer: Answer) -> object:
    """The value of the memory; None: there is none."""
    return None if answer.status == 404 else answer.at("value")
