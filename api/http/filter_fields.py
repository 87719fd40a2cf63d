"""The fields that a filter may name, and how each is read from a record.

Names are those of the API. A field that is unset reads as UNSET; an explicit JSON null inside `metadata` or
`value` is a value. Times read as nanoseconds since the Unix epoch.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET

from raftmem.model.records import Record

Get = Callable[["Look"], object]

_decode = msgspec.json.Decoder().decode


class Look:
    """One record under one match: its JSON is decoded, and a text is folded, at most once and only when asked for."""

    __slots__ = ("_folded", "_metadata", "_value", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self._folded: dict[str, str] = {}
        self._value: object = UNSET
        self._metadata: object = UNSET

    def value(self) -> object:
        if self._value is UNSET and self.record.value is not None:
            self._value = _decode(self.record.value)
        return self._value

    def fold(self, text: str) -> str:
        """A text of this record without the difference of upper and lower case."""
        folded = self._folded.get(text)
        if folded is None:
            folded = self._folded[text] = text.casefold()
        return folded

    def metadata(self) -> object:
        if self._metadata is UNSET:
            self._metadata = _decode(self.record.metadata or b"{}")
        return self._metadata


def _plain(name: str) -> Get:
    def get(look: Look) -> object:
        found: object = getattr(look.record, name)
        return UNSET if found is None else found

    return get


def _part(whole: str, name: str) -> Get:
    def get(look: Look) -> object:
        parent: object = getattr(look.record, whole)
        found: object = None if parent is None else getattr(parent, name)
        if found is None:
            return UNSET
        return list(found) if isinstance(found, tuple) else found

    return get


def _object(name: str) -> Get:
    def get(look: Look) -> object:
        found: msgspec.Struct | None = getattr(look.record, name)
        if found is None:
            return UNSET
        return {key: list(v) if isinstance(v, tuple) else v for key, v in msgspec.structs.asdict(found).items()}

    return get


def _instant(name: str) -> Get:
    """Nanoseconds since the Unix epoch, from a field in milliseconds."""

    def get(look: Look) -> object:
        found: int | None = getattr(look.record, name)
        return UNSET if found is None else found * 1_000_000

    return get


def _embedding(look: Look) -> object:
    record = look.record
    return UNSET if record.dimension is None else {"model": record.embedding_model, "dimension": record.dimension}


def _embedding_part(name: str) -> Get:
    def get(look: Look) -> object:
        found: object = None if look.record.dimension is None else getattr(look.record, name)
        return UNSET if found is None else found

    return get


def _path(root: Get, keys: tuple[str, ...]) -> Get:
    def get(look: Look) -> object:
        found = root(look)
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                return UNSET
            found = found[key]
        return found

    return get


INSTANTS: Final[dict[str, Get]] = {
    "created_at": _instant("created_ms"),
    "updated_at": _instant("updated_ms"),
    "valid_at": _instant("valid_at"),
    "invalid_at": _instant("invalid_at"),
    "expires_at": _instant("expires_ms"),
}
_ROOTS: Final[dict[str, Get]] = {"metadata": Look.metadata, "value": Look.value}
_PLAIN: Final = (
    *("id", "text", "memory_type", "claim_type", "confidence", "importance"),
    *("visibility", "version", "pinned", "status"),
)
_FIELDS: Final[dict[str, Get]] = {
    **{name: _plain(name) for name in _PLAIN},
    **{name: _part("scope", name) for name in ("app_id", "user_id", "agent_id", "run_id")},
    "tags": lambda look: list(look.record.tags),
    "sha256": lambda look: look.record.sha256.hex() or UNSET,
    "created_index": lambda look: look.record.created.index,
    "updated_index": lambda look: look.record.updated.index,
    "actor": _object("actor"),
    **{f"actor.{name}": _part("actor", name) for name in ("type", "id", "role")},
    "provenance": _object("provenance"),
    **{
        f"provenance.{name}": _part("provenance", name)
        for name in ("source_ref", "derived_from", "resources", "reason")
    },
    "embedding": _embedding,
    "embedding.model": _embedding_part("embedding_model"),
    "embedding.dimension": _embedding_part("dimension"),
    **_ROOTS,
    **INSTANTS,
}


def getter(field: str) -> Get | None:
    """The function that reads this field from a record; None when a memory has no such field.

    Paths go through objects only.
    """
    known = _FIELDS.get(field)
    if known is not None:
        return known
    root, _, path = field.partition(".")
    keys = tuple(path.split("."))
    return None if root not in _ROOTS or "" in keys else _path(_ROOTS[root], keys)
