"""What HTTP, the command line and tests call: write, read at a level, search, look at the cluster.

This module knows no HTTP. A write is decided in the log; a read passes the barrier of its level first.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from raftmem.codec import Entry
from raftmem.commands import Actor, Draft, Member, Members
from raftmem.records import Position, Record
from raftmem.storage.contracts import EventRow, Hit, SnapshotMeta, StateReader, VectorQuery


class Level(StrEnum):
    """How fresh a read must be (docs: README, Guarantees)."""

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
    """What a write came to. `replayed`: the first reply under the same Idempotency-Key, not a new event.

    `reader` is good until the next await and sees at least `row.index`. `records`: the memories as
    the operations left them, by seq, as far as they are still at hand (not for a replayed one).
    """

    row: EventRow
    entry: Entry
    reader: StateReader
    replayed: bool
    records: Mapping[int, Record] = {}

    def record(self, seq: int) -> Record | None:
        """The memory that operation `seq` concerns, as it stood after that operation."""
        target = self.row.result.outcomes[seq].memory_id
        if target is None:
            return None
        return self.records.get(seq) or self.reader.memory(target, Position(self.row.index, seq))


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
        """What `read` would give if it need not wait: most lease reads on the leader. None: ask `read`."""
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

    def status(self) -> Status: ...

    @property
    def members(self) -> Members:
        """The membership in force here."""
        ...

    @property
    def genesis(self) -> str:
        """BLAKE2b-256 of the bootstrap entry's bytes, hex: the same on every replica of a group, and of no other."""
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
        """A snapshot of this replica's state as of now, on disk. Raises: NoSpace, ConsistencyTimeout."""
        ...

    def snapshots(self) -> list[SnapshotMeta]:
        """Those on this replica's disk, newest first."""
        ...

    def new_id(self) -> str:
        """A UUIDv7."""
        ...

    def metrics(self) -> dict[str, float]:
        """Counters and gauges of this replica, by Prometheus name without the `raftmem_` prefix."""
        ...
