"""The router: a route is found by every spelling of its path, and replies are counted under its template."""

import re
from collections.abc import Iterator

import pytest
from api_world import World

from raftmem.api.table.route import Route
from raftmem.api.table.router import Match, Router
from raftmem.api.table.routes import ROUTES

ROUTER = Router(ROUTES)
NAMES = [f"{route.method} {route.path}" for route in ROUTES]
each_route = pytest.mark.parametrize("route", ROUTES, ids=NAMES)


def path_of(route: Route, name: str) -> str:
    return re.sub(r"\{[a-z]+\}", name, route.path)


def spellings(path: str) -> Iterator[bytes]:
    """The path with each of its letters encoded, one at a time, and all at once; slashes stay."""
    letters = [at for at, letter in enumerate(path) if letter != "/"]
    for chosen in ([], *([at] for at in letters), letters):
        yield "".join(f"%{ord(c):02x}" if at in chosen else c for at, c in enumerate(path)).encode()


def found(method: str, path: bytes) -> Match:
    match = ROUTER.match(method, path)
    assert match is not None, path
    return match


@each_route
def test_encoded_letters_of_a_path_change_nothing(route: Route) -> None:
    for path in spellings(path_of(route, "17")):
        match = found(route.method, path)
        assert (match.route, match.segments) == (route, ("17",) if "{" in route.path else ()), path


@each_route
def test_encoded_slash_is_part_of_a_segment_and_opens_no_route(route: Route) -> None:
    for at in (place.start() for place in re.finditer("/", route.path) if place.start()):
        path = path_of(Route("", route.path[:at] + "%2F" + route.path[at + 1 :], *route[2:]), "17")
        match = ROUTER.match(route.method, path.encode())
        assert match is None or match.route is not route
    if "{" in route.path:
        assert found(route.method, path_of(route, "a%2fb%2F..").encode()).segments == ("a/b/..",)


@each_route
def test_longer_path_is_another_or_part_of_a_name(route: Route) -> None:
    for more in ("/", "//", "/more"):
        match = ROUTER.match(route.method, path_of(route, "17").encode() + more.encode())
        assert match is None or (match.route is not route) or (more, match.segments) == ("/more", ("17/more",))


@each_route
def test_method_that_no_route_of_the_path_has_is_refused_with_those_there_are(route: Route) -> None:
    world = World()
    path = path_of(route, "17")
    methods = {method for method in METHODS if found(method, path.encode()).route.method == method}
    allowed = sorted(methods | ({"HEAD"} if "GET" in methods else set()))
    reply = world("TRACE", path)
    assert (reply.status_code, reply.json()["code"]) == (405, "method-not-allowed")
    assert route.method in allowed
    assert reply.headers["allow"] == ", ".join(allowed)


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def metrics(world: World) -> str:
    return world("GET", "/metrics").text


def test_every_reply_is_counted_under_the_template_of_its_route() -> None:
    world = World()
    for route in ROUTES:
        if route.path != "/v1/watch":
            world(route.method, path_of(route, "17"))
    labels = set(re.findall(r'http_requests_total\{method="([A-Z]+)",route="([^"]+)"', metrics(world)))
    assert labels == {(route.method, route.path) for route in ROUTES} - {("GET", "/v1/watch")}
    world("GET", "/v1/nothing")
    assert 'method="GET",route="other",status="404"' in metrics(world)


def test_fixed_path_stands_before_an_open_one_and_a_verb_before_a_longer_name() -> None:
    for method, path, template, name in (
        ("POST", "/v1/locks/renew", "/v1/locks/renew", ()),
        ("GET", "/v1/locks/renew", "/v1/locks/{name}", ("renew",)),
        ("POST", "/v1/locks/a/b/renew", "/v1/locks/{name}/renew", ("a/b",)),
        ("GET", "/v1/locks/a/b/renew", "/v1/locks/{name}", ("a/b/renew",)),
        ("POST", "/v1/memories/search", "/v1/memories/search", ()),
        ("GET", "/v1/memories/search", "/v1/memories/{id}", ("search",)),
        ("POST", "/v1/tasks/claim", "/v1/tasks/claim", ()),
    ):
        match = found(method, path.encode())
        assert (match.route.path, match.segments) == (template, name)


def test_segment_that_does_not_decode_is_refused_where_a_route_takes_it() -> None:
    world = World()
    for path in ("/v1/memories/%zz", "/v1/locks/a%00", "/v1/cluster/members/%ff"):
        reply = world("DELETE", path)
        assert (reply.status_code, reply.json()["parameter"]) == (400, "path"), path
    assert world("GET", "/v1/%ff/a").status_code == 404


def test_route_that_is_declared_twice_is_refused() -> None:
    with pytest.raises(AssertionError, match="declared twice"):
        Router((*ROUTES, ROUTES[0]))
