"""The command line: `python -m jepsen_like <command>`. Thin: it reads the arguments and prints the result."""

import sys
import traceback
from collections.abc import Sequence

import typer

from jepsen_like.cli.campaign import campaign_command
from jepsen_like.cli.check import check_command
from jepsen_like.cli.exits import EPILOG, Exit
from jepsen_like.cli.listing import list_command
from jepsen_like.cli.report import report_command
from jepsen_like.cli.run import run_command
from jepsen_like.cli.signals import ToldToEnd

app = typer.Typer(
    name="jepsen_like",
    help="Attacks a group of real replicas through the public API, and judges what they did.",
    epilog=EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run", epilog=EPILOG)(run_command)
app.command("campaign", epilog=EPILOG)(campaign_command)
app.command("check", epilog=EPILOG)(check_command)
app.command("list", epilog=EPILOG)(list_command)
app.command("report", epilog=EPILOG)(report_command)


def main(argv: Sequence[str] | None = None) -> None:
    """Exits with one of `Exit`; wrong words are one line, and trouble."""
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        code = app(args=words, prog_name="python -m jepsen_like", standalone_mode=False)
    except typer.TyperException as error:
        print(f"jepsen_like: {' '.join(error.format_message().split())} (see --help)", file=sys.stderr)
        sys.exit(Exit.TROUBLE)
    except KeyboardInterrupt:
        print("jepsen_like: interrupted", file=sys.stderr)
        sys.exit(Exit.TROUBLE)
    except ToldToEnd as error:
        print(f"jepsen_like: ended by {error}; the processes are gone", file=sys.stderr)
        sys.exit(Exit.TROUBLE)
    except Exception:  # noqa: BLE001  # it ends the process: 1 would say that a promise was broken
        traceback.print_exc()
        sys.exit(Exit.TROUBLE)
    sys.exit(code if isinstance(code, int) else Exit.GOOD)
