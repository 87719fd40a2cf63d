"""The content of memories, replayed from the payloads of the log's events: version, value, and since when.

A value is known as long as the log determines it. After a merge on a path inside of it, or after an UPDATE that may
have been either a PUT or a PATCH, it is `UNKNOWN` until it is given whole again. A list that grows by appends is kept
once and seen through a `Beginning`, so that every version of it costs the same.
"""

from typing import Final

from msgspec import Struct

from jepsen_like.checkers.payloads import fields
from jepsen_like.history.logged import Event

WRITES: Final = frozenset({"ADD", "UPDATE", "DELETE", "EXPIRE"})


class Unknown(Struct, frozen=True):
    """The log does not determine the value."""


UNKNOWN: Final = Unknown()


class Beginning(Struct, frozen=True, eq=False):
    """The first `length` elements of a list that has grown since, or may."""

    whole: list[object]
    length: int

    def equals(self, other: object) -> bool:
        return isinstance(other, list) and len(other) == self.length and self.whole[: self.length] == other


class Content(Struct, frozen=True):
    """`value` None of one that is not `alive`."""

    version: int
    alive: bool
    value: object


ABSENT: Final = Content(0, alive=False, value=None)


class Contents:
    """The newest of each memory."""

    def __init__(self) -> None:
        self.newest: dict[str, Content] = {}

    def apply(self, event: Event) -> bool:
        """True if the event changed a memory."""
        if event.outcome != "applied" or event.op not in WRITES or event.memory_id is None:
            return False
        before = self.newest.get(event.memory_id, ABSENT)
        alive = event.op in ("ADD", "UPDATE")
        value = _after(before.value, event) if alive else None
        self.newest[event.memory_id] = Content(event.version or before.version + 1, alive, value)
        return True

    def value(self, memory_id: str) -> object:
        """As it was told to the service. None: there is none, or it is null."""
        found = self.newest.get(memory_id, ABSENT).value
        return found.whole[: found.length] if isinstance(found, Beginning) else found


def _after(before: object, event: Event) -> object:
    given = fields(event)
    if "value" in given:
        value = given["value"]
        return Beginning(list(value), len(value)) if isinstance(value, list) else value
    merge = given.get("merge")
    if isinstance(merge, dict):
        return _merged(before, merge)
    if event.op == "ADD":
        return None
    return UNKNOWN if "text" in given else before  # a PUT names one of the two, and clears the other


def _merged(before: object, merge: dict[str, object]) -> object:
    value = before
    for path, step in merge.items():
        if path == "value" and isinstance(step, dict):
            value = _stepped(value, step.get("op"), step.get("by"))
        elif path.startswith("value"):
            value = UNKNOWN
    return value


def _stepped(before: object, op: object, by: object) -> object:
    if op == "inc" and isinstance(by, int) and (before is None or isinstance(before, int)):
        return (before or 0) + by
    if op == "append" and (before is None or isinstance(before, Beginning)):
        grown = Beginning([], 0) if before is None else before
        if len(grown.whole) != grown.length:  # another went on from here, and was overwritten
            grown = Beginning(grown.whole[: grown.length], grown.length)
        grown.whole.append(by)
        return Beginning(grown.whole, grown.length + 1)
    return by if op == "set" else UNKNOWN
