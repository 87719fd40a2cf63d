"""What a run is judged by."""

import pytest
from bench_world import point, sample

from benchmarks.goals import GOALS, at_least, at_most, between, compared, figure, judge, judge_all, worst_of
from benchmarks.measures import Results

BESIDE = compared("ADD", 64, "leader", "raftmem", "etcd")


def added(ours: float, theirs: float) -> Results:
    return Results([point(raftmem=[sample(ours)], etcd=[sample(theirs)])])


@pytest.mark.parametrize(
    ("ours", "verdict"), [(300, "met"), (150, "met"), (149, "not met, by 1%"), (75, "not met, by 50%")]
)
def test_floor_is_met_from_its_bound_on(ours: float, verdict: str) -> None:
    assert judge(at_least("", 1.5, BESIDE), added(ours, 100)).verdict == verdict


@pytest.mark.parametrize(("ours", "verdict"), [(50, "met"), (100, "met"), (120, "not met, by 20%")])
def test_ceiling_is_met_up_to_its_bound(ours: float, verdict: str) -> None:
    assert judge(at_most("", 1.0, BESIDE), added(ours, 100)).verdict == verdict


@pytest.mark.parametrize(("elections", "verdict"), [(0, "met"), (1, "not met, by 100%"), (3, "not met, by 300%")])
def test_ceiling_of_nothing_is_missed_by_whole_ones(elections: int, verdict: str) -> None:
    goal = at_most("", 0, figure("ADD", 64, "leader", "raftmem", "elections"))
    assert judge(goal, Results([point(raftmem=[sample(elections=elections)])])).verdict == verdict


def test_goal_is_judged_by_the_median_and_one_on_the_worst_by_the_greatest() -> None:
    results = Results([point(raftmem=[sample(gap_s=gap) for gap in (0.5, 0.9, 3.0)])])
    median = judge(at_most("", 1.0, figure("ADD", 64, "leader", "raftmem", "gap_s")), results)
    worst = judge(at_most("", 2.5, figure("ADD", 64, "leader", "raftmem", "gap_s", worst=True)), results)
    assert (median.verdict, worst.verdict) == ("met", "not met, by 20%")


def test_worst_of_several_needs_all_of_them() -> None:
    one, other = (figure(work, 64, "leader", "raftmem") for work in ("one", "other"))
    there = point("one", raftmem=[sample(3)])
    assert worst_of([one, other])(Results([there])) is None
    found = worst_of([one, other])(Results([there, point("other", raftmem=[sample(5)])]))
    assert found is not None
    assert found.middle == 5


def test_figures_at_two_points_are_compared_round_by_round() -> None:
    large, small = point("GET", 1000, raftmem=[sample(90), sample(50)]), point("GET", 10, raftmem=[sample(100)] * 2)
    found = between(("GET", 1000, "leader"), ("GET", 10, "leader"), "raftmem")(Results([large, small]))
    assert found is not None
    assert (found.low, found.high) == (0.5, 0.9)


def test_run_without_figures_judges_nothing() -> None:
    judged = judge_all(Results())
    assert len(judged) == len(GOALS)
    assert {one.verdict for one in judged} == {"not measured"}


def test_every_goal_of_the_issue_has_its_bound() -> None:
    bounds = [(goal.bound, goal.at_least) for goal in GOALS]
    assert bounds == [
        *[(1.5, True)] * 2,  # ADD beside etcd at 64 and 256
        *[(1.0, False)] * 3,  # p99 at both, p50 at 1
        *[(4.0, True)] * 2,  # lease GET beside linearizable and serializable reads
        (1.0, True),  # more from three replicas
        (2.0, True),  # linearizable GET
        (3.0, True),  # lock pairs
        (60_000, True),  # events a second
        *[(15_000, True), (12.0, False)],  # mixed
        (1.3, False),  # filtered search
        *[(1.0, False), (2.5, False), (0, False)],  # gaps, elections
        *[(0.8, True), (5.0, False), (1.0, False)],  # data size, restart, memory
    ]
