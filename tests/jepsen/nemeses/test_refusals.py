"""The judge of replicas with damaged files: who must refuse, who must not, and who may do either."""

import pytest

from jepsen_like.checkers.evidence import Evidence, Verdict
from jepsen_like.history.record import Fault, History
from jepsen_like.nemeses.damage import REFUSED, SERVES
from jepsen_like.nemeses.refusals import check

SILENT = "it neither serves nor ends within 15 s"
DIED = "it died of SIGBUS"
BROKE = "it ended, with exit code 1: ZeroDivisionError"


def judged(name: str, fate: str) -> tuple[Verdict, tuple[str, ...]]:
    fault = Fault(name=name, event="begin", at=1, targets=("n2",), detail=f"n2: damaged; {fate}")
    found = check(Evidence(history=History(None, (), (fault, Fault(name=name, event="end", at=2)))))
    assert found.counts == {"damaged": 1, "refused": int(fate.startswith(REFUSED))}
    return found.verdict, found.details


@pytest.mark.parametrize(
    ("name", "refuses", "serves"),
    [("flip", "good", "bad"), ("truncate", "good", "good"), ("flip-vectors", "bad", "good")],
)
def test_each_kind_of_damage_is_judged_by_what_it_must_come_to(name: str, refuses: Verdict, serves: Verdict) -> None:
    assert judged(name, f"{REFUSED}, with exit code 6: it is damaged")[0] == refuses
    assert judged(name, SERVES)[0] == serves
    for fate in (SILENT, DIED, BROKE):
        verdict, details = judged(name, fate)
        assert verdict == "bad"
        assert fate in details[0]


def test_a_run_without_damage_is_good_and_other_faults_are_not_looked_at() -> None:
    found = check(Evidence(history=History(None, (), (Fault(name="kill", event="begin", at=1, detail=SERVES),))))
    assert (found.verdict, found.counts["damaged"]) == ("good", 0)
