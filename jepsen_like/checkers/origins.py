"""The origin of each value that a counterexample read.

A person understands a stale read when they see how old its value was. The origin is told only where a single write can
have made the value; a history that writes the same value twice says nothing here.
"""

from collections.abc import Sequence

from jepsen_like.checkers.table import has_places, time_said, value_said
from jepsen_like.history.record import Operation


def origins(operations: Sequence[Operation], shown: Sequence[Operation]) -> list[str]:
    """A line for each value that was read in `shown` and written elsewhere. `operations`: of the whole key."""
    places = has_places(operations)
    read = [one.result for one in shown if one.f == "read" and one.type == "ok" and one.result is not None]
    lines: list[str] = []
    for value in read:
        writers = [one for one in operations if one.type != "fail" and _wrote(one, value)]
        if len(writers) != 1 or writers[0] in shown:
            continue
        writer = writers[0]
        when = " to ".join(time_said(at, places=places) for at in (writer.call, writer.return_))
        line = f"{value_said(value)} was written by process {writer.process}, {when}"
        if line not in lines:
            lines.append(line)
    return lines


def _wrote(operation: Operation, value: object) -> bool:
    """Of registers by the value, of memories by the version."""
    match operation.f, operation.value:
        case "write", written:
            return written == value
        case "cas", [_, new]:
            return new == value
        case "put" | "patch", _:
            told = operation.result
            return isinstance(told, dict) and isinstance(value, dict) and told.get("version") == value.get("version")
        case _:
            return False
