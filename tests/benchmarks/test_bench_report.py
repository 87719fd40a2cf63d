"""Tables, documents and pictures of runs that were never measured."""

import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from bench_world import point, run_of, sample

from benchmarks import pictures, report
from benchmarks.charts import Bar, bars, told
from benchmarks.measures import Spread

RACED = point(
    raftmem=[sample(100, p50_ms=1.0, p99_ms=2.0), sample(120, p50_ms=1.0, p99_ms=4.0)],
    etcd=[sample(50, p50_ms=2.0, p99_ms=9.0), sample(60, p50_ms=2.0, p99_ms=9.0, errors=3)],
)
DOCUMENT = f"""# Title

Before.

{report.BEGIN.format("table")}
old
{report.END.format("table")}

After.
"""


def row(text: str, *starts: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("| " + " | ".join(starts)))


def test_row_shows_medians_with_their_range_and_the_ratio() -> None:
    ours = row(report.markdown(run_of(RACED)), "ADD", "64", "leader", "raftmem")
    assert ours == (
        "| ADD | 64 | leader | raftmem | 110 (100–120) | 1.00 | 3.00 (2.00–4.00) |  | 40.0 (30.0 + 10.0; load 5.00) "
        "| 0 | 2.00x etcd |"
    )


def test_row_of_a_peer_shows_its_errors_and_no_ratio() -> None:
    theirs = row(report.markdown(run_of(RACED)), "ADD", "64", "leader", "etcd")
    assert theirs.endswith("| 40.0 (30.0 + 10.0; load 5.00) | 3 |  |")


def test_goals_stand_with_their_bound_and_how_far_they_were_missed() -> None:
    text = report.markdown(run_of(RACED))
    assert row(text, "ADD, 64 clients: throughput beside etcd's puts") == (
        "| ADD, 64 clients: throughput beside etcd's puts | at least 1.50x | 2.00x | met |"
    )
    assert "Not measured in this run: ADD, 256 clients" in text


def test_run_without_a_peer_has_rows_and_no_ratios_and_says_why() -> None:
    alone = run_of(point(raftmem=[sample(100)]), notes=("etcd is not installed (Debian: apt-get install etcd-server)",))
    text = report.markdown(alone)
    assert row(text, "ADD", "64", "leader", "raftmem").endswith("| 0 |  |")
    assert "- etcd is not installed (Debian: apt-get install etcd-server)\n" in text
    assert "| bound |" not in text


def test_table_has_as_many_cells_in_every_row() -> None:
    lines = [line for line in report.points_table([RACED]).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {12}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(12345.6, "12,346"), (100, "100"), (99.94, "99.9"), (12, "12.0"), (1.254, "1.25"), (0.0421, "0.042"), (0, "0")],
)
def test_number_shows_three_figures(value: float, shown: str) -> None:
    assert report.number(value) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(2, "x", "2.00x"), (0.5, "s", "0.50 s"), (1, "elections", "1 elections"), (60_000, "events/s", "60,000 events/s")],
)
def test_unit_stands_behind_and_counts_are_whole(value: float, unit: str, shown: str) -> None:
    assert report.with_unit(value, unit) == shown


def test_range_that_looks_the_same_is_not_shown() -> None:
    assert report.ranged(Spread(1.0001, 1.0, 1.0002), "x") == "1.00x"
    assert report.ranged(Spread(1.5, 1.0, 2.0), "x") == "1.50x (1.00–2.00)"


def test_json_holds_every_round_and_reads_back_the_same() -> None:
    run = run_of(RACED, notes=("a note",))
    text = report.to_json(run)
    again = report.from_json(text)
    assert report.markdown(again) == report.markdown(run)
    whole = msgspec.json.decode(text)
    assert [one["operations"] for one in whole["points"][0]["samples"]["etcd"]] == [100, 120]
    assert whole["goals"][0]["verdict"] == "met"


def test_text_between_the_markers_is_replaced_and_nothing_else() -> None:
    once = report.put_between(DOCUMENT, "table", "new")
    assert "old" not in once
    assert once.startswith("# Title\n\nBefore.\n\n<!--")
    assert once.endswith("-->\n\nAfter.\n")
    assert report.put_between(once, "table", "new") == once


def test_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="has no lines"):
        report.put_between(DOCUMENT, "pictures", "new")


def test_performance_document_has_the_markers_that_the_tool_writes_between() -> None:
    document = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    for name in (*report.sections(run_of(RACED)), "pictures"):
        assert report.put_between(document, name, "x").count("<!-- benchmarks") == document.count("<!-- benchmarks")


def test_pictures_are_documents_of_what_was_measured() -> None:
    levels = [point(clients=clients, raftmem=[sample(clients * 90, p50_ms=1, p99_ms=2)]) for clients in (1, 16, 64)]
    drawn = pictures.of(levels)
    assert sorted(drawn) == ["add-latency", "add-throughput"]
    for svg in drawn.values():
        root = ET.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(root.findall("{http://www.w3.org/2000/svg}circle")) % 3 == 0


def test_every_picture_has_a_caption_and_an_address_beside_the_document(tmp_path: Path) -> None:
    shown = pictures.shown(
        {"goals": "", "reads": ""}, tmp_path / "docs" / "pictures", beside=tmp_path / "docs" / "p.md"
    )
    assert [line.rpartition("(")[2] for line in shown.splitlines() if line] == [
        "pictures/goals.svg)",
        "pictures/reads.svg)",
    ]


def test_names_in_a_picture_are_no_markup() -> None:
    ET.fromstring(bars("a < b & c", [Bar("<x>", 1.0, "&")], bound=2.0))


@pytest.mark.parametrize(
    ("value", "shown"), [(0.5, "0.5"), (1000, "1,000"), (20_000, "20k"), (1_000_000, "1M"), (12_345, "12,345")]
)
def test_ticks_are_short(value: float, shown: str) -> None:
    assert told(value) == shown


def test_layers_stand_apart_from_the_rest() -> None:
    found = report.sections(run_of(RACED, point(f"{report.LAYER}apply", 16, "one", raftmem=[sample(50)])))
    assert "apply" in found["layers"]
    assert "apply" not in found["table"]
    assert report.sections(run_of(RACED))["layers"] == "Not measured in this run.\n"


def test_runs_of_parts_are_put_together_and_the_later_figure_counts() -> None:
    other, later = point("GET", raftmem=[sample(7)]), point(raftmem=[sample(1)], etcd=[sample(1)])
    both = report.merged([run_of(RACED, notes=("one",)), run_of(other, later, notes=("one", "two"))])
    assert [one.work for one in both.points] == ["ADD", "GET"]
    assert both.points[0] is later
    assert (both.took_s, both.notes) == (600.0, ["one", "two"])


def test_runs_of_different_machines_are_not_put_together() -> None:
    elsewhere = msgspec.structs.replace(run_of(RACED), machine=msgspec.structs.replace(run_of().machine, cpus=64))
    with pytest.raises(ValueError, match="different machines"):
        report.merged([run_of(RACED), elsewhere])


def test_earlier_run_stands_beside_by_the_medians_of_what_both_have() -> None:
    before = run_of(point(raftmem=[sample(50, p50_ms=4.0)] * 3), point("GET", raftmem=[sample(1)]))
    text = report.beside(run_of(RACED, point("new", raftmem=[sample(1)])), before)
    assert row(text, "ADD") == "| ADD | 64 | leader | raftmem | 2.20x | 0.25x |  | 1.00x |"
    assert "new" not in text
    assert "etcd" not in text, "the earlier run had none"


def test_runs_without_a_common_figure_say_so() -> None:
    assert report.beside(run_of(RACED), run_of(point("GET", raftmem=[sample(1)]))) == (
        "The two runs have nothing in common.\n"
    )
