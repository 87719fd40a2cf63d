"""Operations in words: a line each, for people."""

import json
from collections.abc import Sequence

from jepsen_like.history.record import Operation

VALUE_CHARACTERS_MAX = 60


def value_said(value: object) -> str:
    """As JSON, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=str, separators=(", ", ": "))
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[: VALUE_CHARACTERS_MAX - 1]}…"


def done_said(operation: Operation) -> str:
    """The request and its answer."""
    asked = operation.f if operation.value is None else f"{operation.f} {value_said(operation.value)}"
    if operation.type == "fail":
        return f"{asked} → refused{f' ({operation.error})' if operation.error else ''}"
    if operation.type == "unknown":
        return f"{asked} → ?"
    if operation.result is None and operation.f not in ("read", "get"):
        return asked
    return f"{asked} → {value_said(operation.result)}"


def said(operation: Operation) -> str:
    """With who did it."""
    return f"process {operation.process}, {done_said(operation)}"


def time_said(at: int | None, *, places: bool) -> str:
    """Nanoseconds as milliseconds, or a place in a history that has no times."""
    if at is None:
        return "open"
    return f"#{at}" if places else f"{at / 1e6:.3f} ms"


def has_places(operations: Sequence[Operation]) -> bool:
    """Those that others wrote: no run of ours is over within a millisecond."""
    return all(max(operation.call, operation.return_ or 0) < 1_000_000 for operation in operations)


def rows(operations: Sequence[Operation]) -> list[str]:
    """A table, in the order of the calls."""
    places = has_places(operations)
    cells = [
        (
            str(operation.process),
            time_said(operation.call, places=places),
            time_said(operation.return_, places=places),
            done_said(operation),
        )
        for operation in operations
    ]
    head = ("process", "from", "to", "what")
    widths = [max(len(row[column]) for row in (head, *cells)) for column in range(3)]
    return [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in (head, *cells)
    ]
