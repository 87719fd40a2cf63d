"""The fewest operations of a key that cannot be ordered, whatever all other operations did.

It does not simply drop the others: without a write, every read of its value would be wrong. Every operation outside
the counterexample is *freed*: it may have happened between its call and its return, or never, and its answer is
forgotten. An operation that changed nothing is left out. A history that can be ordered can still be ordered after
that. So if an order is impossible now, it is impossible for the whole history. More freed operations allow more
orders, so each is tried once. The result is minimal: if any single one of it is freed, there is an order. The search
is bounded in time; past the bound the result is small, but `minimal` is false.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from msgspec.structs import replace as changed

from jepsen_like.checkers.models.registry import Model
from jepsen_like.checkers.search import Bounds, Outcome
from jepsen_like.history.record import Operation

CONFIGURATIONS_MAX = 20_000  # of one trial; one that needs more keeps the operation in question


@dataclass(frozen=True)
class Counterexample:
    """`operations` in the order of their calls; `outcome`: of the search over these and the freed ones."""

    operations: tuple[Operation, ...]
    outcome: Outcome
    minimal: bool


def freed(operations: Sequence[Operation]) -> list[Operation]:
    """These operations without their outcome and without their answer."""
    return [changed(operation, type="unknown", result=None) for operation in operations if operation.type != "fail"]


def smallest(model: Model, operations: Sequence[Operation], found: Outcome, bounds: Bounds) -> Counterexample:
    """`found`: the search over `operations`, which ended bad."""
    return _Trials(model, operations, found, bounds).run()


class _Trials:
    def __init__(self, model: Model, operations: Sequence[Operation], found: Outcome, bounds: Bounds) -> None:
        self._model = model
        self._all = list(operations)
        self._found = found
        self._bounds = replace(bounds, configurations=CONFIGURATIONS_MAX, order=False)
        self._minimal = True
        self._best = found

    def run(self) -> Counterexample:
        kept = self._window()
        self._reduce(kept, 0, len(kept))
        operations = tuple(self._all[place] for place in kept)
        return Counterexample(operations, self._best, self._minimal)

    def _window(self) -> list[int]:
        """Up to where the search could not go on, and from as late as it still could not."""
        everything = list(range(len(self._all)))
        stuck = self._found.stuck
        end = None if stuck is None else stuck.return_
        kept = [place for place in everything if end is None or self._all[place].call <= end]
        if not self._fails(kept):
            kept = everything
        first, beyond = 0, len(kept)  # kept[first:] fails; kept[beyond:] is not known to
        while beyond - first > 1:
            middle = (first + beyond) // 2
            if self._fails(kept[middle:]):
                first = middle
            else:
                beyond = middle
        return kept[first:]

    def _reduce(self, kept: list[int], first: int, beyond: int) -> None:
        """Free what can be freed of kept[first:beyond]; the later half first, so that places before it stay."""
        if first == beyond:
            return
        if self._bounds.over():
            self._minimal = False
            return
        if self._fails(kept[:first] + kept[beyond:]):
            del kept[first:beyond]
        elif beyond - first > 1:
            middle = (first + beyond) // 2
            self._reduce(kept, middle, beyond)
            self._reduce(kept, first, middle)

    def _fails(self, kept: Sequence[int]) -> bool:
        chosen = set(kept)
        others = [operation for place, operation in enumerate(self._all) if place not in chosen]
        trial = [*freed(others), *(self._all[place] for place in kept)]
        outcome = self._model.judge(trial, self._bounds)
        if outcome.verdict == "unknown":
            self._minimal = False
        if outcome.verdict != "bad":
            return False
        self._best = outcome
        return True
