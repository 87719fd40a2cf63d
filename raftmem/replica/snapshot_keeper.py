"""Snapshots for the loop: everything that blocks runs on an executor, one job at a time, in order.

Consensus uses it as its `Snapshots`; the snapshot policy and operators take snapshots with it. A lack of room or of
free descriptors is an answer; a failed sync or a damaged file stops the replica. The rule that must hold: a state is
prepared beside the one in force, and installing it only swaps objects in memory and two names on disk.
"""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from raftmem.errors import Corrupt, Stop, StorageFailed, is_shortage
from raftmem.limits import SNAPSHOTS_KEPT
from raftmem.replica.apply_loop import Replica
from raftmem.runtime.interfaces import Clock, Executor, Loop
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta, SnapshotStore
from raftmem.storage.state.contract import PreparedState, StateReader
from raftmem.storage.vectors.contract import VectorIndex

log = logging.getLogger("raftmem.snapshots")
RETRY_SECONDS: Final = 0.25  # after a shortage; an answer comes late then, so that the sender does not spin
IN_TRANSFER_SECONDS: Final = 30.0  # a snapshot that was read within is being sent, and not dropped

T = TypeVar("T")


class _Prepared:
    """A state and the vectors made from it, waiting to be installed."""

    def __init__(self, meta: SnapshotMeta, state: PreparedState, vectors: VectorIndex) -> None:
        self.meta = meta
        self.state = state
        self.vectors = vectors


class SnapshotKeeper:
    """Loop thread only. `executor`: its own, because a copy may take seconds.

    `holds(meta)`: true if the log goes on from this snapshot, or ends with it. `members_at(index)`: the membership
    entry in force there; called on the executor's thread, LookupError when the log no longer knows. `vectors(reader)`:
    makes the vector index of a state, on that thread too.
    """

    def __init__(
        self,
        *,
        store: SnapshotStore,
        replica: Replica,
        executor: Executor,
        loop: Loop,
        clock: Clock,
        members_at: Callable[[int], LogEntry],
        holds: Callable[[SnapshotMeta], bool],
        vectors: Callable[[StateReader], VectorIndex],
        on_failed: Callable[[Stop], None],
    ) -> None:
        self._store = store
        self._replica = replica
        self._executor = executor
        self._loop = loop
        self._clock = clock
        self._members_at = members_at
        self._holds = holds
        self._vectors = vectors
        self._on_failed = on_failed
        self.shortage: OSError | None = None  # why the last snapshot that was due could not be taken
        self._failed = False
        self._prepared: _Prepared | None = None
        self._read_at: dict[str, float] = {}  # name -> when it was last read from

    # --- taking -------------------------------------------------------------------------------------
    def take(self, done: Callable[[SnapshotMeta | None], None]) -> None:
        """A snapshot of the state as of now, on disk; older ones go, but for those that are being sent.

        None: nothing applied yet, another state was installed meanwhile, or a shortage (`shortage` says which).
        """
        self.shortage = None
        if self._replica.applied == 0:
            self._loop.call_soon(lambda: done(None))
            return
        wall_ms = self._clock.wall_ms()
        try:
            self._replica.settle()
        except OSError as error:
            self._postpone(error, done)
            return
        except Stop as error:
            self._failed = True
            self._on_failed(error)
            return

        def work() -> SnapshotMeta | None:
            try:
                return self._store.take(self._members_at, wall_ms)
            except LookupError:
                return None

        def taken(meta: SnapshotMeta | None) -> None:
            self._drop_old()
            done(meta)

        self._submit(work, taken, short=lambda error: self._postpone(error, done))

    def _postpone(self, error: OSError, done: Callable[[SnapshotMeta | None], None]) -> None:
        log.warning("a snapshot is postponed: %s", error)
        self.shortage = error
        self._loop.call_soon(lambda: done(None))

    def _drop_old(self) -> None:
        """Keep the newest two usable snapshots, those being sent, and the newest one received but not installed (this
        log cannot go on from it yet)."""
        listed, sent = self._store.all(), self._in_transfer()
        held = [meta for meta in listed if self._holds(meta)][:SNAPSHOTS_KEPT]
        ahead = [meta for meta in listed if meta.index > self._replica.applied and meta not in held][:1]
        old = [meta for meta in listed if meta not in held and meta not in ahead and meta.name not in sent]
        self._submit(lambda: self._store.drop(old), lambda _: None)

    def all(self) -> list[SnapshotMeta]:
        """Newest first."""
        return self._store.all()

    def _in_transfer(self) -> set[str]:
        since = self._clock.boottime() - IN_TRANSFER_SECONDS
        self._read_at = {name: at for name, at in self._read_at.items() if at > since}
        return set(self._read_at)

    # --- the protocol `Snapshots` of consensus ------------------------------------------------------
    def newest(self) -> SnapshotMeta | None:
        return next((meta for meta in self._store.all() if self._holds(meta)), None)

    def doubt(self, meta: SnapshotMeta) -> None:
        def work() -> None:
            wrong = self._store.verify(meta)
            if wrong is not None:
                log.error("snapshot %s is damaged and is dropped: %s", meta.name, wrong)
                self._store.drop([meta])

        self._submit(work, lambda _: None)

    def read(self, meta: SnapshotMeta, offset: int, size: int, done: Callable[[bytes | None], None]) -> None:
        self._read_at[meta.name] = self._clock.boottime()

        def work() -> bytes | None:
            try:
                return self._store.read(meta, offset, size)
            except FileNotFoundError:
                return None

        self._submit(work, done)

    def begin(self, meta: SnapshotMeta, done: Callable[[int], None]) -> None:
        self._submit(lambda: self._store.begin(meta), done)

    def write(self, meta: SnapshotMeta, offset: int, data: bytes, done: Callable[[int], None]) -> None:
        self._submit(
            lambda: self._store.write(meta, offset, data),
            done,
            short=lambda _: self._later(lambda: self.begin(meta, done)),
        )

    def prepare(self, meta: SnapshotMeta, done: Callable[[bool], None]) -> None:
        self.discard()

        def work() -> _Prepared | None:
            if not self._store.finish(meta):
                return None
            try:
                return self._prepare(meta)
            except Corrupt as error:  # its checksum is the sender's word too: no reason to stop
                log.error("snapshot %s is not what its sender said, and is dropped: %s", meta.name, error)
                self._store.drop([meta])
                return None

        def prepared(result: _Prepared | None) -> None:
            self._prepared = result
            done(result is not None)

        self._submit(work, prepared, short=lambda _: self._later(lambda: done(False)))

    def _prepare(self, meta: SnapshotMeta) -> _Prepared:
        state = self._replica.store.prepare(meta)
        try:
            reader = state.reader()
            try:
                return _Prepared(meta, state, self._vectors(reader))
            finally:
                reader.release()
        except BaseException:
            state.discard()
            raise

    def install(self, meta: SnapshotMeta) -> None:
        prepared, self._prepared = self._prepared, None
        assert prepared is not None, "it was prepared"
        assert prepared.meta == meta, "it is the one that was prepared"
        self._replica.install(prepared.state, prepared.vectors)
        self._submit(prepared.state.discard, lambda _: None)  # what was replaced: closing it takes a while

    def discard(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self._submit(prepared.state.discard, lambda _: None)

    # --- off the loop -------------------------------------------------------------------------------
    def _later(self, callback: Callable[[], None]) -> None:
        self._loop.call_later(RETRY_SECONDS, lambda: None if self._failed else callback())

    def _submit(
        self, work: Callable[[], T], done: Callable[[T], None], *, short: Callable[[OSError], None] | None = None
    ) -> None:
        """Call `done` on the loop with the result of `work`. In a shortage call `short`, or try again later without it.
        After a failure nothing is called."""
        result: list[T] = []

        def finished(error: BaseException | None) -> None:
            if self._failed:
                return
            if error is None:
                done(result[0])
            elif isinstance(error, OSError) and is_shortage(error):
                if short is not None:
                    short(error)
                else:
                    self._later(lambda: self._submit(work, done))
            else:
                self._failed = True
                failed = error if isinstance(error, Stop) else StorageFailed(f"a snapshot failed: {error!r}")
                self._on_failed(failed)

        self._executor.submit(lambda: result.append(work()), finished)
