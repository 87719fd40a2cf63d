"""A disk that misbehaves on demand under each replica: a library of the harness, loaded before the C library
(preload.c).

It is compiled when it is needed. Its orders stand in a page shared with the replica's process, so that they hold at
once, and for each later process of the replica. Rule: it counts what it did, so a run can prove it.
"""

import errno
import mmap
import os
import struct
import tempfile
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from jepsen_like.cluster import shims
from jepsen_like.cluster.client import Trouble

SOURCE: Final = Path(__file__).with_suffix(".c")
LIBRARY: Final = "misbehaving_disk.so"
LIE: Final = -1  # a sync says that it was done, and was not
FOREVER: Final = -1  # until it is changed
_fault = struct.Struct("=iiiiq")
_counts = struct.Struct("=5Q")
_PAGE_BYTES: Final = 4096


class DiskFault(NamedTuple):
    """`sync_error`: an errno, or `LIE`. `sync_ms`: that each sync takes longer, or `FOREVER`. `write_error`: an errno,
    of each write that makes a file longer. `free_bytes`: what the disk says is free."""

    sync_error: int = 0
    sync_ms: int = 0
    write_error: int = 0
    free_bytes: int | None = None


SOUND: Final = DiskFault()
FAILS: Final = DiskFault(sync_error=errno.EIO)
LIES: Final = DiskFault(sync_error=LIE)
STALLS: Final = DiskFault(sync_ms=FOREVER)
FULL: Final = DiskFault(write_error=errno.ENOSPC, free_bytes=0)
OVER_QUOTA: Final = DiskFault(write_error=errno.EDQUOT)


class Counts(NamedTuple):
    """Counts of syncs that failed, were skipped or delayed, of refused writes, and of false answers on free space."""

    failed: int
    skipped: int
    delayed: int
    refused: int
    told: int


class Preload:
    """Of all replicas of one group; any number of these over one folder are the same.

    `folder`: for the library and the pages. Raises: Trouble when it does not compile.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pages: dict[str, mmap.mmap] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / LIBRARY).exists():
            shims.compiled(SOURCE, folder / LIBRARY)

    @staticmethod
    def unavailable() -> str | None:
        """Why this cannot be had on this machine."""
        return _unavailable()

    def put_under(self, environment: MutableMapping[str, str], replica: str, data: Path) -> None:
        """Set the variables with which a process of this replica, whose data folder is given, has such a disk."""
        self._page(replica)
        shims.put_before(environment, self._folder / LIBRARY)
        environment["JEPSEN_LIKE_DISK_CONTROL"] = str(self._path(replica).resolve())
        environment["JEPSEN_LIKE_DISK_FOLDER"] = str(data.resolve())

    def set(self, replica: str, fault: DiskFault) -> None:
        """In force when this returns, in place of what was."""
        free = -1 if fault.free_bytes is None else fault.free_bytes
        tells = int(fault.free_bytes is not None)
        packed = _fault.pack(fault.sync_error, fault.sync_ms, fault.write_error, tells, free)
        self._page(replica)[: _fault.size] = packed

    def clear(self, replica: str) -> None:
        self.set(replica, SOUND)

    def fault(self, replica: str) -> DiskFault:
        """The fault in force."""
        error, ms, write, tells, free = _fault.unpack_from(self._page(replica))
        return DiskFault(error, ms, write, free if tells else None)

    def counts(self, replica: str) -> Counts:
        """Since the page was made."""
        return Counts(*_counts.unpack_from(self._page(replica), _fault.size))

    def _path(self, replica: str) -> Path:
        return self._folder / f"{replica}.disk"

    def _page(self, replica: str) -> mmap.mmap:
        if replica not in self._pages:
            file = os.open(self._path(replica), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                os.ftruncate(file, _PAGE_BYTES)
                self._pages[replica] = mmap.mmap(file, _PAGE_BYTES)
            finally:
                os.close(file)
        return self._pages[replica]


@cache
def _unavailable() -> str | None:
    if (lacks := shims.missing()) is not None:
        return lacks
    with tempfile.TemporaryDirectory() as scratch:
        try:
            shims.compiled(SOURCE, Path(scratch) / LIBRARY)
        except Trouble as trouble:
            return str(trouble)
    return None
