"""Records and events as JSON: the shapes of the contract, each field in its place, null when unset.

JSON text that is stored (`value`, `metadata`) is spliced in as it is, never decoded here. These structs are also the
source of the schemas in the OpenAPI document.
"""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from raftmem.api.http import embedding, times
from raftmem.model.codec import Entry
from raftmem.model.commands import (
    Actor,
    ActorType,
    ClaimType,
    Decision,
    Header,
    LockRenew,
    MembershipOp,
    MemoryType,
    Provenance,
    Scope,
    TaskHeartbeat,
    Visibility,
)
from raftmem.model.records import About, Outcome, Record, Status, operation_of
from raftmem.storage.state.contract import EventRow, StateReader

encode = msgspec.json.Encoder().encode
_RAFT: Final = Actor("system", "raft")
_EMPTY_OBJECT: Final = Raw(b"{}")


class ActorView(Struct, frozen=True):
    type: ActorType
    id: str
    role: str | None


class ScopeView(Struct, frozen=True):
    app_id: str | None
    user_id: str | None
    agent_id: str | None
    run_id: str | None


class EmbeddingView(Struct, frozen=True):
    """`vector`: only under `include=embedding`."""

    model: str | None
    dimension: int
    vector: list[float] | UnsetType = UNSET


class MemoryView(Struct, frozen=True):
    """One version of one memory. A tombstone keeps id, scope, version and times; the rest is null or empty."""

    id: str
    text: str | None
    value: Raw | None
    app_id: str | None
    user_id: str | None
    agent_id: str | None
    run_id: str | None
    tags: tuple[str, ...]
    metadata: Raw
    memory_type: MemoryType | None
    claim_type: ClaimType | None
    confidence: float | None
    importance: float | None
    actor: ActorView
    visibility: Visibility
    provenance: Provenance | None
    sha256: str | None
    version: int
    created_index: int
    updated_index: int
    created_at: str
    updated_at: str
    valid_at: str | None
    invalid_at: str | None
    expires_at: str | None
    pinned: bool
    status: Status
    embedding: EmbeddingView | None


class EventView(Struct, frozen=True, kw_only=True):
    """One operation of one entry. Keys that do not concern it are left out.

    `member_id`, `change`: of a MEMBER, what was done to whom. `owner`: whom an event of a lock is about, where the
    request did not say. `task_state`: after it. `succeeded`: of a TXN, whether its guards were true. `payload`: what
    the request gave; only in listings. `before`, `after`: only in a history.
    """

    index: int
    seq: int
    term: int
    time: str
    op: str
    actor: ActorView
    scope: ScopeView | None
    read_index: int | None
    request_id: str | None
    outcome: Literal["applied", "refused"]
    code: str | None
    member_id: str | UnsetType = UNSET
    change: MembershipOp | UnsetType = UNSET
    memory_id: str | None | UnsetType = UNSET
    version: int | None | UnsetType = UNSET
    lock: str | UnsetType = UNSET
    task_ids: tuple[str, ...] | UnsetType = UNSET
    token: int | None | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    task_state: str | UnsetType = UNSET
    gate: str | UnsetType = UNSET
    open: bool | UnsetType = UNSET
    succeeded: bool | UnsetType = UNSET
    requested_op: str | UnsetType = UNSET
    decision: Decision | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET
    before: MemoryView | None | UnsetType = UNSET
    after: MemoryView | None | UnsetType = UNSET


def actor(who: Actor) -> ActorView:
    return ActorView(who.type, who.id, who.role)


def scope(ids: Scope) -> ScopeView:
    return ScopeView(ids.app_id, ids.user_id, ids.agent_id, ids.run_id)


_BLANK: Final = EventView(
    index=0,
    seq=0,
    term=0,
    time="",
    op="",
    actor=actor(_RAFT),
    scope=None,
    read_index=None,
    request_id=None,
    outcome="applied",
    code=None,
)


def memory(record: Record, vector: bytes | None = None) -> MemoryView:
    """`vector`: shown with the embedding when it is given."""
    ids = record.scope
    shown = None
    if record.dimension is not None:
        numbers = UNSET if vector is None else embedding.unpack(vector)
        shown = EmbeddingView(record.embedding_model, record.dimension, numbers)
    return MemoryView(
        record.id,
        record.text,
        None if record.value is None else Raw(record.value),
        ids.app_id,
        ids.user_id,
        ids.agent_id,
        ids.run_id,
        record.tags,
        Raw(record.metadata) if record.metadata else _EMPTY_OBJECT,
        record.memory_type,
        record.claim_type,
        record.confidence,
        record.importance,
        actor(record.actor),
        record.visibility,
        record.provenance,
        record.sha256.hex() or None,
        record.version,
        record.created.index,
        record.updated.index,
        times.shown(record.created_ms),
        times.shown(record.updated_ms),
        times.shown_or_none(record.valid_at),
        times.shown_or_none(record.invalid_at),
        times.shown_or_none(record.expires_ms),
        record.pinned,
        record.status,
        shown,
    )


def memory_of(reader: StateReader, record: Record, *, with_vector: bool) -> MemoryView:
    return memory(record, reader.vector(record) if with_vector else None)


def event(
    row: EventRow,
    entry: Entry,
    seq: int,
    *,
    payload: Raw | UnsetType = UNSET,
    before: MemoryView | None | UnsetType = UNSET,
    after: MemoryView | None | UnsetType = UNSET,
) -> EventView:
    """Operation `seq` of a command, or what followed from them."""
    outcome = row.result.outcomes[seq]
    header = entry.header
    if outcome.about is not None:
        return _event_about(row, entry, seq, outcome.about, payload)
    return replace(  # made by name from nothing, it takes four times as long
        _BLANK,
        index=row.index,
        seq=seq,
        term=row.term,
        time=times.shown(entry.wall_ms),
        op=outcome.op,
        actor=actor(_RAFT if header is None else header.actor),
        scope=None if outcome.scope is None else scope(outcome.scope),
        read_index=None if header is None else header.read_index,
        request_id=None if header is None else header.request_id,
        outcome="applied" if outcome.applied else "refused",
        code=outcome.code,
        memory_id=outcome.memory_id,
        version=outcome.version,
        requested_op=outcome.requested_op or UNSET,
        decision=outcome.decision or UNSET,
        payload=payload,
        before=before,
        after=after,
    )


_NAMES_ITS_OWNER: Final = ("LOCK_GRANT", "LOCK_EXPIRE", "LOCK_FORCE_RELEASE", "LOCK_LEAVE", "OWNER_RELEASE")
_STATE_IS_PLAIN: Final = ("TASK_ADD", "TASK_CLAIM", "TASK_HEARTBEAT")


def _event_about(row: EventRow, entry: Entry, seq: int, about: About, payload: Raw | UnsetType) -> EventView:
    """An event of coordination."""
    outcome, header = row.result.outcomes[seq], entry.header
    assert header is not None, "only commands have outcomes"
    who, request_id = asked_by(header, row.result.outcomes, seq)
    asked = outcome.requested_op or outcome.op
    of_tasks = asked.startswith("TASK_")
    shows_owner = outcome.op in _NAMES_ITS_OWNER or asked in _NAMES_ITS_OWNER
    return replace(
        _BLANK,
        index=row.index,
        seq=seq,
        term=row.term,
        time=times.shown(entry.wall_ms),
        op=outcome.op,
        actor=actor(who),
        scope=None,
        read_index=header.read_index,
        request_id=request_id,
        outcome="applied" if outcome.applied else "refused",
        code=outcome.code,
        lock=UNSET if about.lock is None else about.lock,
        task_ids=about.task_ids if of_tasks else UNSET,
        token=about.token if of_tasks or about.lock is not None else UNSET,
        owner=about.owner if shows_owner and about.owner is not None else UNSET,
        task_state=about.state if about.state is not None and asked not in _STATE_IS_PLAIN else UNSET,
        gate=UNSET if about.gate is None else about.gate,
        open=UNSET if about.open is None else about.open,
        succeeded=about.succeeded if outcome.applied and about.succeeded is not None else UNSET,
        requested_op=outcome.requested_op or UNSET,
        payload=payload,
    )


def asked_by(header: Header, outcomes: tuple[Outcome, ...], seq: int) -> tuple[Actor, str]:
    """Actor and request id: an entry that renews for many keeps those of each with its operation."""
    place = operation_of(header, outcomes, seq)
    operation = None if place is None else header.operations[place]
    if isinstance(operation, LockRenew | TaskHeartbeat):
        return operation.actor or header.actor, operation.request_id or header.request_id
    return header.actor, header.request_id


def internal_event(row: EventRow, entry: Entry) -> EventView:
    """An entry without events: a change of the members, one of Raft's own (a leader's first, the bootstrap), or a
    replay under a used key."""
    header = entry.header
    change = None if entry.members is None else entry.members.change
    asked = header if change is None else change
    replayed = None
    if row.result.replay_of is not None:
        replayed = Decision("idempotency-key", reason=f"first applied at index {row.result.replay_of}")
    return EventView(
        index=row.index,
        seq=0,
        term=row.term,
        time=times.shown(entry.wall_ms),
        op="RAFT" if change is None else "MEMBER",
        actor=actor(_RAFT if asked is None else asked.actor),
        scope=None,
        read_index=None if header is None else header.read_index,
        request_id=None if asked is None else asked.request_id,
        outcome="applied",
        code=None,
        member_id=UNSET if change is None else change.member_id,
        change=UNSET if change is None else change.op,
        decision=replayed or UNSET,
    )


def etag(record: Record) -> tuple[bytes, bytes]:
    return (b"etag", b'"%d"' % record.version)
