"""A copy of the state as one file: its name, its checksum, what it holds.

It refuses a copy whose bytes or contents are not what its meta says; the bytes are always checked first, because a
damaged page can do worse than raise. Blocking, any thread.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from raftmem.errors import Corrupt
from raftmem.storage.atomic_file import sync_file
from raftmem.storage.lmdb.environment import Environment
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.contract import StateReader
from raftmem.storage.state.environment import StateEnvironment
from raftmem.storage.state.tables import TABLES_MAX

BLOCK_BYTES: Final = 1 << 20  # hashed and written at once, without the interpreter's lock
SUFFIX: Final = ".state"


def state_file(folder: Path, meta: SnapshotMeta) -> Path:
    """The path of the copy in a folder of snapshots."""
    return folder / (meta.name + SUFFIX)


def checksum(path: Path) -> bytes:
    """BLAKE2b-256 of a whole file. Raises: OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, _hash).digest()


def copy_checked(source: Path, target: Path, meta: SnapshotMeta) -> None:
    """A copy of the file, on disk when this returns. Raises: Corrupt when it is not the one of `meta`; OSError."""
    found = _hash()
    with open(source, "rb") as read, open(target, "xb") as written:
        for block in _blocks(read):
            found.update(block)
            written.write(block)
        written.flush()
        sync_file(written.fileno(), target)
    if found.digest() != meta.checksum:
        raise Corrupt(str(source), "has another checksum than its manifest", index=meta.index)


@contextmanager
def open_copy(path: Path) -> Iterator[StateReader]:
    """Open a copy whose checksum was checked before. Raises: Corrupt when it is no state."""
    opened = StateEnvironment(Environment(path, tables_max=TABLES_MAX, durable=False, readonly=True, is_file=True))
    try:
        reader = opened.reader()
        try:
            yield reader
        finally:
            reader.release()
    finally:
        opened.leave()


def _hash() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=32)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    while block := file.read(BLOCK_BYTES):
        yield block
