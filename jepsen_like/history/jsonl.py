"""Reads our own format."""

from pathlib import Path

import msgspec

from jepsen_like.history.record import Fault, History, Line, Operation, Start


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
                operations.append(line)
            case Fault():
                faults.append(line)
            case Start():
                start = line
    operations.sort(key=lambda operation: operation.call)
    return History(start, tuple(operations), tuple(faults))
