"""The service that HTTP, the command line and tests call: write, read at a level, search, look at the cluster.

This module knows no HTTP. The log decides a write; a read first passes the barrier of its level.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from raftmem.model.codec import Entry
from raftmem.model.commands import Actor, Draft, Member, Members
from raftmem.model.records import Position, Record
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.contract import EventRow, StateReader
from raftmem.storage.vectors.contract import Hit, VectorQuery


class Level(StrEnum):
    """The freshness that a read asks for (README, Guarantees)."""

    LEASE = "lease"
    LINEARIZABLE = "linearizable"
    SESSION = "session"
    BOUNDED = "bounded"
    EVENTUAL = "eventual"


class ReadOptions(NamedTuple):
    """`min_index` may stand at any level; `at` stands alone (time travel)."""

    level: Level = Level.LEASE
    min_index: int | None = None
    max_staleness_ms: int | None = None
    at: int | None = None
    timeout_ms: int = 5000


class Point(Struct, frozen=True):
    """A moment that may be read. `reader` is good until the next await.

    `index`: what the answer reflects (`at` for time travel). `level`: what ran: a Level, or "at".
    `lease_term`: the term whose lease the read relies on (None: it does not); see `Service.still_holds`.
    """

    reader: StateReader
    index: int
    level: str
    lease_term: int | None = None


class Written(NamedTuple):
    """The result of a write. `replayed`: the first reply under the same Idempotency-Key, not a new event.

    `reader` is good until the next await and sees at least `row.index`. `records`: the memories as
    the operations left them, by seq, as far as they are still at hand (not for a replayed one). `first_seq`: of the
    first operation that was asked for; an entry may take in those of many. `more`: the entries that went on with it,
    where one has no room for all of it (OWNER_RELEASE).
    """

    row: EventRow
    entry: Entry
    reader: StateReader
    replayed: bool
    records: Mapping[int, Record] = {}
    first_seq: int = 0
    more: tuple[EventRow, ...] = ()

    def record(self, seq: int) -> Record | None:
        """The memory that operation `seq` concerns, as it stood after that operation."""
        target = self.row.result.outcomes[seq].memory_id
        if target is None:
            return None
        return self.records.get(seq) or self.reader.memory(target, Position(self.row.index, seq))


Gone = Callable[[], Awaitable[None]]  # returns when the client that waits is not there any more


class Write(Protocol):
    """`Service.write`, for what is built on it."""

    async def __call__(self, draft: Draft, *, timeout_ms: int) -> Written: ...


class Read(Protocol):
    """`Service.read`."""

    async def __call__(self, options: ReadOptions) -> Point: ...


class Granted(NamedTuple):
    """An acquire that has its permit: at once, as the owner that has it already, or after its turn in the queue.

    `row`, `entry`, `seq`: the event that gave it (for a replayed one the first reply's). `remaining_ms`: as of now for
    a replayed one (0: it is lost since), else as of that event.
    """

    row: EventRow
    entry: Entry
    seq: int
    token: int
    remaining_ms: int
    replayed: bool


Topic = tuple[
    str, str
]  # ("lock", name), ("gate", name), ("queue", name), ("memory_id", id), ("app_id", id), … , ("op", op)


class Subscription(Protocol):
    """One watcher's cursor in the entries applied here, from the moment it was made. Loop thread only."""

    def take(self) -> list[int] | None:
        """Indexes, rising, of entries that may concern it, applied since the last call. None: look everything up anew
        since the last call (it was too slow for the bound, or a snapshot was installed)."""
        ...

    async def wait(self, seconds: float) -> None:
        """Until there is something to take, the replica is closing, or the time is over."""
        ...

    async def turn(self) -> None:
        """Wait until this watcher may work on the loop: all watchers share a small part of it."""
        ...

    @property
    def closing(self) -> bool:
        """The replica is leaving: say goodbye."""
        ...

    def close(self) -> None:
        """End the subscription. A second call has no effect."""
        ...


Role = Literal["leader", "follower", "learner"]


class MemberView(NamedTuple):
    """One member as this replica knows it; None is not known here."""

    id: str
    role: Role
    rest_url: str
    peer_url: str
    applied_index: int | None
    match_index: int | None
    lag_entries: int | None
    contact_age_ms: int | None
    version: str | None


class Changed(NamedTuple):
    """A membership after a change. `row`: the event of the entry that made it, applied here."""

    row: EventRow
    members: Members


class Status(NamedTuple):
    """One replica's view of the group, and of itself. `cluster`: `<cluster id>/<incarnation>`."""

    node_id: str
    cluster_id: str
    incarnation: int
    term: int
    leader_id: str | None
    leader_url: str | None
    commit_index: int
    applied_index: int
    last_index: int
    durable_index: int
    members: tuple[MemberView, ...]


class Service(Protocol):
    """One replica, as its callers see it. Loop thread only."""

    @property
    def node_id(self) -> str: ...

    @property
    def cluster(self) -> str:
        """`<cluster id>/<incarnation>`."""
        ...

    @property
    def term(self) -> int: ...

    @property
    def leader_id(self) -> str | None: ...

    @property
    def leader_url(self) -> str | None: ...

    async def write(self, draft: Draft, *, timeout_ms: int) -> Written:
        """Propose (through the leader) and wait until the entry is applied here.

        Raises: NoLeader, TooManyRequests, NoSpace, ShuttingDown (not applied); UnknownOutcome at the deadline;
            TooLarge.
        """
        ...

    def read_now(self, options: ReadOptions) -> Point | None:
        """The point of `read` if it need not wait, as most lease reads on the leader; None: call `read`."""
        ...

    async def read(self, options: ReadOptions) -> Point:
        """Raises: NoLeader, NoQuorum, TooStale, ConsistencyTimeout, FutureIndex, IndexCompacted, ShuttingDown."""
        ...

    def still_holds(self, point: Point) -> bool:
        """Asked after the answer is computed: False when a lease that it relies on may be over (read again)."""
        ...

    async def search(self, point: Point, query: VectorQuery) -> Sequence[Hit]:
        """Exact top-k as of `point.index`, vector work off the loop. Raises: TooManyRequests."""
        ...

    async def wait_applied(self, index: int, *, timeout_ms: int) -> bool:
        """True once this replica has applied `index`; False at the timeout (long-poll of events)."""
        ...

    # --- coordination ---------------------------------------------------------------------------------
    async def acquire(self, draft: Draft, *, keep_ms: int = 0, timeout_ms: int, gone: Gone) -> Granted | Written:
        """A draft of one LOCK_ACQUIRE; waits in the queue for as long as it says. `Written`: not granted; either the
        acquire that was refused, or the LOCK_LEAVE that ended the wait.

        `keep_ms`: how long the place stays after the wait, for the same owner to ask again (then `Written` is the
        LOCK_WAIT); 0: it is left. A client that is gone leaves the queue. Raises: as `write`, TooManyRequests.
        """
        ...

    async def claim(self, draft: Draft, *, wait_ms: int, timeout_ms: int, gone: Gone) -> Written | Point:
        """A draft of one TASK_CLAIM. Nothing enters the log while there is nothing to claim; `Point`: there was nothing
        in all that time, as of then. Raises: as `write` and `read`, TooManyRequests.
        """
        ...

    async def await_gate(self, gate: str, options: ReadOptions, *, wait_ms: int, gone: Gone) -> Point:
        """A moment at which the gate is open, or else the last one within the wait. Raises: as `read`."""
        ...

    def log_time(self) -> int:
        """Log time as of now, microseconds, as far as this replica can tell: never ahead of the leader's by more than
        clocks drift. For showing what remains of a lease; decides nothing."""
        ...

    def subscribe(self, topics: Sequence[Topic]) -> Subscription:
        """Watch the entries that concern all of these topics (none: every entry). Raises: TooManyRequests."""
        ...

    def status(self) -> Status: ...

    @property
    def members(self) -> Members:
        """The membership in force here."""
        ...

    async def add_member(self, member: Member, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        """Make it a learner, which becomes a voter by itself when it has caught up. Again is harmless: a new address
        or folder of a learner is taken over (`replaces` and `folder_id` of None keep what stands), what stands already
        is answered with its entry.

        Raises: WrongState (with the reason), NotFound (`replaces` names no voter), and as `write`.
        """
        ...

    async def remove_member(self, member_id: str, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        """Raises: WrongState when the live majority would be lost, NotFound, and as `write`."""
        ...

    async def transfer(self, member_id: str | None, *, timeout_ms: int) -> str:
        """Have another voter lead (None: the one that is furthest). The id of who leads then.

        Raises: WrongState, NotFound, NoLeader when it did not come about in time.
        """
        ...

    async def snapshot(self, *, timeout_ms: int) -> SnapshotMeta:
        """A snapshot of this replica's state as of now, on disk.

        Raises: NoSpace, TooManyRequests (no open files are left), ConsistencyTimeout.
        """
        ...

    def snapshots(self) -> list[SnapshotMeta]:
        """The snapshots on this replica's disk, newest first."""
        ...

    def new_id(self) -> str:
        """A UUIDv7."""
        ...

    def metrics(self) -> dict[str, float]:
        """Counters and gauges of this replica, by Prometheus name without the `raftmem_` prefix."""
        ...
