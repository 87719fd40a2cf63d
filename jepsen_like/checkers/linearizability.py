"""Linearizability: there is one order of all operations, with each between its call and its answer.

Each key is judged apart: a history is linearizable if that of every key is. The final log, if there is one, first
settles operations of unknown outcome. Reads at levels that promise less are left out. The rule: `good` only if every
key is; a key that could not be decided within the time makes the whole `unknown`, and the finding says so.
"""

import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from jepsen_like.checkers.closing import LINEARIZABLE_READS, close
from jepsen_like.checkers.counterexample import Counterexample, smallest
from jepsen_like.checkers.evidence import Checker, Evidence, Finding, Picture, Verdict
from jepsen_like.checkers.models.registry import MODELS, Model
from jepsen_like.checkers.origins import origins
from jepsen_like.checkers.search import Bounds, Outcome
from jepsen_like.checkers.table import rows, said
from jepsen_like.checkers.timeline import timeline
from jepsen_like.history.record import Operation

SHRINK_SECONDS = 10.0
PICTURES_MAX = 3
ROWS_MAX = 40


class Key(Struct, frozen=True):
    """The result for one key. `counterexample`: of a bad one, if there was time."""

    key: str
    operations: tuple[Operation, ...]
    outcome: Outcome
    counterexample: Counterexample | None = None


class Judgement(Struct, frozen=True):
    """`keys`: those that are bad first, then those not decided."""

    verdict: Verdict
    keys: tuple[Key, ...]

    @property
    def configurations(self) -> int:
        return sum(key.outcome.configurations for key in self.keys)

    @property
    def operations(self) -> int:
        return sum(len(key.operations) for key in self.keys)


def judge(
    model: Model,
    operations: Iterable[Operation],
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Judgement:
    """Of every key, the shorter histories first; counterexamples of the first bad ones, in some more seconds.

    Raises: ValueError for an operation that is not of the model.
    """
    bounds = Bounds(clock() + seconds, clock=clock)
    by_key: dict[str, list[Operation]] = {}
    for operation in operations:
        by_key.setdefault(operation.key, []).append(operation)
    shortest_first = sorted(by_key.items(), key=lambda pair: len(pair[1]))
    found = [Key(key, tuple(of_key), model.judge(of_key, bounds)) for key, of_key in shortest_first]
    order = ("bad", "unknown", "good")
    found.sort(key=lambda key: order.index(key.outcome.verdict))
    explained = [
        Key(key.key, key.operations, key.outcome, _explained(model, key, seconds, clock))
        for key in found[:PICTURES_MAX]
        if key.outcome.verdict == "bad"
    ]
    verdict: Verdict = found[0].outcome.verdict if found else "good"
    return Judgement(verdict, (*explained, *found[len(explained) :]))


def _explained(model: Model, key: Key, seconds: float, clock: Callable[[], float]) -> Counterexample:
    bounds = Bounds(clock() + min(seconds, SHRINK_SECONDS), clock=clock)
    return smallest(model, key.operations, key.outcome, bounds)


def concerned(model: Model, operations: Iterable[Operation]) -> list[Operation]:
    """Those that the model judges."""
    return [
        operation
        for operation in operations
        if operation.f in model.functions and operation.level in (None, *LINEARIZABLE_READS)
    ]


def checker(model: str, *, seconds: float = 60) -> Checker:
    """`model`: a name of `MODELS`."""
    chosen = MODELS[model]

    def check(evidence: Evidence) -> Finding:
        return examine(chosen, evidence, seconds=seconds)

    return check


def examine(model: Model, evidence: Evidence, *, seconds: float) -> Finding:
    """Unknown if there is nothing to judge. Raises: ValueError for operations of another shape than the model's."""
    history = evidence.history.operations
    closed = close(concerned(model, history), evidence.log, history)
    judgement = judge(model, closed.operations, seconds=seconds)
    verdict: Verdict = "bad" if closed.contradictions else judgement.verdict
    counts = {
        "keys": len(judgement.keys),
        "operations": judgement.operations,
        "configurations": judgement.configurations,
        "say nothing": sum(len(model.silent(key.operations)) for key in judgement.keys),
        "closed by the log": closed.closed,
        "not in the log": closed.dropped,
        "added from the log": closed.added,
    }
    return Finding(
        name=f"linearizability of {model.name}",
        verdict=verdict if judgement.keys else "unknown",
        summary=summary(model.name, judgement),
        details=(*closed.contradictions, *details(judgement)),
        pictures=pictures(judgement),
        counts=counts,
    )


def summary(model: str, judgement: Judgement) -> str:
    """One sentence with the numbers."""
    keys = len(judgement.keys)
    much = f"{judgement.operations:,} operations on {keys:,} {'key' if keys == 1 else 'keys'}"
    bad = sum(key.outcome.verdict == "bad" for key in judgement.keys)
    unknown = sum(key.outcome.verdict == "unknown" for key in judgement.keys)
    if not keys:
        return f"there is no operation of the model {model}"
    if bad:
        return f"not linearizable as {model}: {bad:,} of {much}"
    if unknown:
        return f"not decided: {unknown:,} of {much}"
    return f"linearizable as {model}: {much}"


def details(judgement: Judgement) -> tuple[str, ...]:
    """For each key that is not good: the fault, and the operations that show it."""
    lines: list[str] = []
    for key in judgement.keys:
        name = f"key {key.key!r}: " if key.key else ""
        if key.outcome.verdict == "unknown":
            lines.append(f"{name}not decided, {key.outcome.reason} ({len(key.operations):,} operations)")
        elif key.counterexample is not None:
            lines.append(name + reason(key.counterexample))
            shown = rows(key.counterexample.operations)
            lines += shown[:ROWS_MAX]
            if len(shown) > ROWS_MAX:
                lines.append(f"… and {len(shown) - ROWS_MAX} more")
            lines += origins(key.operations, key.counterexample.operations)
        elif key.outcome.verdict == "bad":
            stuck = key.outcome.stuck
            lines.append(f"{name}{'' if stuck is None else said(stuck) + ': '}{key.outcome.reason or 'fits no order'}")
    return tuple(lines)


def reason(counterexample: Counterexample) -> str:
    """One sentence."""
    few = len(counterexample.operations)
    least = "none can be left out" if counterexample.minimal else "there was no time to find the fewest"
    stuck = counterexample.outcome.stuck
    start = "" if stuck is None else f"{said(stuck)}: "
    if few == 1:
        return f"{start}{counterexample.outcome.reason or 'nothing that the others did in their time allows it'}"
    what = f"these {few} operations fit no order, whatever the others did in their time ({least})"
    return f"{start}{counterexample.outcome.reason or what}"


def pictures(judgement: Judgement) -> tuple[Picture, ...]:
    drawn: list[Picture] = []
    for key in judgement.keys:
        if key.counterexample is not None:
            caption = f"{f'key {key.key}: ' if key.key else ''}{reason(key.counterexample)}"
            drawn.append(Picture(caption, timeline(key.operations, key.counterexample, key.outcome)))
    return tuple(drawn)
