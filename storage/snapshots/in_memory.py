"""Snapshots in memory: the twin of `store.py` for tests and the simulator.

The bytes are real: they are made from the state, arrive in chunks, have a checksum, and `InMemoryFiles` can damage
them. It refuses what the store on disk refuses.
"""

import errno
from collections.abc import Callable, Collection

from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.in_memory_copy import InMemoryFiles, doubt


class InMemorySnapshotStore:
    """One thread at a time. `files` outlive it, as a disk would."""

    def __init__(self, files: InMemoryFiles, source: InMemoryStateStore) -> None:
        self._files = files
        self._source = source
        self._receiving: SnapshotMeta | None = None

    def all(self) -> list[SnapshotMeta]:
        return sorted(self._files.listed, key=lambda meta: (meta.index, meta.name), reverse=True)

    def take(self, members_at: Callable[[int], LogEntry], wall_ms: int) -> SnapshotMeta:
        head = self._source.head()
        for known in self._files.listed:
            if (known.index, known.term, known.digest) == (head.index, head.term, head.digest):
                if self.verify(known) is None:
                    return known
                del self._files.listed[known]
                break
        head, event, data, checksum = self._source.copy()
        meta = SnapshotMeta(
            head.index, head.term, len(data), checksum, head.digest, event.data, members_at(head.index), wall_ms
        )
        self._check_room(len(data))
        self._files.listed[meta] = data
        return meta

    def read(self, meta: SnapshotMeta, offset: int, size: int) -> bytes:
        data = self._files.listed.get(meta)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, "snapshot was dropped", meta.name)
        return data[offset : offset + size]

    def begin(self, meta: SnapshotMeta) -> int:
        files = self._files
        if meta in files.listed:
            return meta.size
        self._receiving = meta
        if files.partial is None or files.partial[0].name != meta.name or len(files.partial[1]) > meta.size:
            files.partial = (meta, bytearray())
        return len(files.partial[1])

    def write(self, meta: SnapshotMeta, offset: int, data: bytes) -> int:
        if meta in self._files.listed:
            return meta.size
        if meta != self._receiving or self._files.partial is None:
            return 0
        part = self._files.partial[1]
        if offset == len(part) and len(part) + len(data) <= meta.size:
            self._check_room(len(data))
            part += data
        return len(part)

    def finish(self, meta: SnapshotMeta) -> bool:
        if meta in self._files.listed:
            sound = self.verify(meta) is None
            if not sound:
                del self._files.listed[meta]
            return sound
        if meta != self._receiving or self._files.partial is None:
            return False
        data = bytes(self._files.partial[1])
        self._files.partial, self._receiving = None, None
        if doubt(meta, data) is not None:
            return False
        self._files.listed[meta] = data
        return True

    def drop(self, dropped: Collection[SnapshotMeta]) -> None:
        for meta in dropped:
            self._files.listed.pop(meta, None)

    def verify(self, meta: SnapshotMeta) -> str | None:
        """As of the store on disk."""
        data = self._files.listed.get(meta)
        return "its file is not there" if data is None else doubt(meta, data)

    def _check_room(self, size: int) -> None:
        limit = self._files.bytes_max
        if limit is not None and self._files.bytes_held() + size > limit:
            raise OSError(errno.ENOSPC, "no room left for a snapshot")
