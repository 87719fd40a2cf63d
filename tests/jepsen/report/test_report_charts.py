"""Scales, buckets and pictures: round ticks, no extreme lost, a bound on size, every text escaped."""

from xml.etree import ElementTree

import pytest
from made_up_run import HOSTILE, MS, S

from jepsen_like.history.record import Operation
from jepsen_like.report import charts
from jepsen_like.report.availability import Window
from jepsen_like.report.axes import Linear, Logarithmic, ceiling, decades, ticks
from jepsen_like.report.series import BUCKETS_MAX, Latency, latency, series
from jepsen_like.report.words import count, duration

SVG = "{http://www.w3.org/2000/svg}"


def op(call: int, took: int, process: int = 0) -> Operation:
    return Operation(process=process, f="read", type="ok", call=call, return_=call + took)


@pytest.mark.parametrize(
    ("high", "most", "expected"),
    [
        (30, 10, [0, 5, 10, 15, 20, 25, 30]),
        (7, 5, [0, 2, 4, 6]),
        (0.9, 5, [0, 0.2, 0.4, 0.6, 0.8]),
        (1000, 4, [0, 500, 1000]),
        (1, 1, [0, 1]),
    ],
)
def test_ticks_are_round(high: float, most: int, expected: list[float]) -> None:
    assert ticks(high, most=most) == pytest.approx(expected)


def test_axis_ends_at_a_tick_and_decades_enclose_what_is_shown() -> None:
    assert ceiling(730, most=5) == 800
    assert ceiling(800, most=4) == 800
    assert decades(3e6, 4e8) == [1e6, 1e7, 1e8, 1e9]
    assert decades(1e6, 1e6) == [1e6, 1e7]


def test_scales_stay_within_the_picture() -> None:
    linear, logarithmic = Linear(0, 10, 50, 150), Logarithmic(1, 100, 100, 0)
    assert [linear(value) for value in (-5, 0, 5, 99)] == [50, 50, 100, 150]
    assert [logarithmic(value) for value in (0, 1, 10, 1e6)] == pytest.approx([100, 100, 50, 0])


def test_latency_is_by_nearest_rank() -> None:
    assert latency(list(range(1, 101))) == Latency(50, 99, 100)
    assert latency([7]) == Latency(7, 7, 7)
    assert latency([]) is None


def test_slowest_operation_of_a_long_run_survives_its_buckets() -> None:
    operations = [op(k * 10 * MS, 2 * MS) for k in range(20_000)]
    operations[13_337] = op(13_337 * 10 * MS, 1_234 * MS)
    found = series(operations, ())
    assert len(found.buckets) <= BUCKETS_MAX
    assert max(bucket.latency.slowest for bucket in found.buckets if bucket.latency) == 1_234 * MS
    assert sum(bucket.ok for bucket in found.buckets) == 20_000
    assert found.width_ns == 2 * S


def test_fault_that_outlasts_the_operations_lengthens_the_axis() -> None:
    assert series([op(0, S)], [Window("kill", S, 9 * S, (), "")]).end == 9 * S


def test_line_of_latency_is_broken_where_nothing_was_ok() -> None:
    found = series([op(0, MS), op(S, MS), op(20 * S, MS)], ())
    picture = ElementTree.fromstring(charts.latency(charts.Stage(600, found.end, ()), found))
    (median,) = [path for path in picture.iter(f"{SVG}path") if "p50" in path.attrib["class"]]
    assert median.attrib["d"].count("M") == 3


def test_each_fault_has_its_lane_and_its_shade_in_one_colour() -> None:
    faults = [
        Window("kill", S, 2 * S, ("n1",), ""),
        Window("pause", 3 * S, 4 * S, (), ""),
        Window("kill", 5 * S, None, (), ""),
    ]
    found = series([op(k * S, MS) for k in range(10)], faults)
    stage = charts.Stage(800, found.end, faults)
    lanes, shaded = (ElementTree.fromstring(drawn) for drawn in (charts.lanes(stage), charts.throughput(stage, found)))
    assert [text.text for text in lanes.iter(f"{SVG}text") if text.get("class") == "lane"] == ["kill × 2", "pause × 1"]
    bars = [rect.attrib["class"] for rect in lanes.iter(f"{SVG}rect")]
    assert sorted(bars) == ["fault k0", "fault k0", "fault k1"]
    shades = [rect for rect in shaded.iter(f"{SVG}rect") if rect.attrib["class"].startswith("shade")]
    assert [rect.attrib["class"] for rect in shades] == ["shade k0", "shade k1", "shade k0"]
    last = shades[-1]
    assert float(last.attrib["x"]) + float(last.attrib["width"]) == pytest.approx(800 - charts.RIGHT, abs=0.2)


def test_stack_is_as_high_as_the_operations_of_its_bucket() -> None:
    operations = [op(k * 10 * MS, MS) for k in range(1000)]
    found = series(operations, ())
    picture = ElementTree.fromstring(charts.throughput(charts.Stage(800, found.end, ()), found))
    bars = [float(rect.attrib["height"]) for rect in picture.iter(f"{SVG}rect") if rect.attrib["class"] == "ok"]
    assert len(bars) == 100
    assert max(bars) == pytest.approx(230 - 24 - 12, abs=1)  # 100 a second is the highest tick
    assert max(bars[:-1]) - min(bars[:-1]) < 25


def test_hostile_name_of_a_fault_stays_text() -> None:
    faults = [Window(HOSTILE, 0, S, (HOSTILE,), HOSTILE)]
    drawn = charts.lanes(charts.Stage(800, S, faults))
    assert "<script" not in drawn
    assert HOSTILE in "".join(ElementTree.fromstring(drawn).itertext())


@pytest.mark.parametrize("operations", [[], [op(0, 0)], [op(0, 10**15)]])
def test_pictures_of_the_smallest_and_the_longest_runs_are_well_formed(operations: list[Operation]) -> None:
    found = series(operations, ())
    stage = charts.Stage(360, found.end, ())
    for drawn in (charts.lanes(stage), charts.throughput(stage, found), charts.latency(stage, found)):
        assert ElementTree.fromstring(drawn).tag == f"{SVG}svg"


def test_numbers_are_said_as_people_read_them() -> None:
    assert [duration(ns) for ns in (0, 950, 12_340, 1_234_000, 45 * S, 185 * S)] == [
        *("0 ns", "950 ns", "12.3 µs", "1.23 ms", "45 s", "3 min 5 s"),
    ]
    assert count(1234567) == "1\u202f234\u202f567"
