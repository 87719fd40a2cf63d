"""A folder on a disk that loses, when the power fails, all that was not synced: bytes, sizes and names.

A write goes to plain files at once. For each page, size and name that it changes, the content on the disk is
remembered until it is synced, and put back when the power fails. Bytes wait for a sync of their file (or are written
under O_DSYNC), names for a sync of their folder, as POSIX has it: most disks promise more.

It runs as a process of its own, `python -m jepsen_like.cluster.lossy_fs LIVE MOUNT`: it mounts, says `ready`, and goes
on until its input says `keep`, `lose SEED SHARE` or ends; then it unmounts. `slow MS` before that makes each sync take
up to so long. Rule: in the end LIVE is what the disk would have.
"""

import contextlib
import errno
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from io import RawIOBase
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from jepsen_like.cluster.fuse import ROOT, Entry, FileSystem, serve

PAGE: Final = 4096
HELD: Final = ".held"  # beside LIVE: files that the disk still has under a name that is gone


class _Node:
    """A file or folder while it has a name or is open. `before`: what the disk has of the pages that were changed since
    the last sync; `size`: of the file on the disk, None while nothing waits for a sync."""

    def __init__(self, path: str) -> None:
        self.path: str | None = path
        self.opened = 0
        self.descriptor: int | None = None
        self.before: dict[int, bytes] = {}
        self.size: int | None = None


class _Change(NamedTuple):
    """Names changed in `folders`. To undo it, move each first path to the second, or remove it (None)."""

    folders: frozenset[int]
    undo: tuple[tuple[str, str | None], ...]


class LossyFiles(FileSystem):
    """Files that are in `live` at the start are on the disk.

    `sync_ms`: how long a sync takes at most; each takes its own time, as on disks that have other work too.
    """

    def __init__(self, live: Path) -> None:
        self.sync_ms = 0.0
        self._live = str(live)
        self._held = f"{live}{HELD}"
        os.makedirs(self._held, exist_ok=True)
        self._nodes = {ROOT: _Node(self._live)}
        self._by_path = {self._live: ROOT}
        self._changes: list[_Change] = []
        self._next = count(ROOT + 1)

    # --- names --------------------------------------------------------------------------------------
    def _path(self, folder: int, name: str) -> str:
        return f"{self._named(folder)}/{name}"

    def _named(self, node: int) -> str:
        path = self._nodes[node].path
        if path is None:
            raise OSError(errno.ENOENT, "it has no name any more")
        return path

    def _entry(self, path: str) -> Entry:
        found = os.lstat(path)
        node = self._by_path.get(path)
        if node is None:
            node = self._by_path[path] = next(self._next)
            self._nodes[node] = _Node(path)
        return Entry(node, found)

    def look_up(self, folder: int, name: str) -> Entry:
        return self._entry(self._path(folder, name))

    def names(self, folder: int) -> list[tuple[str, bool]]:
        with os.scandir(self._named(folder)) as found:
            return sorted((one.name, one.is_dir()) for one in found)

    def make_file(self, folder: int, name: str, mode: int) -> Entry:
        path = self._path(folder, name)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, mode))
        self._changed(folder, undo=((path, None),))
        entry = self._entry(path)
        self.open(entry.node)
        return entry

    def make_folder(self, folder: int, name: str, mode: int) -> Entry:
        path = self._path(folder, name)
        os.mkdir(path, mode)
        self._changed(folder, undo=((path, None),))
        return self._entry(path)

    def remove(self, folder: int, name: str) -> None:
        path = self._path(folder, name)
        if stat.S_ISDIR(os.lstat(path).st_mode) and os.listdir(path):
            raise OSError(errno.ENOTEMPTY, path)
        self._changed(folder, undo=((self._hold(path), path),))

    def rename(self, folder: int, name: str, to: int, to_name: str) -> None:
        old, new = self._path(folder, name), self._path(to, to_name)
        undo: tuple[tuple[str, str | None], ...] = ((new, old),)
        if os.path.lexists(new):
            if os.path.isdir(new) and os.listdir(new):
                raise OSError(errno.ENOTEMPTY, new)
            undo += ((self._hold(new), new),)
        os.rename(old, new)
        for path in [one for one in self._by_path if _is_under(one, old)]:
            node = self._by_path.pop(path)
            moved = new + path[len(old) :]
            self._by_path[moved] = node
            self._nodes[node].path = moved
        self._changed(folder, to, undo=undo)

    def _hold(self, path: str) -> str:
        """Take the name away; where it is kept."""
        kept = f"{self._held}/{next(self._next)}"
        os.rename(path, kept)
        node = self._by_path.pop(path, None)
        if node is not None:
            self._nodes[node].path = None
        return kept

    def _changed(self, *folders: int, undo: tuple[tuple[str, str | None], ...]) -> None:
        self._changes.append(_Change(frozenset(folders), undo))

    def sync_folder(self, folder: int) -> None:
        """Its names are on the disk, also those that came from another folder or went there."""
        kept: list[_Change] = []
        for change in self._changes:
            if folder not in change.folders:
                kept.append(change)
                continue
            for source, target in change.undo:
                if source.startswith(self._held):
                    _discard(source)
                elif target is not None and os.path.isdir(source):  # older changes below it are to be undone there
                    kept = [_elsewhere(older, target, source) for older in kept]
        self._changes = kept

    # --- bytes --------------------------------------------------------------------------------------
    def attributes(self, node: int) -> os.stat_result:
        one = self._nodes[node]
        return os.lstat(one.path) if one.path is not None else os.fstat(self._descriptor(node))

    def change_mode(self, node: int, mode: int) -> None:
        os.chmod(self._named(node), mode)

    def open(self, node: int) -> None:
        self._descriptor(node)
        self._nodes[node].opened += 1

    def _descriptor(self, node: int) -> int:
        one = self._nodes[node]
        if one.descriptor is None:
            one.descriptor = os.open(self._named(node), os.O_RDWR)
        return one.descriptor

    def release(self, node: int) -> None:
        one = self._nodes[node]
        one.opened -= 1
        self._let_go(one)

    @staticmethod
    def _let_go(one: _Node) -> None:
        """Its descriptor, unless somebody has it open or the disk has other bytes."""
        if one.opened == 0 and one.size is None and one.descriptor is not None:
            os.close(one.descriptor)
            one.descriptor = None

    def read(self, node: int, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor(node), size, offset)

    def write(self, node: int, offset: int, content: bytes, *, synced: bool) -> None:
        one, descriptor = self._nodes[node], self._descriptor(node)
        end = offset + len(content)
        pages = range(offset // PAGE, -(-end // PAGE))
        if not synced or self.sync_ms:
            self._remember(one, descriptor, pages)
        left = memoryview(content)
        while left:
            left = left[os.pwrite(descriptor, left, end - len(left)) :]
        if synced and one.size is not None:
            self._take_time()
            for page in pages:
                one.before.pop(page, None)
            one.size = max(one.size, end)

    def resize(self, node: int, size: int) -> None:
        one, descriptor = self._nodes[node], self._descriptor(node)
        now = os.fstat(descriptor).st_size
        self._remember(one, descriptor, range(size // PAGE, -(-now // PAGE)))
        os.ftruncate(descriptor, size)

    def _take_time(self) -> None:
        time.sleep(self.sync_ms / 1000 * random.random())

    @staticmethod
    def _remember(one: _Node, descriptor: int, pages: range) -> None:
        if one.size is None:
            one.size = os.fstat(descriptor).st_size
        for page in pages:
            if page not in one.before:
                one.before[page] = os.pread(descriptor, PAGE, page * PAGE)

    def sync(self, node: int) -> None:
        self._take_time()
        one = self._nodes[node]
        one.before.clear()
        one.size = None
        self._let_go(one)

    def room(self) -> os.statvfs_result:
        return os.statvfs(self._live)

    # --- the power fails ------------------------------------------------------------------------------
    def lose(self, *, chance: random.Random, share: float) -> int:
        """Put back what the disk has. `share`: of the changed pages, how many had reached it all the same.

        How many pages and names were lost.
        """
        lost = len(self._changes)
        for one in self._nodes.values():
            if one.size is None or one.descriptor is None:
                continue
            reached = {page for page in one.before if chance.random() < share}
            end = min(os.fstat(one.descriptor).st_size, PAGE * (max(reached, default=-1) + 1))
            for page in one.before.keys() - reached:
                os.pwrite(one.descriptor, one.before[page].ljust(PAGE, b"\0"), page * PAGE)
                lost += 1
            os.ftruncate(one.descriptor, max(one.size, end))
        for change in reversed(self._changes):
            for source, target in change.undo:
                if target is None:
                    _discard(source)
                elif os.path.lexists(source):
                    os.rename(source, target)
        self.forget()
        return lost

    def forget(self) -> None:
        """All that is written counts as on the disk."""
        self._changes.clear()
        _discard(self._held)


def _is_under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _elsewhere(change: _Change, old: str, new: str) -> _Change:
    def moved(path: str | None) -> str | None:
        return new + path[len(old) :] if path is not None and path.startswith(f"{old}/") else path

    return change._replace(undo=tuple((moved(source) or source, moved(target)) for source, target in change.undo))


def _discard(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def run(live: Path, mount: Path) -> None:
    """Raises: OSError, CalledProcessError when it cannot be mounted."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}"
    command = ["mount", "-i", "-n", "-t", "fuse", "-o", options, "raftmem-lossy", str(mount)]
    subprocess.run(command, check=True, pass_fds=[device])
    try:
        files = LossyFiles(live)
        print("ready", flush=True)
        with open(0, "rb", buffering=0, closefd=False) as words:
            while _obeyed(files, device, words):
                pass
    finally:
        os.close(device)  # from here on nothing waits for an answer of ours
        subprocess.run(["umount", "-l", mount], check=False)


def _obeyed(files: LossyFiles, device: int, words: RawIOBase) -> bool:
    """Obeys the next word; True if the process goes on."""
    serve(device, files, until=words.fileno())
    match words.readline().split():
        case [b"slow", ms]:
            files.sync_ms = float(ms)
            return True
        case [b"lose", seed, share]:
            print(files.lose(chance=random.Random(int(seed)), share=float(share)), flush=True)
        case _:
            files.forget()
    return False


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
