"""Schedules that once showed a defect, kept as data: options and faults as they were, whatever a seed draws later.

A line of JSON each in `tests/recorded/schedules.jsonl`; a red seed is added by `--record WHY`. The rule that must hold:
every one of them ends well.
"""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from jepsen_like.simulator.options import Options
from jepsen_like.simulator.schedule import Fault

FILE: Final = Path(__file__).parents[2] / "tests" / "recorded" / "schedules.jsonl"


class Recorded(Struct, frozen=True):
    """`why`: the defect that it showed."""

    why: str
    options: Options
    faults: tuple[Fault, ...]


def load(file: Path = FILE) -> list[Recorded]:
    """Raises: msgspec.DecodeError for a line that is no schedule."""
    return [msgspec.json.decode(line, type=Recorded) for line in file.read_bytes().splitlines() if line]


def record(why: str, options: Options, faults: tuple[Fault, ...], file: Path = FILE) -> None:
    with file.open("ab") as lines:
        lines.write(msgspec.json.encode(Recorded(why, options, faults)) + b"\n")
