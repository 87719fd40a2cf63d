"""Several registers, changed by transactions of reads and writes that happen at once: `[["read", x, v], ["write", …]]`.

All hold 0 at first. What a read told stands in the result at the same place; null there is an answer that nobody heard.
"""

from collections.abc import Callable, Hashable, Sequence

from jepsen_like.checkers.models.rules import Move, Rules
from jepsen_like.checkers.models.values import plain, unknown_function
from jepsen_like.history.record import Operation

Values = frozenset[tuple[Hashable, Hashable]]  # of those that were written, name and value
MicroOperation = tuple[str, Hashable, Hashable]


class MultiRegister(Rules[Values]):
    name = "multi-register"
    functions = frozenset({"txn"})
    begin: Values = frozenset()

    def moves(self, operations: Sequence[Operation]) -> list[Move[Values] | None]:
        return [self._move(operation) for operation in operations]

    def _move(self, operation: Operation) -> Move[Values] | None:
        if operation.f not in self.functions:
            raise unknown_function(operation, self.name)
        if operation.type == "fail":
            return None
        said = operation.value if operation.type == "unknown" or operation.result is None else operation.result
        micro = _micro(operation, said)
        if operation.type == "unknown":
            micro = tuple(one for one in micro if one[0] == "write")
        pure = all(one[0] == "read" for one in micro)
        return None if not micro else Move(_performs(micro), pure=pure, same=micro)


def _micro(operation: Operation, said: object) -> tuple[MicroOperation, ...]:
    if not isinstance(said, list | tuple):
        raise ValueError(f"{operation.f} of process {operation.process}: {said!r} is not a list")
    found: list[MicroOperation] = []
    for one in said:
        if not isinstance(one, list | tuple) or len(one) != 3 or one[0] not in ("read", "write"):
            raise ValueError(f"{operation.f} of process {operation.process}: {one!r} is neither a read nor a write")
        if one[0] == "write" or one[2] is not None:
            found.append((one[0], plain(one[1]), plain(one[2])))
    return tuple(found)


def _performs(micro: tuple[MicroOperation, ...]) -> Callable[[Values], Values | None]:
    def step(state: Values) -> Values | None:
        values = dict(state)
        for f, name, value in micro:
            if f == "write":
                values[name] = value
            elif values.get(name, 0) != value:
                return None
        return frozenset((name, value) for name, value in values.items() if value != 0)

    return step
