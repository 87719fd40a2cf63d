"""Who judges a run, what a checker that breaks makes of it, and what a demonstration may break."""

import pytest

from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.history.record import History
from jepsen_like.runs import judging
from jepsen_like.runs.options import Options
from jepsen_like.workloads.contract import Choices
from jepsen_like.workloads.registry import WORKLOADS, make

GOOD = Finding(name="fine", verdict="good", summary="fine")
BAD = Finding(name="broken", verdict="bad", summary="broken")


def _breaks(evidence: Evidence) -> Finding:
    raise KeyError(len(evidence.history.operations))


def _finds(evidence: Evidence) -> Finding:
    del evidence
    return GOOD


def test_checker_that_breaks_is_told_and_the_others_are_asked_all_the_same() -> None:
    judged = judging.judge(Evidence(history=History(None, ())), (_breaks, _finds))
    assert [finding.verdict for finding in judged.findings] == ["unknown", "good"]
    assert len(judged.troubles) == 1
    assert "KeyError: 0" in judged.troubles[0]


def test_demonstration_may_break_what_it_demonstrates_and_nothing_else() -> None:
    demonstration, other = make("lock-unfenced", Choices()), make("lock-fenced", Choices())
    assert judging.wanted(demonstration, (GOOD,)) == "bad"
    assert judging.wanted(demonstration, (GOOD, BAD)) == "good"
    assert judging.wanted(other, (GOOD,)) == "good"


def test_fewest_operations_grow_with_clients_and_time_and_bow_to_the_rate() -> None:
    workload = make("register", Choices())
    unhurried = Options(workload="register", clients=8, seconds=60)
    assert judging.fewest_ok(workload, unhurried) == workload.fewest * 8
    assert judging.fewest_ok(workload, Options(workload="register", clients=8, seconds=60, rate=4)) == 60
    assert judging.fewest_ok(workload, Options(workload="register", clients=1, seconds=1)) == judging.FEWEST


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_can_say_what_may_be_found_in_its_runs(name: str) -> None:
    found = judging.names(make(name, Choices()), Options(workload=name, nemeses=("flip",)))
    assert len(found) == len(set(found))
    assert {"durability", "agreement", "tested", "recovery", "exits"} <= set(found)
