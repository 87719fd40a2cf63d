"""One memory record: its version, whether it is there, its value.

Every put, patch and delete makes the next version, and versions go on counting through delete and add. A delete of what
is deleted changes nothing; a condition on what is deleted is false. Values that nobody read count as one.
"""

from collections.abc import Hashable, Sequence

from jepsen_like.checkers.models.rules import Move, Rules
from jepsen_like.checkers.models.values import NULL, UNSEEN, fields, integer, plain, unknown_function
from jepsen_like.history.record import Operation

Record = tuple[int, bool, Hashable]  # version (0: never was), there, value


class Memory(Rules[Record]):
    name = "memory"
    functions = frozenset({"read", "put", "patch", "delete"})
    begin: Record = (0, False, NULL)

    def moves(self, operations: Sequence[Operation]) -> list[Move[Record] | None]:
        seen = {
            plain(fields(operation, operation.result).get("value"))
            for operation in operations
            if operation.f == "read" and operation.type == "ok" and operation.result is not None
        }
        return [self._move(operation, seen) for operation in operations]

    def _move(self, operation: Operation, seen: set[Hashable]) -> Move[Record] | None:
        f = operation.f
        if f not in self.functions:
            raise unknown_function(operation, self.name)
        if operation.type == "fail":
            return None if f == "read" else _refused(operation)
        if f == "read":
            return None if operation.type == "unknown" else _read(operation)
        asked = fields(operation, operation.value)
        told = None
        if operation.type == "ok" and operation.result is not None:
            told = integer(operation, fields(operation, operation.result), "version")
        wanted = integer(operation, asked, "if") if f != "put" else None
        if f == "delete":
            return _delete(wanted, told)
        value = plain(asked.get("value"))
        return _write(f == "put", wanted, value if value in seen else UNSEEN, told)


def _read(operation: Operation) -> Move[Record]:
    if operation.result is None:
        return Move(lambda state: None if state[1] else state, pure=True, same="absent")
    told = fields(operation, operation.result)
    wanted: Record = (integer(operation, told, "version") or 0, True, plain(told.get("value")))
    return Move(lambda state: state if state == wanted else None, pure=True, same=wanted)


def _write(creates: bool, wanted: int | None, value: Hashable, told: int | None) -> Move[Record]:
    def step(state: Record) -> Record | None:
        version, there, _ = state
        if not creates and not (there and wanted in (None, version)):
            return None
        return (version + 1, True, value) if told in (None, version + 1) else None

    return Move(step, pure=False, same=("write", creates, wanted, value))


def _delete(wanted: int | None, told: int | None) -> Move[Record]:
    def step(state: Record) -> Record | None:
        version, there, _ = state
        if version == 0 or (wanted is not None and not (there and wanted == version)):
            return None
        after = version + 1 if there else version
        return (after, False, NULL) if told in (None, after) else None

    return Move(step, pure=False, same=("delete", wanted))


def _refused(operation: Operation) -> Move[Record] | None:
    wanted = integer(operation, fields(operation, operation.value), "if") if operation.f != "put" else None
    if operation.error == "precondition-failed" and wanted is not None:
        return Move(lambda state: None if state[1] and state[0] == wanted else state, pure=True, same="mismatch")
    if operation.error == "not-found" and operation.f == "delete":
        return Move(lambda state: None if state[0] else state, pure=True, same="never was")
    if operation.error == "not-found":
        return Move(lambda state: None if state[1] else state, pure=True, same="absent")
    return None
