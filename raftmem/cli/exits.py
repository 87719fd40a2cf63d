"""Exit codes of the command line, and the one place that turns an error into one line and a code.

A person and a script read the same thing: one line on stderr that says the fact, the numbers and the next step,
and a code that says what to do next. A traceback is only shown with `--debug`.
"""

import signal
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Final

import typer

from raftmem import client
from raftmem.cli.output import complain, print_json, printable, silence
from raftmem.errors import BadRequest, NoLeader, NoQuorum, RaftmemError, UnknownOutcome


class Exit(IntEnum):
    """The exit codes: each tells a script its next step."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNKNOWN = 3
    PRECONDITION = 4
    NO_LEADER = 5
    STOPPED = 6
    READER_LEFT = 128 + signal.SIGPIPE  # as a shell says it of other programs


EPILOG: Final = (
    "Exit codes: 0 ok; 1 failed; 2 usage; 3 outcome unknown (ask again with the same --idempotency-key); "
    "4 precondition failed, or a lock, claim or gate not had (read, decide again); 5 no leader (try later); "
    "6 a replica refuses to go on with its folder, or was removed (only `serve`; a restart does not help); "
    "141 the reader of the output has left (`| head`)."
)


class CommandFailed(RaftmemError):
    """An error with its own exit code. `problem`: the service's problem document, shown as JSON with `--json`."""

    def __init__(self, detail: str, *, exit_code: Exit = Exit.FAILED, problem: object = None) -> None:
        super().__init__(detail)
        self.exit_code = exit_code
        self.problem = problem


def code_of(error: RaftmemError) -> Exit:
    """The exit code an error ends with."""
    match error:
        case CommandFailed():
            return error.exit_code
        case BadRequest():
            return Exit.USAGE
        case UnknownOutcome():
            return Exit.UNKNOWN
        case NoLeader() | NoQuorum():
            return Exit.NO_LEADER
        case _:
            return Exit.FAILED


def of_client(error: client.RaftmemClientError) -> CommandFailed:
    """Make the failure of this command from an error of the client library."""
    match error:
        case client.BadRequest() | client.TooLarge():
            exit_code = Exit.USAGE
        case client.WriteOutcomeUnknown():
            exit_code = Exit.UNKNOWN
        case client.LockHeld() | client.LeaseLost() | client.StaleToken() | client.PreconditionFailed():
            exit_code = Exit.PRECONDITION
        case client.NoLeader() | client.NoQuorum():
            exit_code = Exit.NO_LEADER
        case _:
            exit_code = Exit.FAILED
    return CommandFailed(_line(error), exit_code=exit_code, problem=error.problem or None)


def _line(error: client.RaftmemClientError) -> str:
    """The error in the words of the command line: options instead of arguments."""
    match error:
        case client.WriteOutcomeUnknown():
            again = f"with --idempotency-key {error.key}, it is not applied twice" if error.key else "it is harmless"
            return f"outcome unknown: {error.reason}; ask again, {again}"
        case client.Unreachable():
            where, why = ", ".join(error.reasons), "; ".join(dict.fromkeys(error.reasons.values()))
            return f"cannot reach {where}: {why}; is the group running (`raftmem up`), and is --url right?"
        case _:
            return f"{error.code}: {error}" if error.code else str(error)


def guarded(command: Callable[[], object], *, debug: bool = False, as_json: bool = False) -> int:
    """Run a command; its exit code. Any error, a bug included, ends here as one line on stderr."""
    try:
        code = _guarded(command, debug=debug, as_json=as_json)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has gone (`| head`): nothing is left to say
        silence(sys.stdout)
        return Exit.READER_LEFT
    except OSError as error:  # such as a full disk
        silence(sys.stdout)
        complain(f"raftmem: the output cannot be written: {error.strerror}")
        return Exit.FAILED


def _guarded(command: Callable[[], object], *, debug: bool, as_json: bool) -> int:
    """Raises: BrokenPipeError when the reader of stdout has left, OSError when stdout takes no more at the end."""
    try:
        result = command()
        return result if isinstance(result, int) else Exit.OK
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        raise
    except Exception as caught:  # noqa: BLE001  # the last line of defence: it ends the process
        error = of_client(caught) if isinstance(caught, client.RaftmemClientError) else caught
        if isinstance(error, typer.TyperException) and "\n" in error.format_message():
            complain(error.format_message())  # the help of a command that was called without arguments
            return Exit.USAGE
        code, line = _explained(error)
        trace = traceback.format_exc() if debug else ""
        if as_json and isinstance(error, CommandFailed) and error.problem is not None:
            print_json(error.problem)
    complain(f"{trace}raftmem: {printable(' '.join(line.split()))}")
    return code


def _explained(error: Exception) -> tuple[Exit, str]:
    """The exit code and the line of an error."""
    match error:
        case typer.TyperException():
            return Exit.USAGE, f"{error.format_message()} (see --help)"
        case RaftmemError():
            return code_of(error), str(error) or error.code
        case OSError():
            return Exit.FAILED, str(error)
        case _:
            return Exit.FAILED, f"a bug: {type(error).__name__}: {error} (run with --debug for the traceback)"
