"""Write a commit of the log: append a frame to the newest segment, or begin the next segment with it.

A full segment is sealed once the next one is on disk. The next one begins with the log as it was before the commit.
At a reset it begins with the result of the reset, so the whole commit appears with the name of the file or not at
all. The rule that must hold: when `store` returns, the commit is on disk.
"""

import os
import weakref
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from raftmem.errors import StorageFailed
from raftmem.storage.descriptors import DescriptorReserve
from raftmem.storage.log.contract import Append, LogWrite, Reset
from raftmem.storage.log.files import (
    INDEX,
    SEGMENT,
    UNFINISHED,
    Files,
    failure,
    index_path,
    numbered,
    read,
    segment_path,
)
from raftmem.storage.log.offsets import Piece
from raftmem.storage.log.records import HEADER_BYTES, SEAL, Checkpoint, read_header
from raftmem.storage.log.rules import LogEnd
from raftmem.storage.log.scan import Scan
from raftmem.storage.log.segment import Segment, create


class Stored(NamedTuple):
    """`places`: index -> offset, in the newest segment. `piece`: of that, if it was begun; it holds nothing yet."""

    places: dict[int, int]
    piece: Piece | None = None


class LogWriter:
    """The writer of one log folder. One thread.

    It keeps the folder open: the sync after a segment got its name must not fail for want of a descriptor.
    """

    def __init__(
        self, files: Files, folder: Path, *, segment_bytes: int, room_bytes: int, reserve: DescriptorReserve
    ) -> None:
        self._files = files
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._room_bytes = room_bytes
        self._reserve = reserve
        self._folder_file = -1
        self._segment: Segment | None = None

    @property
    def segment(self) -> Segment:
        if self._segment is None:
            raise StorageFailed(f"{self._folder}: the log is not open to be written to")
        return self._segment

    # --- opening ---------------------------------------------------------------------------------------
    def begin(self, checkpoint: Checkpoint) -> Piece:
        """The first segment of all."""
        self._open_folder()
        self._segment, _ = self._create(1, 1, checkpoint, [])
        return self._piece(checkpoint.last + 1)

    def take_over(self, scan: Scan) -> None:
        """Go on where an earlier process ended. What it wrote and did not sync is on disk when this returns."""
        self._open_folder()
        try:
            file = self._files.open(scan.path)
        except OSError as error:
            raise failure(scan.path, error) from error
        self._segment = Segment(
            self._files,
            scan.number,
            scan.path,
            file,
            salt=scan.salt,
            sequence=scan.sequence,
            start=scan.start,
            position=scan.position,
            size=os.fstat(file).st_size,
        )
        self._segment.rewrite(read(file, scan.newest, scan.position - scan.newest))
        if scan.previous is not None:
            self._seal(*scan.previous, sequence=scan.begun)

    def _open_folder(self) -> None:
        try:
            self._folder_file = self._files.open_folder(self._folder)
        except OSError as error:
            raise failure(str(self._folder), error) from error
        self._close_folder = weakref.finalize(self, os.close, self._folder_file)  # also of a log that nobody closes

    def _create(
        self, number: int, sequence: int, checkpoint: Checkpoint, writes: Sequence[LogWrite]
    ) -> tuple[Segment, dict[int, int]]:
        return create(
            self._files,
            self._folder,
            number,
            sequence,
            checkpoint,
            writes,
            room_bytes=self._room_bytes,
            reserve=self._reserve,
            folder_file=self._folder_file,
        )

    def _seal(self, number: int, end: int, *, sequence: int) -> None:
        """The segment before, if a crash came before its seal: else nobody would notice that the newest is missing."""
        path = segment_path(self._folder, number)
        try:
            file = self._files.open(path)
        except FileNotFoundError:  # compacted
            return
        except OSError as error:
            raise failure(path, error) from error
        header = read_header(read(file, 0, HEADER_BYTES), 0)
        sealed = read_header(read(file, end, HEADER_BYTES), 0)
        if header is None or (sealed is not None and sealed.kind == SEAL):
            os.close(file)
            return
        Segment(
            self._files,
            number,
            path,
            file,
            salt=header.salt,
            sequence=sequence,
            start=0,
            position=end,
            size=end + HEADER_BYTES,
        ).seal()

    # --- committing ------------------------------------------------------------------------------------
    def store(self, before: LogEnd, after: LogEnd, writes: Sequence[LogWrite]) -> Stored:
        """Raises: OSError for a shortage (nothing was changed), StorageFailed."""
        segment = self.segment
        if any(isinstance(write, Reset) for write in writes):
            begun = Checkpoint(None, after.hard_state, after.first, after.kept, after.base, ())
            return self._next(begun, [Append(after.appended)])
        frame, places = segment.pack(writes)
        stop = segment.position + len(frame) + HEADER_BYTES
        if stop - segment.start > self._segment_bytes and segment.position > segment.start:
            previous = (segment.number, segment.position)
            full = Checkpoint(previous, before.hard_state, before.first, before.kept, before.base, before.listed)
            return self._next(full, writes)
        segment.append(frame, room_bytes=self._room_bytes)
        return Stored(places)

    def _next(self, checkpoint: Checkpoint, writes: Sequence[LogWrite]) -> Stored:
        old = self.segment
        number = old.number + 1
        self._segment, places = self._create(number, old.sequence, checkpoint, writes)
        old.seal()
        return Stored(places, self._piece(checkpoint.last + 1))

    def _piece(self, first: int) -> Piece:
        return Piece(self.segment.number, self.segment.path, first, array("Q"), self.segment.position)

    # --- removing --------------------------------------------------------------------------------------
    def remove(self, numbers: Iterable[int]) -> None:
        """Segments that nothing is needed of; the folder is not synced, one that comes back is removed at the next
        open. Raises: StorageFailed."""
        for number in numbers:
            self._remove(index_path(self._folder, number))
            self._remove(segment_path(self._folder, number))

    def remove_unfinished(self) -> None:
        for ending in (SEGMENT, INDEX):
            for number in numbered(self._folder, ending + UNFINISHED):
                path = segment_path if ending == SEGMENT else index_path
                self._remove(path(self._folder, number) + UNFINISHED)

    def remove_other_than(self, kept: Iterable[int]) -> None:
        there = {*numbered(self._folder, SEGMENT), *numbered(self._folder, INDEX)}
        self.remove(sorted(there.difference(kept)))

    def _remove(self, path: str) -> None:
        try:
            self._files.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageFailed(f"{path}: cannot be removed ({error}); this replica stops, look at the disk") from error

    def close(self, *, clean: bool) -> None:
        """`clean`: leave a mark on disk, which tells a damaged end from one that was never promised."""
        segment, self._segment = self._segment, None
        if segment is not None and clean:
            segment.finish()
        elif segment is not None:
            segment.close()
        if self._folder_file >= 0:
            self._close_folder()
