"""The log on disk: segment files, one frame and one sync a commit (`docs/format.md`, "On disk").

`rules.py` decides what a commit does to the log, both when it is written and when it is read again. A full segment is
sealed, and the next one begins with a checkpoint; so does the segment that a reset begins. Segments below the first
index are removed once that is on disk. Gaps, damaged records and any write after a failed one are refused.
The rule that must hold: everything that `commit` returned from is on disk, in order, without a gap, or `Corrupt` is
raised.
"""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from raftmem.errors import Corrupt, CutShort, StorageFailed, is_shortage
from raftmem.limits import LOG_DESCRIPTORS_RESERVED, LOG_ROOM_BYTES, LOG_SEGMENT_BYTES
from raftmem.storage.descriptors import DescriptorReserve
from raftmem.storage.log.check import problems
from raftmem.storage.log.contract import HardState, LogEntry, LogWrite
from raftmem.storage.log.files import Files, segment_numbers, segment_path
from raftmem.storage.log.load import load, opened
from raftmem.storage.log.offsets import Pieces, Run, save_index
from raftmem.storage.log.read import READ_BYTES, entries_of
from raftmem.storage.log.records import Checkpoint
from raftmem.storage.log.rules import EMPTY, LogEnd, follow
from raftmem.storage.log.scan import Scan, offsets_of
from raftmem.storage.log.write import LogWriter

_LOOKS_MAX: Final = 3  # at a folder that a writer in another process is changing


class SegmentLogStore:
    """Reads from any thread, commits from one. `readonly` follows a log that another process may be writing.

    Raises (at open): Corrupt for a gap, or a damaged frame, hard state, base or membership (readonly says so at each
        look, and `verify` tells it; but a file that was cut short is refused at once); FolderRefused for a readonly
        open of nothing; OSError for a shortage.
    """

    def __init__(
        self,
        folder: Path,
        *,
        readonly: bool = False,
        segment_bytes: int = LOG_SEGMENT_BYTES,
        room_bytes: int = LOG_ROOM_BYTES,
        files: Files | None = None,
    ) -> None:
        self._folder = folder
        self._readonly = readonly
        self._failed: BaseException | None = None
        self._lock = threading.Lock()  # around what readers need: the end of the log, and where its entries stand
        self._end = EMPTY
        self._pieces = Pieces([])
        self._view: Scan | None = None  # readonly: of the newest segment
        self._files = Files() if files is None else files
        self._reserve = DescriptorReserve(0 if readonly else LOG_DESCRIPTORS_RESERVED)
        self._writer = LogWriter(
            self._files, folder, segment_bytes=segment_bytes, room_bytes=room_bytes, reserve=self._reserve
        )
        if readonly:
            self._look_first()
            return
        try:
            self._open()
        except BaseException:
            self._writer.close(clean=False)
            self._reserve.close()
            raise

    @property
    def path(self) -> str:
        """The folder that holds the log."""
        return str(self._folder)

    def place_of(self, index: int) -> tuple[str, int] | None:
        """The file that holds an entry, and where its record begins there; None when there is none."""
        with self._lock:
            run = self._pieces.find(index, index + 1, 0)
        return None if run is None else (run.path, run.offsets[0])

    def path_of(self, index: int) -> str:
        """The file that an error at this index is about: that of the entry, else the newest."""
        place = self.place_of(index)
        return segment_path(self._folder, max(segment_numbers(self._folder), default=1)) if place is None else place[0]

    def hard_state(self) -> HardState:
        return self._now().hard_state

    def first_index(self) -> int:
        return self._now().first

    def last_index(self) -> int:
        return self._now().kept

    def is_empty(self) -> bool:
        return self._now().is_empty

    def memberships(self) -> list[LogEntry]:
        return self._now().memberships()

    def read(self, start: int, stop: int, bytes_max: int | None = None) -> list[LogEntry]:
        self._now()
        while True:
            runs = self._runs(start, stop, bytes_max)
            try:
                return self._entries(runs, bytes_max)
            except FileNotFoundError as error:  # compacted meanwhile, or lost
                self._now()
                for run in self._runs(start, stop, bytes_max):
                    if run.path == error.filename:
                        raise Corrupt(run.path, "segment is missing", index=run.first) from error

    def commit(self, writes: Sequence[LogWrite]) -> None:
        if self._failed is not None:
            raise StorageFailed(f"{self.path}: takes no write after a failed one ({self._failed})")
        if self._readonly:
            raise StorageFailed(f"{self.path}: was opened to be read only")
        try:
            before = self._end
            after = follow(before, writes)
            if writes:
                self._store(before, after, writes)
        except BaseException as error:
            if not is_shortage(error):
                self._failed = error  # a failed sync is never retried: the pages may be gone
            raise

    def verify(self) -> Iterator[tuple[int, str]]:
        """Every problem from the first index on as (index, what); nothing when the log is sound.

        Index 0 also stands for what belongs to no entry. Behind a frame that cannot be read nothing is known.
        """
        try:
            end = self._now()
        except Corrupt as error:
            yield error.index or 0, f"{error.what} ({os.path.basename(error.path)})"
            return
        yield from problems(end, self._pieces.all())

    def close(self) -> None:
        self._writer.close(clean=self._failed is None)
        self._reserve.close()

    # --- writing -------------------------------------------------------------------------------------
    def _store(self, before: LogEnd, after: LogEnd, writes: Sequence[LogWrite]) -> None:
        full, salt = self._pieces.newest, self._writer.segment.salt
        stored = self._writer.store(before, after, writes)
        if stored.piece is not None:
            save_index(self._folder, full, salt)
        with self._lock:
            if stored.piece is not None:
                self._pieces.add(stored.piece)
            piece = self._pieces.newest
            first = piece.first
            piece.put(after.kept, offsets_of(after, stored.places))
            piece.end = self._writer.segment.position
            if stored.piece is not None or piece.first < first:
                self._pieces.hide()
            self._end = after.stored()
            gone = self._pieces.forget(after.first)
        self._writer.remove(gone)
        if not self._reserve.is_full:
            self._reserve.refill()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer.remove_unfinished()
        if segment_numbers(self._folder):
            self._take_over()
        else:
            checkpoint = Checkpoint(None, EMPTY.hard_state, EMPTY.first, EMPTY.kept, None, ())
            self._pieces = Pieces([self._writer.begin(checkpoint)])
            self._end = checkpoint.end()

    def _take_over(self) -> None:
        newest, self._pieces = load(self._folder, keep_indexes=True)
        self._end = newest.end
        self._writer.take_over(newest)
        self._writer.remove_other_than(piece.number for piece in self._pieces.all())

    # --- looking -------------------------------------------------------------------------------------
    def _now(self) -> LogEnd:
        if self._readonly:
            with self._lock:
                self._look()
        return self._end

    def _runs(self, start: int, stop: int, bytes_max: int | None) -> list[Run]:
        """The runs of these entries now: all of them, or somewhat more than so many bytes."""
        runs: list[Run] = []
        left = sys.maxsize if bytes_max is None else bytes_max
        with self._lock:
            start, stop = max(start, self._end.first), min(stop, self._end.kept + 1)
            while left >= 0 and (run := self._pieces.find(start, stop, min(left, READ_BYTES))):
                runs.append(run)
                start += len(run.offsets)
                left -= run.data_bytes_min
        return runs

    def _entries(self, runs: Sequence[Run], bytes_max: int | None) -> list[LogEntry]:
        """Raises: Corrupt, FileNotFoundError when a segment is gone."""
        found: list[LogEntry] = []
        taken = 0
        for run in runs:
            if bytes_max is None:
                found += entries_of(run, self._reserve)
                continue
            for entry in entries_of(run, self._reserve):
                taken += len(entry.data)
                if taken > bytes_max and found:
                    return found
                found.append(entry)
        return found

    def _look_first(self) -> None:
        """Refuse a log that was cut short at once; other damage is reported by each look that meets it."""
        try:
            self._now()
        except CutShort:
            raise
        except Corrupt:
            self._view = None

    def _look(self) -> None:
        """Follow the writer. What looks damaged may have been written just then: it is looked at again."""
        for left in reversed(range(_LOOKS_MAX)):
            try:
                self._follow()
                return
            except Corrupt:
                self._view = None
                if not left:
                    raise

    def _follow(self) -> None:
        view = self._view
        if view is None or view.number != max(segment_numbers(self._folder), default=0):
            self._view = None
            view, self._pieces = load(self._folder, keep_indexes=False)
            self._view = view
        else:
            file = opened(view.path)
            try:
                view.go_on(file)
            finally:
                os.close(file)
            self._pieces.hide()
        self._end = view.end
