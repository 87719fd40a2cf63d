"""Writes a history while it happens, from many threads; hands out process ids and the time."""

import itertools
import threading
import time
from pathlib import Path

import msgspec

from jepsen_like.history.record import Fault, Line, Operation


class Recorder:
    """`operations` and `faults` are what was recorded so far, in the order of their lines."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._lock = threading.Lock()
        self._encode = msgspec.json.Encoder().encode
        self._processes = itertools.count()
        self._origin = time.monotonic_ns()
        self.operations: list[Operation] = []
        self.faults: list[Fault] = []

    def now(self) -> int:
        """Nanoseconds since the recording began."""
        return time.monotonic_ns() - self._origin

    def new_process(self) -> int:
        with self._lock:
            return next(self._processes)

    def write(self, line: Line) -> None:
        with self._lock:
            self._file.write(self._encode(line) + b"\n")
            match line:
                case Operation():
                    self.operations.append(line)
                case Fault():
                    self._file.flush()
                    self.faults.append(line)

    def close(self) -> None:
        with self._lock:
            self._file.close()
