"""Percentiles, spreads and ratios."""

import random

import pytest
from bench_world import point, sample

from benchmarks.load import arrivals
from benchmarks.measures import LOAD, Results, Sample, percentile, ratio, ratios, sample_of, spread
from benchmarks.parts.failover import longest_gap


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.001, 1), (0.01, 1), (0.011, 2)]
)
def test_percentile_is_the_smallest_that_the_share_does_not_exceed(share: float, expected: int) -> None:
    assert percentile(list(range(1, 101)), share) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    assert [percentile([7.0], share) for share in (0.0, 0.5, 0.99, 1.0)] == [7.0] * 4


def test_percentile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="percentile of nothing"):
        percentile([], 0.5)


def test_sample_counts_each_operation_of_a_batch_and_times_the_batch() -> None:
    made = sample_of([0.004, 0.002, 0.006], took=2.0, cpu={"leader": 0.003, LOAD: 0.0003}, errors=1, each=100)
    assert (made.operations, made.per_second, made.errors) == (300, 150.0, 1)
    assert (made.p50_ms, made.p99_ms, made.worst_ms) == pytest.approx((4.0, 6.0, 6.0))
    assert made.cpu == pytest.approx({"leader": 10.0, LOAD: 1.0})
    assert made.cpu_us == pytest.approx(10.0), "the load is not part of what is measured"


def test_sample_of_errors_alone_has_no_latency_and_no_cpu_an_operation() -> None:
    made = sample_of([], took=2.0, cpu={"leader": 1.0}, errors=5)
    assert (made.operations, made.per_second, made.p50_ms, made.cpu_us) == (0, 0.0, None, None)


def test_value_of_a_sample_is_a_metric_or_one_of_its_own_figures() -> None:
    made = sample(p99_ms=3.0, gap_s=1.5)
    assert (made.value("p99_ms"), made.value("gap_s"), made.value("per_second"), made.value("nothing")) == (
        *(3.0, 1.5),
        *(100.0, None),
    )


def test_ratio_is_the_median_of_the_rounds_and_not_a_ratio_of_medians() -> None:
    raced = point(raftmem=[sample(100), sample(300), sample(90)], etcd=[sample(100), sample(100), sample(300)])
    found = ratio(raced, "raftmem", "etcd", "per_second")
    assert found is not None
    assert (found.middle, found.low, found.high) == pytest.approx((1.0, 0.3, 3.0))


def test_ratio_beside_a_system_that_is_missing_is_none() -> None:
    assert ratio(point(raftmem=[sample(100)]), "raftmem", "etcd", "per_second") is None


def test_round_in_which_the_other_did_nothing_has_no_ratio() -> None:
    assert ratios({0: 1.0, 1: 2.0}, {0: 0.0, 1: 4.0}) == [0.5]


def test_round_that_one_lacks_is_paired_with_no_other() -> None:
    assert ratios({0: 1.0, 1: 2.0, 2: 9.0}, {0: 2.0, 2: 3.0}) == [0.5, 3.0]


def test_spread_of_nothing_is_none() -> None:
    assert spread([]) is None


def test_point_that_is_there_is_taken_up_again() -> None:
    results = Results()
    first = results.add(point(raftmem=[sample()]))
    assert results.add(point()) is first
    assert results.find("ADD", 64, "leader") is first
    assert results.find("ADD", 65, "leader") is None


def test_arrivals_are_the_same_for_a_seed_and_have_the_rate_that_was_asked_for() -> None:
    planned = list(arrivals(1000, 10, seed=3))
    assert planned == list(arrivals(1000, 10, seed=3))
    assert planned == sorted(planned)
    assert len(planned) == pytest.approx(10_000, rel=0.05)
    assert 0 < planned[0] <= planned[-1] < 10


def test_gap_is_the_longest_that_ends_after_the_kill() -> None:
    before, after = [0.0, 5.0, 9.9], [11.5, 11.6, 12.8]
    shuffled = random.Random(1).sample(before + after, 6)
    assert longest_gap(shuffled, killed=10.0) == pytest.approx(1.6)


def test_gap_without_a_write_after_the_kill_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        longest_gap([1.0, 2.0], killed=10.0)


def test_system_without_processes_has_no_cpu() -> None:
    assert Sample(operations=1, seconds=1.0, cpu={LOAD: 3.0}).cpu_us is None
