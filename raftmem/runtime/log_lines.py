"""The log of a process: one line a record on stderr, whatever a name in it holds, and nobody waits for its reader.

A control character in a message is spelled out, so that no name can begin a line of its own.
"""

import logging
import os
from typing import Final

from raftmem.runtime.outlet import Outlet

STDERR: Final = 2
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class OneLine(logging.Formatter):
    """The message stays on its line; a traceback follows it on lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escaped(record.message)
        return super().formatMessage(record)


class OutletHandler(logging.Handler):
    """Records are formatted where they are made, and written to a descriptor by an outlet: no lock of a stream is held
    when the process ends in the middle of a line."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.outlet = Outlet(lambda lost: self._write(f"{lost} lines of the log were dropped: nobody reads them"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # a record that cannot be formatted ends nobody
            self.handleError(record)
            return
        self.outlet.put(lambda: self._write(line))

    def close(self) -> None:
        self.outlet.close()
        super().close()

    def _write(self, line: str) -> None:
        raw = f"{line}\n".encode("utf-8", "backslashreplace")
        while raw:
            raw = raw[os.write(self._descriptor, raw) :]


def configure(level: str) -> None:
    """Log to stderr from this level on (`info`)."""
    handler = OutletHandler(STDERR)
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def escaped(text: str) -> str:
    """The text with every control character spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
