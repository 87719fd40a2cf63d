"""Browsers: a page of somebody else's reads nothing and changes nothing; pages of named origins may do both."""

import httpx
import pytest
from api_world import World

from raftmem.api.http.settings import ApiSettings

PAGE = "https://app.example"
NAMED = ApiSettings(hosts=("mem.example", "10.0.0.7"), cors_origins=(PAGE,))
WRITES = [
    ("POST", "/v1/memories", {"text": "a"}),
    ("PUT", "/v1/memories/m", {"text": "a"}),
    ("PATCH", "/v1/memories/m", {"text": "a"}),
    ("DELETE", "/v1/memories/m", None),
    ("POST", "/v1/gates/g/approve", None),
    ("POST", "/v1/owners/o/release", None),
    ("POST", "/v1/cluster/leader", None),
    ("POST", "/v1/admin/snapshot", None),
]


@pytest.fixture
def world() -> World:
    return World(settings=NAMED)


def refused(reply: httpx.Response, parameter: str, status: int = 403) -> None:
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (status, "forbidden" if status == 403 else "invalid-request")
    assert problem["parameter"] == parameter
    assert reply.headers["content-type"] == "application/problem+json"
    assert "access-control-allow-origin" not in reply.headers


# --- hosts --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "LOCALHOST:8101",
            "127.0.0.1",
            "127.0.0.1:8101",
            "127.9.9.9:1",
            "[::1]:8101",
            "a.localhost",
            "n1:8101",
        ),
        *("mem.example", "Mem.Example.:443", "10.0.0.7:8101"),
    ],
)
def test_own_host_is_answered(world: World, host: str) -> None:
    assert world("GET", "/livez", headers={"host": host}).status_code == 200
    assert world("GET", "/livez", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "10.0.0.8", "mem.example.evil.example", "[2001:db8::1]", "0.0.0.0"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/memories"), ("POST", "/v1/memories"), ("GET", "/metrics")])
def test_foreign_host_is_refused(world: World, host: str, method: str, path: str) -> None:
    refused(world(method, path, headers={"host": host}), "Host")
    refused(world(method, path, headers={"host": host}), "Host")


@pytest.mark.parametrize(
    "host", ["", "a b", "x@localhost", "localhost/a", "localhost:", "localhost:x", "a,b", "::1", "x y", "[1"]
)
def test_host_that_is_none_is_a_bad_request(world: World, host: str) -> None:
    refused(world("GET", "/livez", headers={"host": host}), "Host", 400)


def test_any_address_is_answered_where_all_are_listened_on() -> None:
    world = World(settings=ApiSettings(any_address=True))
    assert world("GET", "/livez", headers={"host": "192.0.2.1:8101"}).status_code == 200
    refused(world("GET", "/livez", headers={"host": "evil.example"}), "Host")


def test_any_name_is_answered_where_the_settings_say_so() -> None:
    world = World(settings=ApiSettings(hosts=("*",)))
    assert world("GET", "/livez", headers={"host": "proxy.example"}).status_code == 200


# --- sites --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize(
    ("headers", "parameter"),
    [
        ({"origin": "https://evil.example"}, "Origin"),
        ({"origin": "null"}, "Origin"),
        ({"origin": "http://127.0.0.1:3000"}, "Origin"),
        ({"origin": "http://127.0.0.1", "sec-fetch-site": "cross-site"}, "Origin"),
        ({"sec-fetch-site": "cross-site"}, "Sec-Fetch-Site"),
        ({"sec-fetch-site": "same-site"}, "Sec-Fetch-Site"),
    ],
)
def test_foreign_page_changes_nothing(
    world: World, method: str, path: str, body: object, headers: dict[str, str], parameter: str
) -> None:
    before = world.service.store.head()
    refused(world(method, path, body, headers=headers), parameter)
    assert world.service.store.head() == before
    assert world.service.leader_id == "n1"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://127.0.0.1:80"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "https://mem.example", "host": "mem.example:443"},
        {"origin": "https://public.example", "sec-fetch-site": "same-origin"},  # a proxy gave us another Host
    ],
)
def test_own_page_and_no_browser_may_write(world: World, headers: dict[str, str]) -> None:
    assert world("POST", "/v1/memories", {"text": "a"}, headers=headers).status_code == 201


def test_reply_to_a_foreign_page_cannot_be_read_by_it(world: World) -> None:
    reply = world("GET", "/v1/memories", headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


# --- CORS ---------------------------------------------------------------------------------------------
def test_named_page_may_write_and_read_replies(world: World) -> None:
    headers = {"origin": PAGE, "sec-fetch-site": "cross-site"}
    made = world("POST", "/v1/memories", {"id": "m", "text": "a"}, headers=headers)
    unknown = world("GET", "/v1/memories/none", headers=headers)
    assert (made.status_code, unknown.status_code) == (201, 404)
    for reply in (made, unknown, world("GET", "/livez", headers=headers)):
        assert reply.headers["access-control-allow-origin"] == PAGE
        assert reply.headers["vary"] == "origin"
        assert "ETag" in reply.headers["access-control-expose-headers"]


def test_preflight_of_a_named_page_is_answered(world: World) -> None:
    asked = {"origin": PAGE, "access-control-request-method": "PATCH", "access-control-request-headers": "if-match"}
    reply = world("OPTIONS", "/v1/memories/m", headers=asked)
    assert (reply.status_code, reply.content) == (204, b"")
    assert "content-length" not in reply.headers
    assert reply.headers["access-control-allow-origin"] == PAGE
    assert "PATCH" in reply.headers["access-control-allow-methods"]
    assert "If-Match" in reply.headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example:8443", "http://app.example", "null"])
def test_preflight_of_another_page_is_not_answered(world: World, origin: str) -> None:
    reply = world("OPTIONS", "/v1/memories", headers={"origin": origin, "access-control-request-method": "POST"})
    assert reply.status_code == 405
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_pages_have_no_origin_by_default() -> None:
    reply = World()("OPTIONS", "/v1/memories", headers={"origin": PAGE, "access-control-request-method": "POST"})
    assert reply.status_code == 405
