"""The pictures of a run as SVG: faults, throughput and latency, one below the other on the same axis of time.

Each is drawn for a width in pixels, so that its letters have their size on a wide page and on a narrow one; colours
are the page's own (`page.css`), by class.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from jepsen_like.report.availability import Window
from jepsen_like.report.axes import Linear, Logarithmic, ceiling, decades, ticks
from jepsen_like.report.markup import Markup, element
from jepsen_like.report.series import Bucket, Latency, Series
from jepsen_like.report.words import count, duration, plural

KINDS: Final = 8  # colours of faults, then from the first again
LEFT: Final = 58
RIGHT: Final = 14
LANE: Final = 30
OUTCOMES: Final = ("ok", "fail", "unknown")
LINES: Final[dict[str, Callable[[Latency], int]]] = {
    "slowest": lambda found: found.slowest,
    "p99": lambda found: found.p99,
    "p50": lambda found: found.p50,
}
LATENCY_LOW_NS: Final = 100_000.0


class Stage(NamedTuple):
    """The common part of a run's pictures. `end`: of the axis of time, ns."""

    width: int
    end: int
    faults: Sequence[Window]

    @property
    def time(self) -> Linear:
        return Linear(0, max(1, self.end), LEFT, self.width - RIGHT)

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(window.name for window in self.faults))

    def until(self, window: Window) -> int:
        return self.end if window.end is None else window.end


def lanes(stage: Stage) -> Markup:
    """One lane per kind of fault, labelled; a bar where it was in force."""
    bottom = LANE * len(stage.kinds) + 6
    parts: list[Markup] = []
    for row, kind in enumerate(stage.kinds):
        top = row * LANE
        struck = [window for window in stage.faults if window.name == kind]
        label = f"{kind} × {len(struck)}"
        parts.append(element("text", label, x=LEFT, y=top + 13, class_="lane"))
        parts.append(_line(LEFT, top + 24, stage.width - RIGHT, top + 24, "grid"))
        parts += [_bar(stage, window, top=top + 18, height=11, class_=f"fault {_colour(row)}") for window in struck]
    return _picture(stage, bottom + 22, "Faults over time", [*_time_axis(stage, 0, bottom), *parts])


def throughput(stage: Stage, found: Series, *, height: int = 230) -> Markup:
    """Operations a second, stacked by outcome."""
    top, bottom = 12, height - 24
    seconds = found.width_ns / 1e9
    highest = max((_total(bucket) / seconds for bucket in found.buckets), default=0) or 1
    marks = ticks(ceiling(highest, most=5), most=5)
    scale = Linear(0, marks[-1], bottom, top)
    parts = [*_shade(stage, top, bottom), *_time_axis(stage, top, bottom)]
    parts += _value_axis(stage, scale, [(mark, f"{mark:g}" if mark < 1 else count(round(mark))) for mark in marks])
    for bucket in found.buckets:
        parts += _stack(stage, found, bucket, scale)
    parts += _hints(stage, found, top, bottom, _told_outcomes)
    return _picture(stage, height, "Operations a second over time, by outcome", parts)


def latency(stage: Stage, found: Series, *, height: int = 230) -> Markup:
    """Of operations that were ok: median, 99th percentile and slowest of each bucket, on a logarithmic axis."""
    top, bottom = 12, height - 24
    known = [bucket.latency for bucket in found.buckets if bucket.latency is not None]
    lowest = max(LATENCY_LOW_NS, min((one.p50 for one in known), default=1e6))
    marks = decades(lowest, max([lowest, *(one.slowest for one in known)]))
    scale = Logarithmic(marks[0], marks[-1], bottom, top)
    parts = [*_shade(stage, top, bottom), *_time_axis(stage, top, bottom)]
    parts += _value_axis(stage, scale, [(mark, duration(mark)) for mark in marks])
    for name, of in LINES.items():
        parts.append(element("path", d=_path(stage, found, scale, of), class_=f"line {name}"))
    parts += _hints(stage, found, top, bottom, _told_latency)
    return _picture(stage, height, "Latency of operations that were ok, over time", parts)


def _picture(stage: Stage, height: int, title: str, parts: Iterable[Markup]) -> Markup:
    size = {"viewBox": f"0 0 {stage.width} {height}", "width": stage.width, "height": height}
    return element(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", class_="chart", role="img", aria_label=title, **size
    )


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _colour(row: int) -> str:
    return f"k{row % KINDS}"


def _bar(stage: Stage, window: Window, *, top: float, height: float, class_: str) -> Markup:
    """At least three pixels wide: what was short is seen too."""
    begin, end = stage.time(window.begin), stage.time(stage.until(window))
    ended = "to the end" if window.end is None else f"for {duration(window.end - window.begin)}"
    told = f"{window.name} at {duration(window.begin)} {ended}: {', '.join(window.targets)} {window.detail}"
    box = {"x": begin, "y": top, "width": max(3.0, end - begin), "height": height, "rx": 2}
    return element("rect", element("title", told), class_=class_, **box)


def _shade(stage: Stage, top: float, bottom: float) -> list[Markup]:
    rows = {kind: row for row, kind in enumerate(stage.kinds)}
    return [
        _bar(stage, window, top=top, height=bottom - top, class_=f"shade {_colour(rows[window.name])}")
        for window in stage.faults
    ]


def _time_axis(stage: Stage, top: float, bottom: float) -> list[Markup]:
    end = max(1, stage.end) / 1e9
    parts = []
    for mark in ticks(end, most=max(4, stage.width // 90)):
        x = stage.time(mark * 1e9)
        parts.append(_line(x, top, x, bottom, "grid"))
        parts.append(element("text", f"{mark:g} s", x=x, y=bottom + 17, class_="tick", text_anchor="middle"))
    return [*parts, _line(LEFT, bottom, stage.width - RIGHT, bottom, "axis")]


def _value_axis(stage: Stage, scale: Linear | Logarithmic, marks: Iterable[tuple[float, str]]) -> list[Markup]:
    parts = []
    for value, label in marks:
        y = scale(value)
        parts.append(_line(LEFT, y, stage.width - RIGHT, y, "grid"))
        parts.append(element("text", label, x=LEFT - 7, y=y + 4, class_="tick", text_anchor="end"))
    return parts


def _total(bucket: Bucket) -> int:
    return bucket.ok + bucket.fail + bucket.unknown


def _edges(stage: Stage, found: Series, bucket: Bucket) -> tuple[float, float]:
    return stage.time(bucket.at), stage.time(bucket.at + found.width_ns)


def _stack(stage: Stage, found: Series, bucket: Bucket, scale: Linear) -> list[Markup]:
    left, right = _edges(stage, found, bucket)
    parts, below = [], 0.0
    for outcome in OUTCOMES:
        height = {"ok": bucket.ok, "fail": bucket.fail, "unknown": bucket.unknown}[outcome] / (found.width_ns / 1e9)
        if height:
            low, high = scale(below), scale(below + height)
            tall = max(low - high, 1.5)  # a single unknown among thousands is what one looks for
            box = {"x": left, "y": low - tall, "width": max(0.7, right - left - 0.6), "height": tall}
            parts.append(element("rect", class_=outcome, **box))
        below += height
    return parts


def _path(stage: Stage, found: Series, scale: Logarithmic, of: Callable[[Latency], int]) -> str:
    """A level a bucket; broken where nothing was ok."""
    steps: list[str] = []
    broken = True
    for bucket in found.buckets:
        if bucket.latency is None:
            broken = True
            continue
        left, right = _edges(stage, found, bucket)
        y = scale(of(bucket.latency))
        steps.append(f"{'M' if broken else 'L'}{left:.1f} {y:.1f}H{right:.1f}")
        broken = False
    return "".join(steps)


def _hints(stage: Stage, found: Series, top: float, bottom: float, told: Callable[[Bucket], str]) -> list[Markup]:
    """The text of a bucket, which the browser shows under the pointer."""
    parts = []
    for bucket in found.buckets:
        left, right = _edges(stage, found, bucket)
        text = f"{duration(bucket.at)} to {duration(bucket.at + found.width_ns)}: {told(bucket)}"
        box = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        parts.append(element("rect", element("title", text), class_="hint", **box))
    return parts


def _told_outcomes(bucket: Bucket) -> str:
    return f"{count(bucket.ok)} ok, {count(bucket.fail)} fail, {count(bucket.unknown)} unknown"


def _told_latency(bucket: Bucket) -> str:
    if bucket.latency is None:
        return "nothing was ok"
    found = bucket.latency
    told = f"median {duration(found.p50)}, p99 {duration(found.p99)}, slowest {duration(found.slowest)}"
    return f"{told} of {plural(bucket.ok, 'operation')}"
