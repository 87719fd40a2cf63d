"""Counters: clients add to memories by merge, which cannot lose one another's additions."""

import random
from collections.abc import Mapping
from typing import ClassVar

from jepsen_like.checkers import counters
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.runs.world import World
from jepsen_like.workloads import settled
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Workload
from jepsen_like.workloads.drawing import Client, Draws
from jepsen_like.workloads.registers import value_of


class Counted(Workload):
    """On memories of a scope `app` that begin at 0, and whose values are read in the end."""

    app: ClassVar[str]

    def prepare(self, world: World) -> None:
        settled.make(world, {f"{self.app}-{slot}": 0 for slot in range(self.choices.keys)}, app_id=self.app)

    def final(self, world: World) -> Mapping[str, object]:
        return {"counters": settled.values(world, app_id=self.app)}


class Counters(Counted):
    name = "counter"
    about = "memories are counted up by merge; no addition is lost or counted twice"
    app = "counter"

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        del world
        return _Client(connection, Draws(self.choices, number, chance))

    def checkers(self) -> tuple[Checker, ...]:
        return (counters.check,)


class _Client(Client):
    def turn(self) -> None:
        key = f"counter-{self.draws.slot()}"
        if self.chance.random() < 0.3:
            asked = Request("GET", f"/v1/memories/{key}?{self.draws.level()}", reads=True)
            self.draws.saw(self.connection.do("read", key, None, asked, value_of))
            return
        much = self.chance.randint(1, 5)
        body = {"merge": {"value": {"op": "inc", "by": much}}}
        self.draws.saw(self.connection.do("add", key, much, Request("PATCH", f"/v1/memories/{key}", body), _total))


def _total(answer: Answer) -> int:
    return answer.integer("memory", "value")
