"""The contents of the state: records of memories, outcomes of entries, and the changes that an entry makes.

The machine makes them, the storage keeps them, the API shows them. A `Position` names a moment: the state after
operation `seq` of entry `index`.
"""

from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct

from raftmem.model.commands import Actor, ClaimType, Decision, Header, MemoryType, Provenance, Scope, Txn, Visibility
from raftmem.model.coordination_rows import CoordinationRow
from raftmem.model.primitives import SEQ_LAST as SEQ_LAST
from raftmem.model.primitives import Position as Position

Status = Literal["active", "deleted", "expired"]


class Record(Struct, frozen=True, array_like=True):
    """One version of one memory. A tombstone keeps id, scope, version and times, and no content.

    `value`, `metadata`: JSON text. `expires`: log time in microseconds. `*_ms`: wall time.
    `vector_at`: the position whose operation set the embedding; the vector is kept under (row, vector_at).
    `previous`: created position of the row that this id had before it was deleted and added again.
    """

    id: str
    version: int
    status: Status
    created: Position
    updated: Position
    scope: Scope
    text: str | None
    value: bytes | None
    metadata: bytes
    sha256: bytes
    tags: tuple[str, ...]
    actor: Actor
    created_ms: int
    updated_ms: int
    memory_type: MemoryType | None = None
    claim_type: ClaimType | None = None
    confidence: float | None = None
    importance: float | None = None
    visibility: Visibility = "shared"
    provenance: Provenance | None = None
    valid_at: int | None = None
    invalid_at: int | None = None
    expires: int | None = None
    expires_ms: int | None = None
    pinned: bool = False
    embedding_model: str | None = None
    dimension: int | None = None
    vector_at: Position | None = None
    previous: Position | None = None


class About(Struct, frozen=True, array_like=True):
    """The subjects of a coordination operation.

    `token`: of the hold or claim. `current_token`: which one holds instead (None: none does). `state`: of the task
    after it. `open`: of the gate after it. `succeeded`: of a TXN, which arm ran: all guards were true, or not.
    """

    lock: str | None = None
    owner: str | None = None
    token: int | None = None
    task_ids: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    gate: str | None = None
    state: str | None = None
    open: bool | None = None
    succeeded: bool | None = None
    current_token: int | None = None


class Outcome(Struct, frozen=True, array_like=True):
    """The outcome of one operation, or of an event that followed from the entry (a grant, a gate that closes).

    `version`: of the memory after this operation, changed or not. `code`: why it was refused. `failed`: positions of
    the false guards. `path`: of a merge that did not fit, or the part of a request that was refused.
    `about`: of an operation of coordination; None of one on a memory.
    """

    op: str
    applied: bool
    code: str | None = None
    memory_id: str | None = None
    version: int | None = None
    scope: Scope | None = None
    requested_op: str | None = None
    decision: Decision | None = None
    failed: tuple[int, ...] = ()
    path: str | None = None
    about: About | None = None


class Result(Struct, frozen=True, array_like=True):
    """The result of one entry. `replay_of`: index of the first entry under the same idempotency key.

    Outcomes stand by `seq`: first those of the operations that ran (of a transaction its TXN and one arm), in order,
    then what followed from them. See `operation_of`.
    """

    outcomes: tuple[Outcome, ...] = ()
    replay_of: int | None = None


def operation_of(header: Header, outcomes: tuple[Outcome, ...], seq: int) -> int | None:
    """The position in `header.operations` of the operation of outcome `seq`; None: the outcome followed from others."""
    first = header.operations[0] if header.operations else None
    if not isinstance(first, Txn):
        return seq if seq < len(header.operations) else None
    about = outcomes[0].about
    if about is not None and about.succeeded:
        return seq if seq <= first.then else None
    place = seq if seq == 0 else seq + first.then
    return place if place < len(header.operations) else None


class IdempotencyRow(Struct, frozen=True, array_like=True):
    """A used key. `time`: log time, microseconds."""

    actor: Actor
    key: str
    fingerprint: bytes
    index: int
    time: int


class PutRecord(Struct, frozen=True, array_like=True, tag="record"):
    """`record` becomes the newest version; `old` is what stood under the same row (None: a new row)."""

    record: Record
    old: Record | None
    content_hash: bytes  # BLAKE2b of salt and content; stands in the digest for the content itself
    vector: bytes | None = None  # float32 little-endian, when this version sets one


class PutIdempotency(Struct, frozen=True, array_like=True, tag="key"):
    row: IdempotencyRow


class DropIdempotency(Struct, frozen=True, array_like=True, tag="drop_key"):
    row: IdempotencyRow


class PutRow(Struct, frozen=True, array_like=True, tag="thing"):
    """`new` replaces `old` under `key` (None: no row)."""

    key: bytes
    new: CoordinationRow | None
    old: CoordinationRow | None
    at: Position


class PutContent(Struct, frozen=True, array_like=True, tag="content"):
    """The payload of the operation at a position, JSON text. Its slot stands in the digest for it."""

    at: Position
    data: bytes


Change = PutRecord | PutIdempotency | DropIdempotency | PutRow | PutContent


class Step(Struct, frozen=True):
    """The machine's decision on one entry."""

    result: Result
    changes: tuple[Change, ...]


class Head(Struct, frozen=True, array_like=True):
    """The head of the state. `time`: log time of the last entry applied, microseconds."""

    index: int
    term: int
    time: int
    digest: bytes
    memories: int = 0  # active ones
    keys: int = 0  # idempotency keys kept


class IndexedRow(NamedTuple):
    """A row that a scan found, and the index key under which it was found."""

    index_key: bytes
    row: CoordinationRow


class View(Protocol):
    """The state that the machine may read: just before the entry (the store gives it inside its transaction)."""

    @property
    def head(self) -> Head: ...

    def memory(self, memory_id: str, at: Position | None = None) -> Record | None:
        """The newest version of a memory (tombstones too), or the one in force at a position."""
        ...

    def duplicate(self, sha256: bytes, scope: Scope, without: AbstractSet[str] = frozenset()) -> Record | None:
        """The oldest active memory (by row) with this content hash and exactly these four scope ids.

        `without`: ids to pass over (the entry being applied has changed them).
        """
        ...

    def vector(self, record: Record) -> bytes | None:
        """The vector that a record points to, float32 little-endian."""
        ...

    def idempotency(self, actor: Actor, key: str) -> IdempotencyRow | None: ...

    def oldest_keys(self, limit: int) -> tuple[IdempotencyRow, ...]:
        """Used keys, oldest first by index."""
        ...

    def coordination_row(self, key: bytes, at: Position | None = None) -> CoordinationRow | None:
        """The row under a key (`coordination_rows.key_of`); at a position, if its kind is in `VERSIONED`."""
        ...

    def scan(self, prefix: bytes, *, limit: int, start: bytes = b"", stop: bytes | None = None) -> list[IndexedRow]:
        """The first `limit` rows whose index key has this prefix and start <= index key (< stop), in that order."""
        ...

    def content(self, at: Position) -> bytes | None:
        """The payload of the operation at a position, JSON text."""
        ...
