"""`python -m jepsen_like campaign`: many runs, a line for each as it ends, and one page for all."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from jepsen_like.cli.exits import OF, give_up
from jepsen_like.cli.run import COLOURS
from jepsen_like.cli.signals import heed
from jepsen_like.nemeses.registry import NEMESES
from jepsen_like.report.campaign import write_campaign
from jepsen_like.runs import profiles, sometimes
from jepsen_like.runs.broken import broken
from jepsen_like.runs.campaign import Campaign, Row, Runner
from jepsen_like.runs.options import Options
from jepsen_like.runs.run import RUNS
from jepsen_like.workloads.registry import WORKLOADS

NIGHT_MINUTES = 8 * 60.0


def campaign_command(
    profile: Annotated[str, typer.Option(help="What to run; `list` names them.")] = "ci",
    minutes: Annotated[
        float | None, typer.Option(min=0, help="After which no run begins (night: 480 unless given).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="From which all is drawn; a new one for each night.")] = None,
    at_once: Annotated[int, typer.Option(min=1, max=16, help="Runs at a time; they share the processors.")] = 1,
    folder: Annotated[Path | None, typer.Option(help="Where all goes; must be empty.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what it came to as JSON.")] = False,
) -> None:
    """Make many runs and say whether each had the verdict that was wanted. Ctrl-C ends it after the runs under way."""
    if profile not in profiles.PROFILES:
        give_up(f"no profile {profile}; there are: {', '.join(profiles.PROFILES)}")
    night = profile == "night"
    began = datetime.now(UTC)
    chosen = seed if seed is not None else secrets.randbelow(10**6) if night else 0
    path = (folder or RUNS / f"{began:%Y%m%dT%H%M%S}-{profile}-{chosen}").absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        give_up(f"nothing can be written there: {error}")
    if any(path.iterdir()):
        give_up(f"{path} is not empty; give another folder")
    console = Console(stderr=as_json)
    reasons = {name: why for name, nemesis in sorted(NEMESES.items()) if (why := nemesis().unavailable()) is not None}
    wanted, left_out = planned(profile, chosen, reasons)
    limit = NIGHT_MINUTES if night and minutes is None else minutes
    console.print(f"{profile}, seed {chosen}, into {path}", highlight=False, soft_wrap=True)
    for name, why in reasons.items():
        console.print(f"not available here: {name}: {why}", markup=False, highlight=False, soft_wrap=True)
    for line in left_out:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    campaign = Campaign(profile=profile, seed=chosen, began=began.isoformat(timespec="seconds"), unavailable=reasons)
    runner = Runner(path, at_once=at_once, tell=lambda row: tell(row, console))
    heed(first=runner.end)
    campaign = runner.run(campaign, wanted, minutes=limit, night=night)
    page = write_campaign(path)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(campaign)).decode())
    conclude(campaign, page, console)
    raise typer.Exit(OF[campaign.verdict])


def planned(profile: str, seed: int, reasons: Mapping[str, str]) -> tuple[Iterable[Options], list[str]]:
    """The runs to make, and lines on those left out. `reasons`: why nemeses are not available here.

    A promise whose damage only such a nemesis shows is left out and named: nothing is said of it.
    """
    match profile:
        case "night":
            usable = {name: kind for name, kind in NEMESES.items() if name not in reasons}
            return profiles.night(sorted(WORKLOADS), usable, seed=seed), []
        case "broken":
            rows = broken(seed=seed)
            left_out = [row for row in rows if not reasons.keys().isdisjoint(row.nemeses)]
            lines = [f"not shown here: without {row.without[0]}, which needs {row.faults}" for row in left_out]
            return [row for row in rows if row not in left_out], lines
        case _:
            return profiles.ci(list(WORKLOADS), seed=seed), []


def tell(row: Row, console: Console) -> None:
    verdict = row.verdict or "none"
    mark = "pass" if row.passed else "FAIL"
    faults = " + ".join(row.nemeses) or "no faults"
    line = f"{mark}  {verdict:<8}{row.workload:<16}{faults:<34}{row.seconds:5.0f} s {row.ok:7} ok"
    console.print(line, style="green" if row.passed else "red", markup=False, highlight=False, soft_wrap=True)
    if row.without:
        console.print(
            f"      without {', '.join(row.without)}: {row.note}", markup=False, highlight=False, soft_wrap=True
        )
    if not row.passed:
        console.print(f"      {row.note}\n      repeat: {row.command}", markup=False, highlight=False, soft_wrap=True)


def conclude(campaign: Campaign, page: Path, console: Console) -> None:
    passed = sum(row.passed for row in campaign.rows)
    seen = [f"{count:>9}  {what}" for what, count in campaign.sometimes.items()]
    console.print("what happened, of all runs together:", *seen, sep="\n", markup=False, highlight=False)
    for what in campaign.never:
        console.print(f"never seen: {what}: {sometimes.REQUIRED[what]}", style="red", highlight=False, soft_wrap=True)
    line = f"{campaign.verdict.upper()}: {passed} of {len(campaign.rows)} runs as wanted, {campaign.seconds:.0f} s"
    console.print(line, style=COLOURS[campaign.verdict], highlight=False)
    console.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)
