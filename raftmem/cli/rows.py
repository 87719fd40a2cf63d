"""Memories and events, as the API shows them, become rows of a table."""

from collections.abc import Iterable
from typing import Final

from raftmem.cli.output import print_table

MEMORY_COLUMNS: Final = ("id", "version", "updated_at", "scope", "tags", "content")
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
    subject = event.get("memory_id")
    if subject is not None and event.get("version") is not None:
        subject = f"{subject} v{event['version']}"
    if event.get("change") is not None:
        op, subject = f"{op} {event['change']}", event.get("member_id")
    outcome = event.get("outcome")
    if event.get("code") is not None:
        outcome = f"{outcome}: {event['code']}"
    return event.get("index"), event.get("seq"), event.get("time"), who, op, subject, outcome


def memory_row(record: dict[str, object]) -> tuple[object, ...]:
    names = {"app_id": "app", "user_id": "user", "agent_id": "agent", "run_id": "run"}
    bound = " ".join(f"{short}={record[name]}" for name, short in names.items() if record.get(name) is not None)
    tags = record.get("tags")
    listed = " ".join(map(str, tags)) if isinstance(tags, list) else None
    content = record.get("text") if record.get("text") is not None else record.get("value")
    return record.get("id"), record.get("version"), record.get("updated_at"), bound, listed, content


def items(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
