"""The appends and reads of each list in a history: the author of each value, and the lists that were shown.

The operations are `append`, `read` and `txn` (see docs/jepsen.md); a transaction's value may also name its parts as
["append", key, value] and ["r", key, null]. An operation that contradicts itself is complained of here.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import ValidationError, convert

from jepsen_like.checkers.complaints import Complaints, short, tell
from jepsen_like.history.record import Operation

FUNCTIONS: Final = frozenset({"append", "read", "txn"})
Value = int | str


class Part(NamedTuple):
    """One step of an operation. `appended`: None for a read. `seen`: the list right after it, if that was told."""

    key: str
    appended: Value | None
    seen: list[Value] | None


class Shown(NamedTuple):
    """Of one key to one operation. `own`: how many values at the end of `seen` are its own. `by` -1: the final read."""

    by: int
    seen: list[Value]
    own: int

    @property
    def before(self) -> int:
        """The length of the list before this operation."""
        return len(self.seen) - self.own


class Column:
    """Everything about one key. `order`: the longest list that was seen."""

    def __init__(self, key: str, number: int) -> None:
        self.key = key
        self.number = number
        self.writers: dict[Value, int] = {}
        self.shown: list[Shown] = []
        self.order: list[Value] = []
        self.final: list[Value] | None = None


def columns_of(operations: Sequence[Operation], complaints: Complaints) -> dict[str, Column]:
    """By key. Operations are named by their places."""
    columns: dict[str, Column] = {}
    for number, operation in enumerate(operations):
        try:
            parts = list(_parts(operation))
        except ValidationError as error:
            complaints.add("malformed", f"{tell(operation)}: {error}")
            continue
        shown: dict[str, Shown] = {}
        own: dict[str, list[Value]] = {}
        for key, appended, seen in parts:
            column = columns.get(key)
            if column is None:
                column = columns[key] = Column(key, len(columns))
            if appended is not None:
                if column.writers.setdefault(appended, number) != number:
                    complaints.doubt(f"{short(appended)} was appended to {key} more than once: {tell(operation)}")
                own.setdefault(key, []).append(appended)
            if seen is not None:
                mine = own.get(key, [])
                if mine and seen[-len(mine) :] != mine:
                    complaints.add("internal", f"{tell(operation)} does not show its own appends to {key}, {mine}")
                elif key not in shown:
                    shown[key] = Shown(number, seen, len(mine))
                elif seen[: len(seen) - len(mine)] != shown[key].seen[: shown[key].before]:
                    complaints.add("internal", f"{tell(operation)} shows two states of {key}")
        for key, one in shown.items():
            columns[key].shown.append(one)
    return columns


def _parts(operation: Operation) -> Iterator[Part]:
    """Raises: ValidationError."""
    told = operation.result if operation.type == "ok" else None
    if operation.f == "read":
        if told is not None:
            yield Part(operation.key, None, convert(told, list[Value]))
    elif operation.f == "append":
        seen = None if told is None else convert(told, list[Value])
        yield Part(operation.key, convert(operation.value, Value), seen)
    else:
        steps = convert(operation.value, list[list[Value | list[Value] | None]])
        results = [None] * len(steps) if told is None else convert(told, list[list[Value] | None])
        if len(results) != len(steps):
            raise ValidationError(f"{len(results)} results of {len(steps)} steps")
        for step, seen in zip(steps, results, strict=True):
            kind, key, value = step if len(step) == 3 else ("append", *convert(step, tuple[Value, Value]))
            if kind == "append":
                yield Part(str(key), convert(value, Value), seen)
            elif seen is not None:
                yield Part(str(key), None, seen)
