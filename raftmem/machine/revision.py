"""Make the next version of a record: given fields replace, None clears, everything else stays.

A new memory revises a blank record, a full replacement revises a blank record with the same identity, an update revises
the version in force (`identity.py` makes these). Refused are a record with neither text nor value, and content that a
proposer should have checked (JSON, sizes of vectors, times to live).
"""

from typing import Final

from msgspec import UNSET, Struct

from raftmem import limits
from raftmem.machine.json_text import content_sha256, is_object
from raftmem.machine.merge import merge
from raftmem.machine.overlay import Moment, Refusal
from raftmem.model.commands import Content, Fields
from raftmem.model.records import Position, Record

NOTHING: Final = Content()
_INVALID: Final = Refusal("invalid-request")


class Revision(Struct, frozen=True):
    """`vector`: the embedding that this version sets, or None."""

    record: Record
    vector: bytes | None


class _Body(Struct, frozen=True):
    text: str | None
    value: bytes | None
    metadata: bytes
    tags: tuple[str, ...]
    sha256: bytes


class _Vector(Struct, frozen=True):
    model: str | None = None
    dimension: int | None = None
    at: Position | None = None
    sets: bytes | None = None


_NO_VECTOR: Final = _Vector()


def revise(base: Record, fields: Fields, content: Content, moment: Moment) -> Revision | Refusal:
    """`base` (already numbered and dated) with what is given put in, then merged."""
    body = _body(base, fields, content)
    if isinstance(body, Refusal):
        return body
    vector = _vector(base, fields, content, moment)
    if isinstance(vector, Refusal):
        return vector
    expires, expires_ms = base.expires, base.expires_ms
    ttl_ms = fields.ttl_ms
    if ttl_ms is None:
        expires = expires_ms = None
    elif ttl_ms is not UNSET:
        if not 0 <= ttl_ms <= limits.TTL_MS_MAX:
            return _INVALID
        expires, expires_ms = moment.now + ttl_ms * 1000, moment.wall_ms + ttl_ms
    record = Record(  # by position, as the fields stand there: by name it takes eight times as long
        base.id,
        base.version,
        base.status,
        base.created,
        base.updated,
        base.scope,
        body.text,
        body.value,
        body.metadata,
        body.sha256,
        body.tags,
        base.actor,
        base.created_ms,
        base.updated_ms,
        base.memory_type if fields.memory_type is UNSET else fields.memory_type,
        base.claim_type if fields.claim_type is UNSET else fields.claim_type,
        base.confidence if fields.confidence is UNSET else fields.confidence,
        base.importance if fields.importance is UNSET else fields.importance,
        base.visibility if fields.visibility is UNSET else fields.visibility or "shared",
        base.provenance if fields.provenance is UNSET else fields.provenance,
        base.valid_at if fields.valid_at is UNSET else fields.valid_at,
        base.invalid_at if fields.invalid_at is UNSET else fields.invalid_at,
        expires,
        expires_ms,
        base.pinned if fields.pinned is UNSET else bool(fields.pinned),
        vector.model,
        vector.dimension,
        vector.at,
        base.previous,
    )
    return Revision(record, vector.sets)


def _body(base: Record, fields: Fields, content: Content) -> _Body | Refusal:
    text = base.text if content.text is UNSET else content.text
    value = base.value if content.value is UNSET else content.value
    if value == b"null":  # JSON null is not set
        value = None
    metadata = base.metadata
    if content.metadata is not UNSET:
        metadata = content.metadata or b"{}"
        if not is_object(metadata):
            return _INVALID
    tags = base.tags if fields.tags is UNSET else fields.tags or ()
    if content.merge is not UNSET and content.merge:
        merged = merge(value, tags, content.merge)
        if isinstance(merged, Refusal):
            return merged
        value, tags = merged.value, merged.tags
    if text is None and value is None:
        return _INVALID
    if text is base.text and value is base.value:
        return _Body(text, value, metadata, tags, base.sha256)
    sha256 = content_sha256(text, value)
    return _INVALID if sha256 is None else _Body(text, value, metadata, tags, sha256)


def _vector(base: Record, fields: Fields, content: Content, moment: Moment) -> _Vector | Refusal:
    """A new text without its embedding drops the old one: it says something else now."""
    given = content.embedding
    model = None if fields.embedding_model is UNSET else fields.embedding_model
    if given is UNSET:
        if content.text is not UNSET or base.vector_at is None:
            return _NO_VECTOR
        return _Vector(
            base.embedding_model if fields.embedding_model is UNSET else model, base.dimension, base.vector_at, None
        )
    if given is None:
        return _NO_VECTOR
    dimension, rest = divmod(len(given), 4)
    if rest or not 0 < dimension <= limits.EMBEDDING_FLOATS_MAX:
        return _INVALID
    return _Vector(model, dimension, moment.position, given)
