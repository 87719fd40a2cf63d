"""Memory records: value and version, through replacing, conditional updates, deletion, and adding again."""

import random

from jepsen_like.checkers import linearizability
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Workload
from jepsen_like.workloads.drawing import Client, Draws
from jepsen_like.workloads.registers import KEY_NS


class Records(Workload):
    name = "memory"
    about = "memories with their versions: put, update, delete, each on condition of a version or without one"
    model = "memory"

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        return _Client(world, connection, Draws(self.choices, number, chance))

    def checkers(self) -> tuple[Checker, ...]:
        return (linearizability.checker("memory"),)


class _Client(Client):
    """`_known`: the version of each key when this client last heard of it."""

    def __init__(self, world: World, connection: Connection, draws: Draws) -> None:
        super().__init__(connection, draws)
        self._now = world.recorder.now
        self._known: dict[str, int] = {}

    def turn(self) -> None:
        key = f"memory-{self.draws.slot()}-{self._now() // KEY_NS}"
        turns = (self._read, self._put, self._patch, self._delete)
        self.chance.choices(turns, (5, 2, 5, 1))[0](key)

    def _read(self, key: str) -> None:
        asked = Request("GET", f"/v1/memories/{key}?{self.draws.level()}", reads=True)
        self._do("read", key, None, asked)

    def _put(self, key: str) -> None:
        value = self.draws.value()
        self._do("put", key, {"value": value}, Request("PUT", f"/v1/memories/{key}", {"value": value}))

    def _patch(self, key: str) -> None:
        version, value = self._condition(key), self.draws.value()
        body = {"value": value, "guards": _guards(key, version)}
        self._do("patch", key, {"if": version, "value": value}, Request("PATCH", f"/v1/memories/{key}", body))

    def _delete(self, key: str) -> None:
        version = self._condition(key)
        body = {"events": [{"op": "DELETE", "memory_id": key}], "guards": _guards(key, version)}
        self._do("delete", key, {"if": version}, Request("POST", "/v1/events", body))

    def _condition(self, key: str) -> int | None:
        """Mostly the version that it knows; sometimes none, or one that was or will be."""
        version = self._known.get(key)
        if version is None or self.chance.random() < 0.2:
            return None
        return max(1, version + self.chance.choice((0, 0, 0, 0, 0, -1, 1)))

    def _do(self, f: str, key: str, value: object, asked: Request) -> None:
        told = self.draws.saw(self.connection.do(f, key, value, asked, record_of))
        match told.result:
            case {"version": int(version)}:
                self._known[key] = version
            case _:
                self._known.pop(key, None)


def _guards(key: str, version: int | None) -> list[dict[str, object]]:
    return [] if version is None else [{"memory": key, "version": version}]


def record_of(answer: Answer) -> object:
    """Of a read: the version and what it holds, None if there is nothing; of a write: the version that it made."""
    match answer.body:
        case {"memory": dict()}:
            return {"version": answer.integer("memory", "version")}
        case {"results": list()}:
            return {"version": answer.integer("results", 0, "event", "version")}
    return None if answer.status == 404 else {"version": answer.integer("version"), "value": answer.at("value")}
