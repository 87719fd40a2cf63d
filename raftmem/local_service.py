"""The service of one running replica: places writes in the log, and lets reads through the barrier of their level."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor as Pool

from raftmem import codec, errors
from raftmem.commands import Draft, Header, Members
from raftmem.limits import ENTRY_BYTES_MAX, PROPOSALS_IN_FLIGHT_MAX, SEARCHES_IN_FLIGHT_MAX
from raftmem.machine.run import Applied
from raftmem.raft import messages as m
from raftmem.raft.consensus import Consensus
from raftmem.replica import Replica
from raftmem.seams import Clock, Randomness
from raftmem.service import Level, MemberView, Point, ReadOptions, Status, Written
from raftmem.storage.contracts import Hit, StateReader, VectorQuery
from raftmem.storage.cosine import search_at
from raftmem.storage.space import Space
from raftmem.waiting import Deadline, Promise, TimedOut

RETRY_MS = 15  # between two looks for a leader
_NOT_APPLIED = {cls.code: cls for cls in (errors.NoLeader, errors.TooManyRequests, errors.NoSpace, errors.ShuttingDown)}


class LocalService:
    """Implements `raftmem.service.Service`. Loop thread only."""

    def __init__(
        self,
        *,
        members: Members,
        consensus: Consensus,
        replica: Replica,
        space: Space,
        clock: Clock,
        randomness: Randomness,
        pool: Pool,
        snapshot: Callable[[], StateReader],
        greeting: Callable[[str], tuple[str, str] | None],
        version: str,
    ) -> None:
        self._members = {member.id: member for member in members.voters}
        self._cluster_id = members.cluster_id
        self._incarnation = members.incarnation
        self._consensus = consensus
        self._replica = replica
        self._space = space
        self._clock = clock
        self._randomness = randomness
        self._pool = pool
        self._snapshot = snapshot
        self._greeting = greeting
        self._version = version
        self._in_flight = 0
        self._searches = 0
        self._closing = False
        self._asking: dict[bool, list[Promise[int | None]]] = {}
        self._fresh: tuple[float, int] | None = None  # (sent at, index): the newest confirmation, for bounded reads
        self._idle = Promise[None]()
        self._counts = dict.fromkeys(("writes", "forwarded", "replayed", "unknown", "reads"), 0)
        consensus.on_forward(self._take_forwarded)

    # --- who and where ------------------------------------------------------------------------------
    @property
    def node_id(self) -> str:
        return self._consensus.node_id

    @property
    def cluster(self) -> str:
        return f"{self._cluster_id}/{self._incarnation}"

    @property
    def term(self) -> int:
        return self._consensus.term

    @property
    def leader_id(self) -> str | None:
        return self._consensus.leader

    @property
    def leader_url(self) -> str | None:
        leader = self._consensus.leader
        return None if leader is None else self._members[leader].rest_url

    def new_id(self) -> str:
        """RFC 9562 UUIDv7: 48 bits of Unix time in milliseconds, 74 random bits."""
        raw = bytearray(self._clock.wall_ms().to_bytes(6, "big") + self._randomness.bytes(10))
        raw[6] = 0x70 | raw[6] & 0x0F
        raw[8] = 0x80 | raw[8] & 0x3F
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    # --- writing ---------------------------------------------------------------------------------------
    async def write(self, draft: Draft, *, timeout_ms: int) -> Written:
        if self._closing:
            raise errors.ShuttingDown("this replica is leaving; ask another one")
        known = self._used_key(draft.header)
        if known is not None:
            return known
        if self._in_flight >= PROPOSALS_IN_FLIGHT_MAX:
            raise errors.TooManyRequests(
                f"{self._in_flight} writes are in flight here, the most there may be; try again"
            )
        body = codec.encode_draft(draft, self._randomness.bytes)
        if len(body) > ENTRY_BYTES_MAX - codec.PREFIX_BYTES:
            raise errors.TooLarge(f"the entry would take {len(body)} bytes; at most {ENTRY_BYTES_MAX} are possible")
        self._counts["writes"] += 1
        self._in_flight += 1
        try:
            applied = await self._commit(body, Deadline(timeout_ms), sheds=_sheds(draft.header))
        finally:
            self._in_flight -= 1
            if self._closing and self._in_flight == 0:
                self._idle.resolve(None)
        return self._written(applied)

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
        self._counts["replayed"] += replayed
        return Written(applied.row, applied.entry, self._replica.reader(), replayed)

    async def _commit(self, body: bytes, deadline: Deadline, *, sheds: bool) -> Applied:
        """Place the command in the log until it is applied here; an entry that lost its place is placed again."""
        while True:
            index, term = await self._place(body, deadline, sheds=sheds)
            promise = Promise[Applied]()
            tell = promise.resolve
            self._replica.when_entry(index, tell)
            try:
                applied = await promise.wait(deadline, on_timeout=lambda: self._replica.forget_entry(index, tell))  # noqa: B023
            except TimedOut:
                self._counts["unknown"] += 1
                raise errors.UnknownOutcome(
                    f"the entry stands at index {index} and was not committed in time; it may be applied later: "
                    "ask again with the same Idempotency-Key"
                ) from None
            if applied.row.term == term:
                return applied

    async def _place(self, body: bytes, deadline: Deadline, *, sheds: bool) -> tuple[int, int]:
        """(index, term) of the entry in the leader's log.

        Raises: NotApplied errors when it certainly is in no log; UnknownOutcome when the leader's answer was lost.
        """
        while True:
            try:
                if self._consensus.is_leader:
                    self._check_space(sheds=sheds)
                    return self._consensus.propose(body)
                return await self._forward(body, deadline)
            except errors.NoLeader:
                if deadline.remaining * 1000 <= RETRY_MS:
                    raise
            await asyncio.sleep(RETRY_MS / 1000)

    async def _forward(self, body: bytes, deadline: Deadline) -> tuple[int, int]:
        promise = Promise[m.Forwarded | None]()
        self._consensus.forward(body, promise.resolve)
        self._counts["forwarded"] += 1
        try:
            reply = await promise.wait(deadline)
        except TimedOut:
            reply = None
        if reply is None:
            self._counts["unknown"] += 1
            raise errors.UnknownOutcome(
                "the leader's answer was lost; the entry may be applied: ask again with the same Idempotency-Key"
            )
        if reply.code is not None:
            detail = reply.detail or reply.code
            raise _NOT_APPLIED.get(reply.code, errors.BadRequest)(detail)
        return reply.index, reply.term

    def _take_forwarded(self, body: bytes) -> tuple[int, int]:
        """A follower's command, at the leader."""
        if self._closing:
            raise errors.ShuttingDown("the leader is leaving; try again")
        if self._consensus.journal.last_index - self._replica.applied >= PROPOSALS_IN_FLIGHT_MAX:
            raise errors.TooManyRequests("the leader has as many entries in flight as there may be; try again")
        if self._space.is_low():
            header = codec.decode(codec.seal(body, time=0, wall_ms=0)).header
            assert header is not None
            self._check_space(sheds=_sheds(header))
        return self._consensus.propose(body)

    def _check_space(self, *, sheds: bool) -> None:
        if self._space.is_exhausted() or (self._space.is_low() and not sheds):
            raise errors.NoSpace(
                f"{self._space.describe()}; reads and deletes go on, writes will when space returns: free some"
            )

    # --- reading -----------------------------------------------------------------------------------------
    async def read(self, options: ReadOptions) -> Point:
        self._counts["reads"] += 1
        if self._closing:
            raise errors.ShuttingDown("this replica is leaving; ask another one")
        if options.at is not None:
            return await self._read_at(options.at, Deadline(options.timeout_ms))
        if options.level is Level.LEASE:  # the short way of most reads
            index = self._consensus.lease_index()
            if index is not None and index <= self._replica.applied >= (options.min_index or 0):
                return self._point(options.level, lease_term=self._consensus.term)
        deadline = Deadline(options.timeout_ms)
        needed = await self._barrier(options, deadline)
        await self._reach(max(needed, options.min_index or 0), deadline)
        return self._point(options.level)

    def still_holds(self, point: Point) -> bool:
        """Asked once the answer is computed: a lease that was relied on must cover the answer as well."""
        if point.lease_term is None:
            return True
        return self._consensus.term == point.lease_term and self._consensus.lease_index() is not None

    async def _barrier(self, options: ReadOptions, deadline: Deadline) -> int:
        """The index that this replica must have applied before it may answer."""
        match options.level:
            case Level.SESSION | Level.EVENTUAL:
                return 0
            case Level.BOUNDED:
                allowed = (options.max_staleness_ms or 0) / 1000
                if self._fresh is not None and self._clock.boottime() - self._fresh[0] <= allowed:
                    return self._fresh[1]
                try:
                    return await self._confirmed(quorum=False, deadline=deadline)
                except (errors.NoLeader, errors.NoQuorum) as error:
                    raise errors.TooStale(
                        f"not confirmed to be within {options.max_staleness_ms} ms: {error}; "
                        "try again, ask another replica, or allow more staleness"
                    ) from None
            case Level.LEASE:
                return await self._confirmed(quorum=False, deadline=deadline)
            case Level.LINEARIZABLE:
                return await self._confirmed(quorum=True, deadline=deadline)

    async def _confirmed(self, *, quorum: bool, deadline: Deadline) -> int:
        """An index from the leader, asked for after now; asked again until the deadline."""
        while True:
            sent = self._clock.boottime()
            promise = Promise[int | None]()
            self._ask(quorum, promise)
            try:
                index = await promise.wait(deadline)
            except TimedOut:
                index = None
            if index is not None:
                if self._fresh is None or sent > self._fresh[0]:
                    self._fresh = (sent, index)
                return index
            if deadline.remaining * 1000 <= RETRY_MS:
                if self._consensus.leader is None:
                    raise errors.NoLeader("no leader is known; try again, or read at a lower level")
                raise errors.NoQuorum(
                    f"the leader {self._consensus.leader} could not confirm the read with a majority in time; "
                    "try again, or read at a lower level"
                )
            await asyncio.sleep(RETRY_MS / 1000)

    def _ask(self, quorum: bool, promise: Promise[int | None]) -> None:
        """Everyone who asks in one turn of the loop shares one question, sent after all of them arrived."""
        asking = self._asking.setdefault(quorum, [])
        asking.append(promise)
        if len(asking) == 1:
            asyncio.get_running_loop().call_soon(self._ask_now, quorum)

    def _ask_now(self, quorum: bool) -> None:
        asking = self._asking.pop(quorum, [])

        def answer(index: int | None) -> None:
            for promise in asking:
                promise.resolve(index)

        self._consensus.read_index(quorum=quorum, callback=answer)

    async def _reach(self, index: int, deadline: Deadline) -> None:
        if index <= self._replica.applied:
            return
        promise = Promise[None]()
        self._replica.when_applied(index, lambda: promise.resolve(None))
        try:
            await promise.wait(deadline)
        except TimedOut:
            raise errors.ConsistencyTimeout(
                f"this replica has applied index {self._replica.applied}, the read needs {index}; "
                "allow a longer timeout_ms, or ask another replica"
            ) from None

    async def _read_at(self, at: int, deadline: Deadline) -> Point:
        if at > self._consensus.commit_index:
            commit = await self._confirmed(quorum=False, deadline=deadline)
            if at > commit:
                raise errors.FutureIndex(at, commit)
        await self._reach(at, deadline)
        reader = self._replica.reader()
        if at < reader.oldest_index():
            raise errors.IndexCompacted(at, reader.oldest_index())
        return Point(reader, at, "at")

    def _point(self, level: Level, lease_term: int | None = None) -> Point:
        return Point(self._replica.reader(), self._replica.applied, level.value, lease_term)

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
            await self._reach(index, Deadline(timeout_ms))
        except errors.ConsistencyTimeout:
            return False
        return True

    # --- looking ---------------------------------------------------------------------------------------------
    def status(self) -> Status:
        consensus = self._consensus
        journal = consensus.journal
        return Status(
            node_id=self.node_id,
            cluster_id=self._cluster_id,
            incarnation=self._incarnation,
            term=consensus.term,
            leader_id=consensus.leader,
            leader_url=self.leader_url,
            commit_index=consensus.commit_index,
            applied_index=self._replica.applied,
            last_index=journal.last_index,
            durable_index=journal.durable_index,
            members=tuple(self._member_view(node) for node in self._members),
        )

    def _member_view(self, node: str) -> MemberView:
        """What this replica knows of a member: all of itself, more of the others when it leads."""
        consensus, member = self._consensus, self._members[node]
        role = "leader" if node == consensus.leader else "follower"
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
        match = consensus.match_index(node)
        contact = consensus.contact_seconds(node)
        greeting = self._greeting(node)
        return MemberView(
            id=node,
            role=role,
            rest_url=member.rest_url if greeting is None else greeting[0],
            peer_url=member.peer_url,
            applied_index=consensus.applied_index(node),
            match_index=match,
            lag_entries=None if match is None else max(0, consensus.journal.last_index - match),
            contact_age_ms=None if contact is None else int(contact * 1000),
            version=None if greeting is None else greeting[1],
        )

    def metrics(self) -> dict[str, float]:
        consensus = self._consensus
        journal = consensus.journal
        return {
            "server_has_leader": float(consensus.leader is not None),
            "server_is_leader": float(consensus.is_leader),
            "server_leader_changes_seen_total": float(consensus.term),
            "server_proposals_committed_total": float(consensus.commit_index),
            "server_proposals_applied_total": float(self._replica.applied),
            "server_proposals_pending": float(self._in_flight),
            "server_elections_total": float(consensus.elections),
            "server_step_downs_total": float(consensus.step_downs),
            "server_bad_messages_total": float(consensus.bad_messages),
            "log_last_index": float(journal.last_index),
            "log_durable_index": float(journal.durable_index),
            "memories": float(self._replica.head.memories),
            "idempotency_keys": float(self._replica.head.keys),
            **{f"service_{name}_total": float(count) for name, count in self._counts.items()},
        }

    # --- leaving ------------------------------------------------------------------------------------------------
    async def close(self, timeout_ms: int) -> None:
        """Take nothing new; wait for what is under way, or for the timeout."""
        self._closing = True
        if self._in_flight:
            try:
                await self._idle.wait(Deadline(timeout_ms))
            except TimedOut:
                return


def _sheds(header: Header) -> bool:
    """Does this command only make room (deletes, expiry)? It may use the reserve of a disk that is nearly full."""
    return all(op.__struct_config__.tag in ("DELETE", "EXPIRE") for op in header.operations)
