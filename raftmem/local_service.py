"""The service of one running replica: places writes and changes of the members in the log, lets reads through the
barrier of their level, has snapshots taken.

It decides none of that itself. The rule: once it is closing it takes nothing new, and whoever still waits is answered.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor as Pool
from typing import TypeVar

from raftmem import codec, errors
from raftmem.barrier import Barrier
from raftmem.changing import Changing
from raftmem.commands import Actor, Draft, Header, Member, Members
from raftmem.limits import PROPOSALS_IN_FLIGHT_MAX, SEARCHES_IN_FLIGHT_MAX
from raftmem.machine.run import Applied
from raftmem.placing import Placing, sheds
from raftmem.raft.consensus import Consensus
from raftmem.records import PutRecord
from raftmem.replica import Replica
from raftmem.seams import Clock, Randomness
from raftmem.service import Changed, MemberView, Point, ReadOptions, Role, Status, Written
from raftmem.snapshots import SnapshotKeeper
from raftmem.storage.contracts import Hit, SnapshotMeta, StateReader, VectorQuery
from raftmem.storage.cosine import search_at
from raftmem.storage.space import Space
from raftmem.waiting import Deadline, Promise, TimedOut

log = logging.getLogger("raftmem.service")
T = TypeVar("T")


class LocalService:
    """Implements `raftmem.service.Service`. Loop thread only."""

    def __init__(
        self,
        *,
        genesis: str,
        incarnation: int,
        consensus: Consensus,
        replica: Replica,
        space: Space,
        clock: Clock,
        randomness: Randomness,
        pool: Pool,
        snapshot: Callable[[], StateReader],
        snapshots: SnapshotKeeper,
        greeting: Callable[[str], tuple[str, str] | None],
        version: str,
    ) -> None:
        members = consensus.members
        self.genesis = genesis
        self.cluster = f"{members.cluster_id}/{incarnation}"
        self._incarnation = incarnation
        self.node_id = consensus.node_id
        self._consensus = consensus
        self._replica = replica
        self._clock = clock
        self._randomness = randomness
        self._pool = pool
        self._snapshot = snapshot
        self._snapshots = snapshots
        self._greeting = greeting
        self._version = version
        self._in_flight = 0
        self._searches = 0
        self._idle: Promise[None] = Promise()
        self._placing = Placing(consensus=consensus, replica=replica, space=space)
        self._changing = Changing(consensus=consensus, placing=self._placing)
        self._barrier = Barrier(consensus=consensus, replica=replica, clock=clock)
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
        leader = self._consensus.leader
        member = None if leader is None else self.members.member(leader)
        return None if member is None else self._rest_url(member)

    @property
    def members(self) -> Members:
        return self._consensus.members

    def new_id(self) -> str:
        """RFC 9562 UUIDv7: 48 bits of Unix time in milliseconds, 74 random bits."""
        raw = bytearray(self._clock.wall_ms().to_bytes(6, "big") + self._randomness.bytes(10))
        raw[6] = 0x70 | raw[6] & 0x0F
        raw[8] = 0x80 | raw[8] & 0x3F
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    # --- writing ---------------------------------------------------------------------------------------
    async def write(self, draft: Draft, *, timeout_ms: int) -> Written:
        self._check_open()
        known = self._used_key(draft.header)
        if known is not None:
            return known
        if self._in_flight >= PROPOSALS_IN_FLIGHT_MAX:
            raise errors.TooManyRequests(
                f"{self._in_flight} writes are in flight here, the most there may be; try again"
            )
        body = codec.encode_draft(draft, self._randomness.bytes)
        self._writes += 1
        self._in_flight += 1
        try:
            applied = await self._decided(self._placing.commit(body, Deadline(timeout_ms), sheds=sheds(draft.header)))
        finally:
            self._in_flight -= 1
            if self._placing.closing and self._in_flight == 0:
                self._idle.resolve(None)
        return self._written(applied)

    async def _decided(self, work: Awaitable[T]) -> T:
        """Of a write or a change. Raises: UnknownOutcome when this replica ends first, and cuts off what waits here."""
        try:
            return await work
        except asyncio.CancelledError:
            if not self._placing.closing:
                raise
            self._placing.unknown += 1
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

    def _written(self, applied: Applied, *, replayed: bool = False) -> Written:
        if applied.row.result.replay_of is not None:
            applied, replayed = self._replica.applied_entry(applied.row.result.replay_of), True
        self._replayed += replayed
        puts = (change.record for change in applied.step.changes if isinstance(change, PutRecord))
        records = {record.updated.seq: record for record in puts}
        return Written(applied.row, applied.entry, self._replica.reader(), replayed, records)

    # --- reading -----------------------------------------------------------------------------------------
    def read_now(self, options: ReadOptions) -> Point | None:
        return None if self._placing.closing else self._barrier.open_now(options)

    async def read(self, options: ReadOptions) -> Point:
        self._check_open()
        try:
            return await self._barrier.pass_through(options)
        except asyncio.CancelledError:
            if not self._placing.closing:
                raise
            raise errors.ShuttingDown("this replica ends; ask another one") from None

    def still_holds(self, point: Point) -> bool:
        return self._barrier.still_holds(point)

    async def search(self, point: Point, query: VectorQuery) -> Sequence[Hit]:
        if self._searches >= SEARCHES_IN_FLIGHT_MAX:
            raise errors.TooManyRequests(
                f"{self._searches} searches are waiting here, the most there may be; try again"
            )
        if point.level == "at":
            find = self._search_at(query, point.index)
        else:
            find = self._replica.vectors.prepare(query, point.reader)
        self._searches += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, find)
        finally:
            self._searches -= 1

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
            if not self._placing.closing:
                raise
            return False
        return True

    # --- looking ---------------------------------------------------------------------------------------------
    def status(self) -> Status:
        consensus = self._consensus
        journal = consensus.journal
        return Status(
            node_id=self.node_id,
            cluster_id=self.members.cluster_id,
            incarnation=self._incarnation,
            term=consensus.term,
            leader_id=consensus.leader,
            leader_url=self.leader_url,
            commit_index=consensus.commit_index,
            applied_index=self._replica.applied,
            last_index=journal.last_index,
            durable_index=journal.durable_index,
            members=(
                *(self._member_view(member, "follower") for member in self.members.voters),
                *(self._member_view(member, "learner") for member in self.members.learners),
            ),
        )

    def _rest_url(self, member: Member) -> str:
        """As it said itself when it last connected, else as the membership has it."""
        greeting = self._greeting(member.id)
        return member.rest_url if greeting is None else greeting[0]

    def _member_view(self, member: Member, role: Role) -> MemberView:
        """What this replica knows of a member: all of itself, more of the others when it leads."""
        consensus, node = self._consensus, member.id
        if node == consensus.leader:
            role = "leader"
        if node == self.node_id:
            return MemberView(
                id=node,
                role=role,
                rest_url=member.rest_url,
                peer_url=member.peer_url,
                applied_index=self._replica.applied,
                match_index=consensus.journal.durable_index,
                lag_entries=max(0, consensus.commit_index - self._replica.applied),
                contact_age_ms=0,
                version=self._version,
            )
        leading, greeting = consensus.leading, self._greeting(node)
        progress = None if leading is None else leading.progress[node]
        heard = leading is not None and leading.rounds.has_echoed(node)
        contact = leading.contact_seconds(node) if leading is not None and heard else None
        return MemberView(
            id=node,
            role=role,
            rest_url=self._rest_url(member),
            peer_url=member.peer_url,
            applied_index=None if progress is None else progress.applied,
            match_index=None if progress is None else progress.match,
            lag_entries=None if progress is None else max(0, consensus.journal.last_index - progress.match),
            contact_age_ms=None if contact is None else int(contact * 1000),
            version=None if greeting is None else greeting[1],
        )

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
            "server_elections_total": float(consensus.voting.elections),
            "server_step_downs_total": float(consensus.tenure.step_downs),
            "server_bad_messages_total": float(consensus.bad_messages),
            "log_first_index": float(journal.first_index),
            "log_last_index": float(journal.last_index),
            "log_durable_index": float(journal.durable_index),
            "snapshot_newest_index": float(0 if newest is None else newest.index),
            "snapshots_installed_total": float(consensus.installing.installed),
            "memories": float(self._replica.head.memories),
            "idempotency_keys": float(self._replica.head.keys),
            "service_writes_total": float(self._writes),
            "service_forwarded_total": float(self._placing.forwarded),
            "service_replayed_total": float(self._replayed),
            "service_unknown_total": float(self._placing.unknown),
        }

    # --- the group ---------------------------------------------------------------------------------------------
    async def add_member(self, member: Member, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        self._check_open()
        return await self._decided(self._changing.change("add", member, actor, request_id, Deadline(timeout_ms)))

    async def remove_member(self, member_id: str, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        self._check_open()
        gone = Member(member_id, "", "")
        return await self._decided(self._changing.change("remove", gone, actor, request_id, Deadline(timeout_ms)))

    async def transfer(self, member_id: str | None, *, timeout_ms: int) -> str:
        self._check_open()
        return await self._decided(self._changing.transfer(member_id, Deadline(timeout_ms)))

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
            raise errors.NoSpace("there is no room for a snapshot; free some disk, then try again")
        return meta

    def snapshots(self) -> list[SnapshotMeta]:
        return self._snapshots.all()

    def _check_open(self) -> None:
        if self._placing.closing:
            raise errors.ShuttingDown("this replica is leaving; ask another one")

    # --- leaving ------------------------------------------------------------------------------------------------
    async def close(self, timeout_ms: int) -> None:
        """Give way if this replica leads, take nothing new, wait for what is under way: all within the timeout."""
        deadline = Deadline(timeout_ms)
        if self._consensus.is_leader and len(self.members.voters) > 1:
            try:
                await self._changing.transfer(None, Deadline(timeout_ms // 2))
            except errors.NotApplied as error:
                log.warning("leaves without having handed over the lead: %s", error)
        self._placing.closing = True
        if self._in_flight:
            try:
                await self._idle.wait(deadline)
            except TimedOut:
                return
