"""The payload of an event: the fields that its request gave, and nothing that was filled in.

Guards, those of If-* headers too, stand in the payload of the first operation of their request. Rebuilt from the entry,
so a listing of the log shows what was asked even where it was refused. A field that was given with its default cannot
be told from one that was not, and is left out. What followed from operations has none.
"""

from typing import Final

from msgspec import UNSET, Raw, Struct, UnsetType

from raftmem.api.http import embedding, times
from raftmem.api.responses.memory_views import encode
from raftmem.model.codec import Entry
from raftmem.model.commands import (
    Add,
    Backoff,
    Content,
    Fields,
    GateApprove,
    GatePut,
    LockAcquire,
    LockRelease,
    LockRenew,
    Merge,
    Operation,
    Put,
    TaskAdd,
    TaskClaim,
    TaskComplete,
    TaskFail,
    TaskHeartbeat,
    TaskRelease,
    Update,
)
from raftmem.model.records import operation_of
from raftmem.storage.state.contract import EventRow

_NO_CONTENT: Final = Content()
_NOTHING: Final = Raw(b"{}")
_BACKOFF: Final = Backoff()
# What an operation of coordination has of its own: its fields in the order of the contract, and what its content is.
_OWN: Final[dict[type[Struct], tuple[tuple[str, ...], str | None]]] = {
    LockAcquire: (("owner", "ttl_ms", "wait_ms", "permits"), "metadata"),
    LockRenew: (("owner", "token", "ttl_ms"), None),
    LockRelease: (("owner", "token"), None),
    TaskAdd: (("id", "queue", "priority", "delay_ms", "max_attempts", "depends_on", "unique_key"), "payload"),
    TaskClaim: (("queues", "worker", "ttl_ms", "max"), None),
    TaskHeartbeat: (("token", "ttl_ms"), None),
    TaskComplete: (("token",), "result"),
    TaskFail: (("token", "retryable", "delay_ms"), "error"),
    TaskRelease: (("token",), None),
    GatePut: (("required", "approvers", "pins"), None),
    GateApprove: ((), "comment"),
}


def payload(row: EventRow, entry: Entry, seq: int) -> Raw:
    """Of event `seq`, as JSON text; `{}` where its operation has no fields."""
    header = entry.header
    place = None if header is None else operation_of(header, row.result.outcomes, seq)
    if header is None or place is None:
        return _NOTHING
    operation, content = header.operations[place], entry.contents[place] or _NO_CONTENT
    given: dict[str, object] = {}
    if isinstance(operation, Add | Put | Update):
        if isinstance(operation, Add) and operation.id_given:
            given["id"] = operation.id
        _fill(given, operation.fields, content)
        if isinstance(operation, Add) and operation.on_duplicate is not None:
            given["on_duplicate"] = operation.on_duplicate
    else:
        _fill_own(given, operation, content)
    if header.guards and place == 0:
        given["guards"] = header.guards
    return Raw(encode({key: value for key, value in given.items() if value is not UNSET})) if given else _NOTHING


def _fill_own(given: dict[str, object], operation: Operation, content: Content) -> None:
    fields, said = _OWN.get(type(operation), ((), None))
    defaults = dict(zip(reversed(operation.__struct_fields__), reversed(operation.__struct_defaults__), strict=False))
    for field in fields:
        value = getattr(operation, field)
        if field not in defaults or value != defaults[field]:
            given[field] = value
    if isinstance(operation, TaskAdd):
        if not operation.id_given:
            del given["id"]
        if operation.backoff != _BACKOFF:
            given["backoff"] = _backoff(operation.backoff)
    if isinstance(operation, GatePut) and operation.pins:
        given["pins"] = [{"memory": pin.memory, "version": pin.version} for pin in operation.pins]
    if said is not None:
        given[said] = _spliced(content.payload)


def _backoff(given: Backoff) -> dict[str, object]:
    return {"initial_ms": given.initial_ms, "factor": given.factor_milli / 1000, "max_ms": given.max_ms}


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
