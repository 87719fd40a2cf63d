"""Exit codes of every command: three verdicts, and trouble."""

import sys
from enum import IntEnum
from typing import Final, NoReturn

import typer

from jepsen_like.checkers.evidence import Verdict


class Exit(IntEnum):
    GOOD = 0
    BAD = 1
    UNKNOWN = 2
    TROUBLE = 3


EPILOG: Final = (
    "Exit codes: 0 good; 1 bad: a promise was broken; 2 unknown: it could not be judged, or too little was tested; "
    "3 wrong usage, or trouble of the harness itself."
)
OF: Final[dict[Verdict, Exit]] = {"good": Exit.GOOD, "bad": Exit.BAD, "unknown": Exit.UNKNOWN}


def give_up(line: str) -> NoReturn:
    """One line on stderr, and 3."""
    print(f"jepsen_like: {' '.join(line.split())}", file=sys.stderr)
    raise typer.Exit(Exit.TROUBLE)
