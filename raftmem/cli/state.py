"""`raftmem state`: the memories in a replica's folder, now or as they were at any index."""

from typing import Annotated

import msgspec
import typer

from raftmem.api.responses import memory_views
from raftmem.cli import options as o
from raftmem.cli.exits import CommandFailed
from raftmem.cli.folder import check_at, open_to_read
from raftmem.cli.output import JsonFlag, console, print_fields, print_json, print_table
from raftmem.cli.rows import MEMORY_COLUMNS, memory_row
from raftmem.limits import LIST_LIMIT_MAX
from raftmem.model.digest import GENESIS
from raftmem.model.records import SEQ_LAST, Position, Record
from raftmem.storage.state.contract import Query, StateReader

state = typer.Typer(name="state", help="Read the state in a replica's folder.", no_args_is_help=True)


@state.command("list")
def list_memories(
    data: o.DataOption,
    at: o.AtOption = None,
    app: o.AppOption = None,
    user: o.UserOption = None,
    agent: o.AgentOption = None,
    run: o.RunOption = None,
    tag: o.TagsOption = None,
    status: Annotated[str, typer.Option("--status", help="active, deleted or expired.")] = "active",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Largest number of memories.")] = 100,
    live: o.LiveOption = False,
    as_json: JsonFlag = False,
) -> None:
    """List memories, oldest first."""
    scope = tuple((name, str(value)) for name, value in o.scope(app, user, agent, run).items())
    query = Query(scope=scope, tags=tuple(tag or ()), status=status)
    with open_to_read(data, live=live) as folder:
        reader = folder.state()
        index = check_at(at, reader)
        memories = [_plain(record) for record in _listed(reader, query, index, limit)]
    if as_json:
        print_json({"index": index, "memories": memories})
    else:
        print_table(MEMORY_COLUMNS, map(memory_row, memories))


@state.command()
def get(
    memory_id: Annotated[str, typer.Argument(help="Id of the memory.")],
    data: o.DataOption,
    at: o.AtOption = None,
    live: o.LiveOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Show one memory, or its tombstone."""
    with open_to_read(data, live=live) as folder:
        reader = folder.state()
        index = check_at(at, reader)
        record = reader.memory(memory_id, Position(index, SEQ_LAST))
        if record is None:
            raise CommandFailed(f"no memory {memory_id} at index {index}")
        found = _plain(record)
    if as_json:
        print_json(found)
    else:
        print_fields(found.items())


@state.command()
def digest(data: o.DataOption, at: o.AtOption = None, live: o.LiveOption = False, as_json: JsonFlag = False) -> None:
    """Print the digest of the state: equal on every replica at the same index."""
    with open_to_read(data, live=live) as folder:
        reader = folder.state()
        index = check_at(at, reader)
        row = reader.event(index)
        value = (GENESIS if row is None else row.digest).hex()
    if as_json:
        print_json({"index": index, "digest": value})
    else:
        console().print(f"{index} {value}", markup=False)


def _listed(reader: StateReader, query: Query, index: int, limit: int) -> list[Record]:
    found: list[Record] = []
    after: tuple[int, str] | None = None
    while len(found) < limit:
        page = reader.memories(query, at=index, after=after, limit=min(limit - len(found), LIST_LIMIT_MAX))
        found += page.records
        after = page.after
        if after is None:
            break
    return found


def _plain(record: Record) -> dict[str, object]:
    return msgspec.json.decode(memory_views.encode(memory_views.memory(record)), type=dict[str, object])
