"""The router: from the method and the path of a request to its route.

The path is split on `/` as it was sent, and each segment is percent-decoded afterwards. So `%2F` never opens another
route, and an encoded letter stands for itself. A name of a lock or a gate may hold `/`: it takes all segments that are
left, but for the verb at the end of a POST.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from raftmem.api.http.call import Call, Endpoint, Reply
from raftmem.api.http.parameters import segment
from raftmem.api.http.problems import method_not_allowed
from raftmem.api.table.route import Route
from raftmem.errors import BadRequest

_MATCHES_CACHED: Final = 8192
_PATH_BYTES_CACHED: Final = 512
_WIDE: Final = "name"  # the open segment that takes several


class Match(NamedTuple):
    """`route`: the one whose template the path fits.

    `endpoint`: its own, a refusal of the method, or None where FastAPI hosts it.

    `segments`: what the template left open, decoded.
    """

    route: Route
    endpoint: Endpoint | None
    segments: tuple[str, ...]


class _Node:
    """A place in the tree of segments. `routes`: by method, where a template ends here."""

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.open: _Node | None = None
        self.wide = False  # what `open` takes is more than one segment
        self.routes: dict[str, Route] = {}


class Router:
    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._plant(route)
        self._cached = lru_cache(maxsize=_MATCHES_CACHED)(self._resolve)

    def match(self, method: str, path: bytes) -> Match | None:
        """The route of a request; None when no route has this path.

        Raises: BadRequest for an open segment that does not decode.
        """
        return self._cached(method, path) if len(path) <= _PATH_BYTES_CACHED else self._resolve(method, path)

    def _plant(self, route: Route) -> None:
        node = self._root
        for part in route.path.split("/")[1:]:
            if part.startswith("{"):
                node.wide = part[1:-1] == _WIDE
                node.open = node.open or _Node()
                node = node.open
            else:
                node = node.fixed.setdefault(part, _Node())
        assert route.method not in node.routes, f"{route.method} {route.path} is declared twice"
        node.routes[route.method] = route

    def _resolve(self, method: str, path: bytes) -> Match | None:
        """A fixed path before an open one, a name with its verb before a longer name."""
        allowed: dict[str, Route] = {}
        for routes, taken in self._candidates(path):
            route = routes.get(method) or (routes.get("GET") if method == "HEAD" else None)
            if route is not None:
                name = ("/".join([segment(part) for part in taken]),) if taken else ()
                return Match(route, route.endpoint if route.hot else None, name)
            allowed = {**routes, **allowed}
        if not allowed:
            return None
        return Match(
            next(iter(allowed.values())), _refusal(sorted({*allowed, *(["HEAD"] if "GET" in allowed else [])})), ()
        )

    def _candidates(self, path: bytes) -> Iterator[tuple[dict[str, Route], list[bytes]]]:
        """The routes of each template that the path fits, with the segments that it leaves open."""
        sent = path.split(b"/")[1:]
        parts = [_decoded(part) for part in sent]
        node, opens = self._root, list[tuple[_Node, int]]()
        for depth, part in enumerate(parts):
            if node.open is not None:
                opens.append((node, depth))
            following = node.fixed.get(part)
            if following is None:
                break
            node = following
        else:
            if node.routes:
                yield node.routes, []
        if not all(sent):
            return
        for before, depth in reversed(opens):
            yield from _opened(before, sent[depth:], parts[depth:])


def _opened(before: _Node, sent: list[bytes], parts: list[str]) -> Iterator[tuple[dict[str, Route], list[bytes]]]:
    node = before.open
    assert node is not None, "only such are asked"
    verb = node.fixed.get(parts[-1])
    if verb is not None and (len(sent) == 2 or (before.wide and len(sent) > 2)):
        yield verb.routes, sent[:-1]
    if node.routes and (before.wide or len(sent) == 1):
        yield node.routes, sent


def _decoded(part: bytes) -> str:
    """A segment, to compare with those of the templates; "" stands for one that does not decode and fits none."""
    if b"%" not in part:
        return part.decode("ascii", "replace")
    try:
        return segment(part)
    except BadRequest:
        return ""


def _refusal(allowed: list[str]) -> Endpoint:
    async def refuse(call: Call) -> Reply:
        raise method_not_allowed(call.method, allowed)

    return refuse
