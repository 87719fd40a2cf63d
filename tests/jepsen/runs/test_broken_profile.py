"""The runs that have to find damage: each can be made, names a finding that it has, and asks for a broken promise."""

from collections.abc import Mapping

import pytest

from jepsen_like.checkers.evidence import Finding, Verdict
from jepsen_like.cli.campaign import planned
from jepsen_like.nemeses.registry import NEMESES
from jepsen_like.runs import judging, schedule
from jepsen_like.runs.broken import ROWS, broken
from jepsen_like.runs.folder import Result
from jepsen_like.runs.options import Options, check
from jepsen_like.workloads.registry import WORKLOADS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "+".join(row.without))
def test_run_without_a_promise_can_be_made_and_its_finding_exists(row: Options) -> None:
    check(row, workloads=WORKLOADS, nemeses=NEMESES)
    workload = WORKLOADS[row.workload](row.choices)
    assert row.shows in judging.names(workload, row)
    assert workload.expected == "good"
    lengths = {name: NEMESES[name].seconds for name in row.nemeses}
    strikes = schedule.draw(lengths, seconds=row.seconds, seed=row.seed, overlap=row.overlap)
    assert {strike.name for strike in strikes} == set(row.nemeses)


def test_each_promise_is_broken_once_and_at_least_eight_need_no_root() -> None:
    promises = [row.without[0] for row in ROWS]
    assert len(promises) == len(set(promises))
    assert sum(all(NEMESES[name].portable for name in row.nemeses) for row in ROWS) >= 8


def test_seed_shifts_the_seeds_and_nothing_else() -> None:
    assert broken() == list(ROWS)
    assert [row.seed for row in broken(seed=5)] == [row.seed + 5 for row in ROWS]


@pytest.mark.parametrize("reasons", [{}, {"clock-leader": "no C compiler"}])
def test_promise_that_cannot_be_shown_here_is_left_out_and_named(reasons: Mapping[str, str]) -> None:
    rows, lines = planned("broken", 0, reasons)
    needing = [row for row in ROWS if "clock-leader" in row.nemeses]
    assert [row for row in ROWS if row not in list(rows)] == (needing if reasons else [])
    assert lines == (["not shown here: without log-time, which needs clock-leader"] if reasons else [])


@pytest.mark.parametrize(
    ("found", "passed"), [(("bad", "bad"), True), (("bad", "good"), True), (("good", "bad"), False)]
)
def test_run_that_is_bad_for_another_reason_has_not_shown_what_it_was_to_show(
    found: tuple[Verdict, Verdict], passed: bool
) -> None:
    findings = tuple(
        Finding(name=name, verdict=verdict, summary="") for name, verdict in zip(("bank", "exits"), found, strict=True)
    )
    assert Result(verdict="bad", expected="bad", shows="bank", findings=findings).passed is passed
