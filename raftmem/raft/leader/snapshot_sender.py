"""A leader sends a snapshot to one follower a chunk at a time; each is answered, and a broken transfer is resumed.

Rules (whole-snapshots): one chunk is under way, so memory is bounded on both sides; the follower says how much of this
very snapshot is there, nothing else moves the offset; the log is not compacted past a snapshot that is in transfer, up
to a stated limit.
"""

from collections.abc import Callable

from raftmem.limits import SNAPSHOT_CHUNK_BYTES
from raftmem.raft import messages as m
from raftmem.raft.interfaces import Snapshots
from raftmem.runtime.interfaces import Clock
from raftmem.storage.snapshots.contract import SnapshotMeta


class SnapshotSender:
    """`meta`: what is being sent. `send(message)` reaches the follower, or is lost. `patience`: seconds."""

    def __init__(
        self,
        *,
        snapshots: Snapshots,
        meta: SnapshotMeta,
        term: int,
        clock: Clock,
        patience: float,
        send: Callable[[m.Message], None],
        chunk_bytes: int = SNAPSHOT_CHUNK_BYTES,
    ) -> None:
        self.meta = meta
        self.over = False  # it is gone from this disk, or no longer needed
        self._snapshots = snapshots
        self._term = term
        self._clock = clock
        self._patience = patience
        self._send = send
        self._chunk_bytes = chunk_bytes
        self._under_way: int | None = None  # offset of the chunk that is not answered yet
        self._since = 0.0
        self._sent_all = False
        self._life = 0  # a reading of the disk that began before a reconnection is not sent after it

    def offer(self, number: int) -> None:
        """With a round: a sign of life, and a question how much is there."""
        if self._under_way is not None and self._clock.boottime() - self._since > self._patience:
            self._under_way = None
        self._send(m.Chunk(self._term, number, self.meta, 0, b""))

    def reconnected(self) -> None:
        """Take all that was under way for lost."""
        self._under_way = None
        self._life += 1

    def answered(self, reply: m.ChunkReply) -> None:
        """Send what follows, unless it is under way already."""
        if (reply.index, reply.checksum) != (self.meta.index, self.meta.checksum):
            return
        if reply.received >= self.meta.size or reply.received == self._under_way:
            return
        if reply.received == 0 and self._sent_all:
            self.over = True  # all of it went there, and it was not sound: look at it, go on with the newest
            self._snapshots.doubt(self.meta)
            return
        offset, life = reply.received, self._life
        self._under_way, self._since = offset, self._clock.boottime()

        def read(data: bytes | None) -> None:
            if self.over or life != self._life or self._under_way != offset:
                return
            if data is None:
                self.over = True
            else:
                self._sent_all = offset + len(data) >= self.meta.size
                self._send(m.Chunk(self._term, 0, self.meta, offset, data))

        self._snapshots.read(self.meta, offset, self._chunk_bytes, read)
