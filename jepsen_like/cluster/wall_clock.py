"""The wall clock of one replica, which can be set while the replica runs (wall_clock.c, compiled when needed).

It is not libfaketime: where that (0.9.10) leaves the monotonic clock alone, sleeping until a time of that clock fails,
and at another rate it stretches the waits too. Here only the time of day is false.
"""

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path
from typing import Final

from jepsen_like.cluster import shims
from jepsen_like.cluster.client import Trouble

SOURCE: Final = Path(__file__).with_suffix(".c")
LIBRARY: Final = "wall_clock.so"
TRUE_RATE: Final = 1.0
_PAGE: Final = struct.Struct("=3q")  # true ns, from there on told ns, thousandths of the rate
_ASK: Final = "import json, time; print(json.dumps([time.time(), time.monotonic()]))"


class WallClock:
    """`path`: of its page; processes that had `environment` at their start go by it. It is true at first."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._library = self._path.parent / LIBRARY
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(bytes(_PAGE.size))
        if not self._library.exists():
            shims.compiled(SOURCE, self._library)

    def put_under(self, environment: MutableMapping[str, str]) -> None:
        shims.put_before(environment, self._library)
        environment["JEPSEN_LIKE_WALL_CLOCK"] = str(self._path)

    def set(self, *, ahead_s: float, rate: float = TRUE_RATE) -> None:
        """It jumps to so many seconds before the true time (behind it if negative), and goes on from there."""
        now = time.time_ns()
        self._write(now, now + int(ahead_s * 1e9), int(rate * 1000))

    def set_right(self) -> None:
        self._write(0, 0, 0)

    def _write(self, *page: int) -> None:
        with self._path.open("r+b", buffering=0) as file:
            file.write(_PAGE.pack(*page))


@cache
def unavailable() -> str | None:
    """Why there can be no such clock on this machine; it tries one."""
    if (lacks := shims.missing()) is not None:
        return lacks
    with tempfile.TemporaryDirectory(prefix="raftmem-") as scratch:
        environment = dict(os.environ)
        try:
            clock = WallClock(Path(scratch) / "tried")
            clock.put_under(environment)
            clock.set(ahead_s=3600)
            asked = subprocess.run([sys.executable, "-c", _ASK], env=environment, capture_output=True, check=True)
            wall, monotonic = json.loads(asked.stdout)
        except (Trouble, OSError, subprocess.CalledProcessError) as error:
            return str(error)
    if wall - time.time() < 3000 or abs(monotonic - time.monotonic()) > 60:
        return "a library loaded before the C library is not asked for the time here"
    return None
