"""`write_campaign`: the page that lists the runs of a campaign, those that did not pass first, with links to their
reports.

It shows what the folders of the runs hold; for a run without a folder it shows what the campaign noted. Rule: no run
that the campaign knows of is missing here.
"""

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from jepsen_like.checkers.evidence import Verdict
from jepsen_like.history.record import Line, Start
from jepsen_like.report.markup import Markup, element
from jepsen_like.report.page import headline, reason, run_of
from jepsen_like.report.parts import cell, document, note, pill, section, table
from jepsen_like.report.words import cut, duration, plural
from jepsen_like.runs.campaign import FILE, Campaign, Row
from jepsen_like.runs.folder import Result, RunFolder

NOTE_MAX: Final = 400


class Ran(NamedTuple):
    """`result` is None when the run did not get that far; `row`: the campaign's own, if there is one."""

    folder: RunFolder
    start: Start
    result: Result | None
    row: Row | None

    @property
    def passed(self) -> bool:
        return self.result is not None and self.result.passed


def write_campaign(folder: Path) -> Path:
    """`folder`: holds a folder a run. Raises: ValueError, naming the file that cannot be read."""
    noted = _campaign(folder / FILE)
    rows = {row.folder: row for row in noted.rows}
    names = [
        *rows,
        *(path.parent.name for path in sorted(folder.glob("*/history.jsonl")) if path.parent.name not in rows),
    ]
    runs = sorted((_ran(RunFolder(folder / name), rows.get(name)) for name in names), key=lambda ran: ran.passed)
    page = folder / "index.html"
    parts = [_banner(runs, noted), _rows(runs), *_never(runs, noted), *_unavailable(noted)]
    page.write_text(document(f"Campaign {folder.name}", parts), "utf-8")
    return page


def _campaign(file: Path) -> Campaign:
    if not file.exists():
        return Campaign(profile="", seed=0, began="")
    try:
        return msgspec.json.decode(file.read_bytes(), type=Campaign)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{file}: {error}") from error


def _ran(folder: RunFolder, row: Row | None) -> Ran:
    """Only the first line of a history is read: a campaign has many of them."""
    start = Start(workload=folder.path.name)
    if row is not None:
        start = Start(workload=row.workload, nemeses=row.nemeses, seed=row.seed, without=row.without)
    if folder.history.exists():
        with folder.history.open("rb") as file:
            start = _first(folder.history, file.readline()) or start
    return Ran(folder, start, folder.outcome() if folder.result.exists() else None, row)


def _first(file: Path, raw: bytes) -> Start | None:
    try:
        line = msgspec.json.decode(raw, type=Line) if raw.strip() else None
    except msgspec.MsgspecError as error:
        raise ValueError(f"{file}, line 1: {error}") from error
    return line if isinstance(line, Start) else None


def _banner(runs: list[Ran], noted: Campaign) -> Markup:
    failed = sum(not ran.passed for ran in runs)
    took = noted.seconds or sum(ran.result.seconds for ran in runs if ran.result is not None)
    if failed:
        title, told, colour = (
            f"{failed} of {plural(len(runs), 'run')} did not pass",
            "They are listed first.",
            _colour(runs),
        )
    elif not runs or noted.interrupted:
        title, told, colour = "Unknown", f"{plural(len(runs), 'run')} of those that were planned.", "unknown"
    elif noted.never:
        title, told, colour = "Unknown", "Every run passed, but not all that should be met was met.", "unknown"
    else:
        title, told, colour = "Good", f"{plural(len(runs), 'run')}, each with the verdict that it should have.", "good"
    words = [noted.profile and f"profile {noted.profile}, seed {noted.seed}", took and f"{duration(took * 1e9)} in all"]
    last = element("p", ", ".join(word for word in words if word), class_="run")
    return element("section", element("h1", title), element("p", told), last, id="verdict", class_=f"banner {colour}")


def _colour(runs: list[Ran]) -> Verdict:
    """That of what did not pass: bad if one of them has a verdict that was not wanted."""
    missed = [ran.result for ran in runs if ran.result is not None and not ran.passed]
    return "bad" if any(result.verdict != "unknown" for result in missed) else "unknown"


def _rows(runs: list[Ran]) -> Markup:
    heads = ("verdict", "run", "why", "seed", "took")
    return section("Runs", table(heads, [_row(ran) for ran in runs], numbers=3, class_="stack"), name="runs")


def _row(ran: Ran) -> tuple[Markup, ...]:
    name = run_of(ran.start)
    has_page = ran.folder.report.exists()
    link = element("a", name, href=f"{ran.folder.path.name}/{ran.folder.report.name}") if has_page else name
    if ran.result is None:
        seconds = 0.0 if ran.row is None else ran.row.seconds
        verdict, why = pill("unknown"), cut(ran.row.note, NOTE_MAX) if ran.row is not None else ""
        why = why or "The run was cut short."
    else:
        title, colour = headline(ran.result)
        seconds = ran.result.seconds
        verdict, why = element("span", title, class_=f"pill {colour}"), reason(ran.result)
    return (
        cell(verdict),
        cell(link, class_="run"),
        cell(why, class_="say"),
        cell(str(ran.start.seed), class_="n", label="seed"),
        cell(duration(seconds * 1e9) if seconds else "", class_="n", label="took" if seconds else None),
    )


def _never(runs: list[Ran], noted: Campaign) -> list[Markup]:
    """The events that no run met: the campaign says nothing of them."""
    total: dict[str, int] = {}
    for ran in runs:
        for name, number in (ran.result.sometimes if ran.result is not None else {}).items():
            total[name] = total.get(name, 0) + number
    never = sorted({name for name, number in total.items() if not number} | set(noted.never))
    return [section("Never seen in any run", element("p", ", ".join(never)), name="never")] if never else []


def _unavailable(noted: Campaign) -> list[Markup]:
    rows = [(cell(name, class_="name"), cell(why, class_="say")) for name, why in sorted(noted.unavailable.items())]
    if not rows:
        return []
    told = note("No run says anything about them.")
    return [section("Faults that were not available", told, table(("fault", "why"), rows), name="unavailable")]
