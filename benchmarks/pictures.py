"""The pictures of a run: goals, throughput against clients, latency against load, levels of reads, cost against size.

One that the run has no figures for is left out. Pure; the medians of the rounds are shown.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.charts import Axis, Bar, Points, bars, lines
from benchmarks.goals import judge_all
from benchmarks.measures import Point, Results
from benchmarks.report import number, with_unit

SYSTEMS: Final = ("raftmem", "etcd", "redis")
CAPTIONS: Final = {
    "goals": "Goals, as shares of their bounds: beyond the line is met",
    "add-throughput": "Writes a second against clients (Redis, SET and WAIT 1, is not consensus)",
    "add-latency": "Latency of an ADD against load, from 1 to 256 clients",
    "reads": "Reads a second at each level, 64 clients, on the leader",
    "size-cost": "CPU of an operation against the memories that are stored",
    "size-throughput": "Operations a second against the memories that are stored",
    "search": "Milliseconds of a top-10 beside bare FAISS",
}


def of(points: Sequence[Point]) -> dict[str, str]:
    """SVG by name."""
    results = Results(points)
    drawn = {
        "goals": _goals(results),
        "add-throughput": _add_throughput(points),
        "add-latency": _add_latency(points),
        "reads": _reads(results),
        "size-cost": _by_size(points, "cpu_us", "microseconds of CPU on all replicas", CAPTIONS["size-cost"]),
        "size-throughput": _by_size(points, "per_second", "operations a second", CAPTIONS["size-throughput"]),
        "search": _searches(points),
    }
    return {name: svg for name, svg in drawn.items() if svg is not None}


def shown(drawn: Mapping[str, str], folder: Path, *, beside: Path) -> str:
    """Markdown that shows them, for a document at `beside`."""
    place = Path(os.path.relpath(folder, beside.parent)).as_posix()
    return "\n\n".join(f"![{CAPTIONS[name]}]({place}/{name}.svg)" for name in drawn) + "\n"


def _middle(point: Point, system: str, metric: str) -> float | None:
    values = point.values(system, metric)
    return median(values) if values else None


def _goals(results: Results) -> str | None:
    rows = []
    for one in judge_all(results):
        if one.measured is None or not one.goal.bound:
            continue
        share = one.measured.middle / one.goal.bound if one.goal.at_least else one.goal.bound / one.measured.middle
        says = f"{with_unit(one.measured.middle, one.goal.unit)} of {one.goal.bound:,g}"
        rows.append(Bar(one.goal.says.partition(" (")[0], min(share, 2.0), says, not one.missed_by))
    return bars(CAPTIONS["goals"], rows, bound=1.0) if rows else None


def _levels(points: Sequence[Point]) -> list[Point]:
    found = [point for point in points if point.work == "ADD" and point.at == "leader"]
    return sorted(found, key=lambda point: point.clients)


def _add_throughput(points: Sequence[Point]) -> str | None:
    levels = _levels(points)
    series: dict[str, Points] = {}
    for system in SYSTEMS:
        found = [(point.clients, _middle(point, system, "per_second")) for point in levels]
        if line := [(float(clients), value) for clients, value in found if value is not None]:
            series[system] = line
    if len(levels) < 2:
        return None
    clients = Axis("clients", is_logarithmic=True, at=[point.clients for point in levels])
    return lines(CAPTIONS["add-throughput"], clients, Axis("a second", is_logarithmic=True), series)


def _add_latency(points: Sequence[Point]) -> str | None:
    levels = _levels(points)
    series: dict[str, Points] = {}
    for system in SYSTEMS[:2]:
        for metric, name in (("p50_ms", "p50"), ("p99_ms", "p99")):
            line = []
            for point in levels:
                rate, late = _middle(point, system, "per_second"), _middle(point, system, metric)
                if rate is not None and late is not None:
                    line.append((rate, late))
            if line:
                series[f"{system} {name}"] = line
    if len(levels) < 2:
        return None
    return lines(CAPTIONS["add-latency"], Axis("ADDs a second"), Axis("ms", is_logarithmic=True), series)


def _reads(results: Results) -> str | None:
    point = results.find("GET", 64, "leader")
    if point is None:
        return None
    rows = []
    for system in point.samples:
        rate = _middle(point, system, "per_second")
        if rate is not None:
            rows.append(Bar(system, rate, f"{rate:,.0f}", None if system.startswith("raftmem") else False))
    return bars(CAPTIONS["reads"], rows)


def _by_size(points: Sequence[Point], metric: str, label: str, title: str) -> str | None:
    series: dict[str, Points] = {}
    sizes: set[int] = set()
    for work in ("ADD", "GET"):
        line = []
        for point in points:
            value = _middle(point, "raftmem", metric) if point.work == f"{work}, size" else None
            if value is not None:
                line.append((float(point.clients), value))
                sizes.add(point.clients)
        if line:
            series[work] = sorted(line)
    if len(sizes) < 2:
        return None
    return lines(title, Axis("memories of 1 KB", is_logarithmic=True, at=sorted(sizes)), Axis(label), series)


def _searches(points: Sequence[Point]) -> str | None:
    rows = []
    for point in points:
        if point.work.startswith("search ") and point.at == "one":
            for system in point.samples:
                late = _middle(point, system, "p50_ms")
                if late is not None:
                    name = f"{point.work.removeprefix('search ')}, {point.clients:,} rows, {system}"
                    rows.append(Bar(name, late, f"{number(late)} ms", None if system == "raftmem" else False))
    return bars(CAPTIONS["search"], rows) if rows else None
