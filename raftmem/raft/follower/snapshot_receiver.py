"""A follower receives a snapshot in pieces, checks it as a whole and installs it at once, unless it does not need it.

Rules (whole-snapshots): nothing is claimed for a part; if this log holds the snapshot's last entry, or commit or
applied has reached it, log and state stay; else the log becomes that entry alone, and the state follows when that is
on disk. What is claimed then is the snapshot's index, never the end of the log.
"""

import logging
from collections.abc import Callable

from raftmem.model.codec import MEMBERSHIP, PREFIX_BYTES
from raftmem.raft import messages as m
from raftmem.raft.follower.append_handler import AppendHandler
from raftmem.raft.interfaces import Snapshots
from raftmem.raft.log.apply_queue import ApplyQueue
from raftmem.raft.log.durable_outbox import DurableOutbox
from raftmem.raft.log.journal import Journal
from raftmem.raft.pysyncobj_core import FOLLOWER, Core
from raftmem.raft.rules import UntrustedClaim, check_membership
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta

log = logging.getLogger("raftmem.raft")


def _check(chunk: m.Chunk) -> None:
    meta = chunk.meta
    sizes = (len(meta.checksum), len(meta.digest), min(len(meta.entry), PREFIX_BYTES), min(meta.index, meta.size, 1))
    if sizes != (32, 32, PREFIX_BYTES, 1):
        raise UntrustedClaim(f"a snapshot of index {meta.index} and {meta.size} bytes with fields of the wrong size")
    terms_rise = 0 <= meta.members.term <= meta.term <= chunk.term
    if not terms_rise or not 0 <= meta.members.index <= meta.index or meta.entry[0] > MEMBERSHIP:
        raise UntrustedClaim(f"a snapshot of index {meta.index}, term {meta.term} that no log goes on from")
    check_membership(meta.members.data)


class SnapshotReceiver:
    """`installed`: how often. One snapshot at a time; what comes meanwhile is answered by the leader's next offer."""

    def __init__(
        self,
        *,
        core: Core,
        journal: Journal,
        outbox: DurableOutbox,
        append_handler: AppendHandler,
        apply_queue: ApplyQueue,
        snapshots: Snapshots,
        step: Callable[[Callable[[], None]], None],
    ) -> None:
        """`step(work)` runs a step of consensus that a callback began: what it raises ends this replica."""
        self.installed = 0
        self._core = core
        self._journal = journal
        self._outbox = outbox
        self._append_handler = append_handler
        self._apply_queue = apply_queue
        self._snapshots = snapshots
        self._step = step
        self._receiving: SnapshotMeta | None = None
        self._received = 0
        self._busy = False  # the disk is being asked; or a state is made, or waits for the log

    def take(self, leader: str, chunk: m.Chunk) -> bool:
        """Take a chunk. True: it came from a live leader. Raises: UntrustedClaim for a snapshot that cannot be."""
        if self._receiving != chunk.meta:
            _check(chunk)
        if not self._append_handler.hear(leader, chunk.term):
            return False
        if chunk.round:
            self._outbox.send(leader, m.Echo(chunk.term, chunk.round, self._apply_queue.index))
        if self._busy:
            return True
        if not self._needs(chunk.meta):
            self._claim(chunk.meta)
        elif self._receiving != chunk.meta:
            self._begin(chunk.meta)
        elif chunk.data and chunk.offset == self._received:
            self._ask(chunk.meta, lambda done: self._snapshots.write(chunk.meta, chunk.offset, chunk.data, done))
        else:
            self._answer(chunk.meta)
        return True

    def _needs(self, meta: SnapshotMeta) -> bool:
        reached = max(self._core.commit_index, self._apply_queue.index)
        return reached < meta.index and self._journal.term_at(meta.index) != meta.term

    def _claim(self, meta: SnapshotMeta) -> None:
        """This log agrees with the leader's up to the snapshot: both hold its last entry, or it is committed here."""
        reached = max(self._core.commit_index, self._apply_queue.index)
        holds = self._journal.term_at(meta.index) == meta.term
        self._append_handler.vouch(max(reached, meta.index if holds else 0))

    def _begin(self, meta: SnapshotMeta) -> None:
        log.info("receives a snapshot of index %d, %d bytes", meta.index, meta.size)
        self._receiving = meta
        self._ask(meta, lambda done: self._snapshots.begin(meta, done))

    def _ask(self, meta: SnapshotMeta, work: Callable[[Callable[[int], None]], None]) -> None:
        """Have the disk do something that ends with how many bytes are there; then go on from that."""
        self._busy = True

        work(lambda received: self._step(lambda: self._reached(meta, received)))

    def _reached(self, meta: SnapshotMeta, received: int) -> None:
        self._received = received
        if received >= meta.size:
            self._snapshots.prepare(meta, lambda sound: self._step(lambda: self._prepared(meta, sound=sound)))
        else:
            self._busy = False
            self._answer(meta)

    def _answer(self, meta: SnapshotMeta) -> None:
        """To whoever leads now: a leader that did not ask ignores it."""
        leader = self._core.leader
        if leader is not None:
            reply = m.ChunkReply(self._core.term, meta.index, meta.checksum, self._received)
            self._outbox.send(leader, reply)

    def _prepared(self, meta: SnapshotMeta, *, sound: bool) -> None:
        self._receiving = None
        if not sound:
            log.warning("the snapshot of index %d came damaged, or there is no room for it; it begins anew", meta.index)
            self._busy = False
        elif self._core.role != FOLLOWER or not self._needs(meta):
            self._busy = False
            self._snapshots.discard()
            self._claim(meta)
        else:
            self._apply_queue.hold()
            number = self._journal.reset(LogEntry(meta.index, meta.term, meta.entry), meta.members)
            self._journal.writer.when_durable(number, lambda: self._step(lambda: self._install(meta)))

    def _install(self, meta: SnapshotMeta) -> None:
        """The log begins at the snapshot, on disk: now the state may."""
        self._snapshots.install(meta)
        self.installed += 1
        log.info("installed a snapshot: the state stands at index %d", meta.index)
        self._busy = False
        self._core.raise_commit(meta.index)
        self._core.set_applied(meta.index)
        self._apply_queue.jump(meta.index)
        self._append_handler.vouch(meta.index)
