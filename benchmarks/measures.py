"""Measurements and their statistics: samples, points, percentiles, ratios. Pure.

The rule: a ratio is taken within a round, between runs that stood next to each other, and the median of the rounds
counts. So noise that lasts longer than a round cancels out.
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, Literal

from msgspec import Struct, field

At = Literal["leader", "spread", "one", "all"]
Metric = Literal["per_second", "p50_ms", "p99_ms", "p999_ms", "cpu_us", "worst_ms"]
LOAD: Final = "load"  # the name under which the CPU of the load generator stands


class Sample(Struct, frozen=True, kw_only=True):
    """One run of one system, in the round of that number.

    `cpu`: microseconds an operation by process; `more`: figures of this work alone.
    """

    operations: int
    seconds: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    worst_ms: float | None = None
    cpu: dict[str, float] = field(default_factory=dict)
    errors: int = 0
    more: dict[str, float] = field(default_factory=dict)
    round: int = 0

    @property
    def per_second(self) -> float:
        return self.operations / self.seconds if self.seconds else 0.0

    @property
    def cpu_us(self) -> float | None:
        """Of all processes that were measured, without the load."""
        own = [value for name, value in self.cpu.items() if name != LOAD]
        return sum(own) if own else None

    def value(self, name: str) -> float | None:
        """A metric, or one of `more`."""
        if name in self.more:
            return self.more[name]
        found: float | None = getattr(self, name, None)
        return found


class Point(Struct, kw_only=True):
    """One line of the table for each system: the same work, at the same load, round by round.

    `compared`: the metric whose ratio says how they stand to each other. `counted`: what `clients` is a number of,
    where it is not clients.
    """

    work: str
    clients: int
    at: At
    unit: str = "operations"
    compared: str = "per_second"
    counted: str = "clients"
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int, str]:
        return self.work, self.clients, self.at

    def values(self, system: str, metric: str) -> list[float]:
        return list(self.by_round(system, metric).values())

    def by_round(self, system: str, metric: str) -> dict[int, float]:
        found = ((sample.round, sample.value(metric)) for sample in self.samples.get(system, ()))
        return {number: value for number, value in found if value is not None}


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of `ordered` (rising) that at least `share` of them do not exceed. Raises: ValueError if empty."""
    if not ordered:
        raise ValueError("a percentile of nothing")
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def sample_of(
    seconds_each: list[float],
    *,
    took: float,
    cpu: dict[str, float],
    errors: int,
    each: int = 1,
    more: dict[str, float] | None = None,
) -> Sample:
    """From the latencies of what succeeded. `cpu`: seconds by process. `each`: operations of one latency."""
    done = sorted(seconds_each)
    count = len(done) * each
    return Sample(
        operations=count,
        seconds=took,
        p50_ms=percentile(done, 0.5) * 1e3 if done else None,
        p99_ms=percentile(done, 0.99) * 1e3 if done else None,
        p999_ms=percentile(done, 0.999) * 1e3 if done else None,
        worst_ms=done[-1] * 1e3 if done else None,
        cpu=per_operation(cpu, count),
        errors=errors,
        more=more or {},
    )


def per_operation(cpu_seconds: dict[str, float], operations: int) -> dict[str, float]:
    return {name: used / operations * 1e6 for name, used in cpu_seconds.items()} if operations else {}


class Spread(Struct, frozen=True):
    """Median and range of the rounds."""

    middle: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None


def ratios(ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
    """Round by round; a round that one of them lacks, or in which theirs is nothing, has none."""
    return [mine / other for number, mine in ours.items() if (other := theirs.get(number))]


def ratio(point: Point, ours: str, theirs: str, metric: str) -> Spread | None:
    return spread(ratios(point.by_round(ours, metric), point.by_round(theirs, metric)))


class Results:
    """All points of a run, by what they are."""

    def __init__(self, points: Sequence[Point] = ()) -> None:
        self._points = {point.key: point for point in points}

    def add(self, point: Point) -> Point:
        return self._points.setdefault(point.key, point)

    def find(self, work: str, clients: int, at: str) -> Point | None:
        return self._points.get((work, clients, at))

    @property
    def points(self) -> list[Point]:
        return list(self._points.values())
