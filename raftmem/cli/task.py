"""`raftmem task`: the task queues of a running group: commands for producers, for workers in shell, and for operators.

A claim is (task, token): heartbeat, complete, fail and release name both, and a claim that was lost meanwhile ends
with exit code 4. A worker that runs for long is better written with `raftmem.client`, which renews its claims.
"""

from typing import Annotated, Final
from urllib.parse import quote

import typer

from raftmem.cli import options as o
from raftmem.cli.output import console, print_fields, print_table, printable
from raftmem.cli.remote import Answer
from raftmem.cli.rows import follow_up, for_people, items, said
from raftmem.cli.verbs import Read, Row, Write, reads, writes
from raftmem.errors import BadRequest
from raftmem.limits import TASK_CLAIM_MAX, WAIT_MS_MAX

task = typer.Typer(
    name="task", help="Add, claim, finish and watch over tasks of a running group.", no_args_is_help=True
)
_COLUMNS: Final = ("id", "queue", "state", "priority", "attempt", "worker", "token", "remaining", "payload")
_BACKOFF_FORM: Final = "FIRST,FACTOR,LONGEST, such as 1,2,3600 (seconds, a number, seconds)"
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the task.")]
TokenOption = Annotated[int, typer.Option("--token", help="Token of the claim.")]


@writes(task)
def add(
    call: Write,
    queue: Annotated[str, typer.Argument(help="Name of the queue; may contain /.")],
    payload: Annotated[str | None, typer.Argument(help="Any JSON, or @file.")] = None,
    task_id: Annotated[str | None, typer.Option("--id", help="Id of your choice.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="Higher first; 0 if not given.")] = None,
    delay: Annotated[
        float | None, typer.Option("--delay", metavar="SECONDS", help="Earliest time of the first attempt, from now.")
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", help="Attempts after which the task is dead.")
    ] = None,
    backoff: Annotated[str | None, typer.Option("--backoff", help=f"Pauses after failures: {_BACKOFF_FORM}.")] = None,
    depends_on: Annotated[
        list[str] | None, typer.Option("--after", metavar="ID", help="Wait until this task is completed; repeatable.")
    ] = None,
    unique_key: Annotated[
        str | None, typer.Option("--unique-key", help="Allow one unfinished task with this key in the queue.")
    ] = None,
) -> None:
    """Put a task into a queue. With --after it waits until those tasks are completed."""
    body = {"queue": queue, "payload": o.json_argument(payload, name="PAYLOAD")} | o.given(
        id=task_id,
        priority=priority,
        delay_ms=o.ms(delay),
        max_attempts=max_attempts,
        backoff=_backoff(backoff),
        depends_on=depends_on or None,
        unique_key=unique_key,
    )
    call.show(call.ask("POST", "/v1/tasks", body), _show_written)


@reads(task, "list", pages=True)
def list_tasks(
    call: Read,
    queue: Annotated[str | None, typer.Option("--queue", help="List only tasks of this queue.")] = None,
    state: Annotated[
        str | None,
        typer.Option("--state", help="available, scheduled, blocked, claimed, completed, cancelled or dead."),
    ] = None,
    worker: Annotated[str | None, typer.Option("--worker", help="List only claims of this worker.")] = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Newest first.")] = False,
) -> None:
    """List tasks, oldest first, one page. Finished tasks are kept for a day."""
    order = "desc" if newest_first else None
    call.show(call.get("/v1/tasks", queue=queue, state=state, worker=worker, order=order), _show_page)


@reads(task)
def show(
    call: Read,
    task_id: IdArgument,
) -> None:
    """Show one task with its result and the errors of earlier attempts."""
    call.show(call.get(_path(task_id)), _show_task)


@writes(task)
def claim(
    call: Write,
    queues: Annotated[list[str], typer.Argument(metavar="QUEUE…", help="Queues to claim from.")],
    worker: Annotated[
        str, typer.Option("--worker", envvar="RAFTMEM_OWNER", help="Name of the worker; unique to one process.")
    ],
    ttl: Annotated[
        float,
        typer.Option(
            "--ttl",
            min=o.TTL_S_MIN,
            max=o.TTL_S_MAX,
            metavar="SECONDS",
            help="The claim is lost after this long without a heartbeat.",
        ),
    ] = 30,
    most: Annotated[int, typer.Option("--max", min=1, max=TASK_CLAIM_MAX, help="Largest number of tasks.")] = 1,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", min=0, max=WAIT_MS_MAX / 1000, metavar="SECONDS", help="Longest time to wait for a task."
        ),
    ] = 0,
) -> None:
    """Claim the most urgent tasks; each comes with a token. An empty queue is no error."""
    wait_ms = o.ms(wait) or 0
    body = {"queues": queues} | o.given(worker=worker, ttl_ms=o.ms(ttl), max=most, wait_ms=wait_ms)
    answer = call.ask("POST", "/v1/tasks/claim", body, wait_ms=wait_ms)
    call.show(answer, lambda answer: _show_claimed(queues, answer))


@writes(task, guarded=False, keyed=False)
def heartbeat(
    call: Write,
    task_id: IdArgument,
    token: TokenOption,
    ttl: o.TtlOption = None,
) -> None:
    """Keep a claim for another --ttl, and learn if the task should stop. Exits with 4 when the claim is lost."""
    answer = call.ask("POST", _path(task_id, "/heartbeat"), o.given(token=token, ttl_ms=o.ms(ttl)))
    call.show(answer, lambda answer: _show_kept(task_id, answer))


@writes(task)
def complete(
    call: Write,
    task_id: IdArgument,
    token: TokenOption,
    result: Annotated[str | None, typer.Option("--result", help="Any JSON, or @file.")] = None,
) -> None:
    """Complete a task. Exits with 4 when the claim was lost: another worker has the task, or has done it."""
    body = o.given(token=token, result=o.json_argument(result, name="--result"))
    call.show(call.ask("POST", _path(task_id, "/complete"), body), _show_written)


@writes(task)
def fail(
    call: Write,
    task_id: IdArgument,
    token: TokenOption,
    error: Annotated[str | None, typer.Option("--error", help="The error: any JSON, or @file.")] = None,
    final: Annotated[bool, typer.Option("--final", help="Make the task dead: another attempt would not help.")] = False,
    delay: Annotated[
        float | None,
        typer.Option("--delay", metavar="SECONDS", help="Pause before the next attempt; by its backoff if not given."),
    ] = None,
) -> None:
    """Report a failed attempt; the task is tried again while attempts are left."""
    body = o.given(
        token=token,
        error=o.json_argument(error, name="--error"),
        retryable=False if final else None,
        delay_ms=o.ms(delay),
    )
    call.show(call.ask("POST", _path(task_id, "/fail"), body), _show_written)


@writes(task)
def release(
    call: Write,
    task_id: IdArgument,
    token: TokenOption,
) -> None:
    """Give a task back untried; the attempt does not count."""
    call.show(call.ask("POST", _path(task_id, "/release"), {"token": token}), _show_written)


@writes(task)
def cancel(
    call: Write,
    task_id: IdArgument,
) -> None:
    """Cancel a task. Its worker learns of it with the next heartbeat."""
    call.show(call.ask("POST", _path(task_id, "/cancel"), {}), _show_written)


@writes(task)
def retry(
    call: Write,
    task_id: IdArgument,
) -> None:
    """Try a dead, cancelled or delayed task again, now; its errors are kept."""
    call.show(call.ask("POST", _path(task_id, "/retry"), {}), _show_written)


def _path(task_id: str, verb: str = "") -> str:
    return f"/v1/tasks/{quote(task_id, safe='')}{verb}"


def _backoff(text: str | None) -> object:
    if text is None:
        return None
    try:
        initial, factor, longest = (float(part) for part in text.split(","))
    except ValueError as error:
        raise BadRequest(f"--backoff {text!r} is not {_BACKOFF_FORM}", parameter="--backoff") from error
    return {"initial_ms": o.ms(initial), "factor": factor, "max_ms": o.ms(longest)}


def _row(found: Row) -> tuple[object, ...]:
    attempt = f"{found.get('attempt')} of {found.get('max_attempts')}"
    remaining = for_people(found.get("remaining_ms"))
    return (
        *(found.get("id"), found.get("queue"), found.get("state"), found.get("priority"), attempt),
        *(found.get("worker"), found.get("token"), remaining, found.get("payload")),
    )


def _show_page(answer: Answer) -> None:
    print_table(_COLUMNS, [_row(found) for found in items(answer.body.get("tasks"))])
    follow_up(answer.body)


def _show_task(answer: Answer) -> None:
    print_fields((name, value) for name, value in answer.body.items() if name != "errors")
    errors = items(answer.body.get("errors"))
    if errors:
        console().print()
        columns = ("attempt", "worker", "code", "error", "index", "time")
        print_table(columns, [[error.get(column) for column in columns] for error in errors])


def _show_claimed(queues: list[str], answer: Answer) -> None:
    found = items(answer.body.get("tasks"))
    if found:
        print_table(_COLUMNS, [_row(one) for one in found])
    else:
        console(stderr=True).print(printable(f"nothing to do in {', '.join(queues)}"), markup=False)


def _show_kept(task_id: str, answer: Answer) -> None:
    line = f"{task_id} is yours for {for_people(answer.body.get('remaining_ms'))}"
    if answer.body.get("cancel_requested"):
        line += "; somebody wants it stopped: end it and fail or release it"
    console().print(printable(line), markup=False)


def _show_written(answer: Answer) -> None:
    """Show the decision, and the task as it is now."""
    event, found = answer.body.get("event"), answer.body.get("task")
    state = f", {found.get('state')}" if isinstance(found, dict) else ""
    names_state = isinstance(event, dict) and event.get("task_state") is not None
    console().print(printable(said(event) + ("" if names_state else state)), markup=False)
