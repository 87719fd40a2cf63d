"""Whole reply bodies: one struct each, encoded as it is and described from itself in the OpenAPI document."""

from msgspec import Struct

from raftmem.api.views import EventView, MemoryView


class MemoryWritten(Struct, frozen=True):
    """`memory`: as it was right after this write."""

    memory: MemoryView | None
    event: EventView


class BatchResult(Struct, frozen=True):
    """What came of `events[i]`. `error`: a problem document, when it was refused."""

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
    """One replica; null is not known here (only the leader knows what the others have)."""

    id: str
    role: str
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


class Live(Struct, frozen=True):
    live: bool


class Ready(Struct, frozen=True):
    """`checks`: `ok`, or what is wrong, by name."""

    ready: bool
    checks: dict[str, str]
