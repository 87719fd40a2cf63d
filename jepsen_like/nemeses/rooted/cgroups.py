"""Control groups of our own, version 1 or 2 as the machine has it: one process frozen, or kept short of processor time.

Rule: a process goes back to where it was, thawed, before its group is removed; `close` leaves none.
"""

import contextlib
import errno
import os
import secrets
from functools import cache
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Final

from jepsen_like.cluster.client import Trouble, until

PERIOD_US: Final = 100_000
_FREEZER, _CPU = "freezer", "cpu"


class Cgroup:
    """One group, for one process. `kind`: what it is for."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._unified, self._root = _root(kind)
        self._path = self._root / f"raftmem-{secrets.token_hex(4)}"
        self._from: tuple[int, Path] | None = None
        try:
            self._path.mkdir()
        except OSError as error:
            raise Trouble(f"no control group can be made: {error}") from error

    def take(self, pid: int) -> None:
        before = self._root / self._of(pid).lstrip("/")
        self._from = (pid, before)
        self._write(self._path / "cgroup.procs", pid)

    def _of(self, pid: int) -> str:
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if (kinds == "") if self._unified else (self._kind in kinds.split(",")):
                return path
        raise Trouble(f"process {pid} is in no {self._kind} group")

    def freeze(self) -> None:
        """Not a thread of it runs when this returns."""
        if self._unified:
            self._write(self._path / "cgroup.freeze", 1)
            until(lambda: "frozen 1" in (self._path / "cgroup.events").read_text(), what="the group is frozen")
        else:
            self._write(self._path / "freezer.state", "FROZEN")
            until(lambda: "FROZEN" in (self._path / "freezer.state").read_text(), what="the group is frozen")

    def _thaw(self) -> None:
        name, value = ("cgroup.freeze", "0") if self._unified else ("freezer.state", "THAWED")
        if (self._path / name).exists():
            self._write(self._path / name, value)

    def limit(self, share: float) -> None:
        """Of one processor."""
        quota = int(PERIOD_US * share)
        if self._unified:
            self._write(self._path / "cpu.max", f"{quota} {PERIOD_US}")
        else:
            self._write(self._path / "cpu.cfs_period_us", PERIOD_US)
            self._write(self._path / "cpu.cfs_quota_us", quota)

    def close(self) -> None:
        """The process, if it still lives, is free. Again is nothing."""
        if not self._path.exists():
            return
        self._thaw()
        if self._from is not None:
            pid, before = self._from
            if Path(f"/proc/{pid}").exists():
                with contextlib.suppress(Trouble):  # it ends just now: then it leaves by itself
                    self._write(before / "cgroup.procs", pid)
        until(self._removed, what=f"nobody is in {self._path}")

    def _removed(self) -> bool:
        try:
            self._path.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise Trouble(f"{self._path}: {error}") from error
            return False
        return True

    @staticmethod
    def _write(path: Path, value: object) -> None:
        try:
            path.write_text(f"{value}\n")
        except OSError as error:
            raise Trouble(f"{path}: {error}") from error


def freezer() -> Cgroup:
    """Raises: Trouble."""
    return Cgroup(_FREEZER)


def processor() -> Cgroup:
    """Raises: Trouble."""
    return Cgroup(_CPU)


def _root(kind: str) -> tuple[bool, Path]:
    """True for version 2, and the folder in which groups of this kind are made."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, system, options, *_ = line.split()
        if system == "cgroup" and kind in options.split(","):
            return False, Path(mount)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, system, *_ = line.split()
        if system == "cgroup2":
            return True, Path(mount)
    raise Trouble("no control groups are mounted on this machine")


@cache
def unavailable(kind: str) -> str | None:
    """Why it cannot be done here; it tries it on a process that sleeps."""
    if os.geteuid() != 0:
        return "it needs root"
    try:
        group = Cgroup(kind)
    except Trouble as trouble:
        return str(trouble)
    with Popen(["sleep", "60"], stdout=DEVNULL) as sleeper:
        try:
            group.take(sleeper.pid)
            if kind == _FREEZER:
                group.freeze()
            else:
                group.limit(0.1)
        except (Trouble, OSError) as error:
            return f"the kernel has no {kind} control groups: {error}"
        finally:
            group.close()
            sleeper.kill()
    return None


def freezing_unavailable() -> str | None:
    return unavailable(_FREEZER)


def limiting_unavailable() -> str | None:
    return unavailable(_CPU)
