"""The contract of a workload: the steps of its clients, and the checkers that judge it.

A workload keeps no state that its clients share unless sharing is its purpose. `choices` are the settings of a run
that a workload may look at. `prepare` and `final` speak to a whole group; `agent` makes one client.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct

from jepsen_like.checkers.evidence import Checker, Verdict
from jepsen_like.runs.world import World
from jepsen_like.workloads.connection import Connection

LEVELS = ("lease", "linearizable")


class Choices(Struct, frozen=True, kw_only=True):
    """`levels`: those of the clients' reads, drawn for each read. `keys`: the number of keys that they spread over."""

    clients: int = 8
    keys: int = 4
    levels: Sequence[str] = LEVELS


class Agent(ABC):
    """One client, on a thread of its own."""

    @abstractmethod
    def step(self) -> None:
        """One turn, usually one operation; it returns within a few seconds. Raises: nothing but Trouble."""

    @abstractmethod
    def close(self) -> None:
        """After its last turn."""


class Workload(ABC):
    """`name`, `about`: for people. `model`: of the linearizability checker, if it judges this workload.

    `settings`: lines for every replica's settings file. `fewest`: operations `ok` per client and minute below which a
    run has tested nothing. `expected`: the verdict of a group that keeps its promises; `bad` for a demonstration.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    model: ClassVar[str | None] = None
    settings: ClassVar[str] = ""
    fewest: ClassVar[int] = 60
    expected: ClassVar[Verdict] = "good"

    def __init__(self, choices: Choices) -> None:
        self.choices = choices

    def prepare(self, world: World) -> None:
        """Once, before the first client; the group is healthy."""
        del world

    @abstractmethod
    def agent(self, world: World, connection: Connection, number: int, chance: random.Random) -> Agent:
        """The client of that number. It may make more connections."""

    def final(self, world: World) -> Mapping[str, object]:
        """Once, after the last client, in a healthy and quiet group: what it reads goes into `Ending.extra`."""
        del world
        return {}

    @abstractmethod
    def checkers(self) -> tuple[Checker, ...]:
        """Beside those that judge every run."""
