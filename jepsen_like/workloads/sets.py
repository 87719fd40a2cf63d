"""Sets: each element is a memory of its own, and the set is the list of a scope, all pages at one index."""

import random
from collections.abc import Mapping

from jepsen_like.checkers import sets
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.runs.world import World
from jepsen_like.workloads import settled
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Workload
from jepsen_like.workloads.drawing import Client, Draws

LARGE = 300  # elements after which a set is left for a new one
PAGE_ROWS = 50
PREFIX = "set-"


class Sets(Workload):
    name = "sets"
    about = "memories are added to a scope, whose list is read page by page; none is missing, none vanishes"

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        del world
        return _Client(connection, Draws(self.choices, number, chance), self.choices.keys)

    def final(self, world: World) -> Mapping[str, object]:
        found: dict[str, list[object]] = {operation.key: [] for operation in world.recorder.operations}
        for row in settled.memories(world):
            found.setdefault(str(row["app_id"]), []).append(row["value"])
        return {"sets": {key: elements for key, elements in found.items() if key.startswith(PREFIX)}}

    def checkers(self) -> tuple[Checker, ...]:
        return (sets.check,)


class _Client(Client):
    """`_lives`: how many sets of each slot were left."""

    def __init__(self, connection: Connection, draws: Draws, slots: int) -> None:
        super().__init__(connection, draws)
        self._lives = [0] * slots

    def turn(self) -> None:
        slot = self.draws.slot()
        key = f"{PREFIX}{slot}-{self._lives[slot]}"
        if self.chance.random() < 0.15:
            self._read(key, slot)
        else:
            element = self.draws.value()
            asked = Request("POST", "/v1/memories", {"value": element, "app_id": key})
            self.draws.saw(self.connection.do("add", key, element, asked))

    def _read(self, key: str, slot: int) -> None:
        target = f"/v1/memories?app_id={key}&limit={PAGE_ROWS}&{self.draws.level()}"
        asked = Request("GET", target, reads=True, pages="memories")
        told = self.draws.saw(self.connection.do("read", key, None, asked, _elements))
        if isinstance(told.result, list) and len(told.result) >= LARGE:
            self._lives[slot] += 1


def _elements(answer: Answer) -> object:
    return [row["value"] for row in answer.rows("memories")]
