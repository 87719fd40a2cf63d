"""The page in a real browser: its pictures are there, painted, in the width of the reader, light and dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, Colour, chromium
from made_up_run import FAULTS, made_up

from jepsen_like.report.page import write_report

WIDTHS = {"wide": 1280, "narrow": 420}
RED: Colour = (0xB3, 0x20, 0x2A)
PICTURES = """
const box = (e) => { const b = e.getBoundingClientRect();
  return {x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height}; };
const shown = (e) => e.getClientRects().length > 0;
const found = {};
for (const id of ["verdict", "faults", "throughput", "latency", "pictures"]) {
  const whole = document.getElementById(id);
  const svg = [...whole.querySelectorAll("svg")].filter(shown);
  const classes = {};
  for (const svgOne of svg) for (const e of svgOne.querySelectorAll("[class]")) {
    const name = e.getAttribute("class");
    (classes[name] ??= []).push(box(e));
  }
  const rects = svg.flatMap((one) => [...one.querySelectorAll("rect")]).length;
  found[id] = {box: box(whole), svg: svg.map(box), classes, rects};
}
return found;
"""
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(made_up(tmp_path_factory.mktemp("runs") / "one").path)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


def middle(box: dict[str, float]) -> tuple[float, float]:
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def distance(one: Colour, other: Colour) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=list(WIDTHS))
def test_pictures_are_there_and_painted(page: Path, browser: Browser, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    found = browser.run(PICTURES)
    assert isinstance(found, dict)
    card = browser.colour(found["latency"]["box"]["x"] + 1, found["latency"]["box"]["y"] - 8)
    assert (max(card) < 80) if dark else (min(card) > 230)
    banner = found["verdict"]["box"]
    assert browser.colour(banner["x"] + banner["width"] - 30, banner["y"] + 20) == RED
    for name in ("faults", "throughput", "latency"):
        (drawn,) = found[name]["svg"]  # one of the two, by the width of the page
        assert drawn["width"] > min(width, 1000) * 0.75
        assert drawn["x"] + drawn["width"] <= width
    for bar in (
        box for name, boxes in found["faults"]["classes"].items() if name.startswith("fault ") for box in boxes
    ):
        assert distance(browser.colour(*middle(bar)), card) > 60


def test_faults_are_shaded_and_what_was_done_stands_on_them(page: Path, browser: Browser) -> None:
    browser.open(page, width=1280)
    found = browser.run(PICTURES)
    assert isinstance(found, dict)
    for name in ("throughput", "latency"):
        classes = found[name]["classes"]
        shades = [box for key, boxes in classes.items() if key.startswith("shade ") for box in boxes]
        assert len(shades) == len(FAULTS)
        for shade in shades:
            top = (shade["x"] + 4, shade["y"] + 4)
            beside = (shade["x"] - 6, shade["y"] + 4)
            assert 10 < distance(browser.colour(*top), browser.colour(*beside)) < 80
    assert len(found["throughput"]["classes"]["ok"]) > 40
    for line in ("line p50", "line p99", "line slowest"):
        (box,) = found["latency"]["classes"][line]
        assert box["width"] > 800
        assert box["height"] > 20


def test_counterexample_is_drawn_large_on_a_light_sheet(page: Path, browser: Browser) -> None:
    browser.open(page, width=1280, dark=True)
    found = browser.run(PICTURES)
    assert isinstance(found, dict)
    (drawn,) = found["pictures"]["svg"]
    assert drawn["width"] > 900
    assert found["pictures"]["rects"] == 20
    assert browser.colour(drawn["x"] + 3, drawn["y"] + 3) == (255, 255, 255)


@pytest.mark.parametrize("width", [*WIDTHS.values(), 320])
def test_page_is_not_wider_than_the_window_and_runs_nothing_of_the_history(
    page: Path, browser: Browser, width: int
) -> None:
    browser.open(page, width=width)
    assert browser.run(OVERFLOW) == 0
    assert browser.run("return document.images.length + document.scripts.length;") == 1
    assert browser.run("return performance.getEntriesByType('resource').length;") == 0
