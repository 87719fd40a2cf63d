"""Free disk under the data folder, and two thresholds that stop writes before the disk does.

Below the low threshold, new writes are refused before they enter the log. Writes that free space, and consensus itself,
may use the reserve. Below the hard threshold nothing is written. The rule that must hold: hard < low.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from raftmem.limits import DISK_HARD_BYTES, DISK_LOW_BYTES, DISK_LOW_SHARE
from raftmem.runtime.interfaces import Clock

ROOM_SECONDS: Final = 0.01  # that there is room holds for so long: a few hundred writes, far less than the reserve


class Disk(Protocol):
    """The answer of `os.statvfs`."""

    @property
    def f_bavail(self) -> int: ...

    @property
    def f_blocks(self) -> int: ...

    @property
    def f_frsize(self) -> int: ...


class Space:
    """Asks anew at every call, but for `is_low`. Raises: OSError when the disk does not answer."""

    def __init__(
        self,
        path: Path,
        *,
        low_bytes: int = DISK_LOW_BYTES,
        statvfs: Callable[[str], Disk] = os.statvfs,
        clock: Clock | None = None,
    ) -> None:
        """`low_bytes`: the low mark of a small disk; of a large one it is a share. `clock`: None asks every time."""
        self._path = os.fspath(path)  # made text once
        self._low_bytes = max(low_bytes, DISK_HARD_BYTES)
        self._statvfs = statvfs
        self._clock = clock
        self._roomy_until = float("-inf")

    def free_and_low_bytes(self) -> tuple[int, int]:
        """The bytes that an ordinary user may still write, and the low threshold."""
        disk = self._statvfs(self._path)
        size = disk.f_blocks * disk.f_frsize
        return disk.f_bavail * disk.f_frsize, max(self._low_bytes, int(size * DISK_LOW_SHARE))

    def spare_bytes(self) -> int:
        """The bytes that may be written without touching the reserve."""
        free, low = self.free_and_low_bytes()
        return max(0, free - low)

    def is_low(self) -> bool:
        """Asked for every write: the call lets go of the interpreter's lock, which costs a busy loop far more than the
        microsecond that it takes. That the disk is low is asked anew each time."""
        now = None if self._clock is None else self._clock.boottime()
        if now is not None and now < self._roomy_until:
            return False
        free, low = self.free_and_low_bytes()
        if now is not None and free >= low:
            self._roomy_until = now + ROOM_SECONDS
        return free < low

    def is_exhausted(self) -> bool:
        free, _ = self.free_and_low_bytes()
        return free < DISK_HARD_BYTES

    def describe(self) -> str:
        """The fact and the numbers, for an error."""
        free, low = self.free_and_low_bytes()
        return f"{free >> 20} MiB of disk are free under {self._path}, {low >> 20} MiB must stay free for new writes"
