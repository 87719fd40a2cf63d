"""`raftmem log`: the log of a stopped replica, or beside a running one: who did what, when, with which outcome.

What is applied comes from the state's event table with its outcomes; entries after it come from the log itself
and are marked as not applied: they may still be taken back by a new leader.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import msgspec
import typer

from raftmem.api.responses import memory_views
from raftmem.api.responses.payloads import payload
from raftmem.api.schema.parts import OPS
from raftmem.cli.exits import CommandFailed
from raftmem.cli.folder import DataFolder, open_to_read
from raftmem.cli.options import DataOption, LiveOption
from raftmem.cli.output import JsonFlag, console, print_fields, print_json
from raftmem.cli.pending import asked
from raftmem.cli.rows import print_events
from raftmem.errors import BadRequest, Corrupt, IndexCompacted
from raftmem.model.codec import Entry, decode
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.state.contract import EventRow

log = typer.Typer(name="log", help="Read and check the log in a replica's folder.", no_args_is_help=True)
NOT_APPLIED = "not applied yet"

Event = dict[str, object]


@log.command("list")
def list_entries(
    data: DataOption,
    first: Annotated[int, typer.Option("--from", min=1, help="First index to show.")] = 1,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Last index to show.")] = None,
    op: Annotated[str | None, typer.Option("--op", help=f"One of {', '.join(OPS)}.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Only what concerns this memory.")] = None,
    lock: Annotated[str | None, typer.Option("--lock", help="Only what concerns this lock.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only what concerns this task.")] = None,
    gate: Annotated[str | None, typer.Option("--gate", help="Only what concerns this gate.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Largest number of events.")] = None,
    live: LiveOption = False,
    as_json: JsonFlag = False,
) -> None:
    """List events in the order of the log; with --json one object a line.

    Raft's own entries are shown as RAFT, changes of the members as MEMBER.
    """
    if op is not None and op not in OPS:
        raise BadRequest(f"--op {op} is not one of {', '.join(OPS)}", parameter="--op")
    with open_to_read(data, live=live) as folder:
        wanted = (
            event
            for event in _events(folder, first, last)
            if op in (None, event["op"])
            and memory in (None, event.get("memory_id"))
            and lock in (None, event.get("lock"))
            and gate in (None, event.get("gate"))
            and (task is None or task in _tasks(event))
        )
        shown = islice(wanted, limit)
        if as_json:
            for event in shown:
                print_json(event)
        else:
            print_events(shown)


@log.command()
def show(
    index: Annotated[int, typer.Argument(min=1, help="Index of the entry.")],
    data: DataOption,
    live: LiveOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Show one entry: its events, what they asked for, and the digest after it."""
    with open_to_read(data, live=live) as folder:
        events = list(_events(folder, index, index))
        if not events:
            raise BadRequest(f"index {index} is above the end of the log at {_end(folder)}")
        row = None if folder.reader is None else folder.reader.event(index)
        entry = decode(_entry_bytes(folder, index), index=index)
        whole: dict[str, object] = {
            "index": index,
            "term": events[0]["term"],
            "log_time_us": entry.time,
            "applied": row is not None,
            "replay_of": None if row is None else row.result.replay_of,
            "digest": None if row is None else row.digest.hex(),
            "guards": [] if entry.header is None else msgspec.to_builtins(entry.header.guards),
            "atomic": None if entry.header is None else entry.header.atomic,
            "idempotency_key": _key(entry),
            "members": None if entry.members is None else _members(entry),
            "events": events,
        }
    if as_json:
        print_json(whole)
        return
    print_fields((name, value) for name, value in whole.items() if name != "events")
    for event in events:
        console().print()
        print_fields(event.items())


@log.command()
def verify(data: DataOption, live: LiveOption = False, as_json: JsonFlag = False) -> None:
    """Check every record of the log: checksums, gaps, format, and that the state holds the same entries."""
    with open_to_read(data, live=live) as folder:
        problems = [{"index": index, "problem": what} for index, what in folder.log.verify()]
        if not problems:
            problems = [{"index": index, "problem": what} for index, what in _disagreements(folder)]
        first, last = folder.first_logged, folder.log.last_index() if not problems else None
    if as_json:
        print_json({"sound": not problems, "last_index": last, "problems": problems})
    for problem in problems if not as_json else ():
        console().print(f"index {problem['index']}: {problem['problem']}", markup=False)
    if problems:
        raise CommandFailed(f"{data}: {len(problems)} problems in the log; replace this replica from the others")
    if not as_json:
        console().print(f"{data}: the log is sound, {first}..{last}", markup=False)


def _disagreements(folder: DataFolder) -> Iterator[tuple[int, str]]:
    """Yield each index where state and log hold different entries, or where an entry does not decode."""
    first = folder.first_logged
    rows = iter(()) if folder.reader is None else iter(folder.reader.events(first, folder.applied_index + 1))
    for entry in folder.entries(first, folder.log.last_index()):
        try:
            decode(entry.data, index=entry.index)
        except Corrupt as error:
            yield entry.index, str(error)
        row = next(rows, None)
        if row is not None and (row.term, row.data) != (entry.term, entry.data):
            yield entry.index, "the state has applied another entry"
    for row in rows:
        yield row.index, "the state has applied an entry that the log does not hold"


def _events(folder: DataFolder, first: int, last: int | None) -> Iterator[Event]:
    applied = folder.applied_index
    end = _end(folder) if last is None else min(last, _end(folder))
    if folder.reader is not None:
        for row in folder.reader.events(first, min(end, applied) + 1):
            entry = decode(row.data, index=row.index)
            yield from _applied(row, entry)
    for raw in folder.entries(max(first, applied + 1), end):
        yield from _pending(raw, decode(raw.data, index=raw.index))


def _applied(row: EventRow, entry: Entry) -> Iterator[Event]:
    if not row.result.outcomes:
        yield _plain(memory_views.internal_event(row, entry))
    for seq in range(len(row.result.outcomes)):
        yield _plain(memory_views.event(row, entry, seq, payload=payload(row, entry, seq)))


def _pending(raw: LogEntry, entry: Entry) -> Iterator[Event]:
    """Show an entry as it will be asked of the machine; its outcome is not known yet."""
    for event in _applied(EventRow(raw.index, raw.term, raw.data, asked(entry), b""), entry):
        yield {**event, "outcome": NOT_APPLIED}


def _tasks(event: Event) -> list[object]:
    found = event.get("task_ids")
    return found if isinstance(found, list) else []


def _plain(event: memory_views.EventView) -> Event:
    return msgspec.json.decode(memory_views.encode(event), type=Event)


def _end(folder: DataFolder) -> int:
    return max(folder.log.last_index(), folder.applied_index)


def _entry_bytes(folder: DataFolder, index: int) -> bytes:
    row = None if folder.reader is None else folder.reader.event(index)
    if row is not None:
        return row.data
    for entry in folder.entries(index, index):
        return entry.data
    raise IndexCompacted(index, folder.first_logged)


def _key(entry: Entry) -> str | None:
    return None if entry.header is None or entry.header.idempotency is None else entry.header.idempotency.key


def _members(entry: Entry) -> object:
    members = entry.members
    if members is None:
        return None
    return {
        **msgspec.structs.asdict(members),
        "voters": [msgspec.structs.asdict(voter) for voter in members.voters],
        "learners": [msgspec.structs.asdict(learner) for learner in members.learners],
        "change": None if members.change is None else msgspec.structs.asdict(members.change),
    }
