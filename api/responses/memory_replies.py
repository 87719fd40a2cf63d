"""Whole reply bodies: one struct each, encoded as it is and described from itself in the OpenAPI document."""

from typing import Literal

from msgspec import Struct

from raftmem.api.responses.memory_views import EventView, MemoryView
from raftmem.service.interface import Role


class MemoryWritten(Struct, frozen=True):
    """`memory`: as it was right after this write."""

    memory: MemoryView | None
    event: EventView


class BatchResult(Struct, frozen=True):
    """The result of `events[i]`. `error`: a problem document, when it was refused."""

    event: EventView
    memory: MemoryView | None
    error: dict[str, object] | None


class BatchWritten(Struct, frozen=True):
    """`results[i]` answers `events[i]`."""

    index: int
    results: list[BatchResult]


class MemoryList(Struct, frozen=True):
    """`next_cursor`: null on the last page; a page may be short, or empty, and still have one."""

    memories: list[MemoryView]
    next_cursor: str | None


class EventList(Struct, frozen=True):
    """`next_cursor`: null on the last page; a page may be short, or empty, and still have one."""

    events: list[EventView]
    next_cursor: str | None


class ScoreDetails(Struct, frozen=True):
    cosine: float


class SearchHit(Struct, frozen=True):
    """`score`: the cosine, clamped to 0..1."""

    memory: MemoryView
    score: float
    score_details: ScoreDetails


class SearchResults(Struct, frozen=True):
    """Best first, ties by id."""

    results: list[SearchHit]


class Digest(Struct, frozen=True):
    """The rolling digest after entry `index`, in lower hex: equal on every replica."""

    index: int
    digest: str


class Member(Struct, frozen=True):
    """One replica; a learner has no vote (yet); null is not known here (only the leader knows what the others have)."""

    id: str
    role: Role
    rest_url: str
    peer_url: str
    applied_index: int | None
    match_index: int | None
    lag_entries: int | None
    contact_age_ms: int | None
    version: str | None


class Cluster(Struct, frozen=True):
    """The group as this replica sees it. `limits`: the bounds that a client can reach."""

    cluster_id: str
    incarnation: int
    leader: str | None
    term: int
    commit_index: int
    members: list[Member]
    limits: dict[str, int]


class GroupMember(Struct, frozen=True):
    """One replica as the membership names it. `replaces`: of a learner, the voter that leaves for it."""

    id: str
    role: Role | Literal["removed"]
    peer_url: str | None
    rest_url: str | None
    folder_id: str | None
    replaces: str | None


class Group(Struct, frozen=True):
    """The group that a member was added to. Its genesis is told over the peer port, to those that prove themselves."""

    cluster_id: str
    incarnation: int
    election_timeout_ms: int
    clock_drift_ppm: int
    members: list[GroupMember]


class MemberAdded(Struct, frozen=True):
    """`event`: of the entry that made it so; with 200, of the membership in force."""

    member: GroupMember
    event: EventView
    cluster: Group


class MemberRemoved(Struct, frozen=True):
    """`member`: with the addresses it had, as far as this replica knew them."""

    member: GroupMember
    event: EventView


class Leader(Struct, frozen=True):
    id: str
    url: str | None


class LeaderMoved(Struct, frozen=True):
    leader: Leader


class Snapshot(Struct, frozen=True):
    """A copy of the state after entry `index`. `checksum`: of its `bytes` bytes, BLAKE2b-256 in lower hex."""

    index: int
    term: int
    bytes: int
    checksum: str
    digest: str
    time: str


class SnapshotTaken(Struct, frozen=True):
    snapshot: Snapshot


class SnapshotList(Struct, frozen=True):
    """Newest first; `next_cursor` is always null, a replica keeps a few."""

    snapshots: list[Snapshot]
    next_cursor: str | None


class Live(Struct, frozen=True):
    live: bool


class Ready(Struct, frozen=True):
    """`checks`: `ok`, or what is wrong, by name."""

    ready: bool
    checks: dict[str, str]
