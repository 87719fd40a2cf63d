"""Rules of RFC 9110 that every route keeps: HEAD, standing headers, preconditions."""

import pytest
from api_world import World

READS = ["/v1/memories", "/v1/memories/m", "/v1/memories/m/history", "/v1/events", "/v1/locks", "/v1/cluster", "/livez"]


@pytest.fixture
def world() -> World:
    made = World()
    assert made("POST", "/v1/memories", {"id": "m", "text": "one"}).status_code == 201
    return made


# --- HEAD ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", [*READS, "/v1/memories/none", "/nowhere", "/v1/memories?nothing=1", "/metrics"])
def test_head_says_what_get_says_without_the_body(world: World, path: str) -> None:
    named = {"x-request-id": "r"}
    get, head = world("GET", path, headers=named), world("HEAD", path, headers=named)
    assert (head.status_code, head.content) == (get.status_code, b"")
    if path != "/metrics":  # it counts the requests before it
        assert dict(head.headers) == dict(get.headers)


def test_head_of_a_stream_ends_and_nobody_watches_afterwards(world: World) -> None:
    reply = world("HEAD", "/v1/watch")
    assert (reply.status_code, reply.content) == (200, b"")
    assert "content-length" not in reply.headers
    assert reply.headers["content-type"].startswith("text/event-stream")


def test_head_of_a_route_that_only_writes_is_refused(world: World) -> None:
    reply = world("HEAD", "/v1/txn")
    assert (reply.status_code, reply.content, reply.headers["allow"]) == (405, b"", "POST")


# --- headers ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/memories/m"), ("GET", "/nowhere"), ("POST", "/v1/memories"), ("GET", "/docs")]
)
def test_reply_is_kept_by_no_cache_and_its_type_is_not_guessed(world: World, method: str, path: str) -> None:
    reply = world(method, path)
    assert reply.headers.get_list("cache-control") == ["no-store"]
    assert reply.headers.get_list("x-content-type-options") == ["nosniff"]


# --- preconditions ------------------------------------------------------------------------------------
@pytest.mark.parametrize("tag", ['W/"1"', 'W/"1", W/"2"', '"abc"', '""', '"0"', '"01"'])
def test_tag_that_matches_no_version_fails_the_precondition(world: World, tag: str) -> None:
    reply = world("PATCH", "/v1/memories/m", {"text": "two"}, headers={"if-match": tag})
    assert (reply.status_code, reply.json()["code"]) == (412, "precondition-failed")
    assert world("GET", "/v1/memories/m").json()["version"] == 1


@pytest.mark.parametrize("tags", ['"1", "9"', '"9","1"', 'W/"1", "1"', '"abc" ,\t"1"'])
def test_list_with_the_version_of_the_memory_passes(world: World, tags: str) -> None:
    assert world("PATCH", "/v1/memories/m", {"text": "two"}, headers={"if-match": tags}).status_code == 200


@pytest.mark.parametrize("tags", ['"2", "9"', 'W/"1", "2"', '"7", "8", "9"'])
def test_list_without_the_version_of_the_memory_fails(world: World, tags: str) -> None:
    reply = world("PATCH", "/v1/memories/m", {"text": "two"}, headers={"if-match": tags})
    assert (reply.status_code, reply.json()["code"]) == (412, "precondition-failed")
    assert reply.json()["current"]["version"] == 1


@pytest.mark.parametrize("tags", ["1", '"1', '"1",', ',"1"', '"1" "2"', '*, "1"', "w/1", 'w/"1"', '"a b"'])
def test_if_match_that_is_no_list_of_tags_is_a_bad_request(world: World, tags: str) -> None:
    reply = world("PATCH", "/v1/memories/m", {"text": "two"}, headers={"if-match": tags})
    assert (reply.status_code, reply.json()["parameter"]) == (400, "If-Match")
