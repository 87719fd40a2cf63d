"""Entries read from the segments, each checked, and what is wrong with them if anything is."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from raftmem.errors import Corrupt
from raftmem.storage.contracts import LogEntry
from raftmem.storage.log_files import read
from raftmem.storage.log_load import check_end, scan
from raftmem.storage.log_pieces import Piece, Pieces, Run
from raftmem.storage.log_records import unpack_entry
from raftmem.storage.log_rules import LogEnd, is_membership

READ_BYTES: Final = 1 << 20  # of a segment at once


def content_of(run: Run) -> bytes:
    """Raises: FileNotFoundError when the segment is gone."""
    file = os.open(run.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read(file, run.offsets[0], run.end - run.offsets[0])
    finally:
        os.close(file)


def entries_of(run: Run) -> list[LogEntry]:
    """Raises: Corrupt naming file and index, FileNotFoundError when the segment is gone."""
    content, base, path = content_of(run), run.offsets[0], run.path
    return [unpack_entry(path, index, content, at - base) for index, at in enumerate(run.offsets, run.first)]


def problems(end: LogEnd, pieces: Pieces, folder: Path) -> Iterator[tuple[int, str]]:
    """As `SegmentLogStore.verify`, of a log that could be opened: what was looked at then is not looked at again."""
    yield from _frames(pieces.all(), folder)
    listed = {entry.index: entry for entry in end.listed}
    index = end.first
    while index <= end.kept:
        run = pieces.find(index, end.kept + 1, READ_BYTES)
        if run is None:
            yield index, "entry is missing"
            index += 1
            continue
        content, base = content_of(run), run.offsets[0]
        for index, at in enumerate(run.offsets, run.first):
            try:
                entry = unpack_entry(run.path, index, content, at - base)
            except Corrupt as error:
                yield index, error.what
                continue
            if listed.get(index) != (entry if is_membership(entry.data) else None):
                yield index, "is a membership that the log does not go by, or the reverse"
            if end.base is not None and index == end.base.index and entry != end.base:
                yield index, "is a membership that differs from the one in force where the log begins"
        index += 1


def _frames(pieces: Sequence[Piece], folder: Path) -> Iterator[tuple[int, str]]:
    """Of the full segments: at open only their indexes were read."""
    for piece in pieces[:-1]:
        try:
            check_end(scan(folder, piece.number), piece.end)
        except Corrupt as error:
            yield error.index or 0, f"{error.what} ({os.path.basename(error.path)})"
