"""Read one segment from its beginning: the log after each of its frames, and whether its end is sound.

These rules follow from how a segment is written (`segment.py`): frame n + 1 begins only after frame n is on disk; a
mark after a frame says that the frame is on disk; no frame reaches beyond the part of the file that was on disk
before it. So an incomplete frame was never promised to anybody, unless something written later in this segment stands
behind it: then it was damaged. A frame that reaches beyond the file, or a file without room for a mark, was cut
short. Nothing is changed here. The rule that must hold: what was promised is found, or `Corrupt` is raised.
"""

import os
from array import array
from typing import Final

from raftmem.errors import Corrupt, CutShort, StorageFailed
from raftmem.storage.log.contract import Append, LogEntry, LogWrite
from raftmem.storage.log.files import read
from raftmem.storage.log.offsets import Piece
from raftmem.storage.log.records import (
    CHECKPOINT,
    ENTRY,
    FRAME,
    HEAD_BYTES,
    HEADER_BYTES,
    MEMBERSHIP,
    SALT_AT,
    SEAL,
    Record,
    data_of,
    is_sound,
    read_header,
    read_records,
    salt_bytes,
    unpack_checkpoint,
    unpack_write,
)
from raftmem.storage.log.rules import EMPTY, LogEnd, follow

_BATCH: Final = 10_000  # entries that are put into the log at once


class Scan:
    """`begun`: number of the checkpoint's frame, `start`: where the next one begins. `position`: of the next frame to
    come, `sequence`: its number. `end`: the log after the frames before it.

    `newest`: where the last frame begins. `is_sealed`: the log goes on in the next segment. `previous`: see Checkpoint.
    """

    def __init__(self, path: str, number: int) -> None:
        self.path = path
        self.number = number
        self.salt = 0
        self.sequence = 0
        self.position = 0
        self.begun = 0
        self.start = 0
        self.newest = 0
        self.is_sealed = False
        self.previous: tuple[int, int] | None = None
        self.end = EMPTY
        self.piece = Piece(number, path, 1, array("Q"), 0)
        self._run: list[LogEntry] = []
        self._writes: list[LogWrite] = []
        self._places: dict[int, int] = {}
        self._next = 1  # index of the next entry, to be named
        self._held: tuple[int, list[Record]] | None = None

    # --- reading on ------------------------------------------------------------------------------------
    def begin(self, file: int) -> None:
        """Its checkpoint, which was on disk before the segment had its name. Raises: Corrupt."""
        size = os.fstat(file).st_size
        raw = read(file, 0, HEADER_BYTES)
        header = read_header(raw, 0)
        if len(raw) < HEADER_BYTES or (header is not None and size < 2 * HEADER_BYTES + header.payload_bytes):
            raise CutShort(self.path, f"is cut short: {size} bytes, less than any segment has")
        records = None
        if header is not None and header.kind == FRAME:
            raw += read(file, HEADER_BYTES, header.payload_bytes)
            records = read_records(raw, 0, header)
        if header is None or records is None or len(records) != 1 or records[0].kind != CHECKPOINT:
            raise Corrupt(self.path, "begins with no checkpoint, or a damaged one")
        if records[0].number != self.number:
            raise Corrupt(self.path, f"is segment {records[0].number}, under a wrong name")
        checkpoint = unpack_checkpoint(self.path, raw, records[0])
        self.salt, self.begun, self.sequence = header.salt, header.sequence, header.sequence + 1
        self.start = self.position = len(raw)
        self.previous = checkpoint.previous
        self.end = checkpoint.end()
        self._next = checkpoint.last + 1
        self.piece = Piece(self.number, self.path, checkpoint.last + 1, array("Q"), len(raw))

    def go_on(self, file: int) -> None:
        """Every frame that is there by now. Raises: Corrupt; then it cannot go on."""
        content = read(file, self.position, os.fstat(file).st_size - self.position)
        base, at = self.position, 0
        is_marked = False
        while (header := read_header(content, at)) is not None:
            if header.salt != self.salt or header.sequence != self.sequence:
                break
            self._let_go(content, base)
            if header.kind != FRAME:
                is_marked, self.is_sealed = True, header.kind == SEAL
                break
            stop = at + HEADER_BYTES + header.payload_bytes
            if stop + HEADER_BYTES > len(content):
                raise CutShort(self.path, f"is cut short: {base + len(content)} bytes, its frames need {base + stop}")
            records = read_records(content, at, header)
            if records is None:
                break
            self._held = (at, records)
            self.sequence += 1
            at = stop
        self._finish(content, at, base, is_marked)

    def _finish(self, content: bytes, at: int, base: int, is_marked: bool) -> None:
        if len(content) - at < HEADER_BYTES:
            size = base + len(content)
            raise CutShort(self.path, f"is cut short: {size} bytes, its frames need {base + at + HEADER_BYTES}")
        if self._goes_on(content, at):
            raise Corrupt(self.path, f"frame {self.sequence} at byte {base + at} is damaged", index=self._ahead())
        torn = self._held is not None and not all(is_sound(content, record) for record in self._held[1])
        if torn and not is_marked:  # of its data something is missing, and nothing says that it was promised
            self._held = None
            self.sequence -= 1
        self._let_go(content, base)
        self._put_writes()

    def _goes_on(self, content: bytes, at: int) -> bool:
        """True if a header stands behind `at` that was written after the frame at `at` was on disk."""
        needle = salt_bytes(self.salt)
        place = content.find(needle, at + SALT_AT + 1)
        while place >= 0:
            header = read_header(content, place - SALT_AT)
            if header is not None and header.sequence > self.sequence:
                return True
            place = content.find(needle, place + 1)
        return False

    # --- following -------------------------------------------------------------------------------------
    def _let_go(self, content: bytes, base: int) -> None:
        """The frame that was held back counts: what follows it says so, or it is whole."""
        if self._held is None:
            return
        at, records = self._held
        self._held = None
        self.newest = base + at
        for record in records:
            if record.kind in (ENTRY, MEMBERSHIP):
                index = record.number
                data = data_of(self.path, content, record, index) if record.kind == MEMBERSHIP else b""
                self._run.append(LogEntry(index, record.term, data))  # the rules look at the data of memberships only
                self._places[index] = base + record.at
                self._next = index + 1
            else:
                self._end_run()
                self._writes.append(unpack_write(self.path, content, record, self._next))
        self.position = base + at + HEADER_BYTES + sum(HEAD_BYTES + record.size for record in records)
        self.piece.end = self.position
        if len(self._run) >= _BATCH:
            self._put_writes()

    def _end_run(self) -> None:
        if self._run:
            self._writes.append(Append(tuple(self._run)))
            self._run = []

    def _put_writes(self) -> None:
        self._end_run()
        if not self._writes:
            return
        try:
            after = follow(self.end, self._writes)
        except StorageFailed as error:
            raise Corrupt(self.path, f"holds what cannot follow ({error})", index=self._next) from error
        self.piece.put(after.kept, offsets_of(after, self._places))
        self.end = after.stored()
        self._writes, self._places = [], {}

    def _ahead(self) -> int:
        """The next index after all frames that are sound, as far as can be told."""
        held = self._held[1] if self._held is not None else []
        return max((record.number + 1 for record in held if record.kind in (ENTRY, MEMBERSHIP)), default=self._next)


def offsets_of(after: LogEnd, places: dict[int, int]) -> list[int]:
    """The offsets of the appended entries; `places`: index -> offset."""
    return [places[entry.index] for entry in after.appended]
