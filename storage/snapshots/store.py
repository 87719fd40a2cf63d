"""Snapshots on disk: copies of the state, and at most one that is being received.

    <name>.state      the copy, an LMDB environment of one file
    <name>.manifest   its meta, with a checksum of its own; written last
    <name>.part       the bytes received so far of one that is being received
    taking            a copy that is being made

A snapshot exists if and only if its manifest does. The rule that must hold: a listed snapshot is whole, is the state
that its meta names, and is on disk. A kill or a full disk leaves only files that the next open removes.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from raftmem.errors import Corrupt, is_shortage
from raftmem.model.records import Head
from raftmem.storage.atomic_file import sync_file, sync_folder, write_atomic
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.copy import SUFFIX, checksum, open_copy, state_file
from raftmem.storage.state.copy_rules import difference

FORMAT: Final = 1
_MANIFEST: Final = ".manifest"
_PART: Final = ".part"
_TAKING: Final = "taking"
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[int, SnapshotMeta]).decode
_SEAL_BYTES: Final = 16


class Source(Protocol):
    """The state that is copied; see `LmdbStateStore`."""

    @property
    def path(self) -> str: ...

    def head(self) -> Head: ...

    def copy(self, descriptor: int) -> None: ...


class Damage(NamedTuple):
    """A snapshot that cannot be used, and why."""

    name: str
    what: str


class FileSnapshotStore:
    """One thread at a time, but for `all`.

    `source`: None for a look at a folder that may be in use: then nothing in it is changed.
    `spare_bytes`: what may be written without touching the disk's reserve.
    """

    def __init__(
        self, folder: Path, source: Source | None, *, spare_bytes: Callable[[], int] = lambda: 1 << 62
    ) -> None:
        self.folder = folder
        self.damaged: list[Damage] = []  # as found at open
        self._source = source
        self._spare_bytes = spare_bytes
        self._receiving: SnapshotMeta | None = None
        if source is not None:
            folder.mkdir(exist_ok=True)
        self._listed = self._scan()
        if source is not None:
            self._remove_leftovers()

    def all(self) -> list[SnapshotMeta]:
        return list(self._listed)

    # --- taking -----------------------------------------------------------------------------------
    def take(self, members_at: Callable[[int], LogEntry], wall_ms: int) -> SnapshotMeta:
        """The newest one again when nothing was applied since, and it is sound."""
        source = self._source
        assert source is not None, "opened to look only"
        head = source.head()
        for known in self._listed:
            if (known.index, known.term, known.digest) == (head.index, head.term, head.digest):
                if self.verify(known) is None:
                    return known
                self._drop([known])
        self._check_room(_size(source.path))
        taking = self.folder / _TAKING
        try:
            with open(taking, "wb") as file:
                source.copy(file.fileno())
                sync_file(file.fileno(), taking)
            with open_copy(taking) as reader:
                head = reader.head
                event = reader.event(head.index)
            if event is None:
                raise Corrupt(source.path, "no event stands", index=head.index)
            size, members = os.path.getsize(taking), members_at(head.index)
            meta = SnapshotMeta(
                head.index, head.term, size, checksum(taking), head.digest, event.data, members, wall_ms
            )
            self._list(taking, meta)
        finally:
            taking.unlink(missing_ok=True)
        return meta

    def _list(self, path: Path, meta: SnapshotMeta) -> None:
        """A synced copy that was checked becomes a snapshot; in a shortage it stays what it was, under its old name."""
        listed = state_file(self.folder, meta)
        os.replace(path, listed)
        raw = _encode((FORMAT, meta))
        try:
            sync_folder(self.folder)
            write_atomic(self.folder / (meta.name + _MANIFEST), _seal(raw) + raw)
        except OSError as error:
            if is_shortage(error):
                os.replace(listed, path)
            raise
        others = (known for known in self._listed if known.name != meta.name)
        self._listed = tuple(sorted((meta, *others), key=_age, reverse=True))

    # --- sending ----------------------------------------------------------------------------------
    def read(self, meta: SnapshotMeta, offset: int, size: int) -> bytes:
        with open(state_file(self.folder, meta), "rb") as file:
            return os.pread(file.fileno(), size, offset)

    # --- receiving --------------------------------------------------------------------------------
    def begin(self, meta: SnapshotMeta) -> int:
        if meta in self._listed:
            return meta.size
        self._receiving = meta
        part = self._part(meta)
        for other in self.folder.glob("*" + _PART):
            if other != part:
                other.unlink()
        there = _size(part)
        if there > meta.size:
            part.unlink()
            return 0
        return there

    def write(self, meta: SnapshotMeta, offset: int, data: bytes) -> int:
        if meta in self._listed:
            return meta.size
        if meta != self._receiving:
            return 0
        part = self._part(meta)
        there = _size(part)
        if offset != there or there + len(data) > meta.size:
            return there
        self._check_room(len(data))
        with open(part, "ab", buffering=0) as file:
            written = file.write(data)
        return there + written

    def finish(self, meta: SnapshotMeta) -> bool:
        if meta in self._listed:
            sound = self.verify(meta) is None
            if not sound:
                self._drop((meta,))
            return sound
        part = self._part(meta)
        if meta != self._receiving or not part.exists():
            return False
        if self._doubt(part, meta) is not None:
            self._receiving = None
            part.unlink()
            return False
        with open(part, "rb") as file:
            sync_file(file.fileno(), part)
        self._list(part, meta)
        self._receiving = None
        return True

    def _part(self, meta: SnapshotMeta) -> Path:
        return self.folder / (meta.name + _PART)

    # --- keeping ----------------------------------------------------------------------------------
    def drop(self, dropped: Collection[SnapshotMeta]) -> None:
        self._drop([meta for meta in self._listed if meta in dropped])

    def _drop(self, dropped: Sequence[SnapshotMeta]) -> None:
        """Remove manifests first: a kill in between leaves files that nothing lists."""
        self._listed = tuple(meta for meta in self._listed if meta not in dropped)
        for meta in dropped:
            (self.folder / (meta.name + _MANIFEST)).unlink()
        for meta in dropped:
            state_file(self.folder, meta).unlink(missing_ok=True)

    def verify(self, meta: SnapshotMeta) -> str | None:
        """The problem of a snapshot in words (length, checksum, digest, last entry); None if it is sound."""
        try:
            return self._doubt(state_file(self.folder, meta), meta)
        except FileNotFoundError:
            return "its file is not there"

    @staticmethod
    def _doubt(path: Path, meta: SnapshotMeta) -> str | None:
        size = os.path.getsize(path)
        if size != meta.size:
            return f"has {size} bytes, not {meta.size}"
        if checksum(path) != meta.checksum:
            return "has another checksum than its manifest"
        try:
            with open_copy(path) as reader:
                return difference(meta, reader.head, reader.event(reader.head.index))
        except Corrupt as error:
            return f"is no state ({error})"

    def _check_room(self, size: int) -> None:
        spare = self._spare_bytes()
        if size > spare:
            raise OSError(errno.ENOSPC, f"{size >> 20} MiB are needed, {max(0, spare) >> 20} MiB may be used")

    # --- opening ----------------------------------------------------------------------------------
    def _scan(self) -> tuple[SnapshotMeta, ...]:
        found: list[SnapshotMeta] = []
        for path in sorted(self.folder.glob("*" + _MANIFEST)):
            name = path.name.removesuffix(_MANIFEST)
            try:
                meta = _read_manifest(path)
                size = os.path.getsize(state_file(self.folder, meta))
            except FileNotFoundError:
                self.damaged.append(Damage(name, "its file is not there"))
            except ValueError as error:
                self.damaged.append(Damage(name, str(error)))
            else:
                if (meta.name, meta.size) == (name, size):
                    found.append(meta)
                else:
                    self.damaged.append(Damage(name, f"has {size} bytes, not {meta.size}"))
        return tuple(sorted(found, key=_age, reverse=True))

    def _remove_leftovers(self) -> None:
        """Remove files that a kill left unfinished. A partly received snapshot stays: its transfer may go on."""
        named = {path.name.removesuffix(_MANIFEST) for path in self.folder.glob("*" + _MANIFEST)}
        for path in self.folder.iterdir():
            unlisted = path.suffix == SUFFIX and path.name.removesuffix(SUFFIX) not in named
            if unlisted or path.name == _TAKING or path.suffix == ".new":
                path.unlink()


def _age(meta: SnapshotMeta) -> tuple[int, str]:
    return meta.index, meta.name


def _seal(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=_SEAL_BYTES).digest()


def _read_manifest(path: Path) -> SnapshotMeta:
    """Raises: ValueError for a damaged one or one of another format."""
    sealed = path.read_bytes()
    raw = sealed[_SEAL_BYTES:]
    if sealed[:_SEAL_BYTES] != _seal(raw):
        raise ValueError("its manifest is damaged")
    try:
        version, meta = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"its manifest is of another format than {FORMAT} ({error})") from error
    if version != FORMAT:
        raise ValueError(f"its manifest has format {version}, this program knows {FORMAT}")
    return meta


def _size(path: str | Path) -> int:
    """0 if it is not there: it was never begun, or is being replaced."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0
