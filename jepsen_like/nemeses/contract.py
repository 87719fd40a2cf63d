"""The contract of a nemesis: it strikes a running group and heals what it broke.

Rules: `end` heals all that `begin` broke; it may be called at any time, and twice. A nemesis never destroys what a
majority holds. Everything random comes from the chance that it is given.
"""

import random
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jepsen_like.runs.world import World


class Struck(NamedTuple):
    """The replicas that were hit, and a sentence for people."""

    targets: tuple[str, ...]
    detail: str


class Nemesis(ABC):
    """`needs_links`: connections between replicas, and of clients, must go through relays of ours.

    `moves`: it has the replicas run where such relays cannot be reached.
    `portable`: needs neither root nor anything of the kernel. `seconds`: about how long a strike lasts.
    `asks`: to heal, the group has to do something, so what others broke is healed before.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    needs_links: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    portable: ClassVar[bool] = True
    asks: ClassVar[bool] = False
    seconds: ClassVar[tuple[float, float]] = (2.0, 5.0)
    settings: ClassVar[str] = ""

    def unavailable(self) -> str | None:
        """Why it cannot be done on this machine; None if it can. It may try, and leaves nothing behind."""
        return None

    def prepare(self, world: World) -> None:
        """Once, before the replicas start: their environment, wrapper and folders may still be set."""
        del world

    @abstractmethod
    def begin(self, world: World, chance: random.Random) -> Struck | None:
        """Strike. None: there is nothing to strike now."""

    @abstractmethod
    def end(self, world: World) -> None:
        """Heal; replicas that it stopped are started, not yet ready."""

    def clean_up(self, world: World) -> None:
        """Once, at the very end, after the replicas have ended: leave nothing on the machine."""
        del world
