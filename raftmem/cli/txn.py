"""`raftmem txn`: one transaction on a running group, from a file: guards, and operations for either result.

It is decided whole, in one entry of the log. The exit code says which arm ran: 0 `then`, 4 `else`.
"""

from typing import Annotated

import typer

from raftmem.cli import options as o
from raftmem.cli.exits import CommandFailed, Exit
from raftmem.cli.output import console, printable
from raftmem.cli.remote import Answer
from raftmem.cli.rows import items, print_events
from raftmem.cli.surroundings import json_of, read_file
from raftmem.cli.verbs import Write
from raftmem.errors import BadRequest


def txn(
    call: Write,
    file: Annotated[str, typer.Argument(help='JSON: {"guards": […], "then": […], "else": […]}; - is stdin.')],
) -> None:
    """Apply several operations together or not at all: on memories, locks, tasks and gates.

    An operation is named by its event and takes the fields of its route: {"op": "LOCK_ACQUIRE", "name": "a", "owner":
    "me", "ttl_ms": 10000}. Exits with 4 when a guard was false, and `else` ran instead.
    """
    answer = call.ask("POST", "/v1/txn", _body(file))
    call.show(answer, _show_arm)
    if not answer.body.get("succeeded"):
        failed = items(answer.body.get("failed"))
        line = f"{len(failed)} guards were false: the `else` arm ran, at index {answer.body.get('index')}"
        raise CommandFailed(line, exit_code=Exit.PRECONDITION)


def _show_arm(answer: Answer) -> None:
    events = [result.get("event") for result in items(answer.body.get("results"))]
    print_events([event for event in events if isinstance(event, dict)])
    for one in items(answer.body.get("failed")):
        line = f"false: {o.json_text(one.get('guard'))}; it is {o.json_text(one.get('current'))}"
        console(stderr=True).print(printable(line), markup=False)


def _body(file: str) -> dict[str, object]:
    name = "stdin" if file == "-" else file
    body = json_of(read_file(file, where="FILE"), where=name)
    if not isinstance(body, dict):
        raise BadRequest(f"{name} holds no JSON object", parameter="FILE")
    return body
