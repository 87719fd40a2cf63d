"""Sessions: writes at one replica, reads at another with the index that the client has seen; other levels between.

Every run checks the promises: a client reads its own writes, reads never go back, and every answer, at any level, shows
the log as of the index that it names.
"""

import random
from typing import ClassVar

from jepsen_like.checkers.evidence import Checker
from jepsen_like.history.record import Operation
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection, Request
from jepsen_like.workloads.contract import Workload
from jepsen_like.workloads.drawing import Client, Draws
from jepsen_like.workloads.records import record_of

OTHERS = ("lease", "linearizable", "bounded", "eventual")


class Sessions(Workload):
    """It reads at every level, whatever the run's choice is: that is its point."""

    name = "session"
    about = "writes at one replica, reads at another at every level; a session never goes back"
    session_share: ClassVar[float] = 0.6

    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> "_Client":
        del world
        return _Client(connection, Draws(self.choices, number, chance), self.session_share)

    def checkers(self) -> tuple[Checker, ...]:
        return ()


class _Client(Client):
    def __init__(self, connection: Connection, draws: Draws, share: float) -> None:
        super().__init__(connection, draws)
        self._share = share

    def turn(self) -> None:
        if self.chance.random() < 0.5:
            self.connection.move()
        key = f"session-{self.draws.slot()}"
        if self.chance.random() < 0.35:
            self._write(key)
        elif self.chance.random() < self._share:
            self._read(key, "session", {"min_index": self.draws.seen})
        else:
            self._read(key, self.chance.choice(OTHERS), None)

    def _write(self, key: str) -> Operation:
        value = self.draws.value()
        asked = Request("PUT", f"/v1/memories/{key}", {"value": value})
        return self.draws.saw(self.connection.do("write", key, value, asked, record_of))

    def _read(self, key: str, level: str, value: object) -> Operation:
        asked = Request("GET", f"/v1/memories/{key}?{self.draws.query(level)}", reads=True)
        return self.draws.saw(self.connection.do("read", key, value, asked, record_of))
