"""The barrier of a read: it waits as its level demands, then looks (obligations lease, read-index, bounded).

Rule: the level is never lower than asked. A level that cannot be reached in time fails; it is not quietly replaced.
"""

import asyncio

from raftmem import errors
from raftmem.raft.consensus import Consensus
from raftmem.replica.apply_loop import Replica
from raftmem.runtime.interfaces import Clock
from raftmem.runtime.promise import Deadline, Promise, TimedOut
from raftmem.service.interface import Level, Point, ReadOptions
from raftmem.service.proposer import RETRY_MS


class ReadBarrier:
    """Loop thread only."""

    def __init__(self, *, consensus: Consensus, replica: Replica, clock: Clock) -> None:
        self._consensus = consensus
        self._replica = replica
        self._clock = clock
        self._asking: dict[bool, list[Promise[int | None]]] = {}
        self._fresh: tuple[float, int] | None = None  # (sent at, index) of the newest confirmation

    async def pass_through(self, options: ReadOptions) -> Point:
        """The moment that a read with these options may look at. Raises: as `Service.read`."""
        if options.at is not None:
            return await self._at(options.at, Deadline(options.timeout_ms))
        point = self.open_now(options)
        if point is not None:
            return point
        deadline = Deadline(options.timeout_ms)
        needed = await self._needed(options, deadline)
        await self.reach(max(needed, options.min_index or 0), deadline)
        return self._point(options.level)

    def open_now(self, options: ReadOptions) -> Point | None:
        """The short way of most reads: under this leader's own lease, with nothing to wait for."""
        if options.level is not Level.LEASE or options.at is not None:
            return None
        index = self._consensus.lease_index()
        if index is None or not index <= self._replica.applied >= (options.min_index or 0):
            return None
        return self._point(options.level, lease_term=self._consensus.term)

    def still_holds(self, point: Point) -> bool:
        """Called after the answer is computed: a lease that the read relied on must cover the answer as well."""
        if point.lease_term is None:
            return True
        return self._consensus.term == point.lease_term and self._consensus.lease_index() is not None

    async def reach(self, index: int, deadline: Deadline) -> None:
        """Until this replica has applied `index`. Raises: ConsistencyTimeout."""
        if index <= self._replica.applied:
            return
        promise: Promise[None] = Promise()

        def tell() -> None:
            promise.resolve(None)

        self._replica.when_applied(index, tell)
        try:
            await promise.wait(deadline, on_timeout=lambda: self._replica.forget_applied(index, tell))
        except TimedOut:
            raise errors.ConsistencyTimeout(
                f"this replica has applied index {self._replica.applied}, the read needs {index}; "
                "allow a longer timeout_ms, or ask another replica"
            ) from None

    async def _needed(self, options: ReadOptions, deadline: Deadline) -> int:
        """The index that this replica must have applied before it may answer."""
        match options.level:
            case Level.SESSION | Level.EVENTUAL:
                return 0
            case Level.LEASE:
                return await self._confirmed(quorum=False, deadline=deadline)
            case Level.LINEARIZABLE:
                return await self._confirmed(quorum=True, deadline=deadline)
            case Level.BOUNDED:
                return await self._bounded(options.max_staleness_ms or 0, deadline)

    async def _bounded(self, max_staleness_ms: int, deadline: Deadline) -> int:
        """Staleness counts from when the question was sent that the newest index answers."""
        if self._fresh is not None and (self._clock.boottime() - self._fresh[0]) * 1000 <= max_staleness_ms:
            return self._fresh[1]
        try:
            return await self._confirmed(quorum=False, deadline=deadline)
        except (errors.NoLeader, errors.NoQuorum) as error:
            raise errors.TooStale(
                f"not confirmed to be within {max_staleness_ms} ms: {error}; "
                "try again, ask another replica, or allow more staleness"
            ) from None

    async def _confirmed(self, *, quorum: bool, deadline: Deadline) -> int:
        """An index from the leader, asked for after now; asked again until the deadline."""
        while True:
            sent = self._clock.boottime()
            promise: Promise[int | None] = Promise()
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
                raise self._unconfirmed()
            await asyncio.sleep(RETRY_MS / 1000)

    def _unconfirmed(self) -> errors.NotApplied:
        leader = self._consensus.leader
        if leader is None:
            return errors.NoLeader("no leader is known; try again, or read at a lower level")
        return errors.NoQuorum(
            f"the leader {leader} could not confirm the read with a majority in time; "
            "try again, or read at a lower level"
        )

    def _ask(self, quorum: bool, promise: Promise[int | None]) -> None:
        """All reads of one turn of the loop share one question, sent after all of them arrived."""
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

    async def _at(self, at: int, deadline: Deadline) -> Point:
        """Time travel: waits for an index that is committed elsewhere, refuses one that is not."""
        if at > self._consensus.commit_index:
            commit = await self._confirmed(quorum=False, deadline=deadline)
            if at > commit:
                raise errors.FutureIndex(at, commit)
        await self.reach(at, deadline)
        reader = self._replica.reader()
        if at < reader.oldest_index():
            raise errors.IndexCompacted(at, reader.oldest_index())
        return Point(reader, at, "at")

    def _point(self, level: Level, lease_term: int | None = None) -> Point:
        return Point(self._replica.reader(), self._replica.applied, level.value, lease_term)
