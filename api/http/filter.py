"""The filter language of lists and searches: JSON in, one predicate over records out.

`{"field", "op", "value"}`, `{"and": [...]}`, `{"or": [...]}`, `{"not": {...}}`. Everything that can be wrong with a
filter is refused by `parse`, with its place; a match never raises. A field that is unset fails every op but `ne`,
`nin` and `exists: false` (an explicit JSON null inside `metadata` or `value` is a value, equal to null only).
Unlike types are never equal and never ordered: numbers with numbers, strings with strings, booleans with booleans.
Times compare as instants, whatever offset they are written in.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from msgspec import UNSET

from raftmem.api.http.filter_fields import INSTANTS, Get, Look, getter
from raftmem.errors import BadRequest
from raftmem.limits import FILTER_NODES_MAX, FILTER_VALUES_MAX
from raftmem.model.records import Record

_Test = Callable[[object], bool]  # of a value that is there
_Match = Callable[[Look], bool]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Filter:
    """A parsed filter: immutable, any thread. `conditions`: how many it has, at least one."""

    __slots__ = ("_match", "conditions")

    def __init__(self, match: _Match, conditions: int = 1) -> None:
        self._match = match
        self.conditions = conditions

    def matches(self, record: Record) -> bool:
        return self._match(Look(record))


def parse(raw: object) -> Filter:
    """The filter that a decoded JSON value says. Raises: BadRequest naming the place (`filter.and[1].op`)."""
    parser = _Parser()
    return Filter(parser.node(raw, "filter"), parser.nodes)


# --- comparisons ----------------------------------------------------------------------------------
def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(a: object, b: object) -> bool:
    """Equality of decoded JSON: 1 equals 1.0, true does not equal 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_equal(v, b[key]) for key, v in a.items())
    return a == b


def _equals(wanted: object) -> _Test:
    if isinstance(wanted, str):
        return lambda found: found == wanted
    return lambda found: _equal(found, wanted)


def _among(wanted: list[object]) -> _Test:
    strings = frozenset(value for value in wanted if isinstance(value, str))
    numbers = frozenset(value for value in wanted if _is_number(value))
    others = [value for value in wanted if not isinstance(value, str) and not _is_number(value)]

    def test(found: object) -> bool:
        if isinstance(found, str):
            return found in strings
        if _is_number(found):
            return found in numbers
        return any(_equal(found, value) for value in others)

    return test


def _ordered(op: str, wanted: str | float | bool) -> _Test:
    if isinstance(wanted, str):
        text = wanted
        return {
            "gt": lambda found: isinstance(found, str) and found > text,
            "gte": lambda found: isinstance(found, str) and found >= text,
            "lt": lambda found: isinstance(found, str) and found < text,
            "lte": lambda found: isinstance(found, str) and found <= text,
        }[op]
    number, kind = wanted, isinstance(wanted, bool)

    def sign(found: object) -> int | None:
        """-1, 0 or 1; None when the types are unlike."""
        if not isinstance(found, int | float) or isinstance(found, bool) is not kind:
            return None
        return (found > number) - (found < number)

    accepted = {"gt": (1,), "gte": (0, 1), "lt": (-1,), "lte": (-1, 0)}[op]
    return lambda found: sign(found) in accepted


def _contains(wanted: object) -> _Test:
    def test(found: object) -> bool:
        if isinstance(found, str):
            return isinstance(wanted, str) and wanted in found
        return isinstance(found, list) and any(_equal(item, wanted) for item in found)

    return test


def _icontains(get: Get, wanted: str) -> _Match:
    folded = wanted.casefold()

    def match(look: Look) -> bool:
        found = get(look)
        if isinstance(found, str):
            return folded in look.fold(found)
        return isinstance(found, list) and any(isinstance(item, str) and item.casefold() == folded for item in found)

    return match


# --- parsing --------------------------------------------------------------------------------------
class _Parser:
    """One filter being read; counts its nodes, which bounds the depth too."""

    def __init__(self) -> None:
        self.nodes = 0

    def node(self, raw: object, place: str) -> _Match:
        self.nodes += 1
        if self.nodes > FILTER_NODES_MAX:
            raise BadRequest(f"a filter has at most {FILTER_NODES_MAX} conditions; this one has more", parameter=place)
        if not isinstance(raw, dict):
            raise BadRequest(f"{place} must be an object: a condition, and, or, not", parameter=place)
        if "field" in raw:
            return _condition(raw, place)
        if len(raw) != 1:
            raise BadRequest(f"{place} must be one of a condition (field, op, value), and, or, not", parameter=place)
        ((word, inner),) = raw.items()
        place = f"{place}.{word}"
        if word == "not":
            negated = self.node(inner, place)
            return lambda look: not negated(look)
        if word not in ("and", "or"):
            raise BadRequest(f"{place} is not known; use field, and, or, not", parameter=place)
        if not isinstance(inner, list) or not inner:
            raise BadRequest(f"{place} must be a list of at least one condition", parameter=place)
        parts = tuple(self.node(item, f"{place}[{i}]") for i, item in enumerate(inner))
        if word == "and":
            return lambda look: all(part(look) for part in parts)
        return lambda look: any(part(look) for part in parts)


def _condition(raw: dict[str, object], place: str) -> _Match:
    for key in raw:
        if key not in ("field", "op", "value"):
            raise BadRequest(f"{place}.{key} is not known; a condition is field, op, value", parameter=f"{place}.{key}")
    for key in ("op", "value"):
        if key not in raw:
            raise BadRequest(f"{place}.{key} is missing; a condition is field, op, value", parameter=f"{place}.{key}")
    field, op, wanted = raw["field"], raw["op"], raw["value"]
    get = _getter(field, f"{place}.field")
    if op == "exists":
        if not isinstance(wanted, bool):
            raise BadRequest(f"{place}.value must be true or false for exists", parameter=f"{place}.value")
        return lambda look: (get(look) is not UNSET) is wanted
    if field in INSTANTS:
        wanted = _instants(op, wanted, place)
    if op == "icontains":
        if not isinstance(wanted, str):
            raise BadRequest(f"{place}.value must be a string for icontains", parameter=f"{place}.value")
        return _icontains(get, wanted)
    test = _test(op, wanted, place)
    if op in ("ne", "nin"):
        return lambda look: (found := get(look)) is UNSET or not test(found)
    return lambda look: (found := get(look)) is not UNSET and test(found)


def _getter(field: object, place: str) -> Get:
    if not isinstance(field, str):
        raise BadRequest(f"{place} must be a string", parameter=place)
    get = getter(field)
    if get is None:
        detail = f"{place}: {field!r} is not a field of a memory; use one, or metadata.<key>, value.<key>"
        raise BadRequest(detail, parameter=place)
    return get


def _test(op: object, wanted: object, place: str) -> _Test:
    at_value = f"{place}.value"
    if op in ("eq", "ne"):
        return _equals(wanted)
    if op in ("in", "nin"):
        if not isinstance(wanted, list):
            raise BadRequest(f"{at_value} must be a list for {op}", parameter=at_value)
        if len(wanted) > FILTER_VALUES_MAX:
            detail = f"{at_value} has {len(wanted)} values, the limit is {FILTER_VALUES_MAX}; split the request"
            raise BadRequest(detail, parameter=at_value)
        return _among(wanted)
    if op in ("gt", "gte", "lt", "lte"):
        if not isinstance(wanted, str | int | float):
            raise BadRequest(f"{at_value} must be a number, a string or a boolean for {op}", parameter=at_value)
        return _ordered(str(op), wanted)
    if op == "contains":
        return _contains(wanted)
    ops = "eq, ne, gt, gte, lt, lte, in, nin, contains, icontains, exists"
    raise BadRequest(f"{place}.op must be one of {ops}", parameter=f"{place}.op")


def _instants(op: object, wanted: object, place: str) -> object:
    """The value of a condition on a time, as nanoseconds since the Unix epoch."""
    if op in ("contains", "icontains"):
        raise BadRequest(f"{place}.op: {op} does not apply to a time; compare it", parameter=f"{place}.op")
    if isinstance(wanted, list):
        return [_nanoseconds(item, f"{place}.value[{i}]") for i, item in enumerate(wanted)]
    return _nanoseconds(wanted, f"{place}.value")


def _nanoseconds(wanted: object, place: str) -> int:
    if not isinstance(wanted, str):
        raise BadRequest(f"{place} must be an RFC 3339 time", parameter=place)
    parts = _INSTANT.fullmatch(wanted.upper())
    try:
        if parts is None:
            raise ValueError("its shape is not 2026-11-20T09:00:00.120Z")
        whole = datetime.fromisoformat(parts[1] + parts[3].replace("Z", "+00:00")) - _EPOCH
    except ValueError as error:
        raise BadRequest(f"{place} must be an RFC 3339 time: {error}", parameter=place) from error
    return (whole.days * 86_400 + whole.seconds) * 1_000_000_000 + int((parts[2] or "").ljust(9, "0"))
