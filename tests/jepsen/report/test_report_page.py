"""The page of a run, without a browser: whole, self-contained, and deaf to what a history says."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from made_up_run import COMMAND, HOSTILE, findings, made_up, timeline, write_lines

from jepsen_like.checkers.evidence import Finding, Picture, Verdict
from jepsen_like.history.record import Operation, Start
from jepsen_like.report.campaign import write_campaign
from jepsen_like.report.findings import PICTURE_MAX, refused
from jepsen_like.report.page import headline, reason, write_report
from jepsen_like.runs.campaign import FILE, Campaign, Row
from jepsen_like.runs.folder import Result, RunFolder

VOID = {"meta", "link", "line", "rect", "path", "circle"}


class Outline(HTMLParser):
    """What a page holds: its elements with their attributes, and its text. Raises: AssertionError if ill-nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID or self.get_starttag_text() != f"{(self.get_starttag_text() or '')[:-2]}/>":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def ids(self) -> set[str | None]:
        return {attributes["id"] for _, attributes in self.elements if "id" in attributes}

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(made_up(tmp_path_factory.mktemp("runs") / "one").path).read_text("utf-8")


def test_page_has_each_of_its_parts(page: str) -> None:
    parts = {
        *("verdict", "run", "command", "findings", "pictures", "time", "faults", "throughput", "latency"),
        *("availability", "operations", "sometimes", "unavailable", "logs", "options"),
    }
    outline = Outline(page)
    assert parts - outline.ids() == set()
    assert outline.count("svg") == 2 * 3 + 1  # each chart for a wide page and a narrow one, and the counterexample
    assert COMMAND in outline.text
    assert "Never seen: snapshots installed" in outline.text
    assert "libfaketime is not installed" in outline.text


def test_page_says_the_verdict_first_and_what_is_bad_before_what_is_good(page: str) -> None:
    text = Outline(page).text
    places = [text.index(said) for said in ("Bad", findings()[1].summary, findings()[2].summary, findings()[0].summary)]
    assert places == sorted(places)


def test_page_fetches_nothing(page: str) -> None:
    for tag, attributes in Outline(page).elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "data:,") == "data:,", tag
    assert re.findall(r"url\(|@import", page) == []
    assert Outline(page).count("script") == 1


def test_hostile_text_stays_text(page: str) -> None:
    outline = Outline(page)
    assert outline.text.count(HOSTILE) >= 1 + 3  # a detail, and the log of each replica
    assert outline.count("img") == 0
    assert [name for _, attributes in outline.elements for name in attributes if name.startswith("on")] == []


def test_run_that_was_cut_short_is_unknown(tmp_path: Path) -> None:
    folder = made_up(tmp_path / "run")
    folder.result.unlink()
    text = Outline(write_report(folder.path).read_text("utf-8")).text
    assert "the run was cut short" in text


def test_run_without_operations_or_first_line_has_a_page(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.history.write_bytes(b"")
    text = Outline(write_report(folder.path).read_text("utf-8")).text
    assert "There was no operation." in text


def test_page_of_a_large_run_stays_small(tmp_path: Path) -> None:
    fs = [f"f{k}" for k in range(300)]
    many = [
        Operation(
            process=k, f=fs[k % 300], type="fail", error=f"code-{k % 5000}", call=k * 10**6, return_=k * 10**6 + 9
        )
        for k in range(60_000)
    ]
    folder = made_up(
        tmp_path / "run", found=(Finding(name="c", verdict="bad", summary="s", details=("x" * 5_000,) * 9_000),)
    )
    write_lines(folder.history, [Start(workload="w"), *many])
    (folder.nodes / "n1.output").write_text("y" * 3_000_000)
    assert write_report(folder.path).stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("verdict", "expected", "title", "colour"),
    [
        ("good", "good", "Good", "good"),
        ("bad", "good", "Bad", "bad"),
        ("unknown", "good", "Unknown", "unknown"),
        ("bad", "bad", "Bad, as it must be", "good"),
        ("good", "bad", "Good, but it should be bad", "bad"),
    ],
)
def test_headline_tells_a_demonstration_from_a_failure(
    verdict: Verdict, expected: Verdict, title: str, colour: Verdict
) -> None:
    result = Result(
        verdict=verdict, expected=expected, findings=(Finding(name="c", verdict=verdict, summary="it was so"),)
    )
    assert headline(result) == (title, colour)
    assert reason(result).endswith(".")
    assert ".." not in reason(result)


@pytest.mark.parametrize(
    ("svg", "complaint"),
    [
        (timeline(), None),
        ("<svg><g></svg>", "not well-formed"),
        ("<div/>", "no svg"),
        ('<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', "element script"),
        ('<svg><rect onclick="x()"/></svg>', "attribute onclick"),
        ('<svg xmlns:x="http://www.w3.org/1999/xlink"><rect x:href="http://e"/></svg>', "attribute href"),
        ('<svg><rect fill="url(http://e/x)"/></svg>', "attribute fill"),
        ('<svg><rect fill="url(#own)"/></svg>', None),
        ('<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>', "declares"),
        (f"<svg>{' ' * PICTURE_MAX}</svg>", "too large"),
    ],
)
def test_picture_that_runs_fetches_or_breaks_the_page_is_refused(svg: str, complaint: str | None) -> None:
    found = refused(svg)
    assert (found is None) if complaint is None else (found is not None and complaint in found)


def test_refused_picture_is_told_of(tmp_path: Path) -> None:
    found = Finding(name="c", verdict="bad", summary="s", pictures=(Picture("it", "<svg><script/></svg>"),))
    text = Outline(write_report(made_up(tmp_path / "run", found=(found,)).path).read_text("utf-8")).text
    assert "The picture is not shown: it holds an element script." in text


def test_campaign_lists_what_did_not_pass_first_and_links_to_each_report(tmp_path: Path) -> None:
    good = tuple(one for one in findings() if one.verdict == "good")
    for name, found in (("a-good", good), ("b-bad", findings())):
        write_report(made_up(tmp_path / name, found=found).path)
    cut_short = made_up(tmp_path / "c-cut")
    cut_short.result.unlink()
    outline = Outline(write_campaign(tmp_path).read_text("utf-8"))
    links = [attributes["href"] for tag, attributes in outline.elements if tag == "a"]
    assert links == ["b-bad/report.html", "a-good/report.html"]
    assert "2 of 3 runs did not pass" in outline.text
    assert outline.text.index("cut short") < outline.text.index("each found its promise kept")


def test_campaign_lists_a_run_that_left_nothing_and_what_was_never_met(tmp_path: Path) -> None:
    write_report(made_up(tmp_path / "a", found=findings()[:1]).path)
    rows = (
        Row(folder="a", workload="register", nemeses=("kill",), seed=7, verdict="good"),
        Row(folder="b", workload="bank", nemeses=(), seed=9, note=f"it could not start: {HOSTILE}"),
    )
    noted = Campaign(profile="ci", seed=3, began="", rows=rows, never=("elections",), unavailable={"netns": "no root"})
    (tmp_path / FILE).write_bytes(msgspec.json.encode(noted))
    outline = Outline(write_campaign(tmp_path).read_text("utf-8"))
    assert "1 of 2 runs did not pass" in outline.text
    assert ("section", {"id": "verdict", "class": "banner unknown"}) in outline.elements
    assert f"it could not start: {HOSTILE}" in outline.text
    assert "elections" in outline.text
    assert "no root" in outline.text


def test_campaign_of_runs_that_passed_is_not_good_when_it_should_have_met_more(tmp_path: Path) -> None:
    write_report(made_up(tmp_path / "a", found=findings()[:1]).path)
    assert "Good" in Outline(write_campaign(tmp_path).read_text("utf-8")).text
    noted = Campaign(profile="night", seed=3, began="", never=("elections",))
    (tmp_path / FILE).write_bytes(msgspec.json.encode(noted))
    text = Outline(write_campaign(tmp_path).read_text("utf-8")).text
    assert "Every run passed, but not all" in text
