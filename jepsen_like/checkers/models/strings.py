"""One key of a map of strings: get, put, append; "" at first.

A value that is the beginning of no value that was told can only be overwritten: all such values count as one, `LOST`.
The value of a get comes only from its own beginnings, or from a put. So the search does not continue an order that has
gone wrong.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from jepsen_like.checkers.models.rules import Move, Rules
from jepsen_like.checkers.models.values import unknown_function
from jepsen_like.history.record import Operation

Content = tuple[str, ...]  # the value alone
LOST: Content = ()
PUT = "put"  # what a get needs once the value is no beginning of what it was told


class Strings(Rules[Content]):
    name = "kv"
    functions = frozenset({"get", "put", "append"})
    begin: Content = ("",)

    def moves(self, operations: Sequence[Operation]) -> list[Move[Content] | None]:
        told = sorted({_text(operation) for operation in operations if operation.f == "get" and operation.type == "ok"})

        def kept(value: str) -> Content:
            place = bisect_left(told, value)
            return (value,) if place < len(told) and told[place].startswith(value) else LOST

        return [self._move(operation, kept) for operation in operations]

    def _move(self, operation: Operation, kept: Callable[[str], Content]) -> Move[Content] | None:
        f = operation.f
        if f not in self.functions:
            raise unknown_function(operation, self.name)
        if operation.type == "fail" or (operation.type == "unknown" and f == "get"):
            return None
        value = _text(operation)
        if f == "get":
            return _tells(value)
        if f == "put":
            after = kept(value)
            return Move(lambda _: after, pure=False, same=(f, value), makes=PUT)
        return Move(lambda state: kept(state[0] + value) if state else LOST, pure=False, same=(f, value))


def _tells(value: str) -> Move[Content]:
    def beyond(state: Content) -> bool:
        return not state or not value.startswith(state[0])

    return Move(lambda state: state if state == (value,) else None, pure=True, same=value, needs=PUT, beyond=beyond)


def _text(operation: Operation) -> str:
    value = operation.result if operation.f == "get" else operation.value
    if not isinstance(value, str):
        raise ValueError(f"{operation.f} of process {operation.process}: {value!r} is not text")
    return value
