"""Memories, events and durations, as the API shows them, become rows and lines for people."""

from collections.abc import Iterable
from typing import Final

from raftmem.cli.output import console, print_table, printable
from raftmem.cli.remote import Answer

MEMORY_COLUMNS: Final = ("id", "version", "updated_at", "scope", "tags", "content")
NO_LOG_TIME: Final = "1970-01-01T00:00:00.000Z"  # of what stands before the first entry of a leader
EVENT_COLUMNS: Final = ("index", "seq", "time", "actor", "op", "subject", "outcome")


def print_events(events: Iterable[dict[str, object]]) -> None:
    """Events as a table: who did what, when, with which outcome."""
    print_table(EVENT_COLUMNS, [event_row(event) for event in events])


def event_row(event: dict[str, object]) -> tuple[object, ...]:
    actor = event.get("actor")
    who = f"{actor['type']}/{actor['id']}" if isinstance(actor, dict) else None
    op = event.get("op")
    if event.get("requested_op") is not None:
        op = f"{op} (asked: {event['requested_op']})"
    subject = _subject(event)
    if event.get("change") is not None:
        op = f"{op} {event['change']}"
    outcome = event.get("outcome")
    if event.get("code") is not None:
        outcome = f"{outcome}: {event['code']}"
    time = event.get("time")
    return event.get("index"), event.get("seq"), None if time == NO_LOG_TIME else time, who, op, subject, outcome


def _subject(event: dict[str, object]) -> str | None:
    """Name what an event is about, with its version, token or new state."""
    tasks = event.get("task_ids")
    named = [event.get("memory_id"), event.get("lock"), event.get("gate"), event.get("member_id")]
    named += tasks if isinstance(tasks, list) else []
    more = [f"v{event['version']}"] if event.get("version") is not None else []
    more += [f"token {event['token']}"] if event.get("token") is not None else []
    more += [str(event[name]) for name in ("owner", "task_state") if event.get(name) is not None]
    for name, true, false in (("open", "open", "closed"), ("succeeded", "then", "else")):
        if event.get(name) is not None:
            more.append(true if event[name] else false)
    return " ".join([str(one) for one in named if one is not None] + more) or None


def said(event: object) -> str:
    """One line: what was decided, about what, and where in the log."""
    if not isinstance(event, dict):
        return "nothing was done"
    index, _, _, _, op, subject, outcome = event_row(event)
    return " ".join(str(part) for part in (op, subject, "" if outcome == "applied" else outcome) if part) + (
        f" at index {index}"
    )


def show_said(answer: Answer) -> None:
    """The line of a write's reply."""
    console().print(printable(said(answer.body.get("event"))), markup=False)


def for_people(duration_ms: object) -> str | None:
    """Milliseconds as seconds."""
    return f"{duration_ms / 1000:.1f} s" if isinstance(duration_ms, int) else None


def follow_up(page: dict[str, object]) -> None:
    """Say how to ask for the next page, if there is one."""
    if page.get("next_cursor"):
        console(stderr=True).print(f"more: --cursor {page['next_cursor']}", markup=False)


def memory_row(record: dict[str, object]) -> tuple[object, ...]:
    names = {"app_id": "app", "user_id": "user", "agent_id": "agent", "run_id": "run"}
    bound = " ".join(f"{short}={record[name]}" for name, short in names.items() if record.get(name) is not None)
    tags = record.get("tags")
    listed = " ".join(map(str, tags)) if isinstance(tags, list) else None
    content = record.get("text") if record.get("text") is not None else record.get("value")
    return record.get("id"), record.get("version"), record.get("updated_at"), bound, listed, content


def items(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
