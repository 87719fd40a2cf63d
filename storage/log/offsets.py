"""The offset of each entry in its segment: eight bytes an entry in memory.

The pieces of a log follow one another without a gap. An entry that was truncated and written again in a later segment
counts there. The index file of a full segment is its piece on disk. It is a cache: if it is missing, damaged or of
another segment, it is made again from the segment, and the checksum of each entry checks where it leads.
"""

import os
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from raftmem.storage.log.files import UNFINISHED, index_path, segment_path
from raftmem.storage.log.records import HEAD_BYTES, HEADER_BYTES

_MAGIC: Final = b"RMix"
_head = struct.Struct(">4sQQQQ")  # magic, salt of the segment, where its frames end, first index, how many entries
_checksum = struct.Struct(">I")
ENTRIES_MAX: Final = 65536  # looked at for one read


class Piece:
    """The entries of one segment: `first` and those after it. `end`: where its frames end."""

    def __init__(self, number: int, path: str, first: int, offsets: "array[int]", end: int) -> None:
        self.number = number
        self.path = path
        self.first = first
        self.offsets = offsets
        self.end = end

    @property
    def last(self) -> int:
        """The last index; one below `first` if the piece is empty."""
        return self.first + len(self.offsets) - 1

    def cut(self, kept: int) -> None:
        """Remove all entries above `kept`."""
        if kept < self.first:
            self.first = kept + 1
            self.offsets = array("Q")
        elif kept < self.last:
            self.offsets = self.offsets[: kept - self.first + 1]

    def put(self, kept: int, offsets: Iterable[int]) -> None:
        """Keep the entries up to `kept` and append these. If `kept` is beyond the last (a compaction), keep none."""
        if kept > self.last:
            self.first = kept + 1
            self.offsets = array("Q")
        elif kept < self.last:
            self.cut(kept)
        self.offsets.extend(offsets)


class Run(NamedTuple):
    """Consecutive entries from `first` on, in one segment; each ends where the next begins, the last at `end`."""

    path: str
    first: int
    offsets: "array[int]"
    end: int

    @property
    def data_bytes_min(self) -> int:
        """A lower estimate of the bytes of data; too high only where there are many other records."""
        span = self.end - self.offsets[0]
        return max(span // 4, span - len(self.offsets) * (HEAD_BYTES + HEADER_BYTES))


class Pieces:
    """The pieces of the whole log, ascending. Not thread-safe."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._pieces = pieces

    @property
    def newest(self) -> Piece:
        return self._pieces[-1]

    def all(self) -> list[Piece]:
        return list(self._pieces)

    def add(self, piece: Piece) -> None:
        self._pieces.append(piece)

    def hide(self) -> None:
        """Remove from the older pieces every entry that the newest piece has taken over."""
        kept = self._pieces[-1].first - 1
        for piece in reversed(self._pieces[:-1]):
            if piece.last <= kept:
                return
            piece.cut(kept)

    def forget(self, first: int) -> list[int]:
        """Numbers of the segments that nothing from `first` on stands in, nor in any older one; the newest stays."""
        count = 0
        while count + 1 < len(self._pieces) and self._pieces[count + 1].first <= first:
            count += 1
        gone, self._pieces = self._pieces[:count], self._pieces[count:]
        return [piece.number for piece in gone]

    def find(self, start: int, stop: int, bytes_max: int) -> Run | None:
        """Entries from `start` on, below `stop`: about so many bytes, at least one, if there is one."""
        place = bisect_right(self._pieces, start, key=_first) - 1
        if place < 0 or start >= stop:
            return None
        piece = self._pieces[place]
        at = start - piece.first
        offsets = piece.offsets[at : min(at + min(stop - start, ENTRIES_MAX) + 1, len(piece.offsets))]
        if not offsets:
            return None
        many = max(1, min(stop - start, ENTRIES_MAX, bisect_right(offsets, offsets[0] + bytes_max)))
        return Run(piece.path, start, offsets[:many], offsets[many] if many < len(offsets) else piece.end)


def _first(piece: Piece) -> int:
    return piece.first


# --- the index file --------------------------------------------------------------------------------
def save_index(folder: Path, piece: Piece, salt: int) -> None:
    """Not synced: what a power loss leaves of it is seen by its checksum. Any failure leaves it to the next open."""
    offsets = array("Q", piece.offsets)
    if sys.byteorder == "little":
        offsets.byteswap()
    raw = _head.pack(_MAGIC, salt, piece.end, piece.first, len(offsets)) + offsets.tobytes()
    path = index_path(folder, piece.number)
    with suppress(OSError):
        with open(path + UNFINISHED, "wb") as file:
            file.write(raw + _checksum.pack(crc32(raw)))
        os.rename(path + UNFINISHED, path)


def load_index(folder: Path, number: int, salt: int, end: int) -> Piece | None:
    """Load an index file; None if there is no usable one."""
    try:
        raw = Path(index_path(folder, number)).read_bytes()
    except OSError:
        return None
    if len(raw) < _head.size + _checksum.size or _checksum.unpack(raw[-4:])[0] != crc32(raw[:-4]):
        return None
    magic, found_salt, found_end, first, count = _head.unpack_from(raw)
    if (magic, found_salt, found_end, len(raw)) != (_MAGIC, salt, end, _head.size + 8 * count + 4):
        return None
    offsets = array("Q", raw[_head.size : -4])
    if sys.byteorder == "little":
        offsets.byteswap()
    return Piece(number, segment_path(folder, number), first, offsets, end)
