"""`raftmem serve` runs one replica; `raftmem config show` prints the settings it would run with.

Both take every setting as a flag, made from the one list of settings, so that neither can lack one.
"""

import inspect
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import typer

from raftmem.cli.exits import CommandFailed, Exit
from raftmem.cli.output import print_json, print_table
from raftmem.cli.surroundings import private_files
from raftmem.errors import FolderRefused, RestartNeeded, Stop, WrongState, is_no_room, is_shortage
from raftmem.settings import FIELDS, Loaded, flag_of, load, mask_url, shown

config = typer.Typer(name="config", help="Show the settings of a replica.", no_args_is_help=True)
_BOOLEANS: Final = frozenset(name for name, field in FIELDS.items() if "bool" in str(field.type))


def with_settings(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command `--config` and a flag for every setting; it is called with the loaded settings first."""
    own = list(inspect.signature(command).parameters.values())[1:]
    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    parameters = [*_setting_parameters(), *keyword]

    def run(**arguments: object) -> object:
        file = arguments.pop("config_file")
        given = {name: arguments.pop(name) for name in FIELDS}
        flags = {name: _text(value) for name, value in given.items() if value is not None}
        loaded = load(file=file if isinstance(file, Path) else None, environ=os.environ, flags=flags)
        return command(loaded, **arguments)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _setting_parameters() -> list[inspect.Parameter]:
    file = typer.Option(None, "--config", envvar="RAFTMEM_CONFIG", help="A TOML file of settings.")
    parameters = [_parameter("config_file", Path | None, file)]
    for name, field in FIELDS.items():
        if name in _BOOLEANS:
            switch = f"{flag_of(name)}/{flag_of('no_' + name)}"
            parameters.append(_parameter(name, bool | None, typer.Option(None, switch, help=field.description)))
        else:
            option = typer.Option(None, flag_of(name), help=field.description, metavar="TEXT")
            parameters.append(_parameter(name, str | None, option))
    return parameters


def _parameter(name: str, kind: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def serve(
    loaded: Loaded,
    parent_pipe: int | None = typer.Option(None, "--parent-pipe", help="Stop when this descriptor ends.", hidden=True),
) -> int:
    """Run one replica until SIGTERM or SIGINT.

    Exit code 6: it refuses to go on with its data folder, or the group refuses to take it in; the last line says why,
    and a restart does not help.
    """
    private_files(loaded.settings.data)
    if parent_pipe is not None:
        watch_parent(parent_pipe)
    from raftmem.node import run  # the whole service: only this command pays for loading it

    try:
        return run(loaded.settings)
    except WrongState as error:
        raise CommandFailed(str(error), exit_code=Exit.STOPPED) from error  # the group does not take this replica in
    except RestartNeeded:
        raise  # like what kills a process: `raftmem up` starts it again
    except OSError as error:
        if not is_shortage(error):
            raise
        data = loaded.settings.data
        after = "make room" if is_no_room(error) else "raise the limit of open files"
        raise CommandFailed(f"{data}: {error.strerror}; {after}, then start this replica again") from error
    except Stop as error:
        settings, hint = loaded.settings, ""
        if isinstance(error, FolderRefused) and not settings.bootstrap and settings.join is None:
            hint = "; an empty folder enters a group that runs with --join, and makes a new one only with --bootstrap"
        raise CommandFailed(f"{error}{hint}", exit_code=Exit.STOPPED) from error


def watch_parent(descriptor: int) -> None:
    """End this process as SIGTERM would once the other end of the pipe is closed, however its owner died."""

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def show(loaded: Loaded, as_json: bool = typer.Option(False, "--json", help="Print JSON for programs.")) -> None:
    """Show every setting in force and its source; secrets are masked."""
    rows = [(name, shown(name, getattr(loaded.settings, name)), loaded.sources[name]) for name in FIELDS]
    for name in ("RAFTMEM_URL", "RAFTMEM_ACTOR", "RAFTMEM_TOKEN"):  # read by the commands, not by a replica
        value = os.environ.get(name)
        if value is not None:
            masked = "***" if name == "RAFTMEM_TOKEN" else mask_url(value)
            rows.append((name, masked, f"environment {name}"))
    if as_json:
        print_json({name: {"value": value, "source": source} for name, value, source in rows})
    else:
        print_table(("setting", "value", "from"), [(n, "" if v is None else v, s) for n, v, s in rows])


config.command("show")(with_settings(show))
