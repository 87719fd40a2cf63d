"""The service of one running replica: writes, reads, waits, watches, changes of the members, snapshots.

Its parts do the work; this module only joins them. The rule: once it is closing it accepts nothing new, and every
request that still waits is answered.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor as Pool
from typing import TypeVar

from raftmem import errors
from raftmem.limits import PROPOSALS_IN_FLIGHT_MAX, SEARCHES_IN_FLIGHT_MAX
from raftmem.machine.run import Applied
from raftmem.model.commands import Actor, Draft, Header, Member, Members, OwnerRelease
from raftmem.model.records import PutRecord
from raftmem.raft.consensus import Consensus
from raftmem.replica.apply_loop import Replica
from raftmem.replica.snapshot_keeper import SnapshotKeeper
from raftmem.runtime.ids import Ids
from raftmem.runtime.interfaces import Clock, Loop, Randomness
from raftmem.runtime.promise import Deadline, Promise, TimedOut
from raftmem.service.cluster_view import ClusterView
from raftmem.service.expiry import Expiry
from raftmem.service.follower_log_time import FollowerLogTime
from raftmem.service.interface import Changed, Gone, Granted, Point, ReadOptions, Status, Subscription, Topic, Written
from raftmem.service.lock_waits import LockWaits
from raftmem.service.membership_changes import MembershipChanges
from raftmem.service.proposer import Proposer
from raftmem.service.read_barrier import ReadBarrier
from raftmem.service.renewal_batch import RenewalBatch
from raftmem.service.task_waits import TaskWaits, is_available
from raftmem.service.wait_registry import WaitRegistry
from raftmem.service.watch_hub import WatchHub
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.space import Space
from raftmem.storage.state.contract import StateReader
from raftmem.storage.vectors.contract import Hit, VectorQuery
from raftmem.storage.vectors.cosine import search_at

log = logging.getLogger("raftmem.service")
T = TypeVar("T")


class ReplicaService:
    """Implements `raftmem.service.interface.Service`. Loop thread only."""

    def __init__(
        self,
        *,
        incarnation: int,
        consensus: Consensus,
        replica: Replica,
        space: Space,
        expiry: Expiry,
        loop: Loop,
        clock: Clock,
        randomness: Randomness,
        pool: Pool,
        snapshot: Callable[[], StateReader],
        snapshots: SnapshotKeeper,
        greeting: Callable[[str], tuple[str, str] | None],
        version: str,
    ) -> None:
        members = consensus.members
        self.cluster = f"{members.cluster_id}/{incarnation}"
        self.node_id = consensus.node_id
        self._consensus = consensus
        self._replica = replica
        self.new_id = Ids(clock, randomness).new
        self._pool = pool
        self._snapshot = snapshot
        self._snapshots = snapshots
        self._group = ClusterView(
            consensus=consensus, replica=replica, incarnation=incarnation, greeting=greeting, version=version
        )
        self._in_flight = 0
        self._searches = 0
        self._idle: Promise[None] = Promise()
        self._expiry = expiry
        self._renewals = RenewalBatch(consensus=consensus, loop=loop, randomness=randomness)
        self._proposer = Proposer(
            consensus=consensus, replica=replica, space=space, renewals=self._renewals, randomness=randomness
        )
        self._membership_changes = MembershipChanges(consensus=consensus, proposer=self._proposer)
        self._barrier = ReadBarrier(consensus=consensus, replica=replica, clock=clock)
        self._follower_log_time = FollowerLogTime(replica, clock)
        self._wait_registry = WaitRegistry(is_available=lambda queue: is_available(replica.reader(), queue))
        self._hub = WatchHub(loop=loop, clock=clock)
        replica.observers += [self._follower_log_time, self._wait_registry, self._hub]
        self._lock_waits = LockWaits(
            write=self._write, replica=replica, wait_registry=self._wait_registry, log_time=self.log_time
        )
        self._task_waits = TaskWaits(
            write=self._write, read=self.read, replica=replica, wait_registry=self._wait_registry
        )
        self._writes = 0
        self._replayed = 0

    # --- who and where ------------------------------------------------------------------------------
    @property
    def term(self) -> int:
        return self._consensus.term

    @property
    def leader_id(self) -> str | None:
        return self._consensus.leader

    @property
    def leader_url(self) -> str | None:
        return self._group.leader_url

    @property
    def members(self) -> Members:
        return self._consensus.members

    # --- writing ---------------------------------------------------------------------------------------
    async def write(self, draft: Draft, *, timeout_ms: int) -> Written:
        written = await self._write(draft, timeout_ms=timeout_ms)
        operations = draft.header.operations
        if operations and isinstance(operations[0], OwnerRelease):
            return await self._task_waits.go_on(written, draft, timeout_ms=timeout_ms)
        return written

    async def _write(self, draft: Draft, *, timeout_ms: int) -> Written:
        """Write one entry."""
        self._check_open()
        known = self._used_key(draft.header)
        if known is not None:
            return known
        if self._in_flight >= PROPOSALS_IN_FLIGHT_MAX:
            raise errors.TooManyRequests(
                f"{self._in_flight} writes are in flight here, the most there may be; try again"
            )
        self._writes += 1
        self._in_flight += 1
        try:
            committed = await self._proposer.commit(draft, Deadline(timeout_ms))
        except asyncio.CancelledError:
            self._check_undecided()
            raise
        finally:
            self._in_flight -= 1
            if self._proposer.closing and self._in_flight == 0:
                self._idle.resolve(None)
        return self._written(committed.applied, first_seq=committed.seq)

    async def _decided(self, work: Awaitable[T]) -> T:
        """Await a change. Raises: UnknownOutcome when this replica ends first and cuts off the wait."""
        try:
            return await work
        except asyncio.CancelledError:
            self._check_undecided()
            raise

    def _check_undecided(self) -> None:
        """A wait was cut off. Raises: UnknownOutcome if the cause is the end of this replica."""
        if self._proposer.closing:
            self._proposer.unknown += 1
            raise errors.UnknownOutcome(
                "this replica ends and will not learn what becomes of it: ask another one, with the same "
                "Idempotency-Key if there was one"
            ) from None

    def _used_key(self, header: Header) -> Written | None:
        """The first reply under this key, if it is applied here already: no entry is needed to say it again."""
        if header.idempotency is None:
            return None
        reader = self._replica.reader()
        used = reader.idempotency(header.actor, header.idempotency.key)
        if used is None or used.fingerprint != header.idempotency.fingerprint:
            return None
        return self._written(self._replica.applied_entry(used.index), replayed=True)

    def _is_key_taken(self, header: Header) -> bool:
        key = header.idempotency
        return key is not None and self._replica.reader().idempotency(header.actor, key.key) is not None

    def _written(self, applied: Applied, *, replayed: bool = False, first_seq: int = 0) -> Written:
        if applied.row.result.replay_of is not None:
            applied, replayed = self._replica.applied_entry(applied.row.result.replay_of), True
        self._replayed += replayed
        changes = applied.step.changes
        records = {one.record.updated.seq: one.record for one in changes if isinstance(one, PutRecord)}
        return Written(applied.row, applied.entry, self._replica.reader(), replayed, records, first_seq)

    # --- reading -----------------------------------------------------------------------------------------
    def read_now(self, options: ReadOptions) -> Point | None:
        return None if self._proposer.closing else self._barrier.open_now(options)

    async def read(self, options: ReadOptions) -> Point:
        self._check_open()
        try:
            return await self._barrier.pass_through(options)
        except asyncio.CancelledError:
            if not self._proposer.closing:
                raise
            raise errors.ShuttingDown("this replica ends; ask another one") from None

    def still_holds(self, point: Point) -> bool:
        return self._barrier.still_holds(point)

    async def search(self, point: Point, query: VectorQuery) -> Sequence[Hit]:
        if self._searches >= SEARCHES_IN_FLIGHT_MAX:
            raise errors.TooManyRequests(
                f"{self._searches} searches are waiting here, the most there may be; try again"
            )
        self._searches += 1
        try:
            if point.level == "at":
                return await self._off_loop(self._search_at(query, point.index))
            search = self._replica.vectors.prepare(query, point.reader)
            if not search.scan_now():
                await self._off_loop(search.scan)
            hits = search.hits(self._replica.reader())
            return await self._off_loop(search.further()) if hits is None else hits
        finally:
            self._searches -= 1

    async def _off_loop(self, work: Callable[[], T]) -> T:
        """On the pool. It is done even when nobody waits any more: it may hold a snapshot of the state."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, work))

    def _search_at(self, query: VectorQuery, at: int) -> Callable[[], list[Hit]]:
        """The vectors of a past index are read from the state, on a snapshot that another thread may use."""
        reader = self._snapshot()

        def find() -> list[Hit]:
            try:
                return search_at(reader, query, at)
            finally:
                reader.release()

        return find

    async def wait_applied(self, index: int, *, timeout_ms: int) -> bool:
        try:
            await self._barrier.reach(index, Deadline(timeout_ms))
        except errors.ConsistencyTimeout:
            return False
        except asyncio.CancelledError:
            if not self._proposer.closing:
                raise
            return False
        return True

    # --- coordination ------------------------------------------------------------------------------------
    async def acquire(self, draft: Draft, *, keep_ms: int = 0, timeout_ms: int, gone: Gone) -> Granted | Written:
        return await self._lock_waits.acquire(draft, keep_ms=keep_ms, timeout_ms=timeout_ms, gone=gone)

    async def claim(self, draft: Draft, *, wait_ms: int, timeout_ms: int, gone: Gone) -> Written | Point:
        known = self._used_key(draft.header)
        if known is not None:
            return known
        if self._is_key_taken(draft.header):  # by another request: the log says so, whether there is a task or not
            return await self._write(draft, timeout_ms=timeout_ms)
        return await self._task_waits.claim(draft, wait_ms=wait_ms, timeout_ms=timeout_ms, gone=gone)

    async def await_gate(self, gate: str, options: ReadOptions, *, wait_ms: int, gone: Gone) -> Point:
        return await self._task_waits.await_gate(gate, options, wait_ms=wait_ms, gone=gone)

    def log_time(self) -> int:
        leading = self._consensus.log_time()
        return self._follower_log_time.log_time() if leading is None else leading

    def subscribe(self, topics: Sequence[Topic]) -> Subscription:
        return self._hub.subscribe(topics)

    # --- looking ---------------------------------------------------------------------------------------------
    def status(self) -> Status:
        return self._group.status()

    def metrics(self) -> dict[str, float]:
        consensus = self._consensus
        journal, newest = consensus.journal, self._snapshots.newest()
        return {
            "server_has_leader": float(consensus.leader is not None),
            "server_is_leader": float(consensus.is_leader),
            "server_leader_changes_seen_total": float(consensus.term),
            "server_proposals_committed_total": float(consensus.commit_index),
            "server_proposals_applied_total": float(self._replica.applied),
            "server_proposals_pending": float(self._in_flight),
            "server_elections_total": float(consensus.votes.elections),
            "server_step_downs_total": float(consensus.leadership_term.step_downs),
            "server_bad_messages_total": float(consensus.bad_messages),
            "log_first_index": float(journal.first_index),
            "log_last_index": float(journal.last_index),
            "log_durable_index": float(journal.durable_index),
            "log_truncations_total": float(journal.truncations),
            "snapshot_newest_index": float(0 if newest is None else newest.index),
            "snapshots_installed_total": float(consensus.snapshot_receiver.installed),
            "memories": float(self._replica.head.memories),
            "idempotency_keys": float(self._replica.head.keys),
            "service_writes_total": float(self._writes),
            "service_forwarded_total": float(self._proposer.forwarded),
            "service_replayed_total": float(self._replayed),
            "service_unknown_total": float(self._proposer.unknown),
            "watchers": float(self._hub.subscriptions),
            "waiting_requests": float(self._wait_registry.waiting),
            "renewal_groups_total": float(self._renewals.groups),
            "things_expired_total": float(self._expiry.rows_expired),
        }

    # --- the group ---------------------------------------------------------------------------------------------
    async def add_member(self, member: Member, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        self._check_open()
        return await self._decided(
            self._membership_changes.change("add", member, actor, request_id, Deadline(timeout_ms))
        )

    async def remove_member(self, member_id: str, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        self._check_open()
        gone = Member(member_id, "", "")
        return await self._decided(
            self._membership_changes.change("remove", gone, actor, request_id, Deadline(timeout_ms))
        )

    async def transfer(self, member_id: str | None, *, timeout_ms: int) -> str:
        self._check_open()
        return await self._decided(self._membership_changes.transfer(member_id, Deadline(timeout_ms)))

    async def snapshot(self, *, timeout_ms: int) -> SnapshotMeta:
        self._check_open()
        promise: Promise[SnapshotMeta | None] = Promise()
        self._snapshots.take(promise.resolve)
        try:
            meta = await promise.wait(Deadline(timeout_ms))
        except TimedOut:
            raise errors.ConsistencyTimeout(
                f"the snapshot is not finished after {timeout_ms} ms; it goes on, see `raftmem snapshot list`"
            ) from None
        if meta is None:
            raise self._not_taken()
        return meta

    def _not_taken(self) -> errors.NotApplied:
        shortage = self._snapshots.shortage
        if shortage is not None and errors.is_no_descriptor(shortage):
            return errors.TooManyRequests(
                f"no open files are left for a snapshot ({shortage.strerror}); close some connections, then try again"
            )
        return errors.NoSpace("there is no room for a snapshot; free some disk, then try again")

    def snapshots(self) -> list[SnapshotMeta]:
        return self._snapshots.all()

    def _check_open(self) -> None:
        if self._proposer.closing:
            raise errors.ShuttingDown("this replica is leaving; ask another one")

    # --- leaving ------------------------------------------------------------------------------------------------
    async def close(self, timeout_ms: int) -> None:
        """Give way if this replica leads, take nothing new, wait for what is under way: all within the timeout."""
        deadline = Deadline(timeout_ms)
        if self._consensus.is_leader and len(self.members.voters) > 1:
            try:
                await self._membership_changes.transfer(None, Deadline(timeout_ms // 2))
            except errors.NotApplied as error:
                log.warning("leaves without having handed over the lead: %s", error)
        self._proposer.closing = True
        self._wait_registry.close()
        self._hub.close()
        if self._in_flight:
            try:
                await self._idle.wait(deadline)
            except TimedOut:
                return
