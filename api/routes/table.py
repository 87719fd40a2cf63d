"""The hot table: the routes that stand in front of FastAPI, and their only implementation.

A path is split on `/` as it was sent and each segment is percent-decoded afterwards, so `%2F` never opens another
route. Names of locks and gates may hold a `/`: theirs are all segments that are left, but for the verb at the end of a
POST. What is not here is FastAPI's (`cold.py`).
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from raftmem.api.http.call import Endpoint
from raftmem.api.http.parameters import segment
from raftmem.api.http.problems import method_not_allowed
from raftmem.api.routes import events, gates, locks, memory_reads, memory_writes, tasks, transactions, watch

ROUTES: Final[dict[tuple[str, str], Endpoint]] = {
    ("POST", "/v1/memories"): memory_writes.add,
    ("GET", "/v1/memories"): memory_reads.many,
    ("POST", "/v1/memories/search"): memory_reads.search,
    ("GET", "/v1/memories/{id}"): memory_reads.one,
    ("PUT", "/v1/memories/{id}"): memory_writes.put,
    ("PATCH", "/v1/memories/{id}"): memory_writes.patch,
    ("DELETE", "/v1/memories/{id}"): memory_writes.delete,
    ("GET", "/v1/memories/{id}/history"): memory_reads.history,
    ("POST", "/v1/events"): memory_writes.batch,
    ("GET", "/v1/events"): events.many,
    ("GET", "/v1/events/{index}"): events.one,
    ("GET", "/v1/watch"): watch.watch,
    ("GET", "/v1/locks"): locks.many,
    ("POST", "/v1/locks/renew"): locks.renew_many,
    ("GET", "/v1/locks/{name}"): locks.one,
    ("DELETE", "/v1/locks/{name}"): locks.force_release,
    ("POST", "/v1/locks/{name}/acquire"): locks.acquire,
    ("POST", "/v1/locks/{name}/renew"): locks.renew,
    ("POST", "/v1/locks/{name}/release"): locks.release,
    ("POST", "/v1/owners/{owner}/release"): locks.release_owner,
    ("POST", "/v1/tasks"): tasks.add,
    ("GET", "/v1/tasks"): tasks.many,
    ("POST", "/v1/tasks/claim"): tasks.claim,
    ("GET", "/v1/tasks/{id}"): tasks.one,
    ("POST", "/v1/tasks/{id}/heartbeat"): tasks.heartbeat,
    ("POST", "/v1/tasks/{id}/complete"): tasks.complete,
    ("POST", "/v1/tasks/{id}/fail"): tasks.fail,
    ("POST", "/v1/tasks/{id}/release"): tasks.release,
    ("POST", "/v1/tasks/{id}/cancel"): tasks.cancel,
    ("POST", "/v1/tasks/{id}/retry"): tasks.retry,
    ("GET", "/v1/gates"): gates.many,
    ("PUT", "/v1/gates/{name}"): gates.put,
    ("GET", "/v1/gates/{name}"): gates.one,
    ("POST", "/v1/gates/{name}/approve"): gates.approve,
    ("POST", "/v1/gates/{name}/revoke"): gates.revoke,
    ("POST", "/v1/gates/{name}/consume"): gates.consume,
    ("POST", "/v1/txn"): transactions.txn,
}


_MATCHES_CACHED: Final = 8192
_PATH_BYTES_CACHED: Final = 512
_WIDE: Final = "{name}"  # what may take several segments


class Match(NamedTuple):
    """`segments`: what the template left open, decoded."""

    template: str
    endpoint: Endpoint
    segments: tuple[str, ...]


class _Node(NamedTuple):
    """One template with its methods."""

    template: str
    endpoints: dict[str, Endpoint]


_fixed: Final[dict[bytes, _Node]] = {}
_open: Final[dict[tuple[bytes, bytes], _Node]] = {}  # (before, after) the one open segment
_wide: Final[dict[tuple[bytes, bytes], _Node]] = {}  # the same, of a name that may take several


def _fill() -> None:
    for (method, template), endpoint in ROUTES.items():
        before, brace, after = template.partition("{")
        if brace:
            where = _wide if _WIDE in template else _open
            key = (before.encode(), after.partition("}")[2].encode())
            node = where.setdefault(key, _Node(template, {}))
        else:
            node = _fixed.setdefault(template.encode(), _Node(template, {}))
        node.endpoints[method] = endpoint


_fill()


def match(method: str, path: bytes) -> Match | None:
    """The route of a request; None when no route of this table has this path.

    Raises: Problem (405), BadRequest for a segment that does not decode.
    """
    return _cached(method, path) if len(path) <= _PATH_BYTES_CACHED else _resolve(method, path)


def _resolve(method: str, path: bytes) -> Match | None:
    """A fixed path before an open one, a name with its verb before a longer name."""
    methods: set[str] = set()
    for node, open_part in _candidates(path):
        if method in node.endpoints:
            name = ("/".join([segment(part) for part in open_part]),) if open_part else ()
            return Match(node.template, node.endpoints[method], name)
        methods |= node.endpoints.keys()
    if methods:
        raise method_not_allowed(method, sorted(methods))
    return None


def _candidates(path: bytes) -> Iterator[tuple[_Node, tuple[bytes, ...]]]:
    """Each template that the path fits, with the segments that it leaves open; the first one is most often it."""
    if path in _fixed:
        yield _fixed[path], ()
    parts = path.split(b"/")  # "", v1, collection, open segments, rest
    rest = parts[3:]
    if not rest or not all(rest):
        return
    before, verb = b"/".join(parts[:3]) + b"/", b"/" + rest[-1]
    node = _open.get((before, b"" if len(rest) == 1 else verb)) if len(rest) < 3 else None
    if node is not None:
        yield node, tuple(rest[:1])
    node = _wide.get((before, verb)) if len(rest) > 1 else None
    if node is not None:
        yield node, tuple(rest[:-1])
    node = _wide.get((before, b""))
    if node is not None:
        yield node, tuple(rest)


_cached = lru_cache(maxsize=_MATCHES_CACHED)(_resolve)
