"""The log as a replica tells it at the end: one line an event (`log.jsonl`), with only the fields that were read."""

from pathlib import Path

import msgspec
from msgspec import Struct

from jepsen_like.history.record import Operation


class Actor(Struct, frozen=True):
    type: str
    id: str


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As `GET /v1/events?include=internal` shows it (see the API); fields that no checker reads are left out."""

    index: int
    seq: int
    term: int
    op: str
    requested_op: str | None = None
    actor: Actor | None = None
    scope: dict[str, str | None] | None = None
    request_id: str | None = None
    outcome: str = "applied"
    code: str | None = None
    memory_id: str | None = None
    version: int | None = None
    lock: str | None = None
    owner: str | None = None
    token: int | None = None
    task_ids: tuple[str, ...] = ()
    task_state: str | None = None
    gate: str | None = None
    open: bool | None = None
    succeeded: bool | None = None
    payload: object = None


class Log(Struct, frozen=True):
    """Whole and in order. `by_request`: the events of each request that the log knows, in order."""

    events: tuple[Event, ...]
    by_request: dict[str, tuple[Event, ...]]

    def of(self, operation: Operation) -> tuple[Event, ...]:
        """The log's events for this operation: none if it never got there."""
        return self.by_request.get(operation.request or "", ())


def log_of(events: list[Event]) -> Log:
    by_request: dict[str, list[Event]] = {}
    for event in events:
        if event.request_id is not None:
            by_request.setdefault(event.request_id, []).append(event)
    return Log(tuple(events), {request: tuple(found) for request, found in by_request.items()})


def read_log(path: Path) -> Log:
    """Raises: ValueError naming the line."""
    decoder, events = msgspec.json.Decoder(Event), []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            events.append(decoder.decode(line))
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return log_of(events)
