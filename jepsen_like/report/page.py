"""`write_report`: a run's folder as one page that a browser shows without a network and without a script.

It shows what the folder holds and judges nothing anew; a run that did not get to its verdict is shown as `unknown`.
Rule: the page's size has a bound however long the run was (buckets, cut lines, refused pictures).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from jepsen_like.checkers.evidence import Verdict
from jepsen_like.history.jsonl import read_history
from jepsen_like.history.record import History, Start
from jepsen_like.report import charts, tables
from jepsen_like.report.availability import Window, windows
from jepsen_like.report.findings import ORDER, findings, pictures
from jepsen_like.report.markup import Markup, element, many
from jepsen_like.report.parts import command, document, facts, note, section
from jepsen_like.report.series import Series, series
from jepsen_like.report.words import count, cut, duration, plural
from jepsen_like.runs.folder import Result, RunFolder

WIDE: Final = 1000
NARROW: Final = 360
OPTION_MAX: Final = 500


def write_report(folder: Path) -> Path:
    """Raises: FileNotFoundError without a history; ValueError naming the file and the line that cannot be read."""
    run = RunFolder(folder)
    history = read_history(run.history)
    result = run.outcome() if run.result.exists() else Result(verdict="unknown", findings=())
    run.report.write_text(_page(run, history, result), "utf-8")
    return run.report


def _page(run: RunFolder, history: History, result: Result) -> str:
    start = history.start or Start(workload="of unknown origin")
    faults = windows(history.faults)
    seen = {fault.name: fault.detail for fault in history.faults if fault.event == "unavailable"}
    return document(
        f"{headline(result)[0]}: {run_of(start)}",
        [
            _banner(start, result, {**seen, **result.unavailable}),
            _summary(run, history, start, result),
            findings(result.findings),
            pictures(result.findings),
            _over_time(series(history.operations, faults), faults),
            tables.availability(history.operations, faults),
            tables.operations(history.operations),
            tables.sometimes(result.sometimes),
            tables.unavailable({**seen, **result.unavailable}),
            tables.logs(run.nodes),
            tables.options(_options(start)),
            element("footer", "Made by jepsen_like, the fault-injection harness of raftmem, from the files beside it."),
        ],
    )


def headline(result: Result) -> tuple[str, Verdict]:
    """The largest text and its colour. A demonstration that shows its damage has the colour of a good run."""
    if result.passed and result.verdict != "good":
        return f"{result.verdict.capitalize()}, as it must be", "good"
    if result.verdict == "bad" and not result.shown:
        return f"Bad, but {result.shows} should be", "bad"
    if result.verdict == "good" and not result.passed:
        return f"Good, but it should be {result.expected}", "bad"
    return result.verdict.capitalize(), result.verdict


def reason(result: Result) -> str:
    """One sentence that says why the verdict is what it is."""
    if not result.findings:
        return "No checker has said anything: the run was cut short."
    if result.verdict == "good":
        found = f"{plural(len(result.findings), 'checker')}, and each found its promise kept."
        return found if result.passed else f"{found} This run was to show damage, and nothing was damaged."
    worst = min(result.findings, key=lambda finding: (ORDER.index(finding.verdict), finding.name != result.shows))
    others = sum(finding.verdict == worst.verdict for finding in result.findings) - 1
    also = f" ({plural(others, 'other checker')}: also {worst.verdict})" if others else ""
    expected = " This run leaves something out on purpose, to show the damage." if result.passed else ""
    return f"{worst.name}: {cut(worst.summary, 400)}{also}.{expected}".replace("..", ".")


def run_of(start: Start) -> str:
    without = f", without {' and '.join(start.without)}" if start.without else ""
    return f"{start.workload} under {' + '.join(start.nemeses) or 'no faults'}{without}"


def _banner(start: Start, result: Result, missing: Mapping[str, str]) -> Markup:
    title, colour = headline(result)
    return element(
        "section",
        element("h1", title),
        element("p", reason(result)),
        element("p", run_of(start), class_="run"),
        element("p", f"Nothing is said of {', '.join(missing)}: not available there.", class_="run")
        if missing
        else many(()),
        id="verdict",
        class_=f"banner {colour}",
    )


def _summary(run: RunFolder, history: History, start: Start, result: Result) -> Markup:
    outcomes = [operation.type for operation in history.operations]
    pairs = [
        ("operations", count(len(outcomes))),
        ("of them unknown", count(outcomes.count("unknown"))),
        ("faults that struck", count(sum(fault.event == "begin" for fault in history.faults))),
        ("replicas", count(start.nodes)),
        ("clients", count(start.clients)),
        ("seed", str(start.seed)),
        ("took", duration(result.seconds * 1e9) if result.seconds else ""),
        ("began", result.began.replace("T", " ").replace("Z", " UTC").replace("+00:00", " UTC")),
    ]
    repeats = result.command or start.command
    again = command(repeats, name="command") if repeats else note("The history does not say which command made it.")
    return section(
        "The run",
        facts((name, text) for name, text in pairs if text),
        element("h3", "This repeats it"),
        again,
        note(f"Beside this page, in {run.path.name}: the history, the final log, and what each replica wrote."),
        name="run",
    )


def _over_time(found: Series, faults: tuple[Window, ...]) -> Markup:
    if not any(bucket.ok + bucket.fail + bucket.unknown for bucket in found.buckets):
        return section("Over time", note("There was no operation."), name="time")
    every = f"a bar is {duration(found.width_ns)}; point at one for its numbers"
    parts = [_figure("throughput", "Operations a second", _both(found, faults, "throughput"), charts.OUTCOMES, every)]
    parts.append(_figure("latency", "Latency of what was ok", _both(found, faults, "latency"), tuple(charts.LINES), ""))
    lanes = "Faults: where one is in force, the pictures below are shaded in its colour"
    if faults:
        parts.insert(0, _figure("faults", lanes, _both(found, faults, "lanes"), (), ""))
    return section("Over time", *parts, name="time")


def _both(found: Series, faults: tuple[Window, ...], which: str) -> Markup:
    """For a wide page and for a narrow one; the page's style shows one of them."""
    drawn = []
    for width, class_ in ((WIDE, "wide"), (NARROW, "narrow")):
        stage = charts.Stage(width, found.end, faults)
        match which:
            case "lanes":
                picture = charts.lanes(stage)
            case "throughput":
                picture = charts.throughput(stage, found)
            case _:
                picture = charts.latency(stage, found)
        drawn.append(element("div", picture, class_=class_))
    return many(drawn)


def _figure(name: str, title: str, picture: Markup, legend: tuple[str, ...], told: str) -> Markup:
    keys = [many((element("i", class_=key), key)) for key in legend]
    caption = [element("h3", title, element("span", *keys, class_="legend"))] if keys else [element("h3", title)]
    return element("figure", *caption, picture, element("figcaption", told) if told else many(()), id=name)


def _options(start: Start) -> list[tuple[str, str]]:
    """The whole first line of the history."""
    flat: dict[str, object] = {name: getattr(start, name) for name in start.__struct_fields__ if name != "options"}
    flat |= start.options
    return [(name, cut(msgspec.json.encode(value).decode(), OPTION_MAX)) for name, value in sorted(flat.items())]
