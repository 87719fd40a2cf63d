"""Gates: defined, approved by several, revoked, consumed once, and read, also until one opens."""

import random
from collections.abc import Mapping
from typing import Final

from jepsen_like.checkers import gates, linearizability
from jepsen_like.checkers.evidence import Checker
from jepsen_like.cluster.client import Answer
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Agent, Choices, Workload

WAITS_MS: Final = (0, 0, 300)
WORK: Final = {"approve": 40, "read": 25, "consume": 15, "put": 12, "revoke": 8}


class Gates(Workload):
    name = "gate"
    about = "gates with several approvers: approve, revoke, consume; each linearizable, and as the log says"
    model = "gate"

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> Agent:
        del world, number
        return GateAgent(connection, self.choices, chance)

    def checkers(self) -> tuple[Checker, ...]:
        return linearizability.checker("gate"), gates.check


class GateAgent(Agent):
    """It approves as its connection's actor."""

    def __init__(self, connection: Connection, choices: Choices, chance: random.Random) -> None:
        self._connection = connection
        self._choices = choices
        self._chance = chance

    def step(self) -> None:
        chance = self._chance
        gate = f"gate-{chance.randrange(self._choices.keys)}"
        f = chance.choices([*WORK], [*WORK.values()])[0]
        match f:
            case "put":
                self._put(gate)
            case "read":
                self._read(gate)
            case "consume":
                self._connection.do(f, gate, None, Request("POST", f"/v1/gates/{gate}/consume", {}))
            case _:
                value = {"actor": self._connection.actor}
                self._connection.do(f, gate, value, Request("POST", f"/v1/gates/{gate}/{f}", {}), open_of)

    def _put(self, gate: str) -> None:
        """Mostly for anybody; sometimes for a few, of whom this client may not be one."""
        value: dict[str, object] = {"required": min(self._chance.choice((1, 2, 2)), self._choices.clients)}
        if self._chance.random() < 0.2:
            value["approvers"] = sorted({self._connection.actor, "user/somebody"})
        self._connection.do("put", gate, value, Request("PUT", f"/v1/gates/{gate}", value))

    def _read(self, gate: str) -> None:
        wait_ms = self._chance.choice(WAITS_MS)
        level = self._chance.choice(self._choices.levels)
        target = f"/v1/gates/{gate}?wait_ms={wait_ms}&consistency={level}"
        self._connection.do("read", gate, None, Request("GET", target, reads=True, wait_ms=wait_ms), gate_of)

    def close(self) -> None:
        self._connection.close()


def open_of(answer: Answer) -> object:
    """Of a write."""
    return {"open": answer.at("gate", "open")}


def gate_of(answer: Answer) -> object:
    """Of a read; None: there is no such gate."""
    if answer.status == 404:
        return None
    approvals = [actor_of(row["actor"]) for row in answer.rows("approvals")]
    return {"open": answer.at("open"), "approvals": approvals, "consumed": answer.at("consumed_index") is not None}


def actor_of(actor: object) -> str:
    """As the clients name themselves. Raises: ValueError."""
    match actor:
        case Mapping():
            return f"{actor['type']}/{actor['id']}"
    raise ValueError(f"{actor!r} is no actor")
