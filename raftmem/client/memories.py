"""The requests about memories."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Unpack

from msgspec import Struct

from raftmem.client.plan import (
    Guard,
    Level,
    ListPlan,
    Pairs,
    Plan,
    Reading,
    Shape,
    checked_json,
    dated,
    get,
    given,
    guards_of,
    listing,
    ms,
    pairs,
    parser,
    segment,
    write,
)
from raftmem.client.shapes import Event, Fields, Hit, Memory, ScopedFields, ScopeIds, Written
from raftmem.client.values import floats, names, seconds, times

_MEMORY: Final = parser(Memory)
_WRITTEN: Final = parser(Written)


class _Hits(Struct, frozen=True):
    results: list[Hit]


_HITS: Final = parser(_Hits)


def _hits(body: bytes) -> list[Hit]:
    return _HITS(body).results


def add(
    *,
    id: str | None = None,
    on_duplicate: Literal["add", "noop"] | None = None,
    guards: Sequence[Guard] = (),
    read_index: int | None = None,
    key: str | None = None,
    **fields: Unpack[ScopedFields],
) -> Plan[Written]:
    """A new memory. `on_duplicate="noop"`: an equal one in the same scope is answered instead; its event is a NOOP.

    Raises: AlreadyExists, PreconditionFailed.
    """
    body = given(id=id, on_duplicate=on_duplicate, guards=guards_of(guards), read_index=read_index)
    return _write("POST", "/v1/memories", body, fields, key)


def put(
    id: str,
    *,
    if_version: int | None = None,
    if_absent: bool = False,
    guards: Sequence[Guard] = (),
    read_index: int | None = None,
    key: str | None = None,
    **fields: Unpack[ScopedFields],
) -> Plan[Written]:
    """Create it, or replace it whole. Raises: PreconditionFailed."""
    body = given(guards=guards_of(guards), read_index=read_index)
    return _write("PUT", _path(id), body, fields, key, _conditions(if_version, absent=if_absent))


def patch(
    id: str,
    *,
    if_version: int | None = None,
    merge: Mapping[str, Mapping[str, object]] | None = None,
    guards: Sequence[Guard] = (),
    read_index: int | None = None,
    key: str | None = None,
    **fields: Unpack[Fields],
) -> Plan[Written]:
    """Replace the fields given (None clears), then merge: `{"value.seen": {"op": "inc", "by": 1}}`.

    Raises: NotFound, PreconditionFailed, MergeType.
    """
    body = given(merge=merge, guards=guards_of(guards), read_index=read_index)
    return _write("PATCH", _path(id), body, fields, key, _conditions(if_version))


def delete(id: str, *, if_version: int | None = None, key: str | None = None) -> Plan[Written]:
    """Leave a tombstone; again is a NOOP. Raises: NotFound for what never was, PreconditionFailed."""
    return write("DELETE", _path(id), _WRITTEN, None, key=key, headers=_conditions(if_version))


def show(
    id: str,
    *,
    consistency: Level | None = None,
    at: int | None = None,
    max_staleness: float | None = None,
    vector: bool = False,
) -> Plan[Memory]:
    """`at`: as it was at that index. Raises: NotFound."""
    asked = given(include="embedding" if vector else None)
    return get(_path(id), _MEMORY, asked, reading=Reading(consistency, at, max_staleness))


def many(
    *,
    ids: Sequence[str] = (),
    tags: Sequence[str] = (),
    memory_type: str | None = None,
    status: str | None = None,
    filter: Mapping[str, object] | None = None,
    vectors: bool = False,
    descending: bool = False,
    consistency: Level | None = None,
    at: int | None = None,
    page_size: int = 100,
    **scope: Unpack[ScopeIds],
) -> ListPlan[Memory]:
    """Oldest first; every page as of the index of the first."""
    asked: dict[str, object] = {
        **scope,
        "id": names(ids, "ids"),
        "tag": names(tags, "tags"),
        "memory_type": memory_type,
        "status": status,
        "filter": None if filter is None else dict(filter),
        "include": "embedding" if vectors else None,
    }
    return listing("/v1/memories", "memories", list[Memory], asked, Shape(page_size, descending, consistency, at))


def search(
    embedding: Sequence[float],
    *,
    top_k: int = 10,
    threshold: float | None = None,
    tags: Sequence[str] = (),
    filter: Mapping[str, object] | None = None,
    vectors: bool = False,
    consistency: Level | None = None,
    at: int | None = None,
    **scope: Unpack[ScopeIds],
) -> Plan[list[Hit]]:
    """Best first; scope ids, tags and filter decide who is looked at."""
    body = given(
        **scope,
        embedding=floats(embedding, "embedding"),
        top_k=top_k,
        threshold=threshold,
        tags=names(tags, "tags") or None,
        filter=None if filter is None else times(filter),
        include=["embedding"] if vectors else None,
    )
    return Plan("POST", "/v1/memories/search", _hits, content=checked_json(body), reading=Reading(consistency, at))


def history(
    id: str, *, consistency: Level | None = None, at: int | None = None, page_size: int = 100
) -> ListPlan[Event]:
    """Its events, oldest first, each with the memory before and after. Raises: NotFound."""
    shape = Shape(page_size, consistency=consistency, at=at)
    return listing(f"{_path(id)}/history", "events", list[Event], {}, shape)


def _path(id: str) -> str:
    return f"/v1/memories/{segment(id, 'id')}"


def _write(
    method: str,
    path: str,
    body: Mapping[str, object],
    fields: Mapping[str, object],
    key: str | None,
    headers: Pairs = (),
) -> Plan[Written]:
    return write(method, path, _WRITTEN, {**body, **fields_of(fields)}, key=key, headers=headers)


def fields_of(fields: Mapping[str, object]) -> dict[str, object]:
    """As the service names them. Raises: TypeError, ValueError, also for a time without a zone."""
    found = dated(fields)
    if "ttl" in found:
        ttl = found.pop("ttl")
        found["ttl_ms"] = None if ttl is None else ms(seconds(ttl, "ttl"))
    if found.get("embedding") is not None:
        found["embedding"] = floats(found["embedding"], "embedding")
    if found.get("tags") is not None:
        found["tags"] = names(found["tags"], "tags")
    return found


def _conditions(version: int | None, *, absent: bool = False) -> Pairs:
    matched: dict[str, object] = {
        "If-Match": None if version is None else f'"{version}"',
        "If-None-Match": "*" if absent else None,
    }
    return pairs(matched)
