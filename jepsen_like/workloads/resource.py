"""A resource that locks guard: a counter in a real file, read and written one higher, with a moment between.

The file excludes nobody: two clients that read the same number write the same number, and one update is lost. A fenced
resource keeps the highest token that it has seen and refuses lower ones; any other accepts everyone.
"""

import threading
from pathlib import Path


class Fenced(Exception):
    """The token is older than one that the resource has seen."""


class Resource:
    """Any thread. `highest`: the highest token that it has seen."""

    def __init__(self, path: Path, *, fenced: bool) -> None:
        self._path = path
        self._fenced = fenced
        self._seen = threading.Condition()
        self.highest = 0
        path.write_text("0")

    def read(self, token: int) -> int:
        """Raises: Fenced."""
        with self._seen:
            self._show(token)
            return int(self._path.read_text())

    def write(self, token: int, number: int) -> None:
        """Raises: Fenced."""
        with self._seen:
            self._show(token)
            self._path.write_text(str(number))

    def number(self) -> int:
        """As it is, for who wants to judge it."""
        with self._seen:
            return int(self._path.read_text())

    def wait_newer(self, token: int, *, seconds: float) -> bool:
        """Until somebody with a higher token has been here, so long at most; whether that was so."""
        with self._seen:
            return self._seen.wait_for(lambda: self.highest > token, seconds)

    def _show(self, token: int) -> None:
        if self._fenced and token < self.highest:
            raise Fenced(f"token {token} is older than {self.highest}")
        if token > self.highest:
            self.highest = token
            self._seen.notify_all()
