"""What the tests of the log share: small entries, a small disk, and what a log holds."""

import errno
import os
from pathlib import Path

from raftmem.model import codec
from raftmem.storage.log.contract import LogEntry, LogStore
from raftmem.storage.log.files import Files, segment_numbers, segment_path
from raftmem.storage.log.store import SegmentLogStore

SEGMENT_BYTES = 600  # a handful of small entries
ROOM_BYTES = 512


def marked(index: int) -> LogEntry:
    """Its data can be found in the file: a unique pattern."""
    return LogEntry(index, 1, b"<entry %06d>" % index * 8)


def members(index: int, term: int = 1) -> LogEntry:
    """A membership entry, as far as a log store looks at it."""
    return LogEntry(index, term, bytes([codec.MEMBERSHIP]) + b"members %d of term %d" % (index, term))


def everything(log: LogStore) -> tuple[object, ...]:
    return (
        (log.first_index(), log.last_index(), log.is_empty()),
        log.hard_state(),
        log.memberships(),
        log.read(0, 10_000),
    )


def small_log(folder: Path, *, files: Files | None = None, readonly: bool = False) -> SegmentLogStore:
    """Every few entries it begins another segment."""
    return SegmentLogStore(folder, readonly=readonly, segment_bytes=SEGMENT_BYTES, room_bytes=ROOM_BYTES, files=files)


def newest(folder: Path) -> Path:
    return Path(segment_path(folder, segment_numbers(folder)[-1]))


class SmallDisk(Files):
    """The log may take so many bytes."""

    def __init__(self, folder: Path, room: int) -> None:
        self.folder = folder
        self.room = room

    def pwrite(self, file: int, data: bytes, at: int) -> int:
        grows = max(0, at + len(data) - os.fstat(file).st_size)
        if grows and grows + sum(part.stat().st_size for part in self.folder.iterdir()) > self.room:
            raise OSError(errno.ENOSPC, "no space left on this disk")
        return super().pwrite(file, data, at)
