"""Gates that are pinned to a memory which others change, and writes that go through only while one is open.

A client puts a gate for the memory as it has read it, approves it, consumes it, and relies on it in a guard. A change
of the memory closes the gate.
"""

import random
from typing import Final

from jepsen_like.checkers import gates
from jepsen_like.checkers.evidence import Checker
from jepsen_like.runs.world import World
from jepsen_like.workloads import settled
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Agent, Choices, Workload
from jepsen_like.workloads.gates import gate_of, open_of
from jepsen_like.workloads.records import record_of

WORK: Final = {"put": 25, "approve": 35, "act": 15, "consume": 8, "change": 10, "read": 7}
ACTED: Final = "acted"  # the memory that is written through open gates


class PinnedGates(Workload):
    name = "gate-pinned"
    about = "gates pinned to memories that others change: a change closes the gate in the same entry"

    def prepare(self, world: World) -> None:
        settled.make(world, {plan_of(gate): 0 for gate in self._gates} | {ACTED: 0})

    @property
    def _gates(self) -> list[str]:
        return [f"pinned-{k}" for k in range(max(1, self.choices.keys // 2))]

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> Agent:
        del world, number
        return PinningAgent(connection, self.choices, self._gates, chance)

    def checkers(self) -> tuple[Checker, ...]:
        return (gates.check,)


def plan_of(gate: str) -> str:
    """The memory that it is pinned to."""
    return f"{gate}-plan"


class PinningAgent(Agent):
    def __init__(self, connection: Connection, choices: Choices, names: list[str], chance: random.Random) -> None:
        self._connection = connection
        self._choices = choices
        self._names = names
        self._chance = chance

    def step(self) -> None:
        gate = self._chance.choice(self._names)
        do = self._connection.do
        f = self._chance.choices([*WORK], [*WORK.values()])[0]
        match f:
            case "put":
                self._put(gate)
            case "approve":
                value = {"actor": self._connection.actor}
                do(f, gate, value, Request("POST", f"/v1/gates/{gate}/approve", {}), open_of)
            case "consume":
                do(f, gate, None, Request("POST", f"/v1/gates/{gate}/consume", {}))
            case "act":
                body = {"merge": {"value": {"op": "inc", "by": 1}}, "guards": [{"gate": gate, "open": True}]}
                do(f, gate, None, Request("PATCH", f"/v1/memories/{ACTED}", body))
            case "change":
                body = {"merge": {"value": {"op": "inc", "by": 1}}}
                do(f, plan_of(gate), 1, Request("PATCH", f"/v1/memories/{plan_of(gate)}", body), record_of)
            case _:
                do("read", gate, None, self._reading(f"gates/{gate}"), gate_of)

    def _put(self, gate: str) -> None:
        seen = self._connection.do("read", plan_of(gate), None, self._reading(f"memories/{plan_of(gate)}"), record_of)
        if not isinstance(seen.result, dict):
            return
        pins = [{"memory": plan_of(gate), "version": seen.result["version"]}]
        value = {"required": min(2, self._choices.clients), "pins": pins}
        self._connection.do("put", gate, value, Request("PUT", f"/v1/gates/{gate}", value))

    def _reading(self, what: str) -> Request:
        level = self._chance.choice(self._choices.levels)
        return Request("GET", f"/v1/{what}?consistency={level}", reads=True)

    def close(self) -> None:
        self._connection.close()
