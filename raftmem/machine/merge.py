"""Merges: small changes of `value` and `tags`. Apply does them, so no concurrent merge is lost.

They run in the order of the command, each on the result of the one before. The first one that does not fit refuses the
whole UPDATE with its path. Missing objects on the path are created; a missing target counts as 0 or [], or is set.
Numbers are compared exactly (integers) or as parsed IEEE doubles; no sum of floats exists.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, assert_never

from raftmem import limits
from raftmem.machine.canonical_json import jcs
from raftmem.machine.json_text import encode, parse, too_deep
from raftmem.machine.overlay import Refusal
from raftmem.model.commands import Merge, MergeOp


class Merged(NamedTuple):
    """`value`: compact JSON text with its keys in the order they had."""

    value: bytes | None
    tags: tuple[str, ...]


class _Missing:
    """There is no value at the path."""


class _Unfit:
    """The operation does not fit the value at the path."""


_MISSING: Final = _Missing()
_UNFIT: Final = _Unfit()


def merge(value: bytes | None, tags: tuple[str, ...], merges: Sequence[Merge]) -> Merged | Refusal:
    """`value` (JSON text) and `tags` after all merges, or the first refusal. An untouched `value` keeps its bytes."""
    root: dict[str, object] = {"tags": list(tags)}
    paths = [one.path for one in merges if one.path != "tags"]
    if paths and value is not None:
        stood = parse(value)
        if stood is None:
            return Refusal("invalid-request", "value")
        root["value"] = stood.value
    for one in merges:
        refusal = _merge_one(root, one)
        if refusal is not None:
            return refusal
    merged_tags = root["tags"]
    assert isinstance(merged_tags, list)
    merged = value
    if paths:
        merged = encode(root["value"]) if "value" in root else None
        if merged is not None and (len(merged) > limits.VALUE_BYTES_MAX or too_deep(merged)):
            return Refusal("too-large", paths[-1])
    return Merged(merged, tuple(merged_tags))


def _merge_one(root: dict[str, object], one: Merge) -> Refusal | None:
    """Change `root` in place."""
    keys = one.path.split(".")
    if keys[0] != "value" and one.path != "tags":
        return Refusal("invalid-request", one.path)
    if len(keys) > limits.JSON_DEPTH_MAX:
        return Refusal("too-large", one.path)
    by = parse(one.by)
    if by is None:
        return Refusal("invalid-request", one.path)
    current = _find(root, keys)
    if isinstance(current, _Unfit):
        return Refusal("merge-type", one.path)
    merged = _combine(one.op, current, by.value)
    if isinstance(merged, _Unfit):
        return Refusal("merge-type", one.path)
    if one.path == "tags":
        refusal = _check_tags(merged)
        if refusal is not None:
            return refusal
    if not isinstance(merged, _Missing):
        _place(root, keys, merged)
    if root.get("value", _MISSING) is None:  # JSON null is not set
        del root["value"]
    return None


def _find(root: dict[str, object], keys: Sequence[str]) -> object:
    node: object = root
    for key in keys:
        if not isinstance(node, dict):
            return _UNFIT
        node = node.get(key, _MISSING)
        if node is _MISSING:
            break
    return node


def _place(root: dict[str, object], keys: Sequence[str], merged: object) -> None:
    node: object = root
    for key in keys[:-1]:
        assert isinstance(node, dict)  # `_find` has been here
        node = node.setdefault(key, {})
    assert isinstance(node, dict)
    node[keys[-1]] = merged


def _combine(op: MergeOp, current: object, by: object) -> object:
    match op:
        case "set":
            return by
        case "inc":
            return _inc(0 if current is _MISSING else current, by)
        case "max" | "min":
            return _extreme(op, by if current is _MISSING else current, by)
        case "append":
            stood = [] if current is _MISSING else current
            return [*stood, by] if isinstance(stood, list) else _UNFIT
        case "union":
            return _union([] if current is _MISSING else current, by)
        case "remove":
            return _MISSING if current is _MISSING and isinstance(by, list) else _remove(current, by)
        case _:
            assert_never(op)


def _inc(current: object, by: object) -> object:
    if isinstance(current, bool) or isinstance(by, bool) or not isinstance(current, int) or not isinstance(by, int):
        return _UNFIT
    total = current + by
    return total if -limits.JSON_INTEGER_MAX <= total <= limits.JSON_INTEGER_MAX else _UNFIT


def _extreme(op: MergeOp, current: object, by: object) -> object:
    if isinstance(current, bool) or isinstance(by, bool):
        return _UNFIT
    if not isinstance(current, int | float) or not isinstance(by, int | float):
        return _UNFIT
    further = by > current if op == "max" else by < current
    return by if further else current


def _union(current: object, by: object) -> object:
    if not isinstance(current, list) or not isinstance(by, list):
        return _UNFIT
    merged = list(current)
    seen = set(map(_key, current))
    for element in by:
        key = _key(element)
        if key not in seen:
            seen.add(key)
            merged.append(element)
    return merged


def _remove(current: object, by: object) -> object:
    if not isinstance(current, list) or not isinstance(by, list):
        return _UNFIT
    gone = set(map(_key, by))
    return [element for element in current if _key(element) not in gone]


def _key(element: object) -> bytes:
    """Equal for equal JSON values."""
    try:
        return jcs(element)
    except ValueError:  # a number beyond RFC 8785 came in unchecked: its own text is what it equals
        return encode(element)


def _check_tags(merged: object) -> Refusal | None:
    if not isinstance(merged, list) or not all(isinstance(tag, str) and tag for tag in merged):
        return Refusal("merge-type", "tags")
    if len(merged) > limits.TAGS_MAX or any(len(tag.encode()) > limits.NAME_BYTES_MAX for tag in merged):
        return Refusal("too-large", "tags")
    return None
