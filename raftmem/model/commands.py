"""The commands of the log: typed, frozen structs and one tagged union of operations.

This vocabulary stays for ever (`docs/format.md`): fields are only ever added, at the end of a positional struct or as a
new optional name; they are never renamed, moved or given another meaning.
Nothing here computes: `codec.py` makes the bytes, `machine/` makes the decisions.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from raftmem.model.coordination_commands import Backoff as Backoff
from raftmem.model.coordination_commands import GateApprove as GateApprove
from raftmem.model.coordination_commands import GateConsume as GateConsume
from raftmem.model.coordination_commands import GateOperation as GateOperation
from raftmem.model.coordination_commands import GatePut as GatePut
from raftmem.model.coordination_commands import GateRevoke as GateRevoke
from raftmem.model.coordination_commands import LockAcquire as LockAcquire
from raftmem.model.coordination_commands import LockExpire as LockExpire
from raftmem.model.coordination_commands import LockForceRelease as LockForceRelease
from raftmem.model.coordination_commands import LockLeave as LockLeave
from raftmem.model.coordination_commands import LockOperation as LockOperation
from raftmem.model.coordination_commands import LockRelease as LockRelease
from raftmem.model.coordination_commands import LockRenew as LockRenew
from raftmem.model.coordination_commands import OwnerRelease as OwnerRelease
from raftmem.model.coordination_commands import Pin as Pin
from raftmem.model.coordination_commands import TaskAdd as TaskAdd
from raftmem.model.coordination_commands import TaskCancel as TaskCancel
from raftmem.model.coordination_commands import TaskClaim as TaskClaim
from raftmem.model.coordination_commands import TaskComplete as TaskComplete
from raftmem.model.coordination_commands import TaskExpire as TaskExpire
from raftmem.model.coordination_commands import TaskFail as TaskFail
from raftmem.model.coordination_commands import TaskHeartbeat as TaskHeartbeat
from raftmem.model.coordination_commands import TaskOperation as TaskOperation
from raftmem.model.coordination_commands import TaskRelease as TaskRelease
from raftmem.model.coordination_commands import TaskRetry as TaskRetry
from raftmem.model.coordination_commands import Txn as Txn
from raftmem.model.primitives import Actor as Actor
from raftmem.model.primitives import ActorType as ActorType

MemoryType = Literal["semantic", "episodic", "procedural", "fact"]
ClaimType = Literal["observation", "inference", "verified", "directive"]
Visibility = Literal["shared", "private"]
MergeOp = Literal["inc", "max", "min", "append", "union", "remove", "set"]


class Scope(Struct, frozen=True, array_like=True):
    """The ids that a memory is bound to; None is not bound. They are never joined into one string."""

    app_id: str | None = None
    user_id: str | None = None
    agent_id: str | None = None
    run_id: str | None = None


class Provenance(Struct, frozen=True):
    """The origin of a memory."""

    source_ref: str | None = None
    derived_from: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    reason: str | None = None


class Decision(Struct, frozen=True):
    """A verdict that was reached before proposing (or, for `by: duplicate`, inside apply)."""

    by: str
    matched_id: str | None = None
    similarity: float | None = None
    reason: str | None = None


class Fields(Struct, frozen=True, kw_only=True):
    """Fields of a memory that stay after a redaction. UNSET: not given; None: cleared.

    `valid_at`, `invalid_at`: milliseconds since the Unix epoch.
    """

    app_id: str | None | UnsetType = UNSET
    user_id: str | None | UnsetType = UNSET
    agent_id: str | None | UnsetType = UNSET
    run_id: str | None | UnsetType = UNSET
    tags: tuple[str, ...] | None | UnsetType = UNSET
    memory_type: MemoryType | None | UnsetType = UNSET
    claim_type: ClaimType | None | UnsetType = UNSET
    confidence: float | None | UnsetType = UNSET
    importance: float | None | UnsetType = UNSET
    visibility: Visibility | None | UnsetType = UNSET
    provenance: Provenance | None | UnsetType = UNSET
    valid_at: int | None | UnsetType = UNSET
    invalid_at: int | None | UnsetType = UNSET
    ttl_ms: int | None | UnsetType = UNSET
    pinned: bool | None | UnsetType = UNSET
    embedding_model: str | None | UnsetType = UNSET


class Merge(Struct, frozen=True, array_like=True):
    """One merge: `path` is `value`, `value.a.b` or `tags`; `by` is JSON text."""

    path: str
    op: MergeOp
    by: bytes


class Content(Struct, frozen=True, kw_only=True):
    """The content of an operation: all that a redaction takes away. JSON stays JSON text, as it came in (compact).

    `embedding`: float32, little-endian, as given (not normalised); None clears it. `payload`: what an operation of
    coordination brings: a task's payload, result or error, a lock's metadata, a comment.
    """

    text: str | None | UnsetType = UNSET
    value: bytes | None | UnsetType = UNSET
    metadata: bytes | None | UnsetType = UNSET
    embedding: bytes | None | UnsetType = UNSET
    merge: tuple[Merge, ...] | UnsetType = UNSET
    payload: bytes | UnsetType = UNSET


# --- memories -------------------------------------------------------------------------------------
class Add(Struct, frozen=True, array_like=True, tag="ADD"):
    """Create a memory. `id_given`: the client chose the id (the payload of the event shows it then)."""

    id: str
    fields: Fields
    on_duplicate: Literal["add", "noop"] | None = None
    id_given: bool = False


class Put(Struct, frozen=True, array_like=True, tag="PUT"):
    """Create or replace whole."""

    id: str
    fields: Fields


class Update(Struct, frozen=True, array_like=True, tag="UPDATE"):
    """Replace the given fields, then merge."""

    memory_id: str
    fields: Fields


class Delete(Struct, frozen=True, array_like=True, tag="DELETE"):
    """Leave a tombstone."""

    memory_id: str


class Noop(Struct, frozen=True, array_like=True, tag="NOOP"):
    """A recorded decision to change nothing."""

    decision: Decision
    memory_id: str | None = None


class Expire(Struct, frozen=True, array_like=True, tag="EXPIRE"):
    """The leader saw this version's time run out on log time. No effect if the memory has changed since."""

    memory_id: str
    version: int


MemoryOperation = Add | Put | Update | Delete | Noop | Expire
Operation = MemoryOperation | LockOperation | TaskOperation | GateOperation | Txn


class Guard(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A condition that must be true when the entry is applied. One of three kinds:

    `memory` with exactly one of `version`, `exists`, `sha256`; `lock` with the `token` that holds it now (and its
    `owner`, where permits > 1); `gate` with `open`.
    """

    memory: str | None = None
    version: int | None = None
    exists: bool | None = None
    sha256: str | None = None
    lock: str | None = None
    token: int | None = None
    owner: str | None = None
    gate: str | None = None
    open: bool | None = None


class Idempotency(Struct, frozen=True, array_like=True):
    """`fingerprint`: 32 bytes, `codec.fingerprint` of the request."""

    key: str
    fingerprint: bytes


class Header(Struct, frozen=True, array_like=True):
    """One command without its content: who, why, under which conditions, what."""

    actor: Actor
    request_id: str
    operations: tuple[Operation, ...]
    guards: tuple[Guard, ...] = ()
    atomic: bool = True
    idempotency: Idempotency | None = None
    read_index: int | None = None


class Draft(Struct, frozen=True):
    """A command on its way to the leader: no index, no term, no time. `contents[i]` belongs to `operations[i]`."""

    header: Header
    contents: tuple[Content | None, ...]


class Member(Struct, frozen=True, array_like=True):
    """One replica. `folder_id`: the data folder that may speak under this id; None until it is bound.

    `replaces`: of a learner, the voter that leaves when this one has caught up. `birth`: of that folder, as the leader
    that wrote the entry knew it: an emptied folder has another one, whatever id it is given.
    """

    id: str
    peer_url: str
    rest_url: str
    folder_id: str | None = None
    replaces: str | None = None
    birth: str | None = None


MembershipOp = Literal["add", "promote", "remove", "update", "recover"]


class MemberChange(Struct, frozen=True, array_like=True):
    """The change that a membership entry made, and who asked for it: for people, it decides nothing."""

    op: MembershipOp
    member_id: str
    actor: Actor
    request_id: str


class Members(Struct, frozen=True, array_like=True):
    """The whole membership, in every membership entry; a group's first entry, index 1, is one.

    `learners` are sent the log and have no vote. `removed`: ids that were members and never are again, oldest first.
    """

    cluster_id: str
    incarnation: int
    voters: tuple[Member, ...]
    election_timeout_ms: int
    clock_drift_ppm: int
    learners: tuple[Member, ...] = ()
    removed: tuple[str, ...] = ()
    change: MemberChange | None = None

    def member(self, member_id: str) -> Member | None:
        """A voter or a learner."""
        return next((one for one in (*self.voters, *self.learners) if one.id == member_id), None)
