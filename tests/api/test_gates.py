"""The routes of gates: approvals, pins, going through once, and waiting until one is open."""

import asyncio

import pytest
from api_world import World, at_once, run

GATE = "/v1/gates/release/1.2"
MIA, BO = {"Raftmem-Actor": "user/mia"}, {"Raftmem-Actor": "agent/bo"}


@pytest.fixture
def world() -> World:
    made = World()
    made("POST", "/v1/memories", {"id": "test-result", "text": "green"})
    return made


def put(world: World, **more: object) -> dict[str, object]:
    reply = world("PUT", GATE, {"required": 1, **more})
    assert reply.status_code in (200, 201), reply.text
    gate: dict[str, object] = reply.json()["gate"]
    return gate


def test_gate_is_made_approved_consumed_and_defined_anew(world: World) -> None:
    body = {"required": 1, "approvers": ["user/mia"], "pins": [{"memory": "test-result", "version": 1}]}
    made = world("PUT", GATE, body)
    shown = {"name": "release/1.2", **body, "approvals": [], "open": False, "consumed_index": None}
    assert (made.status_code, made.json()["gate"]) == (201, shown)
    assert list(made.json()["gate"]) == [
        *("name", "required", "approvers", "approvals", "pins", "open", "consumed_index"),
    ]
    event = made.json()["event"]
    assert (event["op"], event["gate"], event["open"]) == ("GATE_PUT", "release/1.2", False)
    again = world("PUT", GATE, body)
    assert (again.status_code, again.json()["event"]["requested_op"]) == (200, "GATE_PUT")
    approved = world("POST", GATE + "/approve", {"comment": "ship it"}, headers=MIA).json()
    actor = {"type": "user", "id": "mia", "role": None}
    assert approved["gate"]["approvals"] == [{"actor": actor, "index": 104, "comment": "ship it"}]
    assert (approved["gate"]["open"], approved["event"]["open"]) == (True, True)
    consumed = world("POST", GATE + "/consume").json()
    assert (consumed["gate"]["open"], consumed["gate"]["consumed_index"]) == (False, 105)
    twice = world("POST", GATE + "/consume")
    problem = twice.json()
    assert (twice.status_code, problem["code"], problem["current"]["consumed_index"]) == (409, "wrong-state", 105)
    anew = world("PUT", GATE, body)
    assert (anew.status_code, anew.json()["gate"]) == (200, shown)
    payloads = [world("GET", f"/v1/events/{n}").json()["events"][0]["payload"] for n in (102, 104, 105)]
    assert payloads == [body, {"comment": "ship it"}, {}]


def test_who_is_no_approver_is_403_with_the_gate(world: World) -> None:
    put(world, approvers=["user/mia"])
    reply = world("POST", GATE + "/approve", headers=BO)
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["current"]["approvers"]) == (403, "forbidden", ["user/mia"])


def test_consume_of_a_closed_gate_says_what_is_missing(world: World) -> None:
    put(world, required=2)
    world("POST", GATE + "/approve", headers=MIA)
    problem = world("POST", GATE + "/consume").json()
    assert (problem["code"], len(problem["current"]["approvals"])) == ("wrong-state", 1)
    assert "1 of 2" in problem["detail"]


def test_approval_is_taken_back_and_a_second_one_counts_once(world: World) -> None:
    put(world)
    world("POST", GATE + "/approve", headers=MIA)
    twice = world("POST", GATE + "/approve", headers=MIA).json()
    assert (twice["event"]["op"], len(twice["gate"]["approvals"])) == ("NOOP", 1)
    back = world("POST", GATE + "/revoke", headers=MIA).json()
    assert (back["gate"]["approvals"], back["gate"]["open"], back["event"]["op"]) == ([], False, "GATE_REVOKE")


def test_change_of_a_pinned_memory_closes_the_gate_in_its_own_entry(world: World) -> None:
    put(world, pins=[{"memory": "test-result", "version": 1}])
    world("POST", GATE + "/approve", headers=MIA)
    world("PATCH", "/v1/memories/test-result", {"text": "red"}, headers=BO)
    update, closed = world("GET", "/v1/events/104").json()["events"]
    assert (update["op"], closed["op"], closed["seq"]) == ("UPDATE", "GATE_CLOSE", 1)
    assert (closed["gate"], closed["open"], closed["actor"]["id"]) == ("release/1.2", False, "bo")
    assert closed["payload"] == {}
    assert world("GET", GATE).json()["open"] is False
    assert "pinned" in world("POST", GATE + "/consume").json()["detail"]


@pytest.mark.parametrize("verb", ["approve", "revoke", "consume"])
def test_gate_that_is_not_there_is_404(world: World, verb: str) -> None:
    reply = world("POST", f"/v1/gates/never/{verb}")
    assert (reply.status_code, reply.json()["code"]) == (404, "not-found")
    assert world("GET", "/v1/gates/never").status_code == 404


def test_reply_shows_the_gate_as_the_write_left_it_also_when_replayed(world: World) -> None:
    put(world)
    key = {**MIA, "Idempotency-Key": "k"}
    first = world("POST", GATE + "/approve", headers=key)
    world("POST", GATE + "/consume")
    again = world("POST", GATE + "/approve", headers=key)
    assert (again.headers["idempotent-replayed"], again.content) == ("true", first.content)


def test_wait_ends_when_the_gate_opens_or_the_time_is_over(world: World) -> None:
    put(world)
    assert world("GET", GATE + "?wait_ms=1").json()["open"] is False

    async def work() -> None:
        wait = asyncio.ensure_future(world.ask("GET", GATE + "?wait_ms=30000"))
        await asyncio.sleep(0)
        with at_once():
            await world.ask("POST", GATE + "/approve", headers=MIA)
            reply = await wait
        assert (reply.json()["open"], reply.headers["raftmem-consistency"]) == (True, "lease")

    run(work())


def test_guard_over_a_gate_says_why_it_is_closed(world: World) -> None:
    guarded = {"text": "go", "guards": [{"gate": "release/1.2", "open": True}]}
    missing = world("POST", "/v1/memories", guarded).json()
    assert (missing["code"], missing["current"]) == ("precondition-failed", None)
    put(world)
    closed = world("POST", "/v1/memories", guarded).json()
    assert closed["failed"][0]["guard"] == {"gate": "release/1.2", "open": True}
    assert closed["current"]["required"] == 1
    assert "0 of 1" in closed["detail"]
    world("POST", GATE + "/approve", headers=MIA)
    assert world("POST", "/v1/memories", guarded).status_code == 201


def test_gates_are_listed_by_prefix(world: World) -> None:
    for name in ("a/1", "b/1", "a/2"):
        world("PUT", f"/v1/gates/{name}", {"required": 0})
    assert [gate["name"] for gate in world("GET", "/v1/gates?prefix=a/").json()["gates"]] == ["a/1", "a/2"]
    assert [gate["name"] for gate in world("GET", "/v1/gates?order=desc&limit=1").json()["gates"]] == ["a/2"]
