"""The profiles of a campaign: `ci`, each workload once within minutes; `night`, as many different runs as time allows;
and `broken`, replicas without a promise each, whose damage has to be found (see `broken.py`).

Rule: a profile is a function of the machine's possibilities and of its seed, so its own command repeats any run of it.
"""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from jepsen_like.nemeses.contract import Nemesis
from jepsen_like.runs.options import Options, clash

PROFILES: Final = {
    "ci": "each workload once, under kills, pauses, partitions and slow disks, and one run without faults",
    "night": "workloads and nemeses in ever new combinations for as long as --minutes says",
    "broken": "replicas that do not keep a promise, one after the other: the damage has to be found each time",
}
#: taken in turns; a nemesis that is not available here is told, and the run goes on with the other
CI_FAULTS: Final = (
    ("kill-leader", "pause"),
    ("partition", "kill"),
    ("fsync-slow", "pause-leader"),
    ("partition-leader", "kill-majority"),
)
#: no log can survive both: what a disk only said that it had is lost with the power
UNFAIR: Final = {"fsync-lie", "power-loss"}
CI_SECONDS: Final = 9.0
CI_CLIENTS: Final = 6
CI_RATE: Final = 250.0


def ci(workloads: Sequence[str], *, seed: int) -> Iterator[Options]:
    """In the order of the names that were given, the first one without faults besides."""
    for number, workload in enumerate(workloads):
        yield _of_ci(workload, CI_FAULTS[number % len(CI_FAULTS)], seed + number)
    yield _of_ci(workloads[0], (), seed)


def _of_ci(workload: str, nemeses: tuple[str, ...], seed: int) -> Options:
    return Options(
        workload=workload,
        nemeses=nemeses,
        seconds=CI_SECONDS,
        clients=CI_CLIENTS,
        rate=CI_RATE,
        seed=seed,
    )


def night(workloads: Sequence[str], nemeses: Mapping[str, type[Nemesis]], *, seed: int) -> Iterator[Options]:
    """Without end. Each workload comes before any comes again, and so does each nemesis, unless it does not go with
    others that were drawn."""
    chance = random.Random(f"night {seed}")
    works, faults = _deck(workloads, chance), _deck(sorted(nemeses), chance)
    for number in itertools.count(1):
        wanted = chance.choice((0, 1, 1, 1, 2, 2, 3)) if nemeses else 0
        yield Options(
            workload=next(works),
            nemeses=_together(itertools.islice(faults, wanted), nemeses),
            seconds=float(chance.choice((20, 30, 60))),
            nodes=chance.choice((3, 3, 3, 5)),
            clients=chance.choice((3, 6, 8, 12)),
            keys=chance.choice((1, 3, 5, 10)),
            rate=float(chance.choice((0, 100, 300))),
            levels=chance.choice((("lease",), ("linearizable",), ("lease", "linearizable"))),
            seed=seed * 10_000 + number,
            overlap=chance.choice((1, 1, 2)),
        )


def _together(drawn: Iterable[str], nemeses: Mapping[str, type[Nemesis]]) -> tuple[str, ...]:
    """The first of them, and those that go with it."""
    found: list[str] = []
    for name in drawn:
        both = [*found, name]
        if name not in found and clash(both, nemeses) is None and not set(both) >= UNFAIR:
            found.append(name)
    return tuple(found)


def _deck(names: Sequence[str], chance: random.Random) -> Iterator[str]:
    while names:
        yield from chance.sample(names, len(names))
