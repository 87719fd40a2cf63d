"""Options that several commands share, and how their text becomes JSON values."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from raftmem.cli.surroundings import json_of, read_file
from raftmem.errors import BadRequest
from raftmem.limits import LOCK_TTL_MS_MAX, LOCK_TTL_MS_MIN

AppOption = Annotated[str | None, typer.Option("--app", help="app_id of the scope.")]
UserOption = Annotated[str | None, typer.Option("--user", help="user_id of the scope.")]
AgentOption = Annotated[str | None, typer.Option("--agent", help="agent_id of the scope.")]
RunOption = Annotated[str | None, typer.Option("--run", help="run_id of the scope.")]
TagsOption = Annotated[list[str] | None, typer.Option("--tag", help="A tag; repeatable.")]
ConsistencyOption = Annotated[
    str | None, typer.Option("--consistency", help="lease, linearizable, session, bounded or eventual.")
]
MinIndexOption = Annotated[
    int | None, typer.Option("--min-index", help="Read a state that reflects at least this index.")
]
StalenessOption = Annotated[
    int | None, typer.Option("--max-staleness-ms", help="Largest age of the state, for --consistency bounded.")
]
AtOption = Annotated[int | None, typer.Option("--at", help="Read the state as it was at this log index.")]
TimeoutOption = Annotated[int | None, typer.Option("--timeout-ms", help="Longest time that the service may wait.")]
FilterOption = Annotated[str | None, typer.Option("--filter", help="A filter expression as JSON, or @file.")]
IfVersionOption = Annotated[
    int | None, typer.Option("--if-version", help="Write only if the memory is at this version.")
]
GuardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--guard", metavar="JSON", help='Write only if this is true, such as {"gate":"g","open":true}; repeatable.'
    ),
]
TTL_S_MIN: Final = LOCK_TTL_MS_MIN / 1000  # of a lock or a claim
TTL_S_MAX: Final = LOCK_TTL_MS_MAX / 1000
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="Largest number of rows in the page.")]
CursorOption = Annotated[str | None, typer.Option("--cursor", help="Continue after the page that printed this cursor.")]
TtlOption = Annotated[
    float | None,
    typer.Option(
        "--ttl", min=TTL_S_MIN, max=TTL_S_MAX, metavar="SECONDS", help="Time until it is lost; as before if not given."
    ),
]
DataOption = Annotated[Path, typer.Option("--data", help="A replica's folder, such as .raftmem/n1.")]
LiveOption = Annotated[bool, typer.Option("--live", help="Read a consistent view beside a running replica.")]

MERGE_FORM: Final = 'PATH=OP:JSON, such as value.seen=inc:1 or tags=union:["freeze"]'


def json_argument(text: str | None, *, name: str) -> object:
    """Return the JSON value of an argument or of its `@file`; None when it was not given. Raises: BadRequest."""
    if text is None:
        return None
    raw = read_file(text[1:], where=name) if text.startswith("@") else text.encode()
    try:
        return json_of(raw, where=name if not text.startswith("@") else f"{name} ({text[1:]})")
    except BadRequest as error:
        hint = "" if raw[:1] in b'"[{' else " (a string needs its quotes: '\"text\"')"
        raise BadRequest(f"{error}{hint}", parameter=name) from error


def merge_argument(texts: list[str] | None) -> dict[str, object] | None:
    """Read each `--merge PATH=OP:JSON` as the API's `merge`. Raises: BadRequest."""
    if not texts:
        return None
    merges: dict[str, object] = {}
    for text in texts:
        path, equals, rest = text.partition("=")
        op, colon, by = rest.partition(":")
        if not (path and equals and op and colon):
            raise BadRequest(f"--merge {text!r} is not {MERGE_FORM}", parameter="--merge")
        if path in merges:
            raise BadRequest(f"--merge names {path} twice", parameter="--merge")
        merges[path] = {"op": op, "by": json_argument(by, name=f"--merge {path}")}
    return merges


def guards(texts: list[str] | None) -> list[object] | None:
    """Read each `--guard JSON`. Raises: BadRequest."""
    return [json_argument(text, name="--guard") for text in texts] if texts else None


def ms(seconds: float | None) -> int | None:
    """Convert the seconds of an option to the service's milliseconds."""
    return None if seconds is None else round(seconds * 1000)


def given(**fields: object) -> dict[str, object]:
    """Keep the fields that were given; leave None out."""
    return {name: value for name, value in fields.items() if value is not None}


def scope(app: str | None, user: str | None, agent: str | None, run: str | None) -> dict[str, object]:
    return given(app_id=app, user_id=user, agent_id=agent, run_id=run)


def reading(
    consistency: str | None, min_index: int | None, at: int | None, timeout_ms: int | None, staleness_ms: int | None
) -> dict[str, object]:
    """The query parameters of a read."""
    return given(
        consistency=consistency, min_index=min_index, at=at, timeout_ms=timeout_ms, max_staleness_ms=staleness_ms
    )


def json_text(value: object) -> str:
    """Compact JSON."""
    return msgspec.json.encode(value).decode()
