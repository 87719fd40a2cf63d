"""`raftmem memory`: write, read and search the memories of a running group over REST."""

from typing import Annotated
from urllib.parse import quote

import typer

from raftmem.cli import options as o
from raftmem.cli.output import console, print_fields, print_json, print_table, printable
from raftmem.cli.remote import Answer
from raftmem.cli.rows import MEMORY_COLUMNS, follow_up, items, memory_row, print_events
from raftmem.cli.verbs import Read, Write, reads, writes
from raftmem.errors import BadRequest

memory = typer.Typer(name="memory", help="Write, read and search memories of a running group.", no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(help="Id of the memory.")]


def _path(memory_id: str, tail: str = "") -> str:
    return f"/v1/memories/{quote(memory_id, safe='')}{tail}"


def _show_write(answer: Answer) -> None:
    """Say in one line what was decided, and where in the log."""
    event, record = answer.body.get("event"), answer.body.get("memory")
    if not isinstance(event, dict) or not isinstance(record, dict):
        print_json(answer.body)
        return
    decided = event["op"] if event.get("requested_op") is None else f"{event['op']} (asked: {event['requested_op']})"
    again = ", replayed" if answer.headers.get("idempotent-replayed") == "true" else ""
    line = f"{decided} {record['id']} version {record['version']} at index {event['index']}{again}"
    console().print(printable(line), markup=False)


@writes(memory)
def add(
    call: Write,
    text: Annotated[str | None, typer.Argument(help="Text to remember; give this, --value or both.")] = None,
    memory_id: Annotated[str | None, typer.Option("--id", help="Id of your choice.")] = None,
    value: Annotated[str | None, typer.Option("--value", help="Any JSON, or @file.")] = None,
    tag: o.TagsOption = None,
    app: o.AppOption = None,
    user: o.UserOption = None,
    agent: o.AgentOption = None,
    run: o.RunOption = None,
    metadata: Annotated[str | None, typer.Option("--metadata", help="A JSON object, or @file.")] = None,
    embedding: Annotated[str | None, typer.Option("--embedding", help="A JSON array of numbers, or @file.")] = None,
    embedding_model: Annotated[
        str | None, typer.Option("--embedding-model", help="Name of the model of the embedding.")
    ] = None,
    memory_type: Annotated[str | None, typer.Option("--type", help="semantic, episodic, procedural or fact.")] = None,
    claim_type: Annotated[
        str | None, typer.Option("--claim", help="observation, inference, verified or directive.")
    ] = None,
    confidence: Annotated[float | None, typer.Option("--confidence", help="0..1")] = None,
    importance: Annotated[float | None, typer.Option("--importance", help="0..1")] = None,
    ttl_ms: Annotated[int | None, typer.Option("--ttl-ms", help="Expire after this much log time.")] = None,
    on_duplicate: Annotated[
        str | None, typer.Option("--on-duplicate", help="add (default), or noop when equal content exists.")
    ] = None,
) -> None:
    """Add a memory (ADD)."""
    body = o.scope(app, user, agent, run) | o.given(
        id=memory_id,
        text=text,
        value=o.json_argument(value, name="--value"),
        tags=tag or None,
        metadata=o.json_argument(metadata, name="--metadata"),
        embedding=o.json_argument(embedding, name="--embedding"),
        embedding_model=embedding_model,
        memory_type=memory_type,
        claim_type=claim_type,
        confidence=confidence,
        importance=importance,
        ttl_ms=ttl_ms,
        on_duplicate=on_duplicate,
    )
    if text is None and value is None:
        raise BadRequest("nothing to remember: give TEXT or --value")
    call.show(call.ask("POST", "/v1/memories", body), _show_write)


@writes(memory)
def update(
    call: Write,
    memory_id: IdArgument,
    text: Annotated[str | None, typer.Option("--text", help="New text.")] = None,
    value: Annotated[str | None, typer.Option("--value", help="Any JSON, or @file.")] = None,
    tag: o.TagsOption = None,
    metadata: Annotated[str | None, typer.Option("--metadata", help="A JSON object (whole), or @file.")] = None,
    embedding: Annotated[str | None, typer.Option("--embedding", help="A JSON array of numbers, or @file.")] = None,
    embedding_model: Annotated[
        str | None, typer.Option("--embedding-model", help="Name of the model of the embedding.")
    ] = None,
    confidence: Annotated[float | None, typer.Option("--confidence", help="0..1")] = None,
    ttl_ms: Annotated[int | None, typer.Option("--ttl-ms", help="Expire after this much log time.")] = None,
    merge: Annotated[list[str] | None, typer.Option("--merge", help=f"{o.MERGE_FORM}; may be repeated.")] = None,
    clear: Annotated[list[str] | None, typer.Option("--clear", help="A field to set to null; repeatable.")] = None,
    if_version: o.IfVersionOption = None,
) -> None:
    """Change a memory (UPDATE): a field replaces the stored one, a merge combines with it."""
    body: dict[str, object] = {}
    body.update(dict.fromkeys(clear or ()))
    body |= o.given(
        text=text,
        value=o.json_argument(value, name="--value"),
        tags=tag or None,
        metadata=o.json_argument(metadata, name="--metadata"),
        embedding=o.json_argument(embedding, name="--embedding"),
        embedding_model=embedding_model,
        confidence=confidence,
        ttl_ms=ttl_ms,
        merge=o.merge_argument(merge),
    )
    if not body:
        raise BadRequest("nothing to change: give --text, --value, --merge or another field")
    call.show(call.ask("PATCH", _path(memory_id), body, if_version=if_version), _show_write)


@writes(memory, guarded=False)
def delete(
    call: Write,
    memory_id: IdArgument,
    if_version: o.IfVersionOption = None,
) -> None:
    """Delete a memory (DELETE); a tombstone and its history stay."""
    call.show(call.ask("DELETE", _path(memory_id), if_version=if_version), _show_write)


@reads(memory, at=True)
def get(
    call: Read,
    memory_id: IdArgument,
    vector: Annotated[bool, typer.Option("--vector", help="Show the embedding's numbers too.")] = False,
) -> None:
    """Show one memory."""
    call.show(call.get(_path(memory_id), include="embedding" if vector else None), _show_memory)


@reads(memory, "list", at=True, pages=True)
def list_memories(
    call: Read,
    tag: o.TagsOption = None,
    app: o.AppOption = None,
    user: o.UserOption = None,
    agent: o.AgentOption = None,
    run: o.RunOption = None,
    memory_type: Annotated[str | None, typer.Option("--type", help="semantic, episodic, procedural or fact.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="active (default), deleted or expired.")] = None,
    condition: o.FilterOption = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Newest first.")] = False,
) -> None:
    """List memories, oldest first, one page."""
    params = o.scope(app, user, agent, run) | o.given(tag=tag or None, memory_type=memory_type, status=status)
    params |= o.given(order="desc" if newest_first else None, filter=_compact(condition))
    call.show(call.get("/v1/memories", **params), _show_page)


@reads(memory, at=True)
def search(
    call: Read,
    embedding: Annotated[str, typer.Option("--embedding", help="A JSON array of numbers, or @file.")],
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, max=1000, help="Largest number of results.")] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Lowest score of a result, 0..1.")] = None,
    tag: o.TagsOption = None,
    app: o.AppOption = None,
    user: o.UserOption = None,
    agent: o.AgentOption = None,
    run: o.RunOption = None,
    condition: o.FilterOption = None,
) -> None:
    """Find the memories nearest to a vector, best first; exact, within scope, tags and filter."""
    body = o.scope(app, user, agent, run) | o.given(
        embedding=o.json_argument(embedding, name="--embedding"),
        top_k=top_k,
        threshold=threshold,
        tags=tag or None,
        filter=o.json_argument(condition, name="--filter"),
    )
    call.show(call.search("/v1/memories/search", body), _show_hits)


@reads(memory, pages=True, levels=False)
def history(
    call: Read,
    memory_id: IdArgument,
) -> None:
    """Show the events of one memory, oldest first: who, when, with which outcome."""
    call.show(call.get(_path(memory_id, "/history")), _show_history)


def _show_memory(answer: Answer) -> None:
    index, level = answer.headers.get("raftmem-index"), answer.headers.get("raftmem-consistency")
    print_fields([*answer.body.items(), ("(read)", f"at index {index}, level {level}")])


def _show_page(answer: Answer) -> None:
    print_table(MEMORY_COLUMNS, [memory_row(record) for record in items(answer.body.get("memories"))])
    follow_up(answer.body)


def _show_hits(answer: Answer) -> None:
    rows = []
    for hit in items(answer.body.get("results")):
        found = hit.get("memory")
        rows.append((f"{hit.get('score'):.4f}", *memory_row(found if isinstance(found, dict) else {})))
    print_table(("score", *MEMORY_COLUMNS), rows)


def _show_history(answer: Answer) -> None:
    print_events(items(answer.body.get("events")))
    follow_up(answer.body)


def _compact(condition: str | None) -> str | None:
    value = o.json_argument(condition, name="--filter")
    return None if value is None else o.json_text(value)
