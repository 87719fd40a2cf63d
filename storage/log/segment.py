"""The newest segment, open for writing: one frame, one write and one sync a commit (`docs/format.md`).

The room after the frames is filled with zeros in advance, by the sync of a frame that leaves little room. So an
ordinary commit neither allocates blocks nor changes the length of the file, which keeps its sync cheap. A frame never
reaches beyond the part of the file that was on disk before it; a larger frame makes its room first.

After each sync a mark is written where the next frame will go: everything before it is on disk. The mark itself is not
synced, and the next frame overwrites it. The rule that must hold: nothing is written after a failed sync.
"""

import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from raftmem.errors import StorageFailed, is_no_room
from raftmem.storage.descriptors import DescriptorReserve
from raftmem.storage.log.contract import LogWrite
from raftmem.storage.log.files import UNFINISHED, Files, failure, segment_path, sync, write
from raftmem.storage.log.records import HEADER_BYTES, MARK, SEAL, Checkpoint, pack_checkpoint, pack_frame, pack_header

_ZEROS: Final = bytes(1 << 18)


class Segment:
    """`start`: where its checkpoint ends. `position`: where the next frame goes, `sequence`: its number. `size`: of the
    file on disk, at least."""

    def __init__(
        self,
        files: Files,
        number: int,
        path: str,
        file: int,
        *,
        salt: int,
        sequence: int,
        start: int,
        position: int,
        size: int,
    ) -> None:
        self.number = number
        self.path = path
        self.salt = salt
        self.sequence = sequence
        self.start = start
        self.position = position
        self.size = size
        self._files = files
        self._file = file
        self._let_go = weakref.finalize(self, os.close, file)  # also of a log that nobody closes

    def pack(self, writes: Sequence[LogWrite]) -> tuple[bytes, dict[int, int]]:
        """The next frame, and where in the file its entries will stand."""
        frame, places = pack_frame(self.salt, self.sequence, writes)
        position = self.position
        return frame, {index: position + at for index, at in places.items()}

    def append(self, frame: bytes, *, room_bytes: int) -> None:
        """On disk when this returns. Raises: OSError for a shortage (nothing was changed), StorageFailed."""
        stop = self.position + len(frame)
        if stop + HEADER_BYTES > self.size:
            self._make_room(stop + HEADER_BYTES)
            sync(self._files, self._file, self.path)
            self.size = stop + HEADER_BYTES
        size = self.size
        if size - stop - HEADER_BYTES < max(room_bytes // 2, len(frame)):
            size = stop + HEADER_BYTES + max(room_bytes, 2 * len(frame))
            self._make_room(size)
        write(self._files, self._file, self.path, frame, self.position)
        sync(self._files, self._file, self.path)
        self.size = size
        self.position = stop
        self.sequence += 1
        self.mark()

    def mark(self) -> None:
        """Says that all frames are on disk. Where the file system finds no room for it, the log does without."""
        self._say(MARK)

    def rewrite(self, frame: bytes) -> None:
        """The newest frame again: what an earlier process wrote and did not sync is on disk then. The mark comes after:
        one that reached the disk before a part of the frame would vouch for what never was there."""
        write(self._files, self._file, self.path, frame, self.position - len(frame))
        sync(self._files, self._file, self.path)
        self.mark()

    def seal(self) -> None:
        """The log goes on in the next segment, which is on disk. Closed then."""
        try:
            self._say(SEAL)
            with suppress(OSError):  # the room that is left only takes some disk space
                self._files.truncate(self._file, self.position + HEADER_BYTES)
            sync(self._files, self._file, self.path)
        finally:
            self.close()

    def finish(self) -> None:
        """The mark is on disk, if that can be had; closed then."""
        with suppress(OSError, StorageFailed):  # what it marks is on disk either way
            self.mark()
            sync(self._files, self._file, self.path)
        self.close()

    def close(self) -> None:
        self._let_go()

    def _say(self, kind: bytes) -> None:
        try:
            write(self._files, self._file, self.path, pack_header(kind, self.salt, self.sequence), self.position)
        except OSError as error:
            if not is_no_room(error):
                raise

    def _make_room(self, size: int) -> None:
        for at in range(self.size, size, len(_ZEROS)):
            write(self._files, self._file, self.path, _ZEROS[: size - at], at)


def create(
    files: Files,
    folder: Path,
    number: int,
    sequence: int,
    checkpoint: Checkpoint,
    writes: Sequence[LogWrite],
    *,
    room_bytes: int,
    reserve: DescriptorReserve,
    folder_file: int,
) -> tuple[Segment, dict[int, int]]:
    """A new segment with its first frame, if there are writes; where its entries stand. On disk when this returns.

    It gets its name when it is on disk, so that a crash leaves all of it or nothing that counts. `folder_file`: the
    open folder, so that the last step needs no further descriptor. Raises: as `append`.
    """
    path = segment_path(folder, number)
    salt = files.salt()
    content = pack_checkpoint(salt, sequence, number, checkpoint)
    start = len(content)
    places: dict[int, int] = {}
    if writes:
        sequence += 1
        frame, found = pack_frame(salt, sequence, writes)
        places = {index: len(content) + at for index, at in found.items()}
        content += frame
    sequence += 1
    try:
        file = reserve.run(lambda: files.create(path + UNFINISHED))
    except OSError as error:
        raise failure(path, error) from error
    size = len(content) + HEADER_BYTES + room_bytes
    segment = Segment(
        files, number, path, file, salt=salt, sequence=sequence, start=start, position=len(content), size=0
    )
    try:
        segment._make_room(size)
        write(files, file, path, content, 0)
        segment.mark()
        sync(files, file, path)
        try:
            files.rename(path + UNFINISHED, path)
        except OSError as error:
            raise failure(path, error) from error
        _sync_name(files, folder, folder_file)
    except BaseException:
        segment.close()
        with suppress(OSError):  # what is left of it is removed at the next open
            files.unlink(path + UNFINISHED)
        raise
    segment.size = size
    return segment, places


def _sync_name(files: Files, folder: Path, folder_file: int) -> None:
    """If this fails, the segment may have its name or not, so the replica stops, whatever the reason."""
    try:
        files.sync_folder(folder, folder_file)
    except OSError as error:
        raise StorageFailed(f"{folder}: {error}; this replica stops, look at the disk") from error
