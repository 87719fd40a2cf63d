"""The routes that change the group and take snapshots: shapes, statuses, what is refused and what to do next."""

import pytest
from api_world import World

from raftmem import errors

N4 = {"id": "n4", "peer_url": "127.0.0.1:9104", "rest_url": "http://127.0.0.1:8104"}
MEMBERS = "/v1/cluster/members"
OPS = {"Raftmem-Actor": "user/mia", "X-Request-Id": "req-1"}


@pytest.fixture
def world() -> World:
    return World()


def test_new_member_is_answered_with_itself_its_event_and_what_it_must_know(world: World) -> None:
    reply = world("POST", MEMBERS, {**N4, "folder_id": "f4", "replaces": "n3"}, headers=OPS)
    assert (reply.status_code, reply.headers["raftmem-index"]) == (201, "101")
    body = reply.json()
    n4 = {**N4, "role": "learner", "folder_id": "f4", "replaces": "n3"}
    assert body["member"] == n4
    assert body["event"] == {
        "index": 101,
        "seq": 0,
        "term": 3,
        "time": "2026-11-20T09:00:00.120Z",
        "op": "MEMBER",
        "actor": {"type": "user", "id": "mia", "role": None},
        "scope": None,
        "read_index": None,
        "request_id": "req-1",
        "outcome": "applied",
        "code": None,
        "member_id": "n4",
        "change": "add",
    }
    group = body["cluster"]
    assert [(one["id"], one["role"]) for one in group.pop("members")] == [
        ("n1", "leader"),
        ("n2", "follower"),
        ("n3", "follower"),
        ("n4", "learner"),
    ]
    assert group == {
        "cluster_id": "5f2a9c01",
        "incarnation": 1,
        "election_timeout_ms": 1000,
        "clock_drift_ppm": 500,
    }
    assert [one["role"] for one in world("GET", "/v1/cluster").json()["members"]][-1] == "learner"


def test_member_that_stands_already_is_200_with_the_entry_of_the_membership_in_force(world: World) -> None:
    first = world("POST", MEMBERS, {"id": "n3", "peer_url": "127.0.0.1:9103", "rest_url": "http://127.0.0.1:8103"})
    assert (first.status_code, first.json()["event"]["index"], first.json()["event"]["op"]) == (200, 1, "RAFT")
    world("POST", MEMBERS, N4, headers=OPS)
    world("POST", "/v1/memories", {"text": "x"})
    again = world("POST", MEMBERS, N4)
    assert (again.status_code, again.json()["event"]["index"]) == (200, 101)
    voter = {"id": "n1", "peer_url": "127.0.0.1:9101", "rest_url": "http://127.0.0.1:8101"}
    stood = world("POST", MEMBERS, voter)
    assert (stood.status_code, stood.json()["member"]["role"]) == (200, "leader")
    assert stood.json()["event"]["index"] == 101
    moved = world("POST", MEMBERS, {**N4, "peer_url": "127.0.0.1:9204"})
    assert (moved.status_code, moved.json()["event"]["change"]) == (201, "update")


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"id": "n/4"}, "id"),
        ({"id": "n4\n"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"peer_url": "127.0.0.1"}, "peer_url"),
        ({"peer_url": "127.0.0.1:70000"}, "peer_url"),
        ({"peer_url": "0.0.0.0:9104"}, "peer_url"),
        ({"peer_url": "h" * 300 + ":1"}, "peer_url"),
        ({"rest_url": "127.0.0.1:8104"}, "rest_url"),
        ({"rest_url": "http://h\n"}, "rest_url"),
        ({"folder_id": ""}, "folder_id"),
        ({"replaces": "n4"}, "replaces"),
        ({"voter": True}, "voter"),
        ({"actor": {"type": "robot", "id": "r"}}, "actor.type"),
    ],
)
def test_member_that_cannot_be_is_refused_with_the_place(
    change: dict[str, object], parameter: str, world: World
) -> None:
    reply = world("POST", MEMBERS, {**N4, **change})
    assert (reply.status_code, reply.json()["parameter"]) == (400, parameter), reply.text
    assert world.service.store.head().index == 100


def test_removed_member_is_told_and_stays_out(world: World) -> None:
    reply = world("DELETE", f"{MEMBERS}/n3", headers=OPS)
    assert (reply.status_code, reply.headers["raftmem-index"]) == (200, "101")
    assert reply.json()["member"] == {
        "id": "n3",
        "role": "removed",
        "peer_url": "127.0.0.1:9103",
        "rest_url": "http://127.0.0.1:8103",
        "folder_id": "folder-3",
        "replaces": None,
    }
    assert (reply.json()["event"]["op"], reply.json()["event"]["change"]) == ("MEMBER", "remove")
    again = world("DELETE", f"{MEMBERS}/n3")
    assert (again.status_code, again.json()["member"]["role"], again.json()["event"]["index"]) == (200, "removed", 101)
    never = world("DELETE", f"{MEMBERS}/n9")
    assert (never.status_code, never.json()["code"], never.json()["retryable"]) == (404, "not-found", False)
    back = world("POST", MEMBERS, {**N4, "id": "n3"})
    assert (back.status_code, back.json()["code"]) == (409, "wrong-state")
    assert "retry-after" not in back.headers


def test_removal_takes_an_id_and_nothing_else(world: World) -> None:
    assert world("DELETE", f"{MEMBERS}/n%0A").json()["parameter"] == "id"
    assert world("DELETE", f"{MEMBERS}/n3", {"force": True}).json()["parameter"] == "body"
    assert world("DELETE", f"{MEMBERS}/n3?force=true").json()["parameter"] == "force"
    assert world("DELETE", f"{MEMBERS}/").status_code == 404
    assert world("PUT", f"{MEMBERS}/n3", {}).headers["allow"] == "DELETE"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.WrongState("n2 does not answer: without n3 the voters alive would be no majority"), 409),
        (errors.NoLeader("no leader is known"), 503),
        (errors.TooManyRequests("another change is under way"), 429),
        (errors.UnknownOutcome("not committed in time"), 504),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_change_that_does_not_come_about_says_why(
    method: str, error: errors.RaftmemError, status: int, world: World
) -> None:
    world.service.failure = error
    target = MEMBERS if method == "POST" else f"{MEMBERS}/n3"
    reply = world(method, target, N4 if method == "POST" else None)
    assert (reply.status_code, reply.json()["detail"]) == (status, str(error))
    assert reply.headers["content-type"] == "application/problem+json"


def test_lead_is_handed_to_who_is_named_or_to_the_furthest(world: World) -> None:
    assert world("POST", "/v1/cluster/leader", {"id": "n2"}).json() == {
        "leader": {"id": "n2", "url": "http://127.0.0.1:8102"}
    }
    assert world("GET", "/v1/cluster").json()["leader"] == "n2"
    for body, furthest in (({}, "n1"), (None, "n2")):
        assert world("POST", "/v1/cluster/leader", body).json()["leader"]["id"] == furthest
    silent = world("POST", "/v1/cluster/leader", {"id": "n3"})
    assert (silent.status_code, silent.json()["code"]) == (409, "wrong-state")
    assert world("POST", "/v1/cluster/leader", {"id": "n9"}).json()["code"] == "not-found"
    assert world("POST", "/v1/cluster/leader", {"id": "n 9"}).json()["parameter"] == "id"
    assert world("POST", "/v1/cluster/leader", content=b"{}", headers={"content-type": "text/x"}).status_code == 415


def test_snapshot_is_taken_and_listed_newest_first(world: World) -> None:
    assert world("GET", "/v1/admin/snapshots").json() == {"snapshots": [], "next_cursor": None}
    first = world("POST", "/v1/admin/snapshot")
    assert (first.status_code, first.headers["raftmem-index"]) == (201, "100")
    (taken,) = world.service.snapshots()
    assert first.json()["snapshot"] == {
        "index": 100,
        "term": 3,
        "bytes": taken.size,
        "checksum": taken.checksum.hex(),
        "digest": world.service.store.head().digest.hex(),
        "time": "2026-11-20T09:00:00.120Z",
    }
    world("POST", "/v1/memories", {"text": "x"})
    world("POST", "/v1/admin/snapshot")
    assert [one["index"] for one in world("GET", "/v1/admin/snapshots").json()["snapshots"]] == [101, 100]
    world.service.failure = errors.NoSpace("the disk is nearly full")
    assert world("POST", "/v1/admin/snapshot").status_code == 507
    assert world("POST", "/v1/admin/snapshot", {"force": 1}).status_code == 400


def test_changes_of_the_members_show_only_when_asked_for(world: World) -> None:
    world("POST", MEMBERS, N4, headers=OPS)
    world("POST", "/v1/memories", {"text": "x"})
    shown = {
        query: [event["op"] for event in world("GET", f"/v1/events?from=100&{query}").json()["events"]]
        for query in (
            "limit=9",
            "include=internal",
            "include=internal&op=MEMBER",
            "include=internal&op=RAFT",
            "include=internal&actor_id=mia",
            "include=internal&request_id=req-1",
            "op=MEMBER",
        )
    }
    assert shown == {
        "limit=9": ["ADD"],
        "include=internal": ["RAFT", "MEMBER", "ADD"],
        "include=internal&op=MEMBER": ["MEMBER"],
        "include=internal&op=RAFT": ["RAFT"],
        "include=internal&actor_id=mia": ["MEMBER"],
        "include=internal&request_id=req-1": ["MEMBER"],
        "op=MEMBER": ["MEMBER"],
    }
    assert world("GET", "/v1/events/101").json()["events"] == []
    assert world("GET", "/v1/events/101?include=internal").json()["events"][0]["member_id"] == "n4"
