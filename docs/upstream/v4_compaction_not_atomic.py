"""Compaction empties the journal and adds what stays one entry at a time; a kill in between loses the tail."""

import tempfile
from contextlib import suppress
from pathlib import Path

from bench import verdict
from pysyncobj.journal import FileJournal


class Killed(BaseException):
    """The process ends here."""


class KilledInCompaction(FileJournal):
    """The stock journal in a process that is killed before its third write from now."""

    writes_left = 1_000

    def add(self, command: bytes, idx: int, term: int) -> None:
        if self.writes_left == 0:
            raise Killed
        self.writes_left -= 1
        super().add(command, idx, term)


with tempfile.TemporaryDirectory() as folder:
    path = str(Path(folder) / "journal")
    journal = KilledInCompaction(path)
    for index in range(1, 11):
        journal.add(b"\x00command", index, 1)
    print("before:", [index for _, index, _ in FileJournal(path)[:]])
    journal.writes_left = 2
    with suppress(Killed):
        journal.deleteEntriesTo(4)  # entries 1 to 4 are in a dump; 5 to 10 must stay
    after = [index for _, index, _ in FileJournal(path)[:]]
    print("after: ", after)
    verdict(after != list(range(5, 11)), "a kill during compaction lost entries above the compacted ones")
