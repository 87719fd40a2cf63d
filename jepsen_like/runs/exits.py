"""Replicas that ended although nobody ended them.

Rule: an end is as expected only if the replica was asked to end, or is under a fault that makes it stop (see
`Served.may_end`). Every other end is written into the history as it is noticed, and makes the run bad.
"""

from typing import Final

from jepsen_like.checkers.evidence import Finding
from jepsen_like.history.record import Fault
from jepsen_like.runs.world import World

NAME: Final = "unexpected-exit"


class Exits:
    """`look` is called often, from one thread."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: set[int] = set()  # processes whose end was told
        self.told: list[str] = []

    def look(self) -> None:
        for replica in list(self._world.group.ever):
            end = replica.unexpected()
            if end is None or replica.pid in self._known:
                continue
            self._known.add(replica.pid)
            at = self._world.recorder.now()
            line = f"{replica.id} ended with {end.code} at {at / 1e6:.0f} ms; its last words: {end.words or 'none'}"
            self.told.append(line)
            self._world.recorder.write(Fault(name=NAME, event="begin", at=at, targets=(replica.id,), detail=line))

    def finding(self) -> Finding:
        """After the last look."""
        if self.told:
            summary = f"{len(self.told)} times a replica ended although nothing was to end it"
            return Finding(name="exits", verdict="bad", summary=summary, details=tuple(self.told))
        return Finding(name="exits", verdict="good", summary="no replica ended by itself")
