"""The kernel's FUSE protocol (linux/fuse.h, 7.x), as far as a folder of plain files needs it; no library between.

`serve` answers requests of the kernel, one after another, out of a `FileSystem`. A request that it does not know
(links, devices, extended attributes) is ENOSYS, which the kernel remembers. Locks are the kernel's own. Rule: the file
system is changed through its mount alone, so the kernel may cache its answers.
"""

import errno
import os
import select
import stat
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NamedTuple

ROOT: Final = 1
WRITE_BYTES_MAX: Final = 1 << 17

_UNANSWERED: Final = frozenset({2, 36, 42})  # FORGET, INTERRUPT, BATCH_FORGET

_HEADER: Final = struct.Struct("<IIQQIIII")
_REPLY: Final = struct.Struct("<IiQ")
_ATTRIBUTES: Final = struct.Struct("<6Q10I")
_INIT_IN: Final = struct.Struct("<4I")
_INIT_OUT: Final = struct.Struct("<4I2H2I9I")
_TRANSFER: Final = struct.Struct("<QQIIQII")  # of a read and of a write
_ENTRY: Final = struct.Struct("<4Q2I")
_VALID_S: Final = 3600
_KEEP_CACHE: Final = 1 << 1
_WANTED: Final = 1 << 0 | 1 << 5  # several reads at a time; writes of more than a page
_SET_MODE, _SET_SIZE = 1 << 0, 1 << 3


class Entry(NamedTuple):
    """A name that is there. `node`: never given to anything else."""

    node: int
    found: os.stat_result


class FileSystem(ABC):
    """The mounted files. Nodes are numbers, `ROOT` the folder itself. All raise OSError, which the caller is told."""

    @abstractmethod
    def look_up(self, folder: int, name: str) -> Entry: ...

    @abstractmethod
    def attributes(self, node: int) -> os.stat_result: ...

    @abstractmethod
    def resize(self, node: int, size: int) -> None: ...

    @abstractmethod
    def change_mode(self, node: int, mode: int) -> None: ...

    @abstractmethod
    def make_file(self, folder: int, name: str, mode: int) -> Entry: ...

    @abstractmethod
    def make_folder(self, folder: int, name: str, mode: int) -> Entry: ...

    @abstractmethod
    def remove(self, folder: int, name: str) -> None: ...

    @abstractmethod
    def rename(self, folder: int, name: str, to: int, to_name: str) -> None: ...

    @abstractmethod
    def names(self, folder: int) -> list[tuple[str, bool]]:
        """And whether each is a folder."""

    @abstractmethod
    def open(self, node: int) -> None: ...

    @abstractmethod
    def release(self, node: int) -> None:
        """Once for each `open` and `make_file`."""

    @abstractmethod
    def read(self, node: int, offset: int, size: int) -> bytes: ...

    @abstractmethod
    def write(self, node: int, offset: int, content: bytes, *, synced: bool) -> None: ...

    @abstractmethod
    def sync(self, node: int) -> None: ...

    @abstractmethod
    def sync_folder(self, folder: int) -> None: ...

    @abstractmethod
    def room(self) -> os.statvfs_result: ...


def serve(device: int, files: FileSystem, *, until: int) -> None:
    """Answer until there is something to read at `until`, or it was closed, or the mount is gone."""
    waiting = select.poll()
    waiting.register(device, select.POLLIN)
    waiting.register(until, select.POLLIN)
    answers = _Answers(files)
    while not any(ready == until for ready, _ in waiting.poll()):
        try:
            request = os.read(device, WRITE_BYTES_MAX + 4096)
        except OSError as error:
            if error.errno == errno.ENODEV:  # unmounted
                return
            if error.errno in (errno.EINTR, errno.ENOENT):  # a request that was taken back
                continue
            raise
        _, opcode, unique, node, *_ = _HEADER.unpack_from(request)
        if opcode in _UNANSWERED:
            continue
        problem, answer = 0, b""
        try:
            answer = answers.to(opcode, node, request[_HEADER.size :])
        except OSError as error:
            problem = error.errno or errno.EIO
        try:
            os.write(device, _REPLY.pack(_REPLY.size + len(answer), -problem, unique) + answer)
        except OSError as error:
            if error.errno != errno.ENOENT:  # who asked was killed and waits no more
                raise


class _Answers:
    """The answers by opcode; each method is given the node and the bytes behind the header."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self._by_opcode: Final[dict[int, Callable[[int, bytes], bytes]]] = {
            1: self._look_up,
            3: lambda node, _: _attributes(node, files.attributes(node)),
            4: self._change,
            9: self._make_folder,
            10: lambda folder, body: _nothing(files.remove(folder, _name(body))),
            11: lambda folder, body: _nothing(files.remove(folder, _name(body))),
            12: self._rename,
            14: self._open,
            15: self._read,
            16: self._write,
            17: self._room,
            18: lambda node, _: _nothing(files.release(node)),
            20: self._sync,
            25: lambda _, __: b"",  # FLUSH: a descriptor was closed, which promises nothing
            26: self._begin,
            27: lambda _, __: _opened(0),  # OPENDIR
            28: self._names,
            29: lambda _, __: b"",  # RELEASEDIR
            30: lambda folder, _: _nothing(files.sync_folder(folder)),
            35: self._make_file,
            38: lambda _, __: b"",  # DESTROY
        }

    def to(self, opcode: int, node: int, body: bytes) -> bytes:
        """The answer without its header. Raises: OSError."""
        answer = self._by_opcode.get(opcode)
        if answer is None:
            raise OSError(errno.ENOSYS, f"request {opcode}")
        return answer(node, body)

    def _begin(self, _: int, body: bytes) -> bytes:
        major, minor, read_ahead, flags = _INIT_IN.unpack_from(body)
        return _INIT_OUT.pack(major, minor, read_ahead, flags & _WANTED, 16, 12, WRITE_BYTES_MAX, 1, *[0] * 9)

    def _look_up(self, folder: int, body: bytes) -> bytes:
        return _entry(self._files.look_up(folder, _name(body)))

    def _change(self, node: int, body: bytes) -> bytes:
        """Of a size and a mode; times and owners are taken and forgotten."""
        valid, _, _, size = struct.unpack_from("<IIQQ", body)
        (mode,) = struct.unpack_from("<I", body, 68)
        if valid & _SET_SIZE:
            self._files.resize(node, size)
        if valid & _SET_MODE:
            self._files.change_mode(node, stat.S_IMODE(mode))
        return _attributes(node, self._files.attributes(node))

    def _make_folder(self, folder: int, body: bytes) -> bytes:
        mode, _ = struct.unpack_from("<II", body)
        return _entry(self._files.make_folder(folder, _name(body[8:]), mode))

    def _make_file(self, folder: int, body: bytes) -> bytes:
        flags, mode, _, _ = struct.unpack_from("<IIII", body)
        return _entry(self._files.make_file(folder, _name(body[16:]), stat.S_IMODE(mode))) + _opened(flags)

    def _rename(self, folder: int, body: bytes) -> bytes:
        (to,) = struct.unpack_from("<Q", body)
        name, to_name, _ = body[8:].split(b"\0", 2)
        return _nothing(self._files.rename(folder, os.fsdecode(name), to, os.fsdecode(to_name)))

    def _open(self, node: int, body: bytes) -> bytes:
        (flags,) = struct.unpack_from("<I", body)
        self._files.open(node)
        return _opened(flags)

    def _sync(self, node: int, body: bytes) -> bytes:
        """Over a handle under O_DSYNC the kernel asks for it after each write, which has synced what it wrote."""
        (handle,) = struct.unpack_from("<Q", body)
        return b"" if handle & os.O_DSYNC else _nothing(self._files.sync(node))

    def _read(self, node: int, body: bytes) -> bytes:
        _, offset, size, *_ = _TRANSFER.unpack_from(body)
        return self._files.read(node, offset, size)

    def _write(self, node: int, body: bytes) -> bytes:
        _, offset, size, _, _, flags, _ = _TRANSFER.unpack_from(body)
        content = body[_TRANSFER.size : _TRANSFER.size + size]
        self._files.write(node, offset, content, synced=bool(flags & os.O_DSYNC))
        return struct.pack("<II", size, 0)

    def _names(self, folder: int, body: bytes) -> bytes:
        """As many as the kernel has room for; it comes again with the offset of the last it took."""
        _, offset, size, *_ = _TRANSFER.unpack_from(body)
        rows = bytearray()
        for place, (name, is_folder) in enumerate(self._files.names(folder)[offset:], offset + 1):
            raw = os.fsencode(name)
            kind = stat.S_IFDIR if is_folder else stat.S_IFREG
            row = struct.pack("<QQII", place + ROOT, place, len(raw), kind >> 12) + raw
            row += bytes(-len(row) % 8)
            if len(rows) + len(row) > size:
                break
            rows += row
        return bytes(rows)

    def _room(self, _: int, __: bytes) -> bytes:
        room = self._files.room()
        counts = (room.f_blocks, room.f_bfree, room.f_bavail, room.f_files, room.f_ffree)
        return struct.pack("<5Q10I", *counts, room.f_bsize, room.f_namemax, room.f_frsize, *[0] * 7)


def _opened(flags: int) -> bytes:
    """The kernel's handle says only how the file was opened: this code tells nodes apart, not handles."""
    return struct.pack("<QII", flags & os.O_DSYNC, _KEEP_CACHE, 0)


def _nothing(_: None) -> bytes:
    return b""


def _name(raw: bytes) -> str:
    return os.fsdecode(raw[: raw.index(b"\0")])


def _entry(entry: Entry) -> bytes:
    return _ENTRY.pack(entry.node, 0, _VALID_S, _VALID_S, 0, 0) + _packed(entry.node, entry.found)


def _attributes(node: int, found: os.stat_result) -> bytes:
    return struct.pack("<QII", _VALID_S, 0, 0) + _packed(node, found)


def _packed(node: int, found: os.stat_result) -> bytes:
    times = [divmod(ns, 10**9) for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
    seconds, rests = zip(*times, strict=True)
    owner = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, found.st_blksize, 0)
    return _ATTRIBUTES.pack(node, found.st_size, found.st_blocks, *seconds, *rests, *owner)
