"""A recorded log: read its entries, replay them, print the digest of every index (`python replay_digest.py [LOG…]`).

The file is a sequence of (term uint64, length uint32, entry bytes), big-endian; the first entry has index 1.
"""

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from raftmem.machine.run import Applied, step_entry
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.state.in_memory import InMemoryStateStore

FOLDER: Final = Path(__file__).parent
_frame = struct.Struct(">QI")


def entries(path: Path) -> Iterator[LogEntry]:
    data, at, index = path.read_bytes(), 0, 0
    while at < len(data):
        term, size = _frame.unpack_from(data, at)
        at, index = at + _frame.size + size, index + 1
        yield LogEntry(index, term, data[at - size : at])


def frame(entry: LogEntry) -> bytes:
    return _frame.pack(entry.term, len(entry.data)) + entry.data


def replayed(log: Iterator[LogEntry]) -> list[Applied]:
    with InMemoryStateStore().write() as writer:
        return [step_entry(writer, entry.index, entry.term, entry.data) for entry in log]


def digests(applied: list[Applied]) -> str:
    return "".join(f"{one.row.index} {one.row.digest.hex()}\n" for one in applied)


if __name__ == "__main__":
    for log in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.log")):
        sys.stdout.write(digests(replayed(entries(log))))
