"""A file that is there whole or not at all, also after a power cut.

The rule that must hold: contents are synced before the rename, the folder after it.
"""

import os
from pathlib import Path

from raftmem.errors import StorageFailed


def write_atomic(path: Path, data: bytes) -> None:
    """On disk when this returns. Raises: OSError when nothing was changed, StorageFailed when a sync failed."""
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        sync_file(file.fileno(), temporary)
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """The names in it are on disk when this returns. Raises: OSError, StorageFailed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_file(descriptor, path)
    finally:
        os.close(descriptor)


def sync_file(descriptor: int, path: Path) -> None:
    """Everything written to it is on disk when this returns. Raises: StorageFailed; never retry a failed sync."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise StorageFailed(f"{path}: fsync failed ({error}); this replica stops, look at the disk") from error
