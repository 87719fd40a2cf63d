"""`python -m jepsen_like report`: makes the page of a run, or of a campaign, again."""

from pathlib import Path
from typing import Annotated

import typer

from jepsen_like.cli.exits import give_up
from jepsen_like.report.campaign import write_campaign
from jepsen_like.report.page import write_report
from jepsen_like.runs import campaign
from jepsen_like.runs.folder import RunFolder


def report_command(folder: Annotated[Path, typer.Argument(help="Of a run, or of a campaign.")]) -> None:
    """Write the report of a run that was made, and print where it is."""
    is_run, is_campaign = RunFolder(folder).history.exists(), (folder / campaign.FILE).exists()
    if not is_run and not is_campaign:
        give_up(f"{folder} holds neither a run nor a campaign")
    try:
        print(write_report(folder) if is_run else write_campaign(folder))
    except (ValueError, OSError) as error:
        give_up(str(error))
