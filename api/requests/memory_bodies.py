"""Request bodies as msgspec structs: what a client may send, and the source of the schemas in the OpenAPI document.

The types refuse unknown fields, wrong types and numbers out of range; bounds in bytes, and what one field asks of
another, are checked in `drafts.py`. UNSET: not given. None: given as null, which clears where it can.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Protocol, TypeVar, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from raftmem.errors import BadRequest
from raftmem.limits import (
    ADDRESS_BYTES_MAX,
    EMBEDDING_FLOATS_MAX,
    GUARDS_MAX,
    JSON_INTEGER_MAX,
    MERGE_PATHS_MAX,
    NAME_BYTES_MAX,
    OPERATIONS_MAX,
    PROVENANCE_ITEMS_MAX,
    PROVENANCE_TEXT_BYTES_MAX,
    TAGS_MAX,
    TEXT_BYTES_MAX,
    TOP_K_DEFAULT,
    TOP_K_MAX,
    TTL_MS_MAX,
)
from raftmem.model.addresses import NODE_ID
from raftmem.model.commands import ClaimType, MemoryType, MergeOp, Visibility

Id = Annotated[
    str, Meta(min_length=1, max_length=NAME_BYTES_MAX, extra_json_schema={"pattern": r"^[A-Za-z0-9._:@~-]+$"})
]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX, extra_json_schema={"pattern": r"^[^\u0000]+$"})]
NodeId = Annotated[str, Meta(extra_json_schema={"pattern": NODE_ID})]
Share = Annotated[float, Meta(ge=0, le=1)]
Index = Annotated[int, Meta(ge=0, le=JSON_INTEGER_MAX)]
Instant = Annotated[datetime, Meta(tz=True)]
Vector = Annotated[list[float], Meta(min_length=1, max_length=EMBEDDING_FLOATS_MAX)]
Tags = Annotated[list[Name], Meta(max_length=TAGS_MAX)]
_Source = Annotated[str, Meta(max_length=PROVENANCE_TEXT_BYTES_MAX)]
_Sources = Annotated[list[_Source], Meta(max_length=PROVENANCE_ITEMS_MAX)]


AskerType = Literal["agent", "user", "service"]  # `system` is the replicas' own


class ActorBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The actor of a request."""

    type: AskerType
    id: Name
    role: Name | None = None


class ProvenanceBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a memory comes from."""

    source_ref: _Source | None = None
    derived_from: _Sources = []
    resources: _Sources = []
    reason: _Source | None = None


class DecisionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A verdict that the client has reached: recorded, and decides nothing."""

    by: Name
    matched_id: Name | None = None
    similarity: Annotated[float, Meta(ge=-1, le=1)] | None = None
    reason: _Source | None = None


class GuardBody(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A condition that must hold when the write is applied: of a `memory` exactly one of `version`, `exists`,
    `sha256`; of a `lock`, that it is held with `token` (by `owner`, needed where it has several permits); of a
    `gate`, its `open`.
    """

    memory: Id | None = None
    version: Annotated[int, Meta(ge=1, le=JSON_INTEGER_MAX)] | None = None
    exists: bool | None = None
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    lock: Name | None = None
    token: Annotated[int, Meta(ge=1, le=JSON_INTEGER_MAX)] | None = None
    owner: Name | None = None
    gate: Name | None = None
    open: bool | None = None


class MergeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One merge: `inc` takes an integer, `max` and `min` a number, `union` and `remove` an array, others any JSON."""

    op: MergeOp
    by: object


Guards = Annotated[list[GuardBody], Meta(max_length=GUARDS_MAX)]
# `actor`, `guards` and `read_index` (the index that the writer had read up to) may stand in any write body; msgspec
# has no mixins, so each body spells them out.


class Asked(Protocol):
    """Any write body."""

    @property
    def actor(self) -> ActorBody | None: ...

    @property
    def guards(self) -> Guards: ...

    @property
    def read_index(self) -> int | None: ...


class MemoryBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a memory that every write of one may give."""

    text: Annotated[str, Meta(extra_json_schema={"maxLength": TEXT_BYTES_MAX})] | None | UnsetType = UNSET
    value: object = UNSET
    tags: Tags | None | UnsetType = UNSET
    metadata: dict[str, object] | None | UnsetType = UNSET
    memory_type: MemoryType | None | UnsetType = UNSET
    claim_type: ClaimType | None | UnsetType = UNSET
    confidence: Share | None | UnsetType = UNSET
    importance: Share | None | UnsetType = UNSET
    visibility: Visibility | None | UnsetType = UNSET
    provenance: ProvenanceBody | None | UnsetType = UNSET
    valid_at: Instant | None | UnsetType = UNSET
    invalid_at: Instant | None | UnsetType = UNSET
    ttl_ms: Annotated[int, Meta(ge=1, le=TTL_MS_MAX)] | None | UnsetType = UNSET
    pinned: bool | None | UnsetType = UNSET
    embedding: Vector | None | UnsetType = UNSET
    embedding_model: Name | None | UnsetType = UNSET


class ScopedBody(MemoryBody, frozen=True, kw_only=True):
    """A whole memory: with the scope ids that it is bound to (null: not bound)."""

    app_id: Name | None | UnsetType = UNSET
    user_id: Name | None | UnsetType = UNSET
    agent_id: Name | None | UnsetType = UNSET
    run_id: Name | None | UnsetType = UNSET


class AddFields(ScopedBody, frozen=True, kw_only=True):
    """`id`: a UUIDv7 when not given."""

    id: Id | UnsetType = UNSET
    on_duplicate: Literal["add", "noop"] | UnsetType = UNSET


class PatchFields(MemoryBody, frozen=True, kw_only=True):
    """Given fields replace, null clears; then the merges, in order."""

    merge: Annotated[dict[str, MergeBody], Meta(max_length=MERGE_PATHS_MAX)] | UnsetType = UNSET


class AddBody(AddFields, frozen=True, kw_only=True):
    """`POST /v1/memories`; `text` or `value` must be there."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class PutBody(ScopedBody, frozen=True, kw_only=True):
    """`PUT /v1/memories/{id}`: the memory, whole."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class PatchBody(PatchFields, frozen=True, kw_only=True):
    """`PATCH /v1/memories/{id}`: at least one field or merge."""

    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class AddItem(AddFields, frozen=True, kw_only=True, tag_field="op", tag="ADD"):
    """As `POST /v1/memories`."""


class UpdateItem(PatchFields, frozen=True, kw_only=True, tag_field="op", tag="UPDATE"):
    """As `PATCH /v1/memories/{id}`."""

    memory_id: Id


class DeleteItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op", tag="DELETE"):
    """As `DELETE /v1/memories/{id}`."""

    memory_id: Id


class NoopItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op", tag="NOOP"):
    """A recorded decision to change nothing."""

    decision: DecisionBody
    memory_id: Id | None = None


Item = AddItem | UpdateItem | DeleteItem | NoopItem
BATCH_OPS: Final = ("ADD", "UPDATE", "DELETE", "NOOP")


class BatchBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/events`: one entry of the log; later operations see earlier ones."""

    events: Annotated[list[Item], Meta(min_length=1, max_length=OPERATIONS_MAX)]
    atomic: bool = True
    actor: ActorBody | None = None
    guards: Guards = []
    read_index: Index | None = None


class SearchBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/memories/search`. `threshold` is inclusive; scope ids and tags are ANDed."""

    embedding: Vector
    top_k: Annotated[int, Meta(ge=1, le=TOP_K_MAX)] = TOP_K_DEFAULT
    threshold: Share = 0.0
    app_id: Name | None = None
    user_id: Name | None = None
    agent_id: Name | None = None
    run_id: Name | None = None
    tags: Tags = []
    filter: object = UNSET
    include: list[Literal["embedding"]] = []


class NewMember(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/cluster/members`. `replaces`: the voter that leaves once this one has caught up."""

    id: NodeId
    peer_url: Annotated[str, Meta(max_length=ADDRESS_BYTES_MAX, extra_json_schema={"pattern": "^[!-~]+:[0-9]{1,5}$"})]
    rest_url: Annotated[str, Meta(max_length=ADDRESS_BYTES_MAX, extra_json_schema={"pattern": "^https?://[!-~]+$"})]
    folder_id: NodeId | None = None
    replaces: NodeId | None = None
    actor: ActorBody | None = None


class NewLeader(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/cluster/leader`. `id`: who is to lead; the voter that is furthest when not given."""

    id: NodeId | None = None


_B = TypeVar("_B", bound=Struct)
_PLACE: Final = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_SCOPE: Final = ("app_id", "user_id", "agent_id", "run_id")
_ALLOWED: Final = {  # by the last name of the place
    "memory_type": get_args(MemoryType),
    "claim_type": get_args(ClaimType),
    "visibility": get_args(Visibility),
    "on_duplicate": ("add", "noop"),
    "type": get_args(AskerType),
    "op": get_args(MergeOp),
}
_UNKNOWN: Final = re.compile(r"contains unknown field `([^`]*)`")
_MISSING: Final = re.compile(r"missing required field `([^`]*)`")


def convert(value: object, body: type[_B], *, ops: Sequence[str] = ()) -> _B:
    """`ops`: of the items in the body. Raises: BadRequest whose `parameter` is the place in the body."""
    try:
        return msgspec.convert(value, body)
    except msgspec.ValidationError as error:
        raise _bad(str(error), ops) from error


def _bad(message: str, ops: Sequence[str]) -> BadRequest:
    at = _PLACE.search(message)
    fact = message[: at.start()] if at else message
    place = at[1] if at else ""
    named = _UNKNOWN.search(fact) or _MISSING.search(fact)
    if named:
        place = f"{place}.{named[1]}" if place else named[1]
    place = place or "body"
    last = place.rpartition(".")[2]
    if fact.startswith("Invalid enum value") and last in _ALLOWED:
        fact = f"{fact}; it is one of {', '.join(_ALLOWED[last])}"
    elif fact.startswith("Invalid value") and last == "op":
        fact = f"{fact}; here it is one of {', '.join(ops)}"
    elif "RFC3339" in fact:
        fact = f"{fact}; write it as 2026-11-20T09:00:00.120Z"
    elif named and named[1] in _SCOPE and "unknown" in fact:
        fact = f"{fact}; the scope of a memory cannot change: delete it and add it anew"
    return BadRequest(f"{place}: {fact[0].lower()}{fact[1:]}", parameter=place)
