"""`python -m jepsen_like run`: one run, seen while it goes on, its verdict, and its report."""

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from msgspec import structs
from rich.console import Console

from jepsen_like.checkers.evidence import Verdict
from jepsen_like.cli.exits import OF, Exit, give_up
from jepsen_like.cli.signals import heed
from jepsen_like.cluster.client import Lost, Trouble
from jepsen_like.nemeses.registry import NEMESES
from jepsen_like.report.page import write_report
from jepsen_like.runs import judging, schedule
from jepsen_like.runs.live import Lines, Panel
from jepsen_like.runs.options import Options, check, command
from jepsen_like.runs.run import Outcome, Unavailable, new_folder, run
from jepsen_like.workloads.registry import WORKLOADS

COLOURS: Final[dict[Verdict, str]] = {"good": "bold green", "bad": "bold red", "unknown": "bold yellow"}
DEFAULTS: Final = Options(workload="")
DETAILS_MAX: Final = 8


def listed(text: str) -> tuple[str, ...]:
    """`a,b`, or nothing."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def run_command(
    workload: Annotated[str, typer.Option(help="What the clients do; `list` names them.")],
    nemesis: Annotated[
        str, typer.Option(help="What strikes meanwhile: names with commas between. None: healthy.")
    ] = "",
    time: Annotated[float, typer.Option(help="Seconds of load under faults.")] = DEFAULTS.seconds,
    nodes: Annotated[int, typer.Option(help="Replicas.")] = DEFAULTS.nodes,
    clients: Annotated[int, typer.Option(help="Clients, a thread each.")] = DEFAULTS.clients,
    keys: Annotated[int, typer.Option(help="Over how many things the clients spread.")] = DEFAULTS.keys,
    rate: Annotated[float, typer.Option(help="Operations a second of all clients; 0: no limit.")] = DEFAULTS.rate,
    levels: Annotated[str, typer.Option(help="Levels of reads: names with commas between.")] = ",".join(
        DEFAULTS.levels
    ),
    seed: Annotated[int, typer.Option(help="From which everything is drawn.")] = DEFAULTS.seed,
    overlap: Annotated[int, typer.Option(help="How many faults may be active at once.")] = DEFAULTS.overlap,
    without: Annotated[str, typer.Option(help="Promises that the replicas shall not keep; `list` names them.")] = "",
    shows: Annotated[str, typer.Option(help="The finding that has to be bad, where damage is to be shown.")] = "",
    folder: Annotated[Path | None, typer.Option(help="Where all goes; must be empty.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data folders of a run that passed, too.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only print the options and the schedule of faults.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run one workload under faults, on replicas of its own, and judge what happened."""
    options = Options(
        workload=workload,
        nemeses=listed(nemesis),
        seconds=time,
        nodes=nodes,
        clients=clients,
        keys=keys,
        rate=rate,
        levels=listed(levels),
        seed=seed,
        overlap=overlap,
        without=listed(without),
        shows=shows,
        folder=folder,
        keep=keep,
    )
    try:
        check(options, workloads=WORKLOADS, nemeses=NEMESES)
        check_shown(options)
    except ValueError as error:
        give_up(str(error))
    if plan:
        print(_plan(options))
        return
    heed()
    outcome = _done(options, Console(stderr=as_json))
    report = write_report(outcome.folder.path)
    if as_json:
        print(msgspec.json.format(_summary(outcome, report)).decode())
    else:
        tell(outcome, report, Console())
    for trouble in outcome.troubles:
        print(f"jepsen_like: {trouble}", file=sys.stderr)
    raise typer.Exit(Exit.TROUBLE if outcome.troubles else OF[outcome.result.verdict])


def check_shown(options: Options) -> None:
    """Raises: ValueError, a line that says what there is."""
    if not options.shows:
        return
    found = judging.names(WORKLOADS[options.workload](options.choices), options)
    if options.shows not in found:
        raise ValueError(f"{options.workload} has no finding {options.shows}; there are: {', '.join(found)}")


def _plan(options: Options) -> str:
    lengths = {name: NEMESES[name].seconds for name in options.nemeses}
    strikes = schedule.draw(lengths, seconds=options.seconds, seed=options.seed, overlap=options.overlap)
    asked = {name: value for name, value in structs.asdict(options).items() if name != "folder"}
    described = {"options": asked, "schedule": [strike._asdict() for strike in strikes], "command": command(options)}
    return msgspec.json.format(msgspec.json.encode(described)).decode()


def _done(options: Options, console: Console) -> Outcome:
    view = Panel(console, options) if console.is_terminal else Lines(console, options)
    try:
        folder = new_folder(options)
        # what the clients grumble about under faults is no trouble, and would tear the panel
        logging.getLogger("raftmem").addHandler(logging.FileHandler(folder.clients, delay=True))
        with view.live() if isinstance(view, Panel) else nullcontext():
            return run(options, folder, view)
    except Unavailable as error:
        give_up(f"nothing that was asked for can be used here: {error}")
    except (Trouble, Lost, ValueError, OSError) as error:
        give_up(f"the run could not be made: {error}")
    except KeyboardInterrupt:
        give_up("interrupted; the processes are gone")


def _summary(outcome: Outcome, report: Path) -> bytes:
    result = outcome.result
    found = [
        {"name": finding.name, "verdict": finding.verdict, "summary": finding.summary} for finding in result.findings
    ]
    return msgspec.json.encode(
        {
            "verdict": result.verdict,
            "expected": result.expected,
            "passed": result.passed,
            "folder": str(outcome.folder.path),
            "report": str(report),
            "findings": found,
            "sometimes": result.sometimes,
            "unavailable": result.unavailable,
            "troubles": outcome.troubles,
            "command": result.command,
        }
    )


def few(details: Sequence[str]) -> list[str]:
    left = len(details) - DETAILS_MAX
    return [*details[:DETAILS_MAX], *([f"… {left} more in the report"] if left > 0 else [])]


def tell(outcome: Outcome, report: Path, console: Console) -> None:
    """The verdict first, what is wrong next."""
    result = outcome.result
    as_wanted = "" if result.expected == "good" else f", and {result.expected} was expected"
    if result.shows:
        as_wanted = f": {result.shows} was to be bad, and {'is' if result.shown else 'is not'}"
    missing = f" (but nothing is said of {', '.join(result.unavailable)})" if result.unavailable else ""
    console.print(f"{result.verdict.upper()}{as_wanted}{missing}", style=COLOURS[result.verdict], highlight=False)
    for finding in result.findings:
        console.print(
            f"  {finding.verdict:<8}{finding.name}: {finding.summary}", markup=False, highlight=False, soft_wrap=True
        )
        if finding.verdict != "good":
            for detail in few(finding.details):
                console.print(f"          {detail}", markup=False, highlight=False, soft_wrap=True)
    for name, reason in result.unavailable.items():
        console.print(f"  not available here: {name}: {reason}", markup=False, highlight=False, soft_wrap=True)
    for what, told in (("repeat", result.command), ("folder", outcome.folder.path), ("report", report)):
        console.print(f"{what}: {told}", markup=False, highlight=False, soft_wrap=True)
