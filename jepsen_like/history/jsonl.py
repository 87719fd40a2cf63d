"""Reads the harness's own format, and refuses lines that would be judged too kindly.

These are: an answer without a time, or before its call; an unknown outcome that ended; a read level that does not
exist, which no checker would look at; two runs in one file.
"""

from pathlib import Path
from typing import Final

import msgspec

from jepsen_like.history.record import Fault, History, Line, Operation, Start

LEVELS: Final = ("linearizable", "lease", "session", "bounded", "eventual", "at")


def read_history(path: Path) -> History:
    """Raises: ValueError naming the file and the line."""
    decoder = msgspec.json.Decoder(Line)
    start: Start | None = None
    operations: list[Operation] = []
    faults: list[Fault] = []
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        if not raw.strip():
            continue
        try:
            line = decoder.decode(raw)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        match line:
            case Operation():
                wrong = _wrong(line)
                if wrong is not None:
                    raise ValueError(f"{path}, line {number}: {wrong}")
                operations.append(line)
            case Fault():
                faults.append(line)
            case Start():
                if start is not None:
                    raise ValueError(f"{path}, line {number}: another run begins here")
                start = line
    operations.sort(key=lambda operation: operation.call)
    return History(start, tuple(operations), tuple(faults))


def _wrong(operation: Operation) -> str | None:
    end = operation.return_
    if operation.type == "unknown":
        return None if end is None else "an unknown outcome has no return"
    if end is None or end < operation.call:
        return f"{operation.type} without a return" if end is None else "its return is before its call"
    if operation.level is not None and operation.level not in LEVELS:
        return f"the level {operation.level!r} is none of {', '.join(LEVELS)}"
    return None
