"""A campaign passes only if each of its runs has the verdict that was wanted of it."""

import pytest

from jepsen_like.checkers.evidence import Verdict
from jepsen_like.runs.campaign import Campaign, Row


def _row(verdict: Verdict | None, expected: Verdict = "good", *, shown: bool = True) -> Row:
    return Row(folder="001", workload="register", nemeses=(), seed=0, verdict=verdict, expected=expected, shown=shown)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ((), "unknown"),
        ((_row("good"), _row("bad", "bad")), "good"),
        ((_row("good"), _row("bad")), "bad"),
        ((_row("good", "bad"),), "bad"),
        ((_row("bad", "bad", shown=False),), "bad"),
        ((_row("good"), _row(None)), "unknown"),
        ((_row("good"), _row("unknown")), "unknown"),
        ((_row("unknown"), _row("bad")), "bad"),
    ],
)
def test_campaign_is_what_its_runs_come_to(rows: tuple[Row, ...], verdict: Verdict) -> None:
    assert Campaign(profile="ci", seed=0, began="", rows=rows).verdict == verdict


def test_campaign_that_missed_something_or_was_cut_short_has_not_passed() -> None:
    rows = (_row("good"),)
    assert Campaign(profile="night", seed=0, began="", rows=rows, never=("snapshot installed",)).verdict == "unknown"
    assert Campaign(profile="ci", seed=0, began="", rows=rows, interrupted=True).verdict == "unknown"
