"""Lists that clients append to, one at a time or two in one entry: the content of a list tells its whole past.

A list that has grown long is left for a new one; the first append to a list makes it.
"""

import random
from collections.abc import Mapping, Sequence

from jepsen_like.checkers import list_append
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.runs.world import World
from jepsen_like.workloads import settled
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Workload
from jepsen_like.workloads.drawing import Client, Draws

APP = "lists"
LONG = 150  # elements after which a list is left


class Lists(Workload):
    name = "list-append"
    about = "lists are appended to and read, sometimes two in one entry; all reads tell of one order"

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        del world
        return _Client(connection, Draws(self.choices, number, chance), self.choices.keys)

    def final(self, world: World) -> Mapping[str, object]:
        empty = {one.key: list[object]() for one in world.recorder.operations if one.f in ("append", "read")}
        return {"lists": {**empty, **settled.values(world, app_id=APP)}}

    def checkers(self) -> tuple[Checker, ...]:
        return (list_append.check,)


class _Client(Client):
    """`_lives`: how many lists of each slot were left. `_made`: lists that are there."""

    def __init__(self, connection: Connection, draws: Draws, slots: int) -> None:
        super().__init__(connection, draws)
        self._lives = [0] * slots
        self._made: set[str] = set()

    def turn(self) -> None:
        slots = self.chance.sample(range(len(self._lives)), min(2, len(self._lives)))
        keys = [f"list-{slot}-{self._lives[slot]}" for slot in slots]
        turn = self.chance.random()
        if turn < 0.35:
            self._read(keys[0], slots[0])
        elif turn < 0.55 and len(keys) == 2 and self._made.issuperset(keys):
            self._append_both(keys, slots)
        else:
            self._append(keys[0], slots[0])

    def _read(self, key: str, slot: int) -> None:
        asked = Request("GET", f"/v1/memories/{key}?{self.draws.level()}", reads=True)
        told = self.draws.saw(self.connection.do("read", key, None, asked, _elements))
        self._grew(key, slot, told.result)

    def _append(self, key: str, slot: int) -> None:
        value = self.draws.value()
        asked = _append(key, value) if key in self._made else _make_or_append(key, value)
        told = self.draws.saw(self.connection.do("append", key, value, asked, _after))
        self._grew(key, slot, told.result)

    def _append_both(self, keys: Sequence[str], slots: Sequence[int]) -> None:
        pairs = [[key, self.draws.value()] for key in keys]
        events = [{"op": "UPDATE", "memory_id": key, "merge": _merge(value)} for key, value in pairs]
        asked = Request("POST", "/v1/events", {"events": events, "atomic": True})
        told = self.draws.saw(self.connection.do("txn", "", pairs, asked, _both_after))
        if isinstance(told.result, list):
            for key, slot, after in zip(keys, slots, told.result, strict=True):
                self._grew(key, slot, after)

    def _grew(self, key: str, slot: int, elements: object) -> None:
        if isinstance(elements, list) and elements:
            self._made.add(key)
            if len(elements) >= LONG:
                self._made.discard(key)
                self._lives[slot] += 1


def _merge(value: object) -> dict[str, object]:
    return {"value": {"op": "append", "by": value}}


def _append(key: str, value: int) -> Request:
    return Request("PATCH", f"/v1/memories/{key}", {"merge": _merge(value)})


def _make_or_append(key: str, value: int) -> Request:
    """Whichever it takes, decided where the entry is applied."""
    body = {
        "guards": [{"memory": key, "exists": False}],
        "then": [{"op": "ADD", "id": key, "value": [value], "app_id": APP}],
        "else": [{"op": "UPDATE", "memory_id": key, "merge": _merge(value)}],
    }
    return Request("POST", "/v1/txn", body)


def _elements(answer: Answer) -> object:
    return [] if answer.status == 404 else answer.at("value")


def _after(answer: Answer) -> object:
    """The list after one append, made in either way."""
    body = answer.body
    return (
        answer.at("results", 0, "memory", "value")
        if isinstance(body, dict) and "results" in body
        else (answer.at("memory", "value"))
    )


def _both_after(answer: Answer) -> object:
    return [answer.at("results", place, "memory", "value") for place in range(2)]
