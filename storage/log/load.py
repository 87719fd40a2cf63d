"""Load a log folder at open: the newest segment in full, and the positions of the entries in the older segments.

Each segment begins with a checkpoint of the whole log except its entries, so older segments are needed for entries
only. Nothing is changed here. Loading refuses a missing segment, a segment that ends early, and entries that are
nowhere.
"""

import os
from pathlib import Path
from typing import NamedTuple

from raftmem.errors import Corrupt, CutShort, FolderRefused
from raftmem.storage.log.files import segment_numbers, segment_path
from raftmem.storage.log.offsets import Piece, Pieces, load_index, save_index
from raftmem.storage.log.records import HEADER_BYTES
from raftmem.storage.log.scan import Scan


class Loaded(NamedTuple):
    """`newest`: of the segment that is written to. `sealed`: every older one that counts says that it is full."""

    newest: Scan
    pieces: Pieces


def has_log(folder: Path) -> bool:
    """True if the folder holds any segment."""
    return bool(segment_numbers(folder))


def load(folder: Path, *, keep_indexes: bool) -> Loaded:
    """`keep_indexes`: an index file that had to be made again is saved. Raises: Corrupt, FolderRefused for no log."""
    numbers = segment_numbers(folder)
    if not numbers:
        raise FolderRefused(f"{folder}: holds no log; give the folder of a replica that has run")
    newest = scan(folder, numbers[-1])
    if newest.is_sealed:
        gone = segment_path(folder, numbers[-1] + 1)
        raise Corrupt(gone, "segment is missing, and with it the newest entries", index=newest.end.kept + 1)
    pieces = [newest.piece]
    previous = newest.previous
    while pieces[0].first > newest.end.first:
        if previous is None:
            raise Corrupt(pieces[0].path, "segment before it is missing", index=pieces[0].first - 1)
        piece, previous = _older(folder, *previous, keep_indexes=keep_indexes)
        kept = pieces[0].first - 1
        if piece.first <= kept and piece.last < kept:
            raise Corrupt(piece.path, "entries are missing after it", index=piece.last + 1)
        piece.cut(kept)
        pieces.insert(0, piece)
    return Loaded(newest, Pieces(pieces))


def scan(folder: Path, number: int) -> Scan:
    """All of one segment. Raises: Corrupt."""
    path = segment_path(folder, number)
    found = Scan(path, number)
    file = opened(path)
    try:
        found.begin(file)
        found.go_on(file)
    finally:
        os.close(file)
    return found


def opened(path: str) -> int:
    """Open a segment for reading. Raises: Corrupt."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Corrupt(path, "segment is missing") from error


def _older(folder: Path, number: int, end: int, *, keep_indexes: bool) -> tuple[Piece, tuple[int, int] | None]:
    """The offsets of a full segment whose frames end at `end`, and the segment before it."""
    path = segment_path(folder, number)
    found = Scan(path, number)
    file = opened(path)
    try:
        size = os.fstat(file).st_size
        if size < end + HEADER_BYTES:
            raise CutShort(path, f"is cut short: {size} bytes, its frames need {end + HEADER_BYTES}")
        found.begin(file)
        piece = load_index(folder, number, found.salt, end)
        if piece is None:
            found.go_on(file)
            check_end(found, end)
            piece = found.piece
            if keep_indexes:
                save_index(folder, piece, found.salt)
    finally:
        os.close(file)
    return piece, found.previous


def check_end(found: Scan, end: int) -> None:
    """Raises: Corrupt unless the frames of a full segment end there."""
    if found.position != end:
        raise Corrupt(
            found.path, f"its sound frames end at byte {found.position}, not at {end}", index=found.end.kept + 1
        )
