"""The faults of one schedule, drawn from the seed before it runs: data, so that some can be left out.

Who is hit is settled when it happens (the one who leads then, or a place in the list of those who are there), so that
a schedule still means something when other faults are left out.
"""

import random
from typing import Final, Literal, get_args

from msgspec import Struct

from jepsen_like.simulator.options import Options

Kind = Literal[
    "crash", "crash_all", "torn", "torn_chore", "torn_install", "power", "power_all", "pause", "hang", "slow", "full",
    "fsync_error", "wipe", "isolate", "block", "cut", "partition", "jump", "drift",
    "add", "remove", "replace", "transfer", "snapshot",
]  # fmt: skip
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: how often, against 2 for all others
WEIGHTS: Final[dict[str, int]] = {
    "crash": 3, "crash_all": 1, "torn": 4, "torn_chore": 3, "torn_install": 3, "power_all": 1,
    "isolate": 4, "fsync_error": 1, "jump": 1,
    "drift": 1, "wipe": 1, "add": 3, "replace": 3, "transfer": 3,
}  # fmt: skip
NEED_OTHERS: Final = ("isolate", "block", "cut", "partition", "transfer", "wipe", "remove", "replace")
CALM_SHARE: Final = 0.7  # of the time, then everything (or a majority) is healed


class Fault(Struct, frozen=True):
    """`at`: seconds after the start. `victim`: None is the leader. `share`: one more draw, for what the kind leaves
    open. `quiet`: nothing is written from a little before it until the next one."""

    number: int
    at: float
    kind: Kind
    victim: int | None
    other: int
    length: float
    share: float
    quiet: bool

    def __str__(self) -> str:
        whom = "leader" if self.victim is None else f"#{self.victim}"
        return f"{self.number}: {self.at:.3f} {self.kind} {whom} #{self.other} for {self.length:.3f} s"


def draw(options: Options) -> tuple[Fault, ...]:
    """Each seed has its own selection of kinds: what is hit by everything all the time gets nowhere."""
    choose = random.Random(f"faults {options.seed}")
    kinds: list[Kind] = [kind for kind in KINDS if choose.random() < 0.55]
    if options.replicas == 1:
        kinds = [kind for kind in kinds if kind not in NEED_OTHERS]
    kinds = kinds or ["crash"]
    weights = [WEIGHTS.get(kind, 2) for kind in kinds]
    timeout = options.election_timeout
    faults: list[Fault] = []
    at = timeout * choose.uniform(0.5, 2.0)
    while at < options.seconds * CALM_SHARE:
        faults.append(
            Fault(
                number=len(faults),
                at=at,
                kind=choose.choices(kinds, weights)[0],
                victim=None if choose.random() < 0.5 else choose.randrange(100),
                other=choose.randrange(100),
                length=timeout * choose.choice([0.1, 0.8, 2.0, 6.0]) * choose.uniform(0.5, 1.0),
                share=choose.random(),
                quiet=choose.random() < 0.3,
            )
        )
        at += timeout * choose.expovariate(1 / options.pace)
    return tuple(faults)
