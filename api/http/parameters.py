"""Query strings and percent-encoded path segments, decoded strictly.

Refused with 400 and the name: a parameter that the route does not know, one given twice that may stand once, bytes
that are not percent-encoded UTF-8. Nothing is guessed and nothing is ignored.
"""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from raftmem.api.http import strict_json
from raftmem.api.http.filter import Filter
from raftmem.api.http.filter import parse as parse_filter
from raftmem.errors import BadRequest, TooLarge
from raftmem.limits import JSON_INTEGER_MAX, NAME_BYTES_MAX, QUERY_BYTES_MAX
from raftmem.service.interface import Level, ReadOptions

_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_INTEGER: Final = re.compile(r"0|[1-9][0-9]{0,15}")
_DOTS: Final = frozenset({".", ".."})
_ID: Final = re.compile(r"[A-Za-z0-9._:@~-]{1,255}")


def memory_id(given: str, place: str = "id") -> str:
    """Raises: BadRequest unless `given` is an id of a memory."""
    if _ID.fullmatch(given) is None:
        raise BadRequest(f"{place} must be 1 to 255 of the characters A-Z a-z 0-9 . _ : @ ~ -", parameter=place)
    return given


def name(given: str, place: str) -> str:
    """Raises: BadRequest unless `given` is 1 to 255 bytes of UTF-8 without a NUL, which no path can carry."""
    if not given or (len(given) > NAME_BYTES_MAX >> 2 and len(given.encode()) > NAME_BYTES_MAX):
        raise BadRequest(f"{place} must be 1 to {NAME_BYTES_MAX} bytes", parameter=place)
    if "\0" in given:
        raise BadRequest(f"{place} holds a NUL; leave it out", parameter=place)
    return given


def new_id(given: str, place: str = "id") -> str:
    """An id that a request makes. Raises: BadRequest, also for `.` and `..`, which a path cannot carry."""
    if given in _DOTS:
        raise BadRequest(
            f"{place} {given!r} means a folder in a URL, and clients and proxies take it out of a path; "
            "choose another id",
            parameter=place,
        )
    return memory_id(given, place)


def new_name(given: str, place: str) -> str:
    """A name of a lock, a gate or a queue that a request makes.

    Raises: BadRequest, also for one with an empty segment (`/a`, `a/`, `a//b`) or a segment `.` or `..`: clients and
    proxies rewrite such paths, so the name would be another one on its way.
    """
    name(given, place)
    if given[0] == "." or "/" in given:
        segments = given.split("/")
        if "" in segments or not _DOTS.isdisjoint(segments):
            shown = given if len(given) <= 64 else given[:64] + "…"
            raise BadRequest(
                f"{place} {shown!r} has an empty segment, or one that is . or ..; clients and proxies rewrite such "
                "paths: choose a name like a/b",
                parameter=place,
            )
    return given


def new_owner(given: str, place: str) -> str:
    """An owner or a worker that a request makes. Raises: BadRequest, also for a segment `.` or `..`."""
    name(given, place)
    if "." in given and not _DOTS.isdisjoint(given.split("/")):
        raise BadRequest(
            f"{place} has a segment that is . or ..; clients and proxies take it out of a path: choose another name",
            parameter=place,
        )
    return given


def unquote(text: bytes, place: str) -> str:
    """Percent-decoded UTF-8. Raises: BadRequest for a broken escape or bytes that are not UTF-8."""
    try:
        if b"%" not in text:
            return text.decode()
        if _BROKEN_ESCAPE.search(text):
            raise BadRequest(f"{place} holds a % that is not followed by two hex digits", parameter=place)
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"{place} is not valid UTF-8", parameter=place) from error


def segment(text: bytes) -> str:
    """One path segment. Raises: BadRequest, also for NUL."""
    decoded = unquote(text, "path")
    if "\0" in decoded:
        raise BadRequest("the path holds a NUL", parameter="path")
    return decoded


def pairs(query: bytes) -> list[tuple[str, str]]:
    """The decoded pairs of a query string, in order. Raises: BadRequest, TooLarge."""
    if not query:
        return []
    if len(query) > QUERY_BYTES_MAX:
        raise TooLarge(f"the query string is {len(query)} bytes; the limit is {QUERY_BYTES_MAX}")
    found: list[tuple[str, str]] = []
    for part in query.split(b"&"):
        key, _, value = part.replace(b"+", b" ").partition(b"=")
        parameter = unquote(key, "query")
        found.append((parameter, unquote(value, parameter)))
    return found


class Parameters:
    """The query parameters of a request, held to those that its route knows; nothing in it changes.

    `once` may stand once each, `repeatable` any number of times. `options`: what was made of them for a read, by the
    default level, since the same ones may be asked again.
    """

    __slots__ = ("_one", "options", "pairs")

    def __init__(
        self, given: Sequence[tuple[str, str]], *, once: Collection[str], repeatable: Collection[str] = ()
    ) -> None:
        self.pairs = tuple(given)
        self.options: dict[Level, ReadOptions] = {}
        self._one: dict[str, str] = {}
        for key, value in given:
            if key not in once:
                if key not in repeatable:
                    raise BadRequest(_unknown(key, once, repeatable), parameter=key)
            elif key in self._one:
                raise BadRequest(f"{key} stands twice in the query; give it once", parameter=key)
            else:
                self._one[key] = value

    def text(self, key: str) -> str | None:
        return self._one.get(key)

    def name(self, key: str) -> str | None:
        """A name: 1 to 255 bytes, no NUL."""
        given = self._one.get(key)
        return None if given is None else name(given, key)

    def many(self, key: str) -> tuple[str, ...]:
        """Every value of a repeatable parameter, each a name, in order."""
        return tuple(name(value, key) for parameter, value in self.pairs if parameter == key)

    def integer(self, key: str, *, low: int = 0, high: int = JSON_INTEGER_MAX) -> int | None:
        given = self._one.get(key)
        if given is None:
            return None
        if _INTEGER.fullmatch(given) is None or not low <= int(given) <= high:
            raise BadRequest(f"{key}={given[:40]} is not an integer of {low} to {high}", parameter=key)
        return int(given)

    def choice(self, key: str, allowed: Collection[str]) -> str | None:
        given = self._one.get(key)
        if given is not None and given not in allowed:
            raise BadRequest(f"{key}={given[:40]} is not one of {', '.join(allowed)}", parameter=key)
        return given

    def choices(self, key: str, allowed: Collection[str]) -> frozenset[str]:
        """The values of a repeatable parameter, each one of `allowed`."""
        given = self.many(key) if self.pairs else ()
        for value in given:
            if value not in allowed:
                raise BadRequest(f"{key}={value[:40]} is not one of {', '.join(allowed)}", parameter=key)
        return frozenset(given)

    def filter(self, key: str = "filter") -> Filter | None:
        """URL-encoded JSON of the filter language."""
        given = self._one.get(key)
        return None if given is None else parse_filter(strict_json.decode(given.encode(), place=key))


_NONE: Final = Parameters((), once=())
_QUERIES_CACHED: Final = 2048
_QUERY_BYTES_CACHED: Final = 256


def parse(query: bytes, once: tuple[str, ...], repeatable: tuple[str, ...] = ()) -> Parameters:
    """A query string, held to what its route knows. Raises: BadRequest, TooLarge."""
    if not query:
        return _NONE
    return (_parsed if len(query) <= _QUERY_BYTES_CACHED else _parse)(query, once, repeatable)


def _parse(query: bytes, once: tuple[str, ...], repeatable: tuple[str, ...]) -> Parameters:
    return Parameters(pairs(query), once=once, repeatable=repeatable)


_parsed = lru_cache(maxsize=_QUERIES_CACHED)(_parse)


class Conflict(NamedTuple):
    """Two parameters that cannot stand together, and why."""

    one: str
    other: str
    why: str

    def error(self) -> BadRequest:
        detail = f"{self.one} cannot stand with {self.other}: {self.why}; leave one out"
        return BadRequest(detail, parameter=self.one)


def _unknown(key: str, once: Collection[str], repeatable: Collection[str]) -> str:
    known = ", ".join(sorted({*once, *repeatable})) or "none"
    return f"{key[:64]!r} is not a parameter of this route; it knows {known}"
