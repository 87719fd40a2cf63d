"""Scales of a chart, and the places of their ticks: at round values, few enough to be read."""

import math
from typing import Final, NamedTuple

_ROUND: Final = (1, 2, 5, 10)


class Linear(NamedTuple):
    """`low`..`high` of the values lie at `start`..`stop` of the picture."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.stop - self.start)


class Logarithmic(NamedTuple):
    """As Linear; a value below `low` is shown at `low`."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self.start + min(1.0, share) * (self.stop - self.start)


def round_step(span: float, *, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that divides `span` into at most `most` parts."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(factor * power for factor in (*_ROUND, 20) if span / (factor * power) <= most * (1 + 1e-9))


def ticks(high: float, *, most: int) -> list[float]:
    """From 0 to the last round value within `high`."""
    step = round_step(high, most=most)
    return [place * step for place in range(math.floor(high / step * (1 + 1e-9)) + 1)]


def ceiling(high: float, *, most: int) -> float:
    """The first tick that is not below `high`."""
    step = round_step(high, most=most)
    return math.ceil(high / step * (1 - 1e-9)) * step


def decades(low: float, high: float) -> list[float]:
    """The powers of ten from the last one at or below `low` to the first at or above `high`, two at least."""
    first = math.floor(math.log10(low) + 1e-9)
    last = max(first + 1, math.ceil(math.log10(high) - 1e-9))
    return [10.0**power for power in range(first, last + 1)]
