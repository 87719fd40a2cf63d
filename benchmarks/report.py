"""A run in Markdown and in JSON: goals first, then every line with its spread, then the machine and the command. Pure.

In `docs/performance.md` the figures stand between markers. This module writes them; nobody edits them by hand.
"""

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec
from msgspec import Struct

from benchmarks.goals import Judged, judge_all
from benchmarks.machine import Machine
from benchmarks.measures import LOAD, Point, Results, Sample, Spread, ratio, spread

BEGIN: Final = "<!-- benchmarks: {} begins, written by `python -m benchmarks --markdown` -->"
END: Final = "<!-- benchmarks: {} ends -->"
LAYER: Final = "layer: "
_BESIDE: Final = ("per_second", "p50_ms", "p99_ms", "cpu_us")
_METRICS: Final = ("per_second", "p50_ms", "p99_ms", "p999_ms")


class Run(Struct, frozen=True):
    """All that a report is made of."""

    machine: Machine
    command: str
    date: str
    took_s: float
    notes: Sequence[str]
    points: Sequence[Point]


def to_json(run: Run) -> bytes:
    """Every figure of every round, and the judgements."""
    judged = [
        {
            "goal": one.goal.says,
            "bound": one.goal.bound,
            "is_floor": one.goal.at_least,
            "unit": one.goal.unit,
            "measured": one.measured,
            "verdict": one.verdict,
        }
        for one in judge_all(Results(run.points))
    ]
    whole = {**msgspec.structs.asdict(run), "goals": judged}
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def from_json(text: bytes) -> Run:
    """Raises: msgspec.ValidationError."""
    return msgspec.json.decode(text, type=Run)


def merged(runs: Sequence[Run]) -> Run:
    """Runs of different parts as one; of a point that several have, the last counts. Raises: ValueError.

    Figures of one machine only: a goal that compares two points must not compare two machines.
    """
    first = runs[0]
    if any(run.machine != first.machine for run in runs):
        raise ValueError("the runs are of different machines or versions")
    points = {point.key: point for run in runs for point in run.points}
    return Run(
        first.machine,
        " && ".join(dict.fromkeys(run.command for run in runs)),
        " / ".join(dict.fromkeys(run.date for run in runs)),
        sum(run.took_s for run in runs),
        list(dict.fromkeys(note for run in runs for note in run.notes)),
        list(points.values()),
    )


def markdown(run: Run) -> str:
    """For a terminal: all of it."""
    return "\n".join(sections(run).values())


def sections(run: Run) -> dict[str, str]:
    """By the name of the markers between which each stands."""
    layers = [point for point in run.points if point.work.startswith(LAYER)]
    others = [point for point in run.points if not point.work.startswith(LAYER)]
    return {
        "goals": goals_table(judge_all(Results(run.points))),
        "table": points_table(others),
        "layers": points_table(layers) if layers else "Not measured in this run.\n",
        "machine": provenance(run),
    }


# --- tables ---------------------------------------------------------------------------------------------
def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """The first `left` columns are text."""
    lines = [" | ".join(head), " | ".join(["---"] * left + ["---:"] * (len(head) - left))]
    lines += [" | ".join(row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def goals_table(judged: Sequence[Judged]) -> str:
    rows = [
        (
            one.goal.says,
            f"{'at least' if one.goal.at_least else 'at most'} {with_unit(one.goal.bound, one.goal.unit)}",
            ranged(one.measured, one.goal.unit),
            one.verdict,
        )
        for one in judged
        if one.measured is not None
    ]
    shown = table(("goal", "bound", "measured (lowest to highest round)", "verdict"), rows, left=2) if rows else ""
    missing = [one.goal.says for one in judged if one.measured is None]
    return shown + (f"\nNot measured in this run: {'; '.join(missing)}.\n" if missing else "")


def points_table(points: Sequence[Point]) -> str:
    head = ("work", "clients", "at", "system", "a second", "p50 ms", "p99 ms", "p99.9 ms", "CPU us", "errors", "beside")
    rows = [row for point in points for row in _rows(point)]
    return table(head, rows, left=1)


def _rows(point: Point) -> list[tuple[str, ...]]:
    rows = []
    for system, samples in point.samples.items():
        timed = any(sample.operations for sample in samples)
        cells = [_cell(point.values(system, metric)) if timed else "" for metric in _METRICS]
        more = _more(samples)
        rows.append(
            (
                point.work + (f" ({point.unit})" if point.unit != "operations" else ""),
                f"{point.clients:,}" + ("" if point.counted == "clients" else f" {point.counted}"),
                point.at,
                system + (f": {more}" if more else ""),
                *cells,
                _cpu(samples),
                str(sum(sample.errors for sample in samples)),
                _beside(point, system),
            )
        )
    return rows


def _cell(values: Sequence[float]) -> str:
    found = spread(values)
    return "" if found is None else ranged(found)


def _cpu(samples: Sequence[Sample]) -> str:
    """The sum over its processes, and in brackets each with the load."""
    totals = spread([sample.cpu_us for sample in samples if sample.cpu_us is not None])
    if totals is None:
        return ""
    names = [name for name in samples[0].cpu if name != LOAD]
    if len(names) == 1:
        return number(totals.middle)
    each = [number(_middle([sample.cpu.get(name, 0.0) for sample in samples])) for name in (*names, LOAD)]
    return f"{number(totals.middle)} ({' + '.join(each[:-1])}; load {each[-1]})"


def _more(samples: Sequence[Sample]) -> str:
    names = dict.fromkeys(name for sample in samples for name in sample.more)
    found = {name: spread([sample.more[name] for sample in samples if name in sample.more]) for name in names}
    return ", ".join(f"{name.replace('_', ' ')} {ranged(one)}" for name, one in found.items() if one is not None)


def _beside(point: Point, system: str) -> str:
    """Ratios to each system that is not ours."""
    others = [name for name in point.samples if not name.startswith("raftmem")]
    if not system.startswith("raftmem") or not others:
        return ""
    found = [(name, ratio(point, system, name, point.compared)) for name in others]
    return ", ".join(f"{ranged(one, 'x')} {name}" for name, one in found if one is not None)


def beside(now: Run, then: Run) -> str:
    """Medians of one run as parts of those of another: for a change before and after, with the hour's noise in it."""
    before = Results(then.points)
    rows = []
    for point in now.points:
        other = before.find(*point.key)
        for system in point.samples if other is not None else ():
            pairs = [(point.values(system, name), other.values(system, name)) for name in _BESIDE] if other else []
            cells = [f"{median(new) / median(old):.2f}x" if new and old and median(old) else "" for new, old in pairs]
            if any(cells):
                rows.append((point.work, f"{point.clients:,}", point.at, system, *cells))
    head = ("work", "clients", "at", "system", "a second", "p50 ms", "p99 ms", "CPU us")
    return table(head, rows) if rows else "The two runs have nothing in common.\n"


def provenance(run: Run) -> str:
    machine = run.machine
    lines = [
        f"- Machine: {machine.cpus} x {machine.cpu}, {machine.memory_gb:.0f} GB, {machine.disk} under the data, "
        f"Linux {machine.kernel}.",
        f"- Versions: {', '.join(f'{name} {told}' for name, told in machine.versions.items())}.",
        f"- Command: `{run.command}`, {run.date}, {run.took_s / 60:.0f} minutes.",
        *(f"- {note}" for note in run.notes),
    ]
    return "\n".join(lines) + "\n"


# --- figures as words -----------------------------------------------------------------------------------
def number(value: float) -> str:
    """Three figures that count."""
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def with_unit(value: float, unit: str) -> str:
    if unit == "x":
        return f"{number(value)}x"
    is_count = unit not in ("", "s", "ms") and value == int(value)
    return f"{value:,.0f} {unit}" if is_count else f"{number(value)} {unit}".strip()


def ranged(found: Spread, unit: str = "") -> str:
    """The median, and the range of the rounds if they differ as shown."""
    low, high = number(found.low), number(found.high)
    told = with_unit(found.middle, unit)
    return told if low == high else f"{told} ({low}–{high})"


def _middle(values: Sequence[float]) -> float:
    found = spread(values)
    return 0.0 if found is None else found.middle


# --- what stands in a document ---------------------------------------------------------------------------
def put_between(document: str, name: str, text: str) -> str:
    """`document` with what stands between the markers of that name replaced. Raises: ValueError without markers."""
    begin, end = BEGIN.format(name), END.format(name)
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the document has no lines {begin!r} and {end!r}")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"
