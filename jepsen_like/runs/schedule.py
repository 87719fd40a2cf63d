"""The schedule of faults: which nemesis strikes when, and for how long, drawn from the seed alone.

Rules: each chosen nemesis strikes at least once, if there is time for all of them. Never are more than `overlap`
active at once, and none twice at a time. Before the first and after the last there is a moment without faults.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

WARM_S: Final = 1.0  # before the first strike
CALM_S: Final = 1.0  # after the last one
GAPS_S: Final = (1.0, 3.0)  # between two strikes of a lane, to see it recover
SHORTEST: Final = 0.25  # of a strike's usual length: it is not cut shorter to make all fit

Lengths = Mapping[str, tuple[float, float]]


class Strike(NamedTuple):
    """Seconds from the beginning of the load."""

    at: float
    seconds: float
    name: str
    number: int


def draw(lengths: Lengths, *, seconds: float, seed: int, overlap: int) -> tuple[Strike, ...]:
    """`lengths`: about how long a strike of each lasts. In the order of their beginnings."""
    if not lengths:
        return ()
    chance = random.Random(f"schedule {seed}")
    last = seconds - CALM_S
    lanes = min(overlap, len(lengths))
    pace = _pace(lengths, time=last - WARM_S, lanes=lanes)
    free = [WARM_S + lane * 0.5 for lane in range(lanes)]  # when each lane may strike again
    busy: dict[str, float] = {}  # until when each is active
    names = _deck(sorted(lengths), chance)
    strikes: list[Strike] = []
    waiting: list[str] = []
    while True:
        lane = min(range(lanes), key=free.__getitem__)
        at = free[lane]
        name = _next(names, waiting, [one for one, end in busy.items() if end > at])
        length = min(chance.uniform(*lengths[name]) * pace, last - at)
        if length < lengths[name][0] * SHORTEST:
            return tuple(strikes)
        strikes.append(Strike(round(at, 3), round(length, 3), name, len(strikes)))
        busy[name] = at + length
        free[lane] = at + length + chance.uniform(*GAPS_S) * pace


def _pace(lengths: Lengths, *, time: float, lanes: int) -> float:
    """Below 1 when one round of all would not fit otherwise."""
    round_ = sum(longest + GAPS_S[1] for _, longest in lengths.values()) / lanes
    return min(1.0, max(SHORTEST * 1.5, time / round_))


def _deck(names: Sequence[str], chance: random.Random) -> Iterator[str]:
    """Each once, in some order, again and again."""
    while True:
        yield from chance.sample(names, len(names))


def _next(names: Iterator[str], waiting: list[str], active: Sequence[str]) -> str:
    """The next of the deck that is not active; those passed over come first later. Lanes are fewer than names."""
    for place, name in enumerate(waiting):
        if name not in active:
            return waiting.pop(place)
    while (name := next(names)) in active:
        waiting.append(name)
    return name
