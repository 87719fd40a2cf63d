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
from raftmem.cli.output import JsonFlag, console, print_json, print_table, printable
from raftmem.cli.remote import DEFAULT_URL, ActorOption, Answer, KeyOption, Remote, UrlOption
from raftmem.cli.rows import follow_up, items, said
from raftmem.errors import BadRequest
from raftmem.limits import WAIT_MS_MAX

gate = typer.Typer(name="gate", help="Gates of a running group: approvals that open the way.", no_args_is_help=True)
_COLUMNS: Final = ("gate", "state", "approvals", "approvers", "pins")
_Row = dict[str, object]
NameArgument = Annotated[str, typer.Argument(help="Name of the gate; may contain /.")]


@gate.command()
def put(
    name: NameArgument,
    required: Annotated[int, typer.Option("--required", min=0, help="So many approvals open it.")],
    approver: Annotated[
        list[str] | None,
        typer.Option("--approver", metavar="ID", help="Who may: an id or <type>/<id>; repeatable; anybody if none."),
    ] = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(
            "--pin", metavar="MEMORY=VERSION", help="Closed unless the memory is at that version; repeatable."
        ),
    ] = None,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Make a gate, or define it anew: then approvals begin anew too."""
    body = o.given(required=required, approvers=approver or None, pins=_pins(pin), guards=o.guards(guard))
    params = o.given(timeout_ms=timeout_ms)
    answer = Remote(url, actor=actor).write("PUT", _path(name), body=body, key=key, params=params)
    _show_written(answer, as_json=as_json)


@gate.command()
def approve(
    name: NameArgument,
    comment: Annotated[str | None, typer.Option("--comment")] = None,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Approve as --actor; twice counts once."""
    body = o.given(comment=comment, guards=o.guards(guard))
    _change(name, "approve", body, key=key, actor=actor, url=url, timeout_ms=timeout_ms, as_json=as_json)


@gate.command()
def revoke(
    name: NameArgument,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Take back the approval of --actor."""
    body = o.given(guards=o.guards(guard))
    _change(name, "revoke", body, key=key, actor=actor, url=url, timeout_ms=timeout_ms, as_json=as_json)


@gate.command()
def consume(
    name: NameArgument,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Use an open gate up: of all who try, one succeeds. Exit code 4 when it is not open."""
    body = o.given(guards=o.guards(guard))
    try:
        _change(name, "consume", body, key=key, actor=actor, url=url, timeout_ms=timeout_ms, as_json=as_json)
    except CommandFailed as error:
        if isinstance(error.problem, dict) and error.problem.get("code") == "wrong-state":
            raise CommandFailed(str(error), exit_code=Exit.PRECONDITION, problem=error.problem) from error
        raise


@gate.command()
def show(
    name: NameArgument,
    consistency: o.ConsistencyOption = None,
    min_index: o.MinIndexOption = None,
    max_staleness_ms: o.StalenessOption = None,
    timeout_ms: o.TimeoutOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """One gate, who approved it, and what it is pinned to."""
    params = o.reading(consistency, min_index, None, timeout_ms, max_staleness_ms)
    _show(Remote(url).read("GET", _path(name), params=params).body, as_json=as_json)


@gate.command("list")
def list_gates(
    prefix: Annotated[str | None, typer.Option("--prefix", help="Names that begin so.")] = None,
    limit: o.LimitOption = 100,
    cursor: o.CursorOption = None,
    consistency: o.ConsistencyOption = None,
    min_index: o.MinIndexOption = None,
    max_staleness_ms: o.StalenessOption = None,
    timeout_ms: o.TimeoutOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Gates, one page."""
    params = o.reading(consistency, min_index, None, timeout_ms, max_staleness_ms)
    params |= o.given(prefix=prefix, limit=limit, cursor=cursor)
    answer = Remote(url).read("GET", "/v1/gates", params=params)
    if as_json:
        print_json(answer.body)
        return
    print_table(_COLUMNS, [_row(found) for found in items(answer.body.get("gates"))])
    follow_up(answer.body)


@gate.command()
def wait(
    name: NameArgument,
    wait_s: Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="At most so long.")] = 60,
    timeout_ms: o.TimeoutOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Wait until it is open. Exit code 4 when it does not open in time, or was consumed."""
    remote, until = Remote(url), monotonic() + wait_s
    while True:
        left_ms = max(0, round((until - monotonic()) * 1000))
        params = o.given(wait_ms=min(left_ms, WAIT_MS_MAX), timeout_ms=timeout_ms)
        found = remote.read("GET", _path(name), params=params).body
        if found.get("open") or found.get("consumed_index") is not None or left_ms <= WAIT_MS_MAX:
            break
    _show(found, as_json=as_json)
    if not found.get("open"):
        waited = "" if found.get("consumed_index") is not None else f" after {wait_s:g} s"
        raise CommandFailed(f"{name} is {_state(found)}{waited}", exit_code=Exit.PRECONDITION)


def _change(
    name: str,
    verb: str,
    body: _Row,
    *,
    key: str | None,
    actor: str | None,
    url: str,
    timeout_ms: int | None,
    as_json: bool,
) -> None:
    params = o.given(timeout_ms=timeout_ms)
    answer = Remote(url, actor=actor).write("POST", _path(name, f"/{verb}"), body=body, key=key, params=params)
    _show_written(answer, as_json=as_json)


def _path(name: str, verb: str = "") -> str:
    return f"/v1/gates/{quote(name, safe='')}{verb}"


def _pins(texts: list[str] | None) -> list[_Row] | None:
    """`--pin MEMORY=VERSION`, repeated. Raises: BadRequest."""
    pins: list[_Row] = []
    for text in texts or ():
        memory, _, version = text.rpartition("=")
        if not memory or not version.isdecimal():
            raise BadRequest(f"--pin {text!r} is not MEMORY=VERSION, such as test-result=3", parameter="--pin")
        pins.append({"memory": memory, "version": int(version)})
    return pins or None


def _state(found: _Row) -> str:
    if found.get("consumed_index") is not None:
        return f"consumed at index {found['consumed_index']}"
    if found.get("open"):
        return "open"
    approvals, required = len(items(found.get("approvals"))), found.get("required")
    # With its approvals there, only a pinned memory that has changed keeps it closed.
    return "closed by a pin" if isinstance(required, int) and approvals >= required else "closed"


def _row(found: _Row) -> tuple[object, ...]:
    approvers = found.get("approvers")
    pins = " ".join(f"{pin.get('memory')}={pin.get('version')}" for pin in items(found.get("pins")))
    return (
        *(found.get("name"), _state(found), f"{len(items(found.get('approvals')))} of {found.get('required')}"),
        *(" ".join(map(str, approvers)) if isinstance(approvers, list) and approvers else "anybody", pins),
    )


def _show(found: _Row, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
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


def _show_written(answer: Answer, *, as_json: bool) -> None:
    """What was decided, and whether it is open now."""
    if as_json:
        print_json(answer.body)
    else:
        console().print(printable(said(answer.body.get("event"))), markup=False)
