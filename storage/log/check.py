"""Check every byte of the log against its checksums. Each start does this, so it must be fast.

Each damaged entry is reported by its index. After a frame that cannot be followed, no later entry of that segment can
be checked. The log itself was already worked out at open, from the checkpoint and the frames of the newest segment;
the entries are compared with that result.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from raftmem.errors import Corrupt
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.log.files import read
from raftmem.storage.log.load import opened
from raftmem.storage.log.offsets import Piece
from raftmem.storage.log.records import (
    ENTRY,
    FRAME,
    HEAD_BYTES,
    HEADER_BYTES,
    MEMBERSHIP,
    head_layout,
    header_layout,
    name_of,
    read_header,
)
from raftmem.storage.log.rules import LogEnd

Problem = tuple[int, str]


class _Walked(NamedTuple):
    """`places`: index -> offset, of those of one index the last. `unsound`: (index or 0, kind, offset) of records.
    `memberships`: (index, term, offset, bytes). `stop`: where frames can be followed to."""

    places: dict[int, int]
    unsound: list[tuple[int, int, int]]
    memberships: list[tuple[int, int, int, int]]
    stop: int


def problems(end: LogEnd, pieces: list[Piece]) -> Iterator[Problem]:
    """As `SegmentLogStore.verify`, of a log that could be opened."""
    listed = {entry.index: entry for entry in end.listed}
    if end.base is not None and listed.get(end.base.index, end.base) != end.base:
        yield end.base.index, "is a membership that differs from the one in force where the log begins"
    found: set[int] = set()
    for piece in pieces:
        yield from _problems(piece, end.first, listed, found)
    for index in sorted(listed.keys() - found):
        yield index, "is a membership for the log, and is none or not there"


def _problems(piece: Piece, first: int, listed: dict[int, LogEntry], found: set[int]) -> Iterator[Problem]:
    name = os.path.basename(piece.path)
    try:
        content = _content(piece)
    except Corrupt as error:
        yield piece.first, f"{error.what} ({name})"
        return
    walked = _walk(content, piece.end)
    for index, kind, at in walked.unsound:
        if kind not in (ENTRY, MEMBERSHIP):
            yield 0, f"{name_of(kind)} has a wrong checksum ({name})"
        elif index >= first and _counts(piece, index, at):
            yield index, "entry has a wrong checksum"
    if walked.stop != piece.end:
        after = max(walked.places, default=piece.first - 1) + 1
        yield after, f"frame at byte {walked.stop} is damaged ({name})"
        return
    if [walked.places.get(index) for index in range(piece.first, piece.last + 1)] != piece.offsets.tolist():
        yield piece.first, f"holds other entries than its index says ({name})"
    for index, term, at, size in walked.memberships:
        if index >= first and _counts(piece, index, at):
            found.add(index)
            start = at + HEAD_BYTES
            if listed.get(index) != LogEntry(index, term, content[start : start + size]):
                yield index, "is a membership that the log does not go by"


def _counts(piece: Piece, index: int, at: int) -> bool:
    """True if this record is the entry in force, not one that was truncated or written again later."""
    return piece.first <= index <= piece.last and piece.offsets[index - piece.first] == at


def _content(piece: Piece) -> bytes:
    file = opened(piece.path)
    try:
        content = read(file, 0, piece.end)
    finally:
        os.close(file)
    if len(content) < piece.end:
        raise Corrupt(piece.path, f"is cut short: {len(content)} bytes, its frames need {piece.end}")
    return content


def _walk(content: bytes, stop: int) -> _Walked:
    """Frame by frame, record by record, as `read_records` would, without a call for each."""
    places: dict[int, int] = {}
    unsound: list[tuple[int, int, int]] = []
    memberships: list[tuple[int, int, int, int]] = []
    begun = read_header(content, 0)
    at, salt, expected = 0, 0 if begun is None else begun.salt, 0 if begun is None else begun.sequence
    head, header = head_layout.unpack_from, header_layout.unpack_from
    while at < stop and read_header(content, at) is not None:
        frame_kind, frame_salt, sequence, payload_bytes, heads_checksum = header(content, at)
        place = at + HEADER_BYTES
        end = place + payload_bytes
        if (frame_kind, frame_salt, sequence) != (FRAME, salt, expected) or end > stop:
            break
        heads = 0
        records: list[tuple[int, int, int, int, int, int]] = []
        while place + HEAD_BYTES <= end:
            checksum, kind, size, number, term = head(content, place)
            begin = place + HEAD_BYTES
            heads = crc32(content[place:begin], heads)
            records.append((checksum, kind, size, number, term, place))
            place = begin + size
        if place != end or heads != heads_checksum:
            break
        for checksum, kind, size, number, term, place in records:
            if crc32(content[place + 4 : place + HEAD_BYTES + size]) != checksum:
                unsound.append((number, kind, place))
            if kind == ENTRY:
                places[number] = place
            elif kind == MEMBERSHIP:
                places[number] = place
                memberships.append((number, term, place, size))
        at, expected = end, expected + 1
    return _Walked(places, unsound, memberships, at)
