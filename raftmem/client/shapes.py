"""The answers of the service about memories, the log and the group: the shapes of the REST contract, field by field.

Fields that a newer service adds are passed over. `*_ms` are integers; times are for people and never for deciding.
"""

from datetime import datetime
from typing import TypedDict

from msgspec import Struct


class Actor(Struct, frozen=True):
    """The author of a request."""

    type: str
    id: str
    role: str | None = None


class Scope(Struct, frozen=True):
    """The ids that a memory is bound to; None: not bound."""

    app_id: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None


class Embedding(Struct, frozen=True):
    """`vector`: only when it was asked for."""

    model: str | None
    dimension: int
    vector: list[float] | None = None


class Provenance(Struct, frozen=True):
    source_ref: str | None = None
    derived_from: list[str] = []
    resources: list[str] = []
    reason: str | None = None


class Decision(Struct, frozen=True):
    by: str
    matched_id: str | None = None
    similarity: float | None = None
    reason: str | None = None


class Memory(Struct, frozen=True, kw_only=True):
    """One version of one memory."""

    id: str
    version: int
    status: str
    created_index: int
    updated_index: int
    created_at: datetime
    updated_at: datetime
    text: str | None = None
    value: object = None
    app_id: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None
    tags: list[str] = []
    metadata: dict[str, object] = {}
    memory_type: str | None = None
    claim_type: str | None = None
    confidence: float | None = None
    importance: float | None = None
    actor: Actor | None = None
    visibility: str = "shared"
    provenance: Provenance | None = None
    sha256: str | None = None
    valid_at: datetime | None = None
    invalid_at: datetime | None = None
    expires_at: datetime | None = None
    pinned: bool = False
    embedding: Embedding | None = None

    @property
    def guard(self) -> dict[str, object]:
        """True while nobody has changed it: for `guards=` of a write."""
        return {"memory": self.id, "version": self.version}


class Event(Struct, frozen=True, kw_only=True):
    """One operation of one entry of the log. What does not concern it is None.

    `payload`: what the request gave (listings). `before`, `after`: only in a history.
    """

    index: int
    seq: int
    term: int
    time: datetime
    op: str
    actor: Actor
    outcome: str
    scope: Scope | None = None
    read_index: int | None = None
    request_id: str | None = None
    code: str | None = None
    requested_op: str | None = None
    decision: Decision | None = None
    memory_id: str | None = None
    version: int | None = None
    lock: str | None = None
    token: int | None = None
    owner: str | None = None
    task_ids: list[str] = []
    task_state: str | None = None
    gate: str | None = None
    open: bool | None = None
    succeeded: bool | None = None
    member_id: str | None = None
    change: str | None = None
    payload: object = None
    before: Memory | None = None
    after: Memory | None = None

    @property
    def applied(self) -> bool:
        return self.outcome == "applied"


class Entry(Struct, frozen=True):
    """One entry of the log as a watch delivers it, with all its events that were asked for.

    `prev_index`: of the entry before it under the same filter, where the replica could tell.
    """

    index: int
    prev_index: int | None
    events: list[Event]


# --- memories ---------------------------------------------------------------------------------------
class Written(Struct, frozen=True):
    """`memory`: as it was right after this write."""

    memory: Memory | None
    event: Event


class Hit(Struct, frozen=True):
    """`score`: the cosine, clamped to 0..1."""

    memory: Memory
    score: float
    score_details: dict[str, float] = {}


# --- the group ----------------------------------------------------------------------------------------
class Member(Struct, frozen=True, kw_only=True):
    id: str
    role: str
    rest_url: str
    peer_url: str
    applied_index: int | None = None
    match_index: int | None = None
    lag_entries: int | None = None
    contact_age_ms: int | None = None
    version: str | None = None


class Cluster(Struct, frozen=True, kw_only=True):
    """The group as one replica sees it."""

    cluster_id: str
    incarnation: int
    leader: str | None
    term: int
    commit_index: int
    members: list[Member]
    limits: dict[str, int] = {}


# --- what is given ------------------------------------------------------------------------------------
class Fields(TypedDict, total=False):
    """Fields of a memory. None clears; `ttl` is in seconds; times are datetimes with a zone."""

    text: str | None
    value: object
    tags: list[str] | None
    metadata: dict[str, object] | None
    memory_type: str | None
    claim_type: str | None
    confidence: float | None
    importance: float | None
    visibility: str | None
    provenance: dict[str, object] | None
    valid_at: datetime | None
    invalid_at: datetime | None
    ttl: float | None
    pinned: bool | None
    embedding: list[float] | None
    embedding_model: str | None


class ScopedFields(Fields, total=False):
    """A whole memory: with the scope ids that it is bound to."""

    app_id: str | None
    user_id: str | None
    agent_id: str | None
    run_id: str | None


class ScopeIds(TypedDict, total=False):
    """A choice of memories: an id that is not given is no constraint."""

    app_id: str | None
    user_id: str | None
    agent_id: str | None
    run_id: str | None
