"""`python -m jepsen_like list`: everything that can be run, and what of it is available on this machine."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from jepsen_like.cluster.off import KEEPS
from jepsen_like.nemeses.registry import NEMESES
from jepsen_like.runs.profiles import PROFILES
from jepsen_like.workloads.registry import WORKLOADS


def list_command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """List workloads, nemeses with what is not available here and why, profiles, and promises for --without."""
    workloads = [
        {"name": name, "about": kind.about, "expected": kind.expected} for name, kind in sorted(WORKLOADS.items())
    ]
    nemeses = [
        {"name": name, "about": kind.about, "portable": kind.portable, "unavailable": kind().unavailable()}
        for name, kind in sorted(NEMESES.items())
    ]
    if as_json:
        found = {"workloads": workloads, "nemeses": nemeses, "profiles": PROFILES, "without": KEEPS}
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    console = Console()
    _show(console, "workloads", [(one["name"], _workload(one)) for one in workloads])
    _show(console, "nemeses", [(str(one["name"]), _nemesis(one)) for one in nemeses])
    _show(console, "profiles of a campaign", list(PROFILES.items()))
    _show(console, "promises that --without breaks", sorted(KEEPS.items()))


def _workload(one: dict[str, str]) -> str:
    return one["about"] if one["expected"] == "good" else f"{one['about']} (its verdict is to be {one['expected']})"


def _nemesis(one: Mapping[str, object]) -> str:
    reason = one["unavailable"]
    return f"{one['about']}" if reason is None else f"{one['about']} -- not available here: {reason}"


def _show(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2))
    for name, about in rows:
        table.add_row(f"  {name}", about)
    console.print(title, style="bold", highlight=False)
    console.print(table, markup=False, highlight=False)
