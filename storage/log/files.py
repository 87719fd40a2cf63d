"""The files of a log folder: their names, and the few system calls that write them.

    000000000001.log     a segment; the one with the highest number is written to
    000000000001.index   where the entries of a full segment stand; a cache, made again from it
    000000000002.log.new a segment that was not finished, and never counted

Each call stands in `Files`, where tests put faults. The rule that must hold: a shortage (no room, no descriptor) is an
`OSError`, and only from a call before a sync; any other failure is `StorageFailed`, after which nothing may be written.
"""

import errno
import os
from pathlib import Path
from typing import Final

from raftmem.errors import StorageFailed, shortage
from raftmem.storage.atomic_file import sync_file

SEGMENT: Final = ".log"
INDEX: Final = ".index"
UNFINISHED: Final = ".new"
_DIGITS: Final = 12


class Files:
    """System calls as they are; they raise OSError."""

    def create(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def pwrite(self, file: int, data: bytes, at: int) -> int:
        """Write, and return the number of bytes written."""
        return os.pwrite(file, data, at)

    def fdatasync(self, file: int) -> None:
        os.fdatasync(file)

    def truncate(self, file: int, length: int) -> None:
        os.ftruncate(file, length)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def open_folder(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def sync_folder(self, path: Path, folder: int) -> None:
        """The names in it are on disk when this returns. `folder`: its descriptor. Raises: StorageFailed."""
        sync_file(folder, path)

    def salt(self) -> int:
        """Tells the bytes of one segment from those of any other; decides nothing."""
        return int.from_bytes(os.urandom(8))


def segment_path(folder: Path, number: int) -> str:
    return f"{folder}/{number:0{_DIGITS}d}{SEGMENT}"


def index_path(folder: Path, number: int) -> str:
    return f"{folder}/{number:0{_DIGITS}d}{INDEX}"


def segment_numbers(folder: Path) -> list[int]:
    """Ascending."""
    return sorted(numbered(folder, SEGMENT))


def numbered(folder: Path, ending: str) -> list[int]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(ending) for name in names if name.endswith(ending))
    return [int(stem) for stem in stems if len(stem) >= _DIGITS and stem.isascii() and stem.isdigit()]


def read(file: int, at: int, size: int) -> bytes:
    """Read `size` bytes at an offset, or as many as there are."""
    content = os.pread(file, size, at) if size > 0 else b""
    parts = [content]
    while content and (size := size - len(content)) > 0:
        at += len(content)
        content = os.pread(file, size, at)
        parts.append(content)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write(files: Files, file: int, path: str, data: bytes, at: int) -> None:
    """Write all of it; not on disk yet. Raises: OSError for a shortage, StorageFailed."""
    try:
        written = files.pwrite(file, data, at)
        while written < len(data):
            more = files.pwrite(file, data[written:], at + written)
            if more <= 0:
                raise OSError(errno.EIO, "nothing was written")
            written += more
    except OSError as error:
        raise failure(path, error) from error


def sync(files: Files, file: int, path: str) -> None:
    """Sync a file: everything written is on disk when this returns. Raises: StorageFailed, whatever the reason."""
    try:
        files.fdatasync(file)
    except OSError as error:
        after = "look at the disk, then restart the machine or replace this replica"
        raise StorageFailed(f"{path}: fdatasync failed ({error}); this replica stops; {after}") from error


def failure(path: str, error: OSError) -> OSError | StorageFailed:
    """Our error for an OSError that came before the sync."""
    return shortage(path, error.errno or 0, error) or StorageFailed(
        f"{path}: {error}; this replica stops, look at the disk"
    )
