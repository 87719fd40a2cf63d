"""`raftmem lock run NAME -- COMMAND`: a command that runs only while this process holds a lock.

The lease is renewed beside it, and counted as `raftmem.client` counts: when it cannot be relied on any more, the
command is ended before another can have the lock, or, if it needs its grace for that, soon after. The rule: what the
command writes must carry its token as a guard, which is what refuses it in that last moment.
"""

import math
import os
import shutil
from contextlib import ExitStack
from typing import Annotated, Final

import typer

from raftmem.cli import options as o
from raftmem.cli.child import Inbox, Note
from raftmem.cli.child import run as run_child
from raftmem.cli.exits import CommandFailed, Exit
from raftmem.cli.output import console, printable
from raftmem.cli.remote import DEFAULT_URL, ActorOption, UrlOption, library
from raftmem.client import Hold, LeaseLost, LockHeld
from raftmem.errors import BadRequest
from raftmem.limits import PERMITS_MAX

NOT_FOUND: Final = 127  # as a shell says it
NOT_EXECUTABLE: Final = 126


def run(
    name: Annotated[str, typer.Argument(help="Name of the lock; may contain /.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="What to run, after --.")],
    ttl: Annotated[
        float,
        typer.Option(
            "--ttl",
            min=o.TTL_S_MIN,
            max=o.TTL_S_MAX,
            metavar="SECONDS",
            help="When this machine dies, the lock is free after this long.",
        ),
    ] = 10,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", min=0, metavar="SECONDS", help="Longest time in the queue: 0 is not at all, inf is for ever."
        ),
    ] = 60,
    owner: Annotated[str | None, typer.Option("--owner", help="Unique to this process; made up if not given.")] = None,
    permits: Annotated[
        int, typer.Option("--permits", min=1, max=PERMITS_MAX, help="How many may hold it at once (a semaphore).")
    ] = 1,
    metadata: Annotated[str | None, typer.Option("--metadata", help="A JSON object for people, or @file.")] = None,
    grace: Annotated[
        float,
        typer.Option("--grace", min=0, metavar="SECONDS", help="Time from SIGTERM to SIGKILL once the lock is lost."),
    ] = 5,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Run a command while holding a lock, renewing it meanwhile.

    The command finds RAFTMEM_LOCK, RAFTMEM_OWNER and RAFTMEM_TOKEN in its environment: what it writes should carry
    {"lock": RAFTMEM_LOCK, "token": RAFTMEM_TOKEN} as a guard. Signals are passed on to it.

    Its whole process group is ended when the lock is lost, and when this program dies, by SIGKILL too. A process that
    leaves the group (setsid, a daemon) is not ended. A guard in the group sees to that; when it is killed together with
    this program, the system ends the command on Linux, unless it runs as another user, and nobody does elsewhere.

    Exits with the command's own code (128 + n if signal n ended it), with 4 if the lock was not had within --wait or
    was lost, with 126 or 127 if the command cannot be run.
    """
    if not name:
        raise BadRequest("the name of the lock is empty; is a variable not set?", parameter="NAME")
    _executable(command[0])
    described = o.json_argument(metadata, name="--metadata")
    if described is not None and not isinstance(described, dict):
        raise BadRequest("--metadata is not a JSON object", parameter="--metadata")
    inbox = Inbox()
    with library(url, actor=actor) as client:

        def hold(wait: float | None) -> Hold:
            return client.locks.hold(
                name,
                ttl=ttl,
                wait=wait,
                owner=owner,
                permits=permits,
                metadata=described,
                on_lost=lambda _: inbox.put(Note.MUST_END),
            )

        try:
            with ExitStack() as stack:
                try:
                    held = stack.enter_context(hold(0.0))
                except LockHeld as error:
                    if wait == 0:
                        raise
                    _say(f"waits for {name}, held by {', '.join(one.owner for one in error.holders[:3]) or 'another'}")
                    held = stack.enter_context(hold(None if math.isinf(wait) else wait))
                named = {"RAFTMEM_LOCK": name, "RAFTMEM_OWNER": held.owner, "RAFTMEM_TOKEN": str(held.token)}
                try:
                    code = run_child(
                        command,
                        environ={**os.environ, **named},
                        inbox=inbox,
                        is_over=held.lost.is_set,
                        grace_s=grace,
                        say=_say,
                    )
                except OSError as error:  # executable, and yet no program: only the start of it tells
                    _say(f"{command[0]} cannot be run: {error.strerror}; a script needs a #! line that names a program")
                    code = NOT_EXECUTABLE
        except LockHeld as error:
            raise CommandFailed(f"not run: {error}", exit_code=Exit.PRECONDITION, problem=error.problem) from error
        except LeaseLost as error:
            raise CommandFailed(f"{command[0]} was ended: {error}", exit_code=Exit.PRECONDITION) from error
    raise typer.Exit(code)


def _executable(program: str) -> None:
    """Refuse a command that cannot be run before the wait for the lock. Raises: typer.Exit."""
    if shutil.which(program) is None:
        exists = os.path.sep in program and os.path.exists(program)
        why, code = ("cannot be executed", NOT_EXECUTABLE) if exists else ("is not found", NOT_FOUND)
        console(stderr=True).print(printable(f"raftmem: {program} {why}; no lock was asked for"), markup=False)
        raise typer.Exit(code)


def _say(line: str) -> None:
    console(stderr=True).print(printable(f"raftmem: {line}"), markup=False)
