"""The hot table: the routes that stand in front of FastAPI, and their only implementation.

A path is split on `/` as it was sent and each segment is percent-decoded afterwards, so `%2F` never opens another
route. What is not here is FastAPI's (`cold.py`).
"""

from functools import lru_cache
from typing import Final, NamedTuple

from raftmem.api import events, reads, writes
from raftmem.api.call import Endpoint
from raftmem.api.parameters import segment
from raftmem.api.problems import method_not_allowed

ROUTES: Final[dict[tuple[str, str], Endpoint]] = {
    ("POST", "/v1/memories"): writes.add,
    ("GET", "/v1/memories"): reads.many,
    ("POST", "/v1/memories/search"): reads.search,
    ("GET", "/v1/memories/{id}"): reads.one,
    ("PUT", "/v1/memories/{id}"): writes.put,
    ("PATCH", "/v1/memories/{id}"): writes.patch,
    ("DELETE", "/v1/memories/{id}"): writes.delete,
    ("GET", "/v1/memories/{id}/history"): reads.history,
    ("POST", "/v1/events"): writes.batch,
    ("GET", "/v1/events"): events.many,
    ("GET", "/v1/events/{index}"): events.one,
}


_MATCHES_CACHED: Final = 8192
_PATH_BYTES_CACHED: Final = 512


class Match(NamedTuple):
    """`segments`: what the template left open, decoded."""

    template: str
    endpoint: Endpoint
    segments: tuple[str, ...]


_Node = dict[str, Endpoint]  # method -> endpoint
_fixed: Final[dict[bytes, tuple[str, _Node]]] = {}
_open: Final[dict[tuple[bytes, bytes], tuple[str, _Node]]] = {}  # (before, after) the one open segment


def _fill() -> None:
    for (method, template), endpoint in ROUTES.items():
        before, brace, after = template.partition("{")
        if brace:
            key = (before.encode(), after.partition("}")[2].encode())
            _open.setdefault(key, (template, {}))[1][method] = endpoint
        else:
            _fixed.setdefault(template.encode(), (template, {}))[1][method] = endpoint


_fill()


def match(method: str, path: bytes) -> Match | None:
    """The route of a request; None when no route of this table has this path.

    Raises: Problem (405), BadRequest for a segment that does not decode.
    """
    return _cached(method, path) if len(path) <= _PATH_BYTES_CACHED else _resolve(method, path)


def _resolve(method: str, path: bytes) -> Match | None:
    fixed = _fixed.get(path)
    if fixed is not None and method in fixed[1]:
        return Match(fixed[0], fixed[1][method], ())
    parts = path.split(b"/", 4)  # "", v1, collection, open segment, rest
    found = None
    if len(parts) > 3 and parts[3]:
        before = b"/".join(parts[:3]) + b"/"
        found = _open.get((before, b"/" + parts[4] if len(parts) == 5 else b""))
    if found is not None and method in found[1]:
        return Match(found[0], found[1][method], (segment(parts[3]),))
    methods = (fixed[1] if fixed else {}) | (found[1] if found else {})
    if methods:
        raise method_not_allowed(method, sorted(methods))
    return None


_cached = lru_cache(maxsize=_MATCHES_CACHED)(_resolve)
