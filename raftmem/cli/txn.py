"""`raftmem txn`: one transaction on a running group, from a file: guards, and what to do if they hold or not.

It is decided whole, in one entry of the log. The exit code says which arm ran: 0 `then`, 4 `else`.
"""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from raftmem.cli import options as o
from raftmem.cli.exits import CommandFailed, Exit
from raftmem.cli.output import JsonFlag, console, print_json, printable
from raftmem.cli.remote import DEFAULT_URL, ActorOption, KeyOption, Remote, UrlOption
from raftmem.cli.rows import items, print_events
from raftmem.errors import BadRequest


def txn(
    file: Annotated[str, typer.Argument(help='JSON: {"guards": […], "then": […], "else": […]}; - is stdin.')],
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Do several things together or not at all: memories, locks, tasks and gates.

    An operation is named by its event and takes the fields of its route: {"op": "LOCK_ACQUIRE", "name": "a", "owner":
    "me", "ttl_ms": 10000}. Exit code 4 when a guard was false, and `else` ran instead.
    """
    params = o.given(timeout_ms=timeout_ms)
    answer = Remote(url, actor=actor).write("POST", "/v1/txn", body=_body(file), key=key, params=params)
    failed = items(answer.body.get("failed"))
    if as_json:
        print_json(answer.body)
    else:
        events = [result.get("event") for result in items(answer.body.get("results"))]
        print_events([event for event in events if isinstance(event, dict)])
        for one in failed:
            line = f"false: {o.json_text(one.get('guard'))}; it is {o.json_text(one.get('current'))}"
            console(stderr=True).print(printable(line), markup=False)
    if not answer.body.get("succeeded"):
        line = f"{len(failed)} guards were false: the `else` arm ran, at index {answer.body.get('index')}"
        raise CommandFailed(line, exit_code=Exit.PRECONDITION)


def _body(file: str) -> dict[str, object]:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return msgspec.json.decode(raw, type=dict[str, object])
    except OSError as error:
        raise BadRequest(f"cannot read {file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"{file} is not a JSON object: {error}") from error
