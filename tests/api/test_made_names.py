"""Ids and names are refused where a request makes them, if a client or a proxy would rewrite them on their way."""

import pytest
from api_world import World

DOTS = (".", "..")
REWRITTEN = (*DOTS, "/", "/a", "a/", "a//b", "a/./b", "a/../b", "../a", "a/..", "./a", "//")
KEPT = ("...", ".a", "a.", "a/.b", "a/b.", "a/...", "..a/b", "a b", "%2e", "a\\b")
OWNER = {"owner": "o", "ttl_ms": 1000}
Body = dict[str, object]


@pytest.fixture
def world() -> World:
    return World()


def encoded(name: str) -> str:
    """Dots too: a client that sends the name as it is would rewrite the path."""
    return "".join(f"%{byte:02X}" for byte in name.encode())


def refused(world: World, method: str, path: str, body: Body, parameter: str) -> None:
    before = world.service.store.head().index
    reply = world(method, path, body)
    assert (reply.status_code, reply.json().get("parameter")) == (400, parameter), (path, body, reply.text)
    assert "proxies" in reply.json()["detail"]
    assert world.service.store.head().index == before


@pytest.mark.parametrize("given", DOTS)
def test_id_that_a_path_cannot_carry_is_refused(world: World, given: str) -> None:
    add: Body = {"text": "x", "id": given}
    refused(world, "POST", "/v1/memories", add, "id")
    refused(world, "PUT", f"/v1/memories/{encoded(given)}", {"text": "x"}, "id")
    refused(world, "POST", "/v1/events", {"events": [{"op": "ADD", **add}]}, "events[0].id")
    refused(world, "POST", "/v1/txn", {"then": [{"op": "ADD", **add}]}, "then[0].id")
    refused(world, "POST", "/v1/tasks", {"queue": "q", "id": given}, "id")
    refused(world, "POST", "/v1/txn", {"else": [{"op": "TASK_ADD", "queue": "q", "id": given}]}, "else[0].id")


@pytest.mark.parametrize("given", REWRITTEN)
def test_name_that_a_proxy_would_rewrite_is_refused(world: World, given: str) -> None:
    refused(world, "POST", f"/v1/locks/{encoded(given)}/acquire", OWNER, "name")
    refused(world, "PUT", f"/v1/gates/{encoded(given)}", {"required": 1}, "name")
    refused(world, "POST", "/v1/tasks", {"queue": given}, "queue")
    items: list[tuple[Body, str]] = [
        ({"op": "LOCK_ACQUIRE", "name": given, **OWNER}, "name"),
        ({"op": "GATE_PUT", "name": given, "required": 1}, "name"),
        ({"op": "TASK_ADD", "queue": given}, "queue"),
    ]
    for item, field in items:
        refused(world, "POST", "/v1/txn", {"then": [item]}, f"then[0].{field}")


@pytest.mark.parametrize("given", DOTS)
def test_owner_or_worker_that_a_path_cannot_carry_is_refused(world: World, given: str) -> None:
    refused(world, "POST", "/v1/locks/l/acquire", {"owner": given, "ttl_ms": 1000}, "owner")
    refused(world, "POST", "/v1/tasks/claim", {"queues": ["q"], "worker": f"a/{given}", "ttl_ms": 1000}, "worker")


@pytest.mark.parametrize("given", KEPT)
def test_name_that_only_looks_like_one_is_made_and_found_again(world: World, given: str) -> None:
    path = f"/v1/locks/{encoded(given)}"
    assert world("POST", f"{path}/acquire", OWNER).json()["name"] == given
    assert world("GET", path).json()["holders"][0]["owner"] == "o"
    assert world("PUT", f"/v1/gates/{encoded(given)}", {"required": 1}).json()["gate"]["name"] == given


def test_name_that_is_only_used_is_not_refused(world: World) -> None:
    """It may stand in a log from before the rule, and must still be looked at and let go."""
    path = f"/v1/locks/{encoded('a//b')}"
    assert world("GET", path).json()["holders"] == []
    assert world("DELETE", path).status_code == 200
    assert world("POST", f"{path}/release", {"owner": "o", "token": 1}).json()["code"] == "stale-token"
    assert world("GET", f"/v1/memories/{encoded('..')}").json()["code"] == "not-found"


@pytest.mark.parametrize("actor", ["system/raft", "system/x"])
def test_actor_of_the_replicas_is_refused(world: World, actor: str) -> None:
    kind, _, name = actor.partition("/")
    for method, path, body in (
        ("POST", "/v1/memories", {"text": "x"}),
        ("POST", "/v1/locks/l/acquire", OWNER),
        ("POST", "/v1/cluster/members", {"id": "n4", "peer_url": "127.0.0.1:1", "rest_url": "http://h:1"}),
    ):
        by_header = world(method, path, body, headers={"Raftmem-Actor": actor})
        assert (by_header.status_code, by_header.json()["parameter"]) == (400, "Raftmem-Actor")
        by_body = world(method, path, {**body, "actor": {"type": kind, "id": name}})
        assert (by_body.status_code, by_body.json()["parameter"]) == (400, "actor.type")


class Shuffled:
    """Ids that do not rise, as those of one millisecond are."""

    def __init__(self) -> None:
        self._left = [f"01939c0a-0000-7000-8000-{n * 7919 % 1009:012d}" for n in range(1, 1009)]

    def __call__(self) -> str:
        return self._left.pop()


def test_batch_without_ids_is_listed_in_its_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.service, "new_id", Shuffled())
    texts = [f"text {n}" for n in range(200)]
    assert world("POST", "/v1/events", {"events": [{"op": "ADD", "text": text} for text in texts]}).status_code == 200
    listed = world("GET", "/v1/memories?limit=1000").json()["memories"]
    assert [memory["text"] for memory in listed] == texts
    assert world("POST", "/v1/txn", {"then": [{"op": "ADD", "text": text} for text in texts[:50]]}).status_code == 200
    listed = world("GET", "/v1/memories?limit=1000").json()["memories"]
    assert [memory["text"] for memory in listed[200:]] == texts[:50]
