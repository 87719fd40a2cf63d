"""Operations over time, in so few buckets that a page can show them however many operations there were.

Rule: an extreme survives: the slowest operation of a bucket is its `slowest`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from jepsen_like.history.record import Operation
from jepsen_like.report.availability import STREAMS, Window

BUCKETS_MAX: Final = 120
WIDTHS_NS: Final = tuple(factor * 10**power for power in range(7, 15) for factor in (1, 2, 5))


class Latency(NamedTuple):
    """Nanoseconds; nearest rank."""

    p50: int
    p99: int
    slowest: int


class Bucket(NamedTuple):
    """`at`: its begin. `latency`: of those that were answered `ok`."""

    at: int
    ok: int
    fail: int
    unknown: int
    latency: Latency | None


class Series(NamedTuple):
    """`end`: of the last operation or fault; the buckets cover all from 0 to it."""

    end: int
    width_ns: int
    buckets: tuple[Bucket, ...]


def latency(durations: list[int]) -> Latency | None:
    if not durations:
        return None
    durations.sort()
    count = len(durations)
    return Latency(durations[(count - 1) // 2], durations[-(-99 * count // 100) - 1], durations[-1])


def series(operations: Sequence[Operation], faults: Sequence[Window]) -> Series:
    """An operation counts when its outcome was known, an unknown one when it was called; streams are left out."""
    ends = [_at(operation) for operation in operations]
    ends += [moment for window in faults for moment in (window.begin, window.end or 0)]
    end = max(ends, default=0)
    width = next((width for width in WIDTHS_NS if end < width * BUCKETS_MAX), end // BUCKETS_MAX + 1)
    outcomes: list[Counter[str]] = [Counter() for _ in range(end // width + 1)]
    durations: list[list[int]] = [[] for _ in outcomes]
    for operation in operations:
        if operation.f in STREAMS:
            continue
        place = _at(operation) // width
        outcomes[place][operation.type] += 1
        if operation.type == "ok" and operation.return_ is not None:
            durations[place].append(operation.return_ - operation.call)
    buckets = (
        Bucket(place * width, counted["ok"], counted["fail"], counted["unknown"], latency(found))
        for place, (counted, found) in enumerate(zip(outcomes, durations, strict=True))
    )
    return Series(end, width, tuple(buckets))


def _at(operation: Operation) -> int:
    return operation.call if operation.return_ is None else operation.return_
