"""Line charts and bars as SVG documents that stand alone: on paper of their own, so that a dark page shows them too.

Scales and elements are those of the harness's report (`jepsen_like/report`), which need no library either. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from jepsen_like.report.axes import Linear, Logarithmic, ceiling, decades, ticks
from jepsen_like.report.markup import Markup, element, trusted

WIDTH: Final = 860
COLOURS: Final = ("#2f6fd0", "#d9603b", "#2f9e6f", "#8a5bc7", "#b08a1e", "#4b5563", "#c2487f", "#3aa0b5")
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#4b5563}.title{font-size:15px;font-weight:600;fill:#111827}"
    ".name{fill:#111827}.grid{stroke:#e5e7eb}.axis{stroke:#9ca3af}.bound{stroke:#111827;stroke-dasharray:4 3}"
)
_TOP: Final = 64
_LEFT: Final = 74
_RIGHT: Final = 24
_BOTTOM: Final = 48
_ROW: Final = 26
_LETTER: Final = 6.6  # about, at 12 px

Points = Sequence[tuple[float, float]]


class Axis(NamedTuple):
    """`at`: exactly these marks; else powers of ten if it `is_logarithmic`, else round values from 0."""

    label: str
    is_logarithmic: bool = False
    at: Sequence[float] = ()


class Bar(NamedTuple):
    """`says` stands behind the bar."""

    name: str
    value: float
    says: str
    is_good: bool | None = None


def lines(title: str, x: Axis, y: Axis, series: Mapping[str, Points], *, height: int = 400) -> str:
    """A line for each of `series`, with its points. The first word of a name has a colour; p99 in it makes dashes."""
    right, bottom = WIDTH - _RIGHT, height - _BOTTOM
    across, x_marks = _scale(x, [point[0] for points in series.values() for point in points], _LEFT, right)
    up, y_marks = _scale(y, [point[1] for points in series.values() for point in points], bottom, _TOP)
    parts: list[Markup] = [*_legend(list(series))]
    for mark in y_marks:
        parts.append(_line(_LEFT, up(mark), right, up(mark), "grid"))
        parts.append(element("text", told(mark), x=_LEFT - 8, y=up(mark) + 4, text_anchor="end"))
    for mark in x_marks:
        parts.append(_line(across(mark), _TOP, across(mark), bottom, "grid"))
        parts.append(element("text", told(mark), x=across(mark), y=bottom + 18, text_anchor="middle"))
    parts.append(_line(_LEFT, bottom, right, bottom, "axis"))
    parts.append(element("text", x.label, x=(_LEFT + right) / 2, y=height - 10, text_anchor="middle"))
    middle = (_TOP + bottom) / 2
    turned = f"rotate(-90 16 {middle:.0f})"
    parts.append(element("text", y.label, x=16, y=middle, text_anchor="middle", transform=turned))
    for name, points in series.items():
        colour, dashes = _look(name, list(series))
        path = "".join(f"{'L' if at else 'M'}{across(a):.1f} {up(b):.1f}" for at, (a, b) in enumerate(points))
        parts.append(element("path", d=path, fill="none", stroke=colour, stroke_width=2, stroke_dasharray=dashes))
        parts += [element("circle", cx=across(a), cy=up(b), r=3.5, fill=colour) for a, b in points]
    return _document(title, height, parts)


def bars(title: str, rows: Sequence[Bar], *, bound: float | None = None) -> str:
    """One below the other; `bound` is a line through all of them."""
    height = _TOP - 16 + _ROW * len(rows) + 16
    highest = max([row.value for row in rows] + ([] if bound is None else [bound]), default=1.0) or 1.0
    left = 24 + _LETTER * max((len(row.name) for row in rows), default=0)
    stop = WIDTH - 24 - _LETTER * max((len(row.says) for row in rows), default=0)
    across = Linear(0, highest, left, max(left + 60, stop))
    parts: list[Markup] = []
    for number, row in enumerate(rows):
        top = _TOP - 20 + number * _ROW
        colour = {None: COLOURS[0], True: COLOURS[2], False: COLOURS[1]}[row.is_good]
        parts.append(element("text", row.name, x=left - 8, y=top + 14, text_anchor="end", class_="name"))
        wide = max(1.0, across(row.value) - left)
        parts.append(element("rect", x=left, y=top + 3, width=wide, height=_ROW - 10, fill=colour))
        parts.append(element("text", row.says, x=across.stop + 8, y=top + 14))
    if bound is not None:
        parts.append(_line(across(bound), _TOP - 26, across(bound), height - 14, "bound"))
    return _document(title, height, parts)


def told(value: float) -> str:
    """A tick: as few letters as say it."""
    if value >= 1_000_000 and value % 100_000 == 0:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 10_000 and value % 100 == 0 else f"{value:,.10g}"


def _scale(
    axis: Axis, values: Sequence[float], start: float, stop: float
) -> tuple[Linear | Logarithmic, Sequence[float]]:
    low, high = min(values, default=1.0), max(values, default=1.0)
    if axis.is_logarithmic:
        marks = decades(max(low, 1e-6), max(high, 1e-6))
        if axis.at:
            return Logarithmic(min(axis.at), max(axis.at), start, stop), axis.at
        return Logarithmic(marks[0], marks[-1], start, stop), marks
    top = ceiling(high or 1.0, most=6)
    return Linear(0, top, start, stop), axis.at or ticks(top, most=6)


def _look(name: str, names: Sequence[str]) -> tuple[str, str | None]:
    """Colour and dashes."""
    words = list(dict.fromkeys(one.partition(" ")[0] for one in names))
    return COLOURS[words.index(name.partition(" ")[0]) % len(COLOURS)], "6 4" if "p99" in name else None


def _legend(names: Sequence[str]) -> list[Markup]:
    parts, x = [], float(_LEFT)
    for name in names:
        colour, dashes = _look(name, names)
        box = {"x1": x, "y1": 46, "x2": x + 20, "y2": 46, "stroke": colour, "stroke_width": 3}
        parts.append(element("line", stroke_dasharray=dashes, **box))
        parts.append(element("text", name, x=x + 26, y=50, class_="name"))
        x += 26 + len(name) * _LETTER + 18
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _document(title: str, height: int, parts: Sequence[Markup]) -> str:
    size = {"viewBox": f"0 0 {WIDTH} {height}", "width": WIDTH, "height": height}
    paper = element("rect", x=0, y=0, width=WIDTH, height=height, fill="#ffffff")
    heading = element("text", title, x=16, y=25, class_="title")
    style = element("style", trusted(_STYLE))
    return element(
        "svg", style, paper, heading, *parts, xmlns="http://www.w3.org/2000/svg", role="img", aria_label=title, **size
    )
