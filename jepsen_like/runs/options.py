"""The options of a run, and the command that repeats it.

Rule: everything random in a run is drawn from these, so the command repeats the same load and the same schedule of
faults. Threads and processes still behave in their own way.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from jepsen_like.cluster.off import SWITCHES
from jepsen_like.nemeses.contract import Nemesis
from jepsen_like.workloads.contract import LEVELS, Choices

LEVELS_KNOWN: Final = ("lease", "linearizable", "eventual")
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "seconds": (1, 86_400),
    "nodes": (1, 5),
    "clients": (1, 64),
    "keys": (1, 1000),
    "rate": (0, 100_000),
    "overlap": (1, 4),
}
FLAGS: Final = {"nemeses": "--nemesis", "seconds": "--time", "levels": "--levels", "without": "--without"}
NOT_REPEATED: Final = ("folder", "keep")  # where the results go is not what happens


class Options(Struct, frozen=True, kw_only=True):
    """`seconds`: of load under faults. `rate`: operations a second of all clients together, 0 for as many as they can.

    `overlap`: how many faults may be active at once. `without`: promises that the replicas do not keep.
    `shows`: the finding that has to be bad, where a run is made to show damage; "" where all has to be good.
    """

    workload: str
    nemeses: tuple[str, ...] = ()
    seconds: float = 60
    nodes: int = 3
    clients: int = 8
    keys: int = 4
    rate: float = 0
    levels: tuple[str, ...] = LEVELS
    seed: int = 0
    overlap: int = 1
    without: tuple[str, ...] = ()
    shows: str = ""
    folder: Path | None = None
    keep: bool = False

    @property
    def choices(self) -> Choices:
        return Choices(clients=self.clients, keys=self.keys, levels=self.levels)

    @property
    def faults(self) -> str:
        """For people."""
        return " + ".join(self.nemeses) or "no faults"


def clash(names: Sequence[str], nemeses: Mapping[str, type[Nemesis]]) -> str | None:
    """Why these nemeses cannot be in one run."""
    moving = [name for name in names if nemeses[name].moves]
    linked = [name for name in names if nemeses[name].needs_links]
    if not moving or not linked:
        return None
    return f"{moving[0]} has the replicas where the relays that {linked[0]} needs are not reached; choose one of them"


def check(options: Options, *, workloads: Collection[str], nemeses: Mapping[str, type[Nemesis]]) -> None:
    """Raises: ValueError, a line that says what there is."""
    for what, asked, known in (
        ("workload", (options.workload,), workloads),
        ("nemesis", options.nemeses, nemeses),
        ("level", options.levels, LEVELS_KNOWN),
        ("promise", options.without, SWITCHES),
    ):
        strangers = [name for name in asked if name not in known]
        if strangers:
            raise ValueError(f"no {what} {', '.join(strangers)}; there are: {', '.join(sorted(known)) or 'none'}")
    if len(set(options.nemeses)) != len(options.nemeses):
        raise ValueError(f"a nemesis is named twice: {', '.join(options.nemeses)}")
    if reason := clash(options.nemeses, nemeses):
        raise ValueError(reason)
    if not options.levels:
        raise ValueError(f"no level to read at; there are: {', '.join(LEVELS_KNOWN)}")
    for name, (low, high) in BOUNDS.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise ValueError(f"{_flag(name)} {value:g} is not within {low:g} and {high:g}")


def words(options: Options) -> list[str]:
    """The words of the command, every option spelled out."""
    found = ["run"]
    for field in structs.fields(Options):
        value = getattr(options, field.name)
        if field.name in NOT_REPEATED or value in ((), ""):
            continue
        found += [_flag(field.name), _spelled(value)]
    return found


def _spelled(value: object) -> str:
    match value:
        case tuple():
            return ",".join(value)
        case float():
            return f"{value:.10g}"
        case _:
            return str(value)


def command(options: Options) -> str:
    return f"python -m jepsen_like {shlex.join(words(options))}"


def _flag(name: str) -> str:
    return FLAGS.get(name, f"--{name}")
