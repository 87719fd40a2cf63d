"""What can be done to the files of a replica that has ended: cut off, or one bit flipped, where it cannot go unnoticed.

Of the log a bit is flipped within an entry, which its checksum covers, in every copy of it that the file holds. Of the
state no bit is: its rows have no checksums, so that a flipped bit in a text is what it then says.
"""

import random
from pathlib import Path
from typing import Final

from jepsen_like.cluster.client import Trouble
from raftmem.storage.lmdb_env import DATA_FILE
from raftmem.storage.log import LmdbLogStore
from raftmem.storage.log_records import pack_entry
from raftmem.storage.vector_file import MANIFEST

LOG: Final = "log"
STATE: Final = "state"
VECTORS: Final = "vectors"


def cut_off(folder: Path, part: str, chance: random.Random) -> str:
    """The end of a database is gone; what was done, in words."""
    file = folder / part / DATA_FILE
    size = file.stat().st_size
    kept = chance.randrange(size)
    with file.open("r+b") as out:
        out.truncate(kept)
    return f"{part}/{DATA_FILE} cut from {size} to {kept} bytes"


def flip_in_log(folder: Path, chance: random.Random) -> str:
    store = LmdbLogStore(folder / LOG, readonly=True)
    try:
        index = chance.randint(store.first_index(), store.last_index())
        record = pack_entry(store.read(index, index + 1)[0])
    finally:
        store.close()
    at, bit = chance.randrange(len(record)), chance.randrange(8)
    file = folder / LOG / DATA_FILE
    content = file.read_bytes()
    copies = 0
    with file.open("r+b") as out:
        place = content.find(record)
        while place >= 0:
            out.seek(place + at)
            out.write(bytes([content[place + at] ^ 1 << bit]))
            copies += 1
            place = content.find(record, place + 1)
    if not copies:
        raise Trouble(f"{file} does not hold entry {index} as it was read from it")
    return f"a bit of entry {index} flipped in {copies} place{'s' if copies > 1 else ''} of {LOG}/{DATA_FILE}"


def flip_in_vectors(folder: Path, chance: random.Random) -> str | None:
    """None: there is nothing saved that a bit could be flipped in."""
    vectors = folder / VECTORS
    files = [file for file in sorted(vectors.glob("*")) if file.is_file() and file.stat().st_size]
    rows = [file for file in files if file.name != MANIFEST]
    if not rows:
        return None
    file = chance.choice(rows)
    at, bit = chance.randrange(file.stat().st_size), chance.randrange(8)
    with file.open("r+b") as out:
        out.seek(at)
        byte = out.read(1)[0]
        out.seek(at)
        out.write(bytes([byte ^ 1 << bit]))
    return f"a bit of {VECTORS}/{file.name} flipped"
