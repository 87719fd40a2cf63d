"""`raftmem task`: the task queues of a running group: what a producer, a worker in shell and an operator need.

A claim is (task, token): heartbeat, complete, fail and release name both, and a claim that was lost meanwhile ends
with exit code 4. A worker that runs for long is better written with `raftmem.client`, which renews its claims.
"""

from typing import Annotated, Final
from urllib.parse import quote

import typer

from raftmem.cli import options as o
from raftmem.cli.output import JsonFlag, console, print_fields, print_json, print_table, printable
from raftmem.cli.remote import DEFAULT_URL, ActorOption, Answer, KeyOption, Remote, UrlOption
from raftmem.cli.rows import follow_up, for_people, items, said
from raftmem.errors import BadRequest
from raftmem.limits import TASK_CLAIM_MAX, WAIT_MS_MAX

task = typer.Typer(name="task", help="Task queues of a running group.", no_args_is_help=True)
_COLUMNS: Final = ("id", "queue", "state", "priority", "attempt", "worker", "token", "remaining", "payload")
_BACKOFF_FORM: Final = "FIRST,FACTOR,LONGEST, such as 1,2,3600 (seconds, a number, seconds)"
_Row = dict[str, object]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the task.")]
TokenOption = Annotated[int, typer.Option("--token", help="The token that the claim gave.")]


@task.command()
def add(
    queue: Annotated[str, typer.Argument(help="Name of the queue; may contain /.")],
    payload: Annotated[str | None, typer.Argument(help="Any JSON, or @file.")] = None,
    task_id: Annotated[str | None, typer.Option("--id", help="An id of your own.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="Higher first; 0 if not given.")] = None,
    delay: Annotated[float | None, typer.Option("--delay", metavar="SECONDS", help="Not before.")] = None,
    max_attempts: Annotated[int | None, typer.Option("--max-attempts", help="Dead after so many.")] = None,
    backoff: Annotated[str | None, typer.Option("--backoff", help=f"After a failure: {_BACKOFF_FORM}.")] = None,
    depends_on: Annotated[list[str] | None, typer.Option("--after", metavar="ID", help="Repeatable.")] = None,
    unique_key: Annotated[str | None, typer.Option("--unique-key", help="One such unfinished task a queue.")] = None,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Put a task into a queue; with --after it waits until those are completed."""
    body = {"queue": queue, "payload": o.json_argument(payload, name="PAYLOAD")} | o.given(
        id=task_id,
        priority=priority,
        delay_ms=o.ms(delay),
        max_attempts=max_attempts,
        backoff=_backoff(backoff),
        depends_on=depends_on or None,
        unique_key=unique_key,
        guards=o.guards(guard),
    )
    params = o.given(timeout_ms=timeout_ms)
    answer = Remote(url, actor=actor).write("POST", "/v1/tasks", body=body, key=key, params=params)
    _show_written(answer, as_json=as_json)


@task.command("list")
def list_tasks(
    queue: Annotated[str | None, typer.Option("--queue")] = None,
    state: Annotated[
        str | None,
        typer.Option("--state", help="available, scheduled, blocked, claimed, completed, cancelled or dead."),
    ] = None,
    worker: Annotated[str | None, typer.Option("--worker", help="Claimed by this worker.")] = None,
    limit: o.LimitOption = 100,
    cursor: o.CursorOption = None,
    newest_first: Annotated[bool, typer.Option("--newest-first")] = False,
    consistency: o.ConsistencyOption = None,
    min_index: o.MinIndexOption = None,
    max_staleness_ms: o.StalenessOption = None,
    timeout_ms: o.TimeoutOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Tasks, oldest first, one page; finished ones are there for a day."""
    params = o.reading(consistency, min_index, None, timeout_ms, max_staleness_ms)
    params |= o.given(queue=queue, state=state, worker=worker, limit=limit, cursor=cursor)
    params |= o.given(order="desc" if newest_first else None)
    answer = Remote(url).read("GET", "/v1/tasks", params=params)
    if as_json:
        print_json(answer.body)
        return
    print_table(_COLUMNS, [_row(found) for found in items(answer.body.get("tasks"))])
    follow_up(answer.body)


@task.command()
def show(
    task_id: IdArgument,
    consistency: o.ConsistencyOption = None,
    min_index: o.MinIndexOption = None,
    max_staleness_ms: o.StalenessOption = None,
    timeout_ms: o.TimeoutOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """One task, with its result and why earlier attempts failed."""
    params = o.reading(consistency, min_index, None, timeout_ms, max_staleness_ms)
    found = Remote(url).read("GET", _path(task_id), params=params).body
    if as_json:
        print_json(found)
        return
    print_fields((name, value) for name, value in found.items() if name != "errors")
    errors = items(found.get("errors"))
    if errors:
        console().print()
        columns = ("attempt", "worker", "code", "error", "index", "time")
        print_table(columns, [[error.get(column) for column in columns] for error in errors])


@task.command()
def claim(
    queues: Annotated[list[str], typer.Argument(metavar="QUEUE…", help="Queues to look into.")],
    worker: Annotated[
        str, typer.Option("--worker", envvar="RAFTMEM_OWNER", help="Who works on it; unique to one process.")
    ],
    ttl: Annotated[
        float,
        typer.Option(
            "--ttl", min=o.TTL_S_MIN, max=o.TTL_S_MAX, metavar="SECONDS", help="Lost after so long with no heartbeat."
        ),
    ] = 30,
    most: Annotated[int, typer.Option("--max", min=1, max=TASK_CLAIM_MAX, help="So many tasks at most.")] = 1,
    wait: Annotated[
        float, typer.Option("--wait", min=0, max=WAIT_MS_MAX / 1000, metavar="SECONDS", help="For a task to come.")
    ] = 0,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Take the most urgent tasks; each comes with a token. Nothing to do is no error."""
    wait_ms = o.ms(wait) or 0
    body = {"queues": queues} | o.given(
        worker=worker, ttl_ms=o.ms(ttl), max=most, wait_ms=wait_ms, guards=o.guards(guard)
    )
    params = o.given(timeout_ms=timeout_ms)
    remote = Remote(url, actor=actor)
    answer = remote.write("POST", "/v1/tasks/claim", body=body, key=key, params=params, wait_ms=wait_ms)
    found = items(answer.body.get("tasks"))
    if as_json:
        print_json(answer.body)
    elif found:
        print_table(_COLUMNS, [_row(one) for one in found])
    else:
        console(stderr=True).print(printable(f"nothing to do in {', '.join(queues)}"), markup=False)


@task.command()
def heartbeat(
    task_id: IdArgument,
    token: TokenOption,
    ttl: o.TtlOption = None,
    timeout_ms: o.TimeoutOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Keep a claim for another --ttl, and hear whether somebody wants the task stopped. Exit code 4 when it is lost."""
    body, params = o.given(token=token, ttl_ms=o.ms(ttl)), o.given(timeout_ms=timeout_ms)
    answer = Remote(url, actor=actor).write("POST", _path(task_id, "/heartbeat"), body=body, params=params, keyed=False)
    if as_json:
        print_json(answer.body)
        return
    line = f"{task_id} is yours for {for_people(answer.body.get('remaining_ms'))}"
    if answer.body.get("cancel_requested"):
        line += "; somebody wants it stopped: end it and fail or release it"
    console().print(printable(line), markup=False)


@task.command()
def complete(
    task_id: IdArgument,
    token: TokenOption,
    result: Annotated[str | None, typer.Option("--result", help="Any JSON, or @file.")] = None,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Say that it is done. Exit code 4 when the claim was lost: another worker has it, or has done it."""
    body = o.given(token=token, result=o.json_argument(result, name="--result"), guards=o.guards(guard))
    _change(task_id, "complete", body, key=key, actor=actor, url=url, timeout_ms=timeout_ms, as_json=as_json)


@task.command()
def fail(
    task_id: IdArgument,
    token: TokenOption,
    error: Annotated[str | None, typer.Option("--error", help="Why: any JSON, or @file.")] = None,
    final: Annotated[bool, typer.Option("--final", help="Another attempt would not help: it is dead.")] = False,
    delay: Annotated[
        float | None,
        typer.Option("--delay", metavar="SECONDS", help="Before it is tried again; by its backoff if not given."),
    ] = None,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Say that this attempt failed; it is tried again while attempts are left."""
    body = o.given(
        token=token,
        error=o.json_argument(error, name="--error"),
        retryable=False if final else None,
        delay_ms=o.ms(delay),
        guards=o.guards(guard),
    )
    _change(task_id, "fail", body, key=key, actor=actor, url=url, timeout_ms=timeout_ms, as_json=as_json)


@task.command()
def release(
    task_id: IdArgument,
    token: TokenOption,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Give it back untried: the attempt does not count."""
    body = o.given(token=token, guards=o.guards(guard))
    _change(task_id, "release", body, key=key, actor=actor, url=url, timeout_ms=timeout_ms, as_json=as_json)


@task.command()
def cancel(
    task_id: IdArgument,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Nobody is to do it. A worker that has it is told with its next heartbeat."""
    body = o.given(guards=o.guards(guard))
    _change(task_id, "cancel", body, key=key, actor=actor, url=url, timeout_ms=timeout_ms, as_json=as_json)


@task.command()
def retry(
    task_id: IdArgument,
    guard: o.GuardOption = None,
    timeout_ms: o.TimeoutOption = None,
    key: KeyOption = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Try a dead, cancelled or delayed task again, now; its errors are kept."""
    body = o.given(guards=o.guards(guard))
    _change(task_id, "retry", body, key=key, actor=actor, url=url, timeout_ms=timeout_ms, as_json=as_json)


def _change(
    task_id: str,
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
    answer = Remote(url, actor=actor).write("POST", _path(task_id, f"/{verb}"), body=body, key=key, params=params)
    _show_written(answer, as_json=as_json)


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


def _row(found: _Row) -> tuple[object, ...]:
    attempt = f"{found.get('attempt')} of {found.get('max_attempts')}"
    remaining = for_people(found.get("remaining_ms"))
    return (
        *(found.get("id"), found.get("queue"), found.get("state"), found.get("priority"), attempt),
        *(found.get("worker"), found.get("token"), remaining, found.get("payload")),
    )


def _show_written(answer: Answer, *, as_json: bool) -> None:
    """What was decided, and what the task is now."""
    if as_json:
        print_json(answer.body)
        return
    event, found = answer.body.get("event"), answer.body.get("task")
    state = f", {found.get('state')}" if isinstance(found, dict) else ""
    names_state = isinstance(event, dict) and event.get("task_state") is not None
    console().print(printable(said(event) + ("" if names_state else state)), markup=False)
