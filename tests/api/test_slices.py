"""Long reads leave the loop to others: little is looked at between two turns, and the answer is the same."""

import json
from urllib.parse import quote

import pytest
from api_world import World

from raftmem.api.routes import memory_pages, slices
from raftmem.api.routes.slices import Slices
from raftmem.model.records import Record
from raftmem.storage.state import query as matching
from raftmem.storage.state.query import content_bytes

BIG = 2_000  # characters of a text here
ROWS = 40
FILTER = {"or": [{"field": "text", "op": "icontains", "value": f"no {n}"} for n in range(62)]}
FILTER["or"].append({"field": "text", "op": "icontains", "value": "NUMBER 3"})


@pytest.fixture
def world() -> World:
    world = World()
    for number in range(ROWS):
        text = f"number {number} " + "x" * BIG
        made = world(
            "POST", "/v1/memories", {"id": f"m{number:02}", "text": text, "tags": ["t"], "embedding": [1, number]}
        )
        assert made.status_code == 201
    for number in range(ROWS):
        world("PATCH", "/v1/memories/m00", {"text": f"again {number} " + "y" * BIG})
    return world


class Watched:
    """What a request looks at between two turns of the loop."""

    def __init__(self) -> None:
        self.slices = 1
        self.bytes = self.bytes_most = 0

    def look(self, record: Record) -> None:
        self.bytes += content_bytes(record)
        self.bytes_most = max(self.bytes_most, self.bytes)

    def turn(self) -> None:
        self.slices += 1
        self.bytes = 0


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Small slices, and a count of what is looked at in each."""
    one = Watched()
    plain_matches, plain_again = matching.matches, Slices.again

    def matches(query: matching.Query, record: Record) -> bool:
        one.look(record)
        return plain_matches(query, record)

    async def again(self: Slices) -> None:
        one.turn()
        await plain_again(self)

    monkeypatch.setattr(matching, "matches", matches)
    monkeypatch.setattr(Slices, "again", again)
    for module in (slices, memory_pages):
        monkeypatch.setattr(module, "SLICE_BYTES_MAX", 3 * BIG)
    monkeypatch.setattr(memory_pages, "FILTER_BYTES_AT_ONCE", 0)
    return one


PATHS = [
    "/v1/memories",
    "/v1/memories?limit=7",
    "/v1/memories?order=desc&limit=40",
    "/v1/memories?include=embedding",
    f"/v1/memories?filter={quote(json.dumps(FILTER))}",
    f"/v1/memories?limit=11&filter={quote(json.dumps(FILTER))}",
    f"/v1/memories?limit=2&order=desc&filter={quote(json.dumps(FILTER))}",
    "/v1/memories/m00/history",
    "/v1/memories/m00/history?limit=5",
    "/v1/events?limit=1000",
    "/v1/events?order=desc&limit=9",
    "/v1/events?tag=t&op=ADD",
]


@pytest.mark.parametrize("path", PATHS)
def test_answer_in_many_slices_is_the_answer_in_one(path: str, world: World, request: pytest.FixtureRequest) -> None:
    at_once = world("GET", path)
    watched: Watched = request.getfixturevalue("watched")
    in_slices = world("GET", path)
    assert at_once.status_code == in_slices.status_code == 200
    ours, theirs = at_once.json(), in_slices.json()
    assert (ours.pop("next_cursor") is None) == (theirs.pop("next_cursor") is None)
    assert ours == theirs
    assert watched.bytes_most <= 4 * BIG + 200


@pytest.mark.parametrize("path", [path for path in PATHS if "limit=2&" not in path and "limit=5" not in path])
def test_request_that_looks_at_much_lets_others_have_the_loop(path: str, world: World, watched: Watched) -> None:
    assert world("GET", path).status_code == 200
    assert watched.slices > 1


def test_list_that_is_followed_through_its_cursors_is_whole(
    world: World, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_pages, "PAGE_BYTES_MAX", 5 * BIG)
    found: list[str] = []
    cursor = ""
    for _ in range(ROWS):
        page = world("GET", f"/v1/memories?limit=1000{cursor}").json()
        assert len(page["memories"]) <= 6
        found += [memory["id"] for memory in page["memories"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == [f"m{number:02}" for number in range(ROWS)]
    assert watched.slices > 1


def test_search_shows_the_same_in_slices(world: World, request: pytest.FixtureRequest) -> None:
    body = {"embedding": [1, 3], "top_k": ROWS, "include": ["embedding"]}
    at_once = world("POST", "/v1/memories/search", body).json()
    request.getfixturevalue("watched")
    assert world("POST", "/v1/memories/search", body).json() == at_once


def test_search_with_results_past_the_bound_says_to_ask_for_fewer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftmem.api.routes.memory_reads.PAGE_BYTES_MAX", 5 * BIG)
    refused = world("POST", "/v1/memories/search", {"embedding": [1, 3], "top_k": ROWS})
    assert refused.status_code == 413
    assert "smaller top_k" in refused.json()["detail"]
    assert world("POST", "/v1/memories/search", {"embedding": [1, 3], "top_k": 3}).status_code == 200
