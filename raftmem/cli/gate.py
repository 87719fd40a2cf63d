"""`raftmem gate`: approvals that open the way for one action, of a running group.

A gate is open while it has its approvals and every pinned memory is as it was; `consume` uses it up. The rule: who
looks and then acts looks too early; act with `consume`, or with the guard `{"gate": NAME, "open": true}`.
"""

from time import monotonic
from typing import Annotated, Final
from urllib.parse import quote

import typer

from raftmem.cli import options as o
from raftmem.cli.exits import CommandFailed, Exit
from raftmem.cli.output import console, print_table
from raftmem.cli.remote import Answer
from raftmem.cli.rows import follow_up, items, show_said
from raftmem.cli.verbs import Read, Row, Write, reads, writes
from raftmem.errors import BadRequest
from raftmem.limits import WAIT_MS_MAX

gate = typer.Typer(name="gate", help="Define, approve and use up gates of a running group.", no_args_is_help=True)
_COLUMNS: Final = ("gate", "state", "approvals", "approvers", "pins")
NameArgument = Annotated[str, typer.Argument(help="Name of the gate; may contain /.")]


@writes(gate)
def put(
    call: Write,
    name: NameArgument,
    required: Annotated[int, typer.Option("--required", min=0, help="Number of approvals that open the gate.")],
    approver: Annotated[
        list[str] | None,
        typer.Option(
            "--approver",
            metavar="ID",
            help="Who may approve: an id or <type>/<id>; repeatable; anybody if none is given.",
        ),
    ] = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(
            "--pin",
            metavar="MEMORY=VERSION",
            help="Keep the gate closed unless the memory is at that version; repeatable.",
        ),
    ] = None,
) -> None:
    """Define a gate. Defining it again clears its approvals."""
    body = o.given(required=required, approvers=approver or None, pins=_pins(pin))
    call.show(call.ask("PUT", _path(name), body), show_said)


@writes(gate)
def approve(
    call: Write,
    name: NameArgument,
    comment: Annotated[str | None, typer.Option("--comment", help="A reason, kept with the approval.")] = None,
) -> None:
    """Approve a gate as --actor. A second approval of the same actor counts once."""
    call.show(call.ask("POST", _path(name, "/approve"), o.given(comment=comment)), show_said)


@writes(gate)
def revoke(
    call: Write,
    name: NameArgument,
) -> None:
    """Withdraw the approval of --actor."""
    call.show(call.ask("POST", _path(name, "/revoke"), {}), show_said)


@writes(gate)
def consume(
    call: Write,
    name: NameArgument,
) -> None:
    """Consume an open gate; of all who try, one succeeds. Exits with 4 when it is not open."""
    try:
        answer = call.ask("POST", _path(name, "/consume"), {})
    except CommandFailed as error:
        if isinstance(error.problem, dict) and error.problem.get("code") == "wrong-state":
            raise CommandFailed(str(error), exit_code=Exit.PRECONDITION, problem=error.problem) from error
        raise
    call.show(answer, show_said)


@reads(gate)
def show(
    call: Read,
    name: NameArgument,
) -> None:
    """Show one gate with its approvals and pins."""
    call.show(call.get(_path(name)), _show_gate)


@reads(gate, "list", pages=True)
def list_gates(
    call: Read,
    prefix: Annotated[str | None, typer.Option("--prefix", help="List only names that begin with this.")] = None,
) -> None:
    """List gates, one page."""
    call.show(call.get("/v1/gates", prefix=prefix), _show_page)


@reads(gate, levels=False)
def wait(
    call: Read,
    name: NameArgument,
    wait_s: Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="Longest time to wait.")] = 60,
    timeout_ms: o.TimeoutOption = None,
) -> None:
    """Wait until a gate is open. Exits with 4 when it does not open in time, or was consumed."""
    until = monotonic() + wait_s
    while True:
        left_ms = max(0, round((until - monotonic()) * 1000))
        answer = call.get(_path(name), wait_ms=min(left_ms, WAIT_MS_MAX), timeout_ms=timeout_ms)
        found = answer.body
        if found.get("open") or found.get("consumed_index") is not None or left_ms <= WAIT_MS_MAX:
            break
    call.show(answer, _show_gate)
    if not found.get("open"):
        waited = "" if found.get("consumed_index") is not None else f" after {wait_s:g} s"
        raise CommandFailed(f"{name} is {_state(found)}{waited}", exit_code=Exit.PRECONDITION)


def _path(name: str, verb: str = "") -> str:
    return f"/v1/gates/{quote(name, safe='')}{verb}"


def _pins(texts: list[str] | None) -> list[Row] | None:
    """Read each `--pin MEMORY=VERSION`. Raises: BadRequest."""
    pins: list[Row] = []
    for text in texts or ():
        memory, _, version = text.rpartition("=")
        if not memory or not version.isdecimal():
            raise BadRequest(f"--pin {text!r} is not MEMORY=VERSION, such as test-result=3", parameter="--pin")
        pins.append({"memory": memory, "version": int(version)})
    return pins or None


def _state(found: Row) -> str:
    if found.get("consumed_index") is not None:
        return f"consumed at index {found['consumed_index']}"
    if found.get("open"):
        return "open"
    approvals, required = len(items(found.get("approvals"))), found.get("required")
    # With its approvals there, only a pinned memory that has changed keeps it closed.
    return "closed by a pin" if isinstance(required, int) and approvals >= required else "closed"


def _row(found: Row) -> tuple[object, ...]:
    approvers = found.get("approvers")
    pins = " ".join(f"{pin.get('memory')}={pin.get('version')}" for pin in items(found.get("pins")))
    return (
        *(found.get("name"), _state(found), f"{len(items(found.get('approvals')))} of {found.get('required')}"),
        *(" ".join(map(str, approvers)) if isinstance(approvers, list) and approvers else "anybody", pins),
    )


def _show_page(answer: Answer) -> None:
    print_table(_COLUMNS, [_row(found) for found in items(answer.body.get("gates"))])
    follow_up(answer.body)


def _show_gate(answer: Answer) -> None:
    found = answer.body
    print_table(_COLUMNS, [_row(found)])
    approvals = items(found.get("approvals"))
    if approvals:
        rows = []
        for approval in approvals:
            actor = approval.get("actor")
            who = f"{actor['type']}/{actor['id']}" if isinstance(actor, dict) else actor
            rows.append((who, approval.get("index"), approval.get("comment")))
        console().print()
        print_table(("approved by", "index", "comment"), rows)
