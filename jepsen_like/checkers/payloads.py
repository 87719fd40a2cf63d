"""Payloads of the log and values of the workloads, read strictly: any other shape is an error."""

from msgspec import Struct, convert

from jepsen_like.history.logged import Event


class Guard(Struct, frozen=True):
    lock: str | None = None
    token: int | None = None
    owner: str | None = None


class _Guarded(Struct, frozen=True):
    guards: tuple[Guard, ...] = ()


def fields(event: Event) -> dict[str, object]:
    """The payload; of an event without one, nothing."""
    return {} if event.payload is None else convert(event.payload, dict[str, object])


def guards(event: Event) -> tuple[Guard, ...]:
    """Those of its request, if the event is the first of an entry."""
    return () if event.payload is None else convert(event.payload, _Guarded).guards


def text(event: Event, field: str) -> str | None:
    found = fields(event).get(field)
    return found if isinstance(found, str) else None


def integer(event: Event, field: str) -> int | None:
    found = fields(event).get(field)
    return found if isinstance(found, int) else None
