"""Pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measures import Point


def of(points: Sequence[Point]) -> dict[str, str]:
    return {}


def shown(drawn: Mapping[str, str], folder: Path, *, beside: Path) -> str:
    return ""
