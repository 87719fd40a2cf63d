"""The disks of a schedule: the in-memory twins, or the real stores in a folder that goes with the schedule.

The real ones run the same code as in production, LMDB commits and renames included. They are killed, not closed: a new
life opens what the last one left. What a stop of the machine takes from the page cache is left to the boot mark, which
distrusts the state, to a cut in what was received of a snapshot, and to a commit of the log of which a part is there.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jepsen_like.simulator.disk import Disk, Folder, NewDisk, NewLog
from jepsen_like.simulator.options import Options
from raftmem.storage.log.contract import HardState
from raftmem.storage.log.files import segment_numbers
from raftmem.storage.log.load import scan
from raftmem.storage.log.records import pack_frame
from raftmem.storage.log.store import SegmentLogStore
from raftmem.storage.snapshots.store import FileSnapshotStore
from raftmem.storage.state.clean_mark import StateMark
from raftmem.storage.state.store import LmdbStateStore

MAP_BYTES: Final = 1 << 30
NEVER: Final = 1 << 40
MEMORY_FOLDER: Final = Path("/dev/shm")


@contextmanager
def disks_of(options: Options) -> Iterator[NewDisk | None]:
    """None: the in-memory twins."""
    if options.store == "memory":
        yield None
        return
    parent = MEMORY_FOLDER if options.store == "lmdb" and MEMORY_FOLDER.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="raftmem-sim-", dir=parent) as root:
        made: list[FileDisk] = []

        def new_disk(name: str, folder: Folder, log: NewLog) -> Disk:
            made.append(FileDisk(Path(root) / f"{name}-{folder.birth}", folder, log))
            return made[-1]

        try:
            yield new_disk
        finally:
            for disk in made:
                disk.close()


class FileDisk:
    """LMDB and files in `path`."""

    def __init__(self, path: Path, folder: Folder, log: NewLog) -> None:
        self.folder = folder
        self._path = path
        self._boots = 0
        for name in ("log", "state", "snapshots"):
            (path / name).mkdir(parents=True)
        self.log = log(self._open_log())
        self.state = self._open_state()
        self.snapshots = FileSnapshotStore(path / "snapshots", self.state)

    def open(self, *, power_lost: bool) -> None:
        self.close()
        if power_lost:
            self._boots += 1
            _leave_a_part(self._path / "log", quarters=1 + self._boots % 3)
            for part in (self._path / "snapshots").glob("*.part"):
                os.truncate(part, part.stat().st_size // 2)
        self.log.inner = self._open_log()
        self.log.restarted()
        self.state = self._open_state()
        self.snapshots = FileSnapshotStore(self._path / "snapshots", self.state)

    def close(self) -> None:
        self.log.close()
        self.state.close(clean=False)

    def _open_log(self) -> SegmentLogStore:
        return SegmentLogStore(self._path / "log")

    def _open_state(self) -> LmdbStateStore:
        state = self._path / "state"
        mark = StateMark(self._path / "state.json", state, boot_id=f"boot-{self._boots}")
        return LmdbStateStore(state, mark=mark, map_bytes=MAP_BYTES, snapshots=self._path / "snapshots")


def _leave_a_part(folder: Path, *, quarters: int) -> None:
    """Of a commit that nobody was told of; who took it for whole would be in a term that never was."""
    found = scan(folder, segment_numbers(folder)[-1])
    frame, _ = pack_frame(found.salt, found.sequence, [HardState(NEVER, None)])
    with open(found.path, "r+b") as file:
        file.seek(found.position)
        file.write(frame[: quarters * len(frame) // 4])
