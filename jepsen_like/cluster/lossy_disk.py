"""The disk of one replica, for a nemesis that cuts its power: a mount of `lossy_fs` in place of its folder.

Rule: the mount ends with the process that serves it, and that process ends with this one.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from jepsen_like.cluster.client import PATIENCE_S, Trouble
from jepsen_like.cluster.lossy_fs import HELD

DEVICE = Path("/dev/fuse")
NO_BOOT = "the power failed"  # in place of the id of the start of the machine under which the state was written


class LossyDisk:
    """`folder`: where the replica finds its data. While it is mounted, the files stand in `live` beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.live = folder.with_name(f"{folder.name}.lossy")
        self._server: subprocess.Popen[bytes] | None = None

    def mount(self) -> None:
        """Mounts the disk; the present content of the folder counts as synced. Raises: Trouble."""
        if not self.live.exists():
            self.folder.mkdir(exist_ok=True)
            self.folder.rename(self.live)
        self.folder.mkdir(exist_ok=True)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "jepsen_like.cluster.lossy_fs", self.live, self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if self._server.stdout is None or self._server.stdout.readline() != b"ready\n":
            _, said = self._server.communicate(timeout=PATIENCE_S)
            self._server = None
            raise Trouble(f"{self.folder} cannot be put on a disk of ours: {said.decode(errors='replace').strip()}")

    def slow_down(self, *, sync_ms: float) -> None:
        """Each sync takes up to so long, until the power fails."""
        if self._server is None or self._server.stdin is None:
            raise Trouble(f"{self.folder} is on no disk of ours")
        self._server.stdin.write(f"slow {sync_ms}\n".encode())
        self._server.stdin.flush()

    def lose(self, *, seed: int, share: float = 0) -> int:
        """The power failed: who used it has been killed. The disk is there again, with how many pages and names less.

        `share`: how many of the pages that nobody synced had reached it all the same.
        """
        lost = int(self._end(f"lose {seed} {share}\n"))
        mark = self.live / "state.json"  # a machine that starts again has another boot id; this one went on
        if mark.exists():
            mark.write_text(json.dumps({**json.loads(mark.read_bytes()), "boot_id": NO_BOOT}))
        self.mount()
        return lost

    def take_away(self) -> None:
        """The folder is an ordinary one again, with all that was written. Again is nothing."""
        if self._server is not None:
            self._end("keep\n")
        if self.live.exists():
            if self.folder.exists():
                self.folder.rmdir()
            self.live.rename(self.folder)
        shutil.rmtree(f"{self.live}{HELD}", ignore_errors=True)

    def _end(self, word: str) -> bytes:
        if self._server is None:
            raise Trouble(f"{self.folder} is on no disk of ours")
        server, self._server = self._server, None
        answer, said = server.communicate(word.encode(), timeout=PATIENCE_S)
        if server.returncode != 0 or os.path.ismount(self.folder):
            complaint = said.decode(errors="replace").strip()
            raise Trouble(f"the disk of {self.folder} did not end as it should: {complaint}")
        return answer


def unavailable() -> str | None:
    """Why there can be no such disk on this machine. It tries, and leaves nothing."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not DEVICE.exists():
        return f"the kernel has no FUSE ({DEVICE} is missing); load its module fuse"
    if shutil.which("mount") is None or shutil.which("umount") is None:
        return "mount and umount are missing: install util-linux (Debian: mount)"
    with tempfile.TemporaryDirectory(prefix="raftmem-") as scratch:
        disk = LossyDisk(Path(scratch) / "tried")
        try:
            disk.mount()
            (disk.folder / "unsynced").write_bytes(b"lost")
            disk.lose(seed=0)
            remains = list(disk.folder.iterdir())
            disk.take_away()
        except (Trouble, OSError) as error:
            return f"FUSE does not work here: {error}"
    return "FUSE does not work here: what nobody synced was still there" if remains else None
