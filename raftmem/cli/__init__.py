"""The command line: `raftmem <command>`. Thin: it asks a group over REST, or reads a replica's folder.

Decides nothing of its own. Output for programs with `--json`, one-line errors on stderr, stated exit codes.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from raftmem import __version__
from raftmem.cli.certs import certs
from raftmem.cli.cluster import digest, status
from raftmem.cli.exits import EPILOG, guarded
from raftmem.cli.gate import gate
from raftmem.cli.lock import lock, owner
from raftmem.cli.log import log
from raftmem.cli.member import leader, member
from raftmem.cli.memory import memory
from raftmem.cli.output import prepare_streams
from raftmem.cli.recover import recover
from raftmem.cli.replay import replay
from raftmem.cli.secret import secret
from raftmem.cli.serve import config, serve, with_settings
from raftmem.cli.snapshot import snapshot
from raftmem.cli.state import state
from raftmem.cli.surroundings import check_texts, prepare_signals
from raftmem.cli.task import task
from raftmem.cli.txn import txn
from raftmem.cli.up import up
from raftmem.cli.verbs import writing
from raftmem.cli.watch import watch

app = typer.Typer(
    name="raftmem",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        print(f"raftmem {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """A Raft-replicated, strongly consistent log service for the memory of AI agents."""


app.command(epilog=EPILOG)(up)
app.command(epilog=EPILOG)(with_settings(serve))
app.command(epilog=EPILOG)(status)
app.command(epilog=EPILOG)(digest)
app.add_typer(memory)
app.add_typer(lock)
app.add_typer(owner)
app.add_typer(task)
app.add_typer(gate)
app.command(epilog=EPILOG)(writing(txn, guarded=False))
app.command(epilog=EPILOG)(watch)
app.add_typer(member)
app.add_typer(leader)
app.add_typer(snapshot)
app.add_typer(log)
app.add_typer(state)
app.command(epilog=EPILOG)(replay)
app.command(epilog=EPILOG)(recover)
app.add_typer(config)
app.command(epilog=EPILOG)(certs)
app.command(epilog=EPILOG)(secret)


def main(argv: Sequence[str] | None = None) -> None:
    """The console script."""
    prepare_streams()
    prepare_signals()
    arguments = list(sys.argv[1:] if argv is None else argv)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments  # the rest is another program's
    sys.exit(guarded(lambda: _run(arguments, own), debug="--debug" in own, as_json="--json" in own))


def _run(arguments: list[str], own: list[str]) -> object:
    check_texts(own, os.environ)
    command = typer.main.get_command(app)
    try:
        with command.make_context("raftmem", arguments) as context:
            return command.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
