"""The common part of several workloads: unique values, keys, and levels of reads."""

import random
from abc import abstractmethod

from jepsen_like.history.record import Operation
from jepsen_like.workloads.connection import Connection
from jepsen_like.workloads.contract import Agent, Choices

VALUES = 10**9  # that one client writes at most
STALENESS_MS = 1_000
WANDERS = 0.05  # of all steps


class Draws:
    """Of one client. `seen`: the greatest log index that it was told of; its session, so to say."""

    def __init__(self, choices: Choices, number: int, chance: random.Random) -> None:
        self._choices = choices
        self._last = number * VALUES
        self.chance = chance
        self.seen = 0

    def value(self) -> int:
        """A value that is written only once."""
        self._last += 1
        return self._last

    def slot(self) -> int:
        return self.chance.randrange(self._choices.keys)

    def level(self) -> str:
        """A read level with what it needs, as a query."""
        return self.query(self.chance.choice(self._choices.levels))

    def query(self, level: str) -> str:
        match level:
            case "session":
                return f"consistency=session&min_index={self.seen}"
            case "bounded":
                return f"consistency=bounded&max_staleness_ms={STALENESS_MS}"
        return f"consistency={level}"

    def saw(self, operation: Operation) -> Operation:
        """Told of an operation; the operation."""
        self.seen = max(self.seen, operation.index or 0)
        return operation


class Client(Agent):
    """With one connection. Now and then it goes to another replica for no reason."""

    def __init__(self, connection: Connection, draws: Draws) -> None:
        self.connection = connection
        self.draws = draws
        self.chance = draws.chance

    def step(self) -> None:
        if self.chance.random() < WANDERS:
            self.connection.move()
        self.turn()

    @abstractmethod
    def turn(self) -> None:
        """The work of a step; the client may have moved to another replica before it."""

    def close(self) -> None:
        self.connection.close()
