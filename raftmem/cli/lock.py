"""`raftmem lock` and `raftmem owner`: locks and semaphores of a running group.

`acquire` leaves a lease behind that somebody must renew or release; `run` (in `lock_run.py`) does both by itself and
is what a script wants. The rule: a lock is (owner, token), and every later command names both.
"""

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import quote

import typer

from raftmem.cli import options as o
from raftmem.cli.lock_run import run
from raftmem.cli.output import console, print_table, printable
from raftmem.cli.remote import Answer
from raftmem.cli.rows import follow_up, for_people, items, said
from raftmem.cli.verbs import Read, Row, Write, reads, writes
from raftmem.limits import PERMITS_MAX, WAIT_MS_MAX

lock = typer.Typer(
    name="lock", help="Take, renew, release and list locks and semaphores of a running group.", no_args_is_help=True
)
owner = typer.Typer(name="owner", help="Release everything that a dead owner holds.", no_args_is_help=True)
lock.command()(run)

_COLUMNS = ("lock", "owner", "token", "remaining", "permits", "waiting", "metadata")
NameArgument = Annotated[str, typer.Argument(help="Name of the lock; may contain /.")]
OwnerOption = Annotated[
    str, typer.Option("--owner", envvar="RAFTMEM_OWNER", help="Name of the holder; unique to one process.")
]
TokenOption = Annotated[int, typer.Option("--token", envvar="RAFTMEM_TOKEN", help="Fencing token of the grant.")]


@reads(lock, "list", pages=True)
def list_locks(
    call: Read,
    owner: Annotated[str | None, typer.Option("--owner", help="List only locks of this owner.")] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="List only names that begin with this.")] = None,
) -> None:
    """List the locks that are held, one line a holder, one page."""
    call.show(call.get("/v1/locks", owner=owner, prefix=prefix), _show_page)


@reads(lock)
def show(
    call: Read,
    name: NameArgument,
) -> None:
    """Show the holders and the queue of one lock. A lock that nobody holds is free, not missing."""
    call.show(call.get(_path(name)), _show_lock)


@writes(lock, keyed=False)
def acquire(
    call: Write,
    name: NameArgument,
    owner: OwnerOption,
    ttl: Annotated[
        float,
        typer.Option(
            "--ttl",
            min=o.TTL_S_MIN,
            max=o.TTL_S_MAX,
            metavar="SECONDS",
            help="The lock is lost after this long without a renewal.",
        ),
    ] = 10,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, max=WAIT_MS_MAX / 1000, metavar="SECONDS", help="Longest time in the queue."),
    ] = 0,
    permits: Annotated[
        int, typer.Option("--permits", min=1, max=PERMITS_MAX, help="How many may hold it at once (a semaphore).")
    ] = 1,
    metadata: Annotated[str | None, typer.Option("--metadata", help="A JSON object for people, or @file.")] = None,
) -> None:
    """Take a lock and print its token. The same owner renews it so. Exits with 4 when others hold it."""
    wait_ms = o.ms(wait) or 0
    described = o.json_argument(metadata, name="--metadata")
    body = o.given(owner=owner, ttl_ms=o.ms(ttl), wait_ms=wait_ms, permits=permits, metadata=described)
    call.show(call.ask("POST", _path(name, "/acquire"), body, wait_ms=wait_ms), _show_held)


@writes(lock, guarded=False, keyed=False)
def renew(
    call: Write,
    name: NameArgument,
    owner: OwnerOption,
    token: TokenOption,
    ttl: o.TtlOption = None,
) -> None:
    """Keep a lock for another --ttl. Exits with 4 when it is lost."""
    body = o.given(owner=owner, token=token, ttl_ms=o.ms(ttl))
    call.show(call.ask("POST", _path(name, "/renew"), body), _show_held)


@writes(lock)
def release(
    call: Write,
    name: NameArgument,
    owner: OwnerOption,
    token: TokenOption,
) -> None:
    """Give a lock back; the next in the queue gets it at once. Exits with 4 when it was lost before."""
    call.show(call.ask("POST", _path(name, "/release"), {"owner": owner, "token": token}), _show_written)


@writes(lock, "force-release", guarded=False)
def force_release(
    call: Write,
    name: NameArgument,
) -> None:
    """Take a lock from its holder, in an event that names you; the holder's guarded writes are refused from then on.

    This does not stop the holder: its effects outside of this service must check the token.
    """
    call.show(call.ask("DELETE", _path(name)), _show_written)


@writes(owner, "release", guarded=False)
def release_owner(
    call: Write,
    name: Annotated[str, typer.Argument(metavar="OWNER", help="The dead owner or worker.")],
) -> None:
    """Take all locks, places in queues and claims from a dead owner, in events that name you."""
    answer = call.ask("POST", f"/v1/owners/{quote(name, safe='')}/release", {})
    call.show(answer, lambda answer: _show_released(name, answer))


def _show_released(name: str, answer: Answer) -> None:
    released = answer.body.get("released")
    had = released if isinstance(released, dict) else {}
    rows = [("lock", row.get("name"), row.get("token")) for row in items(had.get("locks"))]
    rows += [("place in the queue of", waited, None) for waited in had.get("waits", ())]
    rows += [("task", task, None) for task in had.get("tasks", ())]
    if rows:
        print_table(("released", "name", "token"), rows)
    else:
        console().print(printable(f"{name} had nothing"), markup=False)


def _path(name: str, verb: str = "") -> str:
    return f"/v1/locks/{quote(name, safe='')}{verb}"


def _show_page(answer: Answer) -> None:
    print_table(_COLUMNS, [row for found in items(answer.body.get("locks")) for row in _rows(found)])
    follow_up(answer.body)


def _show_lock(answer: Answer) -> None:
    found = answer.body
    queue = items(found.get("queue"))
    if not items(found.get("holders")):
        console().print(printable(f"{found.get('name')} is free"), markup=False)
        return
    print_table(_COLUMNS, _rows(found))
    if queue:
        console().print()
        print_table(("position", "waiting"), [(waiter.get("position"), waiter.get("owner")) for waiter in queue])


def _rows(found: Row) -> Iterable[tuple[object, ...]]:
    """One a holder."""
    queue = found.get("queue")
    waiting = len(queue) if isinstance(queue, list) else None
    for holder in items(found.get("holders")):
        remaining = for_people(holder.get("remaining_ms"))
        metadata = holder.get("metadata") or None
        yield (
            *(found.get("name"), holder.get("owner"), holder.get("token"), remaining),
            *(found.get("permits"), waiting, metadata),
        )


def _show_held(answer: Answer) -> None:
    body = answer.body
    remaining = for_people(body.get("remaining_ms"))
    line = f"{body.get('name')} is held by {body.get('owner')} with token {body.get('token')} for {remaining}"
    console().print(printable(line), markup=False)


def _show_written(answer: Answer) -> None:
    found = answer.body.get("lock")
    console().print(printable(said(answer.body.get("event"))), markup=False)
    if isinstance(found, dict) and items(found.get("holders")):
        print_table(_COLUMNS, _rows(found))
