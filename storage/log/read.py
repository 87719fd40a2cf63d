"""Read entries from the segments, and check each of them."""

import os
from typing import Final

from raftmem.storage.descriptors import DescriptorReserve
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.log.files import read
from raftmem.storage.log.offsets import Run
from raftmem.storage.log.records import unpack_entry

READ_BYTES: Final = 1 << 20  # of a segment at once


def entries_of(run: Run, reserve: DescriptorReserve) -> list[LogEntry]:
    """Raises: Corrupt naming file and index, FileNotFoundError for a segment that is gone, OSError for a shortage."""
    base, path = run.offsets[0], run.path
    file = reserve.run(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    try:
        content = read(file, base, run.end - base)
    finally:
        os.close(file)
    if not reserve.is_full:
        reserve.refill()
    return [unpack_entry(path, index, content, at - base) for index, at in enumerate(run.offsets, run.first)]
