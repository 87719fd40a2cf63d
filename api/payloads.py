"""The payload of an event: the fields that its request gave, and nothing that was filled in.

Rebuilt from the entry, so a listing of the log shows what was asked even where it was refused.
"""

from msgspec import UNSET, Raw, UnsetType

from raftmem.api import embedding, times
from raftmem.api.views import encode
from raftmem.codec import Entry
from raftmem.commands import Add, Content, Fields, Merge, Put, Update

_NO_CONTENT = Content()


def payload(entry: Entry, seq: int) -> Raw:
    """Of operation `seq`, as JSON text; `{}` where the operation has no fields."""
    if entry.header is None:
        return Raw(b"{}")
    operation = entry.header.operations[seq]
    if not isinstance(operation, Add | Put | Update):
        return Raw(b"{}")
    given: dict[str, object] = {}
    if isinstance(operation, Add) and operation.id_given:
        given["id"] = operation.id
    _fill(given, operation.fields, entry.contents[seq] or _NO_CONTENT)
    if isinstance(operation, Add) and operation.on_duplicate is not None:
        given["on_duplicate"] = operation.on_duplicate
    return Raw(encode({key: value for key, value in given.items() if value is not UNSET}))


def _fill(given: dict[str, object], fields: Fields, content: Content) -> None:
    given["text"] = content.text
    given["value"] = _spliced(content.value)
    for key in ("app_id", "user_id", "agent_id", "run_id", "tags"):
        given[key] = getattr(fields, key)
    given["metadata"] = _spliced(content.metadata)
    for key in ("memory_type", "claim_type", "confidence", "importance", "visibility", "provenance"):
        given[key] = getattr(fields, key)
    given["valid_at"] = _instant(fields.valid_at)
    given["invalid_at"] = _instant(fields.invalid_at)
    given["ttl_ms"] = fields.ttl_ms
    given["pinned"] = fields.pinned
    vector = content.embedding
    given["embedding"] = embedding.unpack(vector) if isinstance(vector, bytes) else vector
    given["embedding_model"] = fields.embedding_model
    given["merge"] = UNSET if content.merge is UNSET else {one.path: _merge(one) for one in content.merge}


def _spliced(text: bytes | None | UnsetType) -> Raw | None | UnsetType:
    return Raw(text) if isinstance(text, bytes) else text


def _instant(ms: int | None | UnsetType) -> str | None | UnsetType:
    return times.shown(ms) if isinstance(ms, int) else ms


def _merge(one: Merge) -> dict[str, object]:
    return {"op": one.op, "by": Raw(one.by)}
