"""Damage to the files of a replica that has ended: cut off, or one bit flipped, where it cannot go unnoticed.

In the log a bit is flipped within the record of an entry, which checksums cover. The newest entries are spared if a
kill came before anybody was promised them: the log goes on without those, as after a power loss. No bit of the state
is flipped: its rows have no checksums, so a flipped bit in a text would simply be another text.
"""

import random
from pathlib import Path
from typing import Final

from jepsen_like.cluster.client import Trouble
from raftmem.storage.lmdb.environment import DATA_FILE
from raftmem.storage.log.files import segment_numbers, segment_path
from raftmem.storage.log.records import HEAD_BYTES
from raftmem.storage.log.store import SegmentLogStore
from raftmem.storage.vectors.file import MANIFEST

LOG: Final = "log"
STATE: Final = "state"
VECTORS: Final = "vectors"
_TRIES: Final = 100


def cut_off(folder: Path, part: str, chance: random.Random) -> str:
    """The end of a database, or of a segment of the log, is gone; what was done, in words."""
    file = folder / part / DATA_FILE
    if part == LOG:
        file = Path(segment_path(folder / LOG, chance.choice(segment_numbers(folder / LOG))))
    size = file.stat().st_size
    kept = chance.randrange(size)
    with file.open("r+b") as out:
        out.truncate(kept)
    return f"{part}/{file.name} cut from {size} to {kept} bytes"


def flip_in_log(folder: Path, chance: random.Random) -> str:
    for _ in range(_TRIES):
        store = SegmentLogStore(folder / LOG, readonly=True)
        index = chance.randint(store.first_index(), store.last_index())
        record_bytes = HEAD_BYTES + len(store.read(index, index + 1)[0].data)
        place = store.place_of(index)
        store.close()
        if place is None:
            raise Trouble(f"{folder / LOG} does not hold entry {index}, which was read from it")
        file, at, bit = Path(place[0]), place[1] + chance.randrange(record_bytes), chance.randrange(8)
        _flip(file, at, bit)
        if _is_noticed(folder):
            return f"a bit of entry {index} flipped in {LOG}/{file.name}"
        _flip(file, at, bit)
    raise Trouble(f"no bit could be flipped in {folder / LOG} that would be noticed")


def _is_noticed(folder: Path) -> bool:
    store = SegmentLogStore(folder / LOG, readonly=True)
    try:
        return any(store.verify())
    finally:
        store.close()


def _flip(file: Path, at: int, bit: int) -> None:
    with file.open("r+b") as out:
        out.seek(at)
        byte = out.read(1)[0]
        out.seek(at)
        out.write(bytes([byte ^ 1 << bit]))


def flip_in_vectors(folder: Path, chance: random.Random) -> str | None:
    """None: there is nothing saved that a bit could be flipped in."""
    vectors = folder / VECTORS
    files = [file for file in sorted(vectors.glob("*")) if file.is_file() and file.stat().st_size]
    rows = [file for file in files if file.name != MANIFEST]
    if not rows:
        return None
    file = chance.choice(rows)
    _flip(file, chance.randrange(file.stat().st_size), chance.randrange(8))
    return f"a bit of {VECTORS}/{file.name} flipped"
