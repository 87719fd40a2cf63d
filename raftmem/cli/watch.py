"""`raftmem watch`: the log of a running group as it grows, entry by entry, until it is interrupted.

It goes on at the next replica when one ends, without a gap or a repeat (`raftmem.client` sees to that), and says on
stderr where to go on when it cannot.
"""

from datetime import UTC
from typing import Annotated, Final, Literal

import msgspec
import typer

from raftmem.cli import options as o
from raftmem.cli.exits import of_client
from raftmem.cli.output import JsonFlag, console, print_json, printable
from raftmem.cli.remote import DEFAULT_URL, ActorOption, UrlOption, library
from raftmem.cli.rows import event_row
from raftmem.client import Entry, Event, FutureIndex, RaftmemClientError
from raftmem.errors import BadRequest

PATIENCE_S: Final = 30.0  # without any replica that answers
# An event always has these; what else is null does not concern it.
_ALWAYS: Final = frozenset(
    {"index", "seq", "term", "time", "op", "actor", "scope", "read_index", "request_id", "outcome", "code"}
)
_OUTCOMES: Final[dict[str | None, Literal["applied", "refused"] | None]] = {
    **{None: None},
    **{"applied": "applied", "refused": "refused"},
}


def watch(
    first: Annotated[
        int | None, typer.Option("--from", min=1, help="First index; the next entry if not given.")
    ] = None,
    op: Annotated[str | None, typer.Option("--op", help="One kind of event, such as LOCK_GRANT.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Only what concerns this memory.")] = None,
    lock: Annotated[str | None, typer.Option("--lock", help="Only what concerns this lock.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Only what concerns tasks of this queue.")] = None,
    gate: Annotated[str | None, typer.Option("--gate", help="Only what concerns this gate.")] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="ID", help="Only events that this actor asked for.")] = None,
    request_id: Annotated[str | None, typer.Option("--request-id", help="Only events of this request.")] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help="applied or refused.")] = None,
    tag: o.TagsOption = None,
    app: o.AppOption = None,
    user: o.UserOption = None,
    agent: o.AgentOption = None,
    run: o.RunOption = None,
    internal: Annotated[
        bool, typer.Option("--internal", help="Also Raft's own entries, and changes of the members.")
    ] = False,
    most: Annotated[int | None, typer.Option("--max", min=1, help="End after this many entries.")] = None,
    actor: ActorOption = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonFlag = False,
) -> None:
    """Follow the log: one line an event, or one JSON object with --json. Ctrl-C ends it."""
    if outcome not in _OUTCOMES:
        raise BadRequest(f"--outcome {outcome} is not one of applied, refused", parameter="--outcome")
    seen = 0
    with library(url, actor=actor) as client:
        entries = client.watch(
            first,
            op=op,
            memory_id=memory,
            lock=lock,
            queue=queue,
            gate=gate,
            actor_id=by,
            request_id=request_id,
            outcome=_OUTCOMES[outcome],
            tags=tag or (),
            internal=internal,
            patience=PATIENCE_S,
            app_id=app,
            user_id=user,
            agent_id=agent,
            run_id=run,
        )
        try:
            with entries:
                for entry in entries:
                    _show(entry, as_json=as_json)
                    seen += 1
                    if seen == most:
                        return
        except (RaftmemClientError, KeyboardInterrupt) as error:
            if entries.index is not None and not isinstance(error, FutureIndex):
                console(stderr=True).print(f"to go on: --from {entries.index + 1}", markup=False)
            raise of_client(error) if isinstance(error, RaftmemClientError) else error from None


def _show(entry: Entry, *, as_json: bool) -> None:
    for event in entry.events:
        shown = plain(event)
        if as_json:
            print_json(shown)
            continue
        index, seq, time, who, op, subject, outcome = event_row(shown)
        line = f"{index}.{seq}  {time or '-'}  {who}  {op}  {subject or '-'}  {outcome}"
        console().print(printable(line), markup=False)


def plain(event: Event) -> dict[str, object]:
    """Show an event as the API does: keys that do not concern it are left out."""
    shown: dict[str, object] = msgspec.to_builtins(event)
    shown["time"] = event.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {name: value for name, value in shown.items() if name in _ALWAYS or value not in (None, [])}
