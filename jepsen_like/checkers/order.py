"""Real time over a history: the operations that were acknowledged before another was called. One sweep, O(n log n).

Rule: of two operations the first precedes the second only if it returned strictly before the second was called; one
that never returned precedes nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from jepsen_like.history.logged import Event, Log
from jepsen_like.history.record import Operation

STRONG = frozenset({"lease", "linearizable", None})  # levels at which real time binds; None: a write, or not said
T = TypeVar("T")


def strong(operation: Operation) -> bool:
    return operation.level in STRONG


def sweep(calls: Sequence[tuple[int, T]], returns: Sequence[tuple[int, T]]) -> Iterator[tuple[T, bool]]:
    """Both in the order of time: (what, True) when it returned, (what, False) when it was called; where both happen at
    the same instant the call comes first."""
    position = 0
    for time, called in calls:
        while position < len(returns) and returns[position][0] < time:
            yield returns[position][1], True
            position += 1
        yield called, False


def in_time(callers: Iterable[Operation], returners: Iterable[Operation]) -> Iterator[tuple[Operation, bool]]:
    """`sweep` over operations: those whose calls matter, and those whose returns do."""
    calls = sorted(((one.call, one) for one in callers), key=_first)
    returns = sorted(((one.return_, one) for one in returners if one.return_ is not None), key=_first)
    return sweep(calls, returns)


def _first(pair: tuple[int, Operation]) -> int:
    return pair[0]


def applied(log: Log, operation: Operation) -> tuple[Event, ...]:
    """The applied events of the operation in the log, in order, without Raft's own entries and NOOPs."""
    return tuple(
        event for event in log.of(operation) if event.outcome == "applied" and event.op not in ("RAFT", "NOOP")
    )


def by_entry(log: Log) -> Iterator[tuple[Event, ...]]:
    """The events of each entry, in order."""
    entry: list[Event] = []
    for event in log.events:
        if entry and entry[0].index != event.index:
            yield tuple(entry)
            entry = []
        entry.append(event)
    if entry:
        yield tuple(entry)
