"""One register: read, write, compare-and-set, delete.

A write whose value no operation could tell from another counts as a write of "some unseen value": all such are
interchangeable. An unknown one of these is left out, unless a cas is known to have failed by mismatch: that may be
explained by a value that nobody saw.
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate
from typing import Final

from jepsen_like.checkers.models.rules import Move, Rules
from jepsen_like.checkers.models.values import NULL, UNSEEN, pair, plain, unknown_function
from jepsen_like.history.record import Operation

MISMATCH = "precondition-failed"
ABSENT = "not-found"
FOR_EVER: Final = 1 << 63

Step = Callable[[Hashable], Hashable | None]


class Register(Rules[Hashable]):
    """`initial`: its value at first; null is absent."""

    name = "register"
    functions = frozenset({"read", "write", "cas", "delete"})

    def __init__(self, initial: object = None) -> None:
        self.begin = plain(initial)

    def moves(self, operations: Sequence[Operation]) -> list[Move[Hashable] | None]:
        seen = _seen(operations)
        mismatches = any(operation.error == MISMATCH for operation in operations)
        return [self._move(operation, seen, mismatches) for operation in operations]

    def _move(self, operation: Operation, seen: set[Hashable], mismatches: bool) -> Move[Hashable] | None:
        f, unknown = operation.f, operation.type == "unknown"
        if f not in self.functions:
            raise unknown_function(operation, self.name)
        if operation.type == "fail":
            return _refused(operation)
        if f == "read":
            return None if unknown else _fits(plain(operation.result))
        old = plain(pair(operation)[0]) if f == "cas" else None
        new = NULL if f == "delete" else plain(_written(operation))
        if new not in seen and new != NULL:
            new = UNSEEN
            if unknown and not mismatches:
                return None
        if old is None:
            return Move(_becomes(new), pure=False, same=new, makes=new)
        if old == new:
            return None if unknown else _fits(old)
        return Move(_swaps(old, new), pure=False, same=(old, new), needs=old, makes=new)

    def complaint(self, operations: Sequence[Operation]) -> tuple[Operation, str] | None:
        """A value that was told before anybody had begun to write it."""
        earliest: dict[Hashable, int] = {self.begin: -1, NULL: -1}
        for operation in operations:
            if operation.f in ("write", "cas") and operation.type != "fail":
                value = plain(_written(operation))
                earliest[value] = min(earliest.get(value, operation.call), operation.call)
        for operation in operations:
            if operation.type != "ok" or operation.f not in ("read", "cas"):
                continue
            told = operation.result if operation.f == "read" else pair(operation)[0]
            called = earliest.get(plain(told))
            if called is None:
                return operation, f"{told!r} was never written"
            if operation.return_ is not None and called > operation.return_:
                return operation, f"{told!r} was written only later"
        return None

    def contradiction(self, operations: Sequence[Operation]) -> tuple[Operation, str] | None:
        return _gone(operations, self.begin)


def _gone(operations: Sequence[Operation], begin: Hashable) -> tuple[Operation, str] | None:
    """A value that one operation wrote, told after another had come and gone since it was there."""
    told = [(plain(one.result if one.f == "read" else pair(one)[0]), one) for one in operations if _tells(one)]
    there = _there(operations, begin, told)
    changes = sorted((one.call, _end(one)) for one in operations if one.type == "ok" and _change(one) is not None)
    calls = [call for call, _ in changes]
    over = [*accumulate((end for _, end in reversed(changes)), min, initial=FOR_EVER)][::-1]
    for value, one in told:
        if value in there and one.call > over[bisect_right(calls, there[value])]:
            return one, "what it was told had been written over before it was called, and nobody wrote it again"
    return None


def _there(
    operations: Sequence[Operation], begin: Hashable, told: Sequence[tuple[Hashable, Operation]]
) -> dict[Hashable, int]:
    """Of each value that can have come but once, when it had come at the latest."""
    came: dict[Hashable, list[int]] = {begin: [-1]}
    for one in operations:
        made = None if one.type == "fail" else _change(one)
        if made is not None:
            came.setdefault(made, []).append(_end(one))
    there = {value: ends[0] for value, ends in came.items() if len(ends) == 1}
    for value, one in told:
        if value in there:
            there[value] = min(there[value], _end(one))
    return there


def _tells(operation: Operation) -> bool:
    return operation.type == "ok" and operation.f in ("read", "cas")


def _change(operation: Operation) -> Hashable | None:
    """The register after the operation; None if the operation does not change it."""
    if operation.f == "read" or (operation.f == "cas" and plain(pair(operation)[0]) == plain(pair(operation)[1])):
        return None
    return NULL if operation.f == "delete" else plain(_written(operation))


def _end(operation: Operation) -> int:
    return FOR_EVER if operation.return_ is None else operation.return_


def _written(operation: Operation) -> object:
    return pair(operation)[1] if operation.f == "cas" else operation.value


def _seen(operations: Sequence[Operation]) -> set[Hashable]:
    """The values that an operation of this history looks for."""
    seen: set[Hashable] = set()
    for operation in operations:
        if operation.f == "cas":
            seen.add(plain(pair(operation)[0]))
        elif operation.f == "read" and operation.type == "ok":
            seen.add(plain(operation.result))
    return seen


def _refused(operation: Operation) -> Move[Hashable] | None:
    """The state that a refusal implies; other failures imply nothing."""
    if operation.f == "cas" and operation.error == MISMATCH:
        old = plain(pair(operation)[0])
        return Move(lambda state: None if state == old else state, pure=True, same=operation.f)
    if operation.f in ("cas", "delete") and operation.error == ABSENT:
        return _fits(NULL)
    return None


def _fits(value: Hashable) -> Move[Hashable]:
    return Move(lambda state: state if state == value else None, pure=True, same=value, needs=value)


def _becomes(value: Hashable) -> Step:
    return lambda _: value


def _swaps(old: Hashable, new: Hashable) -> Step:
    return lambda state: new if state == old else None
