"""Disks that fail on purpose under a log: at a chosen call, or with the power, which takes what was not synced.

Power: of each write that was not synced any sectors may be on the disk, and any of the names that were changed since
their folder was synced. A sector is written whole or not at all, and one that is written again with what it held
keeps that: the fault model of `docs/format.md`.
"""

import errno
import os
import random
from collections.abc import Callable, Iterator
from itertools import chain, product
from pathlib import Path

from raftmem.storage.log.files import Files

SECTOR = 512
Strike = Callable[[str, Callable[[], None], bytes], int]  # name of the call, half of it, what would be written


class Killed(BaseException):
    """The process is gone: nothing after this call has happened."""


class Struck(Files):
    """One call, counted from now, does not do what it should: `strike` is given the call and decides."""

    def __init__(self) -> None:
        self.left = -1
        self.is_dead = False
        self.strike: Strike = killed_before
        self.names: list[str] = []

    def arm(self, call: int, strike: Strike) -> None:
        self.left, self.strike = call, strike
        self.names = []

    def _call(self, name: str, act: Callable[[], None], data: bytes = b"") -> bool:
        """Whether it was done as it should."""
        if self.is_dead:
            raise Killed
        self.names.append(name)
        self.left -= 1
        if self.left == -1:
            try:
                self.strike(name, act, data)
            except Killed:
                self.is_dead = True
                raise
            return False
        return True

    def create(self, path: str) -> int:
        self._call("create", lambda: None)
        return super().create(path)

    def pwrite(self, file: int, data: bytes, at: int) -> int:
        half = len(data) // 2
        if self._call("pwrite", lambda: self._half(file, data[:half], at), data):
            return super().pwrite(file, data, at)
        return half

    def _half(self, file: int, data: bytes, at: int) -> None:
        super().pwrite(file, data, at)

    def fdatasync(self, file: int) -> None:
        self._call("fdatasync", lambda: None)
        super().fdatasync(file)

    def truncate(self, file: int, length: int) -> None:
        self._call("truncate", lambda: None)
        super().truncate(file, length)

    def rename(self, old: str, new: str) -> None:
        self._call("rename", lambda: None)
        super().rename(old, new)

    def unlink(self, path: str) -> None:
        self._call("unlink", lambda: None)
        super().unlink(path)

    def sync_folder(self, path: Path, folder: int) -> None:
        self._call("sync_folder", lambda: None)
        super().sync_folder(path, folder)


def killed_before(_name: str, _act: Callable[[], None], _data: bytes) -> int:
    raise Killed


def killed_halfway(_name: str, act: Callable[[], None], _data: bytes) -> int:
    act()
    raise Killed


def short_write(_name: str, act: Callable[[], None], _data: bytes) -> int:
    act()
    return 0


def fails(code: int) -> Strike:
    def strike(name: str, _act: Callable[[], None], _data: bytes) -> int:
        raise OSError(code, f"{name}: {os.strerror(code)}")

    return strike


def fills_up(_name: str, act: Callable[[], None], _data: bytes) -> int:
    """Half of it found room."""
    act()
    raise OSError(errno.ENOSPC, "no space left on this disk")


class _Inode:
    def __init__(self) -> None:
        self.synced = b""
        self.pending: list[tuple[int, bytes]] = []  # (offset, sectors of it)
        self.size: int | None = None  # what it was cut to


class Machine(Files):
    """Knows what of the log is on disk for sure, and what may be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = 0
        self.stops_at = -1
        self._open: dict[int, _Inode] = {}
        self._names: dict[str, _Inode] = {}  # as the process sees them
        self._synced: dict[str, _Inode] = {}
        self._salts = 0
        for path in folder.glob("*"):
            inode = _Inode()
            inode.synced = path.read_bytes()
            self._names[path.name] = self._synced[path.name] = inode

    def _count(self) -> None:
        self.calls += 1
        if 0 < self.stops_at <= self.calls:
            raise Killed

    def create(self, path: str) -> int:
        self._count()
        file = super().create(path)
        self._names[os.path.basename(path)] = self._open[file] = _Inode()
        return file

    def open(self, path: str) -> int:
        file = super().open(path)
        self._open[file] = self._names[os.path.basename(path)]
        return file

    def pwrite(self, file: int, data: bytes, at: int) -> int:
        self._count()
        self._open[file].pending += list(sectors(data, at))
        return super().pwrite(file, data, at)

    def fdatasync(self, file: int) -> None:
        self._count()
        inode = self._open[file]
        inode.synced, inode.pending, inode.size = os.pread(file, 1 << 30, 0), [], None

    def truncate(self, file: int, length: int) -> None:
        self._count()
        self._open[file].size = length
        super().truncate(file, length)

    def rename(self, old: str, new: str) -> None:
        self._count()
        super().rename(old, new)
        self._names[os.path.basename(new)] = self._names.pop(os.path.basename(old))

    def unlink(self, path: str) -> None:
        self._count()
        super().unlink(path)
        self._names.pop(os.path.basename(path), None)

    def sync_folder(self, path: Path, folder: int) -> None:  # noqa: ARG002  # nothing is synced here
        self._count()
        assert path == self.folder
        self._synced = dict(self._names)

    def lose_power(self, chance: random.Random) -> None:
        """What is in the folder then."""
        for path in self.folder.glob("*"):
            path.unlink()
        for name in sorted({*self._names, *self._synced}):
            found = (self._names.get(name), self._synced.get(name))
            inode = found[0] if found[0] is found[1] else chance.choice(found)
            if inode is not None:
                (self.folder / name).write_bytes(_left(inode, chance))


def _left(inode: _Inode, chance: random.Random) -> bytes:
    content = bytearray(inode.synced)
    share = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    for at, sector in inode.pending:
        if chance.random() < share:
            put(content, at, sector)
    if inode.size is not None and chance.random() < 0.5:
        del content[inode.size :]
    return bytes(content)


def sectors(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """A write, cut where sectors begin."""
    done = 0
    while done < len(data):
        many = SECTOR - (at + done) % SECTOR
        yield at + done, data[done : done + many]
        done += many


def put(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def every_subset(content: bytes, write: bytes, at: int) -> Iterator[bytes]:
    """The file after any of the sectors of a write have reached it."""
    parts = list(sectors(write, at))
    for chosen in product((False, True), repeat=len(parts)):
        torn = bytearray(content)
        for (place, sector), is_there in zip(parts, chosen, strict=True):
            if is_there:
                put(torn, place, sector)
        yield bytes(torn)


def every_bit(content: bytes, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """The content with one bit of one byte flipped; one bit of each byte, another each time."""
    for at in chain(range(start, stop)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        yield at, bytes(flipped)
