"""The evidence that a checker is given, and the finding that it returns."""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct, field

from jepsen_like.history.logged import Log, log_of
from jepsen_like.history.record import History

Verdict = Literal["good", "bad", "unknown"]


class Searched(Struct, frozen=True):
    """`found`: by replica, the (memory id, score) pairs of the whole answer."""

    vector: tuple[float, ...]
    app_id: str | None
    top_k: int
    found: dict[str, tuple[tuple[str, float], ...]]


class Ending(Struct, frozen=True, kw_only=True):
    """The evidence of the end, after the last fault was healed and the clients had stopped.

    `digests`: of every replica at `index`. `replays`: what a replay from the entries alone said of each folder: "" for
    equal, else the complaint. `memories`: the records at `index` with their vectors. `searches`: each a query vector
    and the ids that each replica found for it, best first, with scores. `extra`: what the workload read itself.
    """

    index: int = 0
    digests: dict[str, str] = {}
    replays: dict[str, str] = {}
    memories: tuple[dict[str, object], ...] = ()
    searches: tuple[Searched, ...] = ()
    extra: dict[str, object] = {}


class Evidence(Struct, frozen=True, kw_only=True):
    """`log`: the final log, or None if nobody could be asked for it."""

    history: History
    log: Log | None = field(default_factory=lambda: log_of([]))
    ending: Ending = field(default_factory=Ending)


class Picture(Struct, frozen=True):
    """`svg`: a whole <svg> element."""

    caption: str
    svg: str


class Finding(Struct, frozen=True, kw_only=True):
    """The finding of one checker. `details`: a line each, faults first. The rule: `unknown` never passes."""

    name: str
    verdict: Verdict
    summary: str
    details: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    counts: dict[str, int] = {}


Checker = Callable[[Evidence], Finding]


def worst(findings: list[Finding]) -> Verdict:
    """One that is bad makes the whole bad; else one that is unknown makes it unknown; nothing found is unknown."""
    verdicts = {finding.verdict for finding in findings}
    if "bad" in verdicts:
        return "bad"
    return "unknown" if "unknown" in verdicts or not verdicts else "good"
