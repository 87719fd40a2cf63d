"""POST /v1/txn: which arm ran, what each operation left, and what refuses the whole."""

import pytest
from api_world import World

from raftmem.limits import TXN_OPERATIONS_MAX

A, B = "a#1", "b#2"


@pytest.fixture
def world() -> World:
    return World()


def acquire(lock: str, owner: str = A) -> dict[str, object]:
    return {"op": "LOCK_ACQUIRE", "name": lock, "owner": owner, "ttl_ms": 10_000}


def token_of(world: World, lock: str, owner: str = A) -> int:
    found: int = world("POST", f"/v1/locks/{lock}/acquire", {"owner": owner, "ttl_ms": 10_000}).json()["token"]
    return found


def test_every_kind_of_operation_runs_in_one_entry_and_later_ones_see_earlier_ones(world: World) -> None:
    token = token_of(world, "l")
    world("PUT", "/v1/gates/g", {"required": 0})
    then = [
        {"op": "ADD", "id": "m", "value": {"n": 1}},
        {"op": "UPDATE", "memory_id": "m", "merge": {"value.n": {"op": "inc", "by": 1}}},
        acquire("other/lock"),
        {"op": "LOCK_RELEASE", "name": "l", "owner": A, "token": token},
        {"op": "TASK_ADD", "id": "t", "queue": "q", "payload": 7},
        {"op": "TASK_CLAIM", "queues": ["q"], "worker": "w", "ttl_ms": 1000},
        {"op": "GATE_CONSUME", "name": "g"},
        {"op": "DELETE", "memory_id": "m"},
    ]
    reply = world("POST", "/v1/txn", {"guards": [{"lock": "l", "token": token}], "then": then})
    body = reply.json()
    assert (reply.status_code, reply.headers["raftmem-index"]) == (200, "103")
    assert list(body) == ["succeeded", "index", "results", "failed", "event"]
    assert (body["succeeded"], body["index"], body["failed"]) == (True, 103, [])
    assert (body["event"]["op"], body["event"]["seq"], body["event"]["succeeded"]) == ("TXN", 0, True)
    results = body["results"]
    assert [result["event"]["op"] for result in results] == [item["op"] for item in then]
    assert [result["event"]["seq"] for result in results] == list(range(1, 9))
    assert [sorted(result.keys() - {"event"}) for result in results] == [
        *(["memory"], ["memory"], ["lock"], ["lock"], ["task"], ["tasks"], ["gate"], ["memory"]),
    ]
    assert (results[0]["memory"]["value"], results[1]["memory"]["value"]) == ({"n": 1}, {"n": 2})
    assert results[2]["lock"]["holders"][0] == {"owner": A, "token": 103, "remaining_ms": 10_000, "metadata": {}}
    assert results[3]["lock"]["holders"] == []
    assert (results[4]["task"]["state"], results[5]["tasks"][0]["state"]) == ("available", "claimed")
    assert results[6]["gate"]["consumed_index"] == 103
    assert results[7]["memory"]["status"] == "deleted"
    listed = world("GET", "/v1/events/103").json()["events"]
    guards = {"guards": [{"lock": "l", "token": 101}]}
    assert [event["payload"] for event in listed][:6:5] == [guards, {"id": "t", "queue": "q", "payload": 7}]


def test_false_guard_runs_the_other_arm_and_is_told_with_what_stands(world: World) -> None:
    holder = token_of(world, "l", B)
    body = {
        "guards": [{"memory": "m", "exists": False}, {"lock": "l", "token": holder + 1}],
        "then": [{"op": "ADD", "id": "m", "text": "mine"}],
        "else": [{"op": "NOOP", "decision": {"by": "policy", "reason": "lost the lock"}}],
    }
    reply = world("POST", "/v1/txn", body)
    found = reply.json()
    assert (reply.status_code, found["succeeded"], found["event"]["succeeded"]) == (200, False, False)
    assert [result["event"]["op"] for result in found["results"]] == ["NOOP"]
    (failed,) = found["failed"]
    assert failed["guard"] == {"lock": "l", "token": holder + 1}
    assert failed["current"]["holders"][0]["token"] == holder
    assert world("GET", "/v1/memories/m").status_code == 404


def test_guard_shows_the_memory_as_it_was_before_the_arm_ran(world: World) -> None:
    world("POST", "/v1/memories", {"id": "m", "text": "old"})
    body = {"guards": [{"memory": "m", "version": 9}], "else": [{"op": "UPDATE", "memory_id": "m", "text": "new"}]}
    found = world("POST", "/v1/txn", body).json()
    assert found["failed"][0]["current"]["text"] == "old"
    assert found["results"][0]["memory"]["text"] == "new"


def test_several_locks_of_which_one_is_held_are_not_taken(world: World) -> None:
    token_of(world, "l2", B)
    reply = world("POST", "/v1/txn", {"then": [acquire("l1"), acquire("l2"), acquire("l3")]})
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["failed_seq"]) == (409, "lock-held", 1)
    assert (problem["instance"], problem["holders"][0]["owner"]) == ("/v1/txn", B)
    assert "nothing of the transaction was applied" in problem["detail"]
    assert [lock["name"] for lock in world("GET", "/v1/locks").json()["locks"]] == ["l2"]
    events = world("GET", f"/v1/events/{reply.headers['raftmem-index']}").json()["events"]
    assert [(event["op"], event["code"]) for event in events] == [
        ("TXN", "lock-held"),
        ("LOCK_ACQUIRE", "batch-refused"),
        ("LOCK_ACQUIRE", "lock-held"),
        ("LOCK_ACQUIRE", "batch-refused"),
    ]


@pytest.mark.parametrize(
    ("operation", "status", "code"),
    [
        ({"op": "TASK_COMPLETE", "id": "never", "token": 1}, 404, "not-found"),
        ({"op": "GATE_CONSUME", "name": "never"}, 404, "not-found"),
        ({"op": "DELETE", "memory_id": "never"}, 404, "not-found"),
        ({"op": "LOCK_RENEW", "name": "free", "owner": A, "token": 1}, 409, "stale-token"),
        ({"op": "TASK_ADD", "id": "t", "queue": "q", "depends_on": ["u"]}, 409, "dependency-cycle"),
    ],
)
def test_refused_operation_refuses_the_whole_with_its_own_problem(
    world: World, operation: object, status: int, code: str
) -> None:
    first = {"op": "TASK_ADD", "id": "u", "queue": "q", "depends_on": ["t"]}
    reply = world("POST", "/v1/txn", {"then": [first, operation]})
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["failed_seq"]) == (status, code, 1)
    assert world("GET", "/v1/tasks/u").status_code == 404


def test_completion_of_what_the_same_transaction_claims_is_wrong_state(world: World) -> None:
    world("POST", "/v1/tasks", {"queue": "q", "id": "t"})
    token = world.service.store.head().index + 1
    end = {"op": "TASK_COMPLETE", "id": "t", "token": token}
    problem = world("POST", "/v1/txn", {"then": [CLAIM, end]}).json()
    assert (problem["status"], problem["code"], problem["failed_seq"]) == (409, "wrong-state", 1)
    assert problem["detail"] == "task t was claimed by this very request; end that claim in another one"


def test_replayed_transaction_is_the_first_reply(world: World) -> None:
    key = {"Idempotency-Key": "k"}
    body = {"then": [{"op": "TASK_ADD", "id": "t", "queue": "q"}, {"op": "ADD", "id": "m", "text": "a"}]}
    first = world("POST", "/v1/txn", body, headers=key)
    world("POST", "/v1/tasks/t/cancel")
    world("DELETE", "/v1/memories/m")
    again = world("POST", "/v1/txn", body, headers=key)
    assert (again.headers["idempotent-replayed"], again.content) == ("true", first.content)
    other = world("POST", "/v1/txn", {"then": []}, headers=key)
    assert (other.status_code, other.json()["code"], "failed_seq" in other.json()) == (
        422,
        "idempotency-key-reused",
        False,
    )


def test_empty_transaction_only_looks_at_its_guards(world: World) -> None:
    found = world("POST", "/v1/txn", {"guards": [{"gate": "g", "open": False}]}).json()
    assert (found["succeeded"], found["results"]) == (True, [])


def test_arm_past_its_limit_is_413_and_leaves_nothing(world: World) -> None:
    items = [{"op": "TASK_ADD", "queue": "q"}] * (TXN_OPERATIONS_MAX + 1)
    for arm in ("then", "else"):
        reply = world("POST", "/v1/txn", {arm: items})
        assert (reply.status_code, reply.json()["code"]) == (413, "too-large")
    full = world("POST", "/v1/txn", {"then": items[1:]})
    assert (full.status_code, len(full.json()["results"])) == (200, TXN_OPERATIONS_MAX)
    claims = [{**CLAIM, "max": 100}] * 11
    reply = world("POST", "/v1/txn", {"then": claims})
    assert (reply.status_code, reply.json()["code"]) == (413, "too-large")
    assert world("POST", "/v1/txn", {"then": claims[1:]}).status_code == 200


CLAIM = {"op": "TASK_CLAIM", "queues": ["q"], "worker": "w", "ttl_ms": 500}
ITEMS: list[tuple[str, object, str]] = [
    ("no op", {"name": "l"}, "then[0].op"),
    ("an op of the leader", {"op": "LOCK_EXPIRE", "name": "l"}, "then[0].op"),
    ("a transaction inside", {"op": "TXN"}, "then[0].op"),
    ("an owner release", {"op": "OWNER_RELEASE", "owner": A}, "then[0].op"),
    ("wait_ms", {**acquire("l"), "wait_ms": 5}, "then[0].wait_ms"),
    ("wait_ms of a claim", {**CLAIM, "wait_ms": 1}, "then[0].wait_ms"),
    ("unknown field", {"op": "GATE_CONSUME", "name": "g", "by": "me"}, "then[0].by"),
    ("guards inside", {**acquire("l"), "guards": []}, "then[0].guards"),
    ("ttl too short", {**acquire("l"), "ttl_ms": 99}, "then[0].ttl_ms"),
    ("no token", {"op": "TASK_COMPLETE", "id": "t"}, "then[0].token"),
    ("id with a space", {"op": "TASK_CANCEL", "id": "a b"}, "then[0].id"),
    ("name too long", {**acquire("é" * 128)}, "then[0].name"),
    ("add that says nothing", {"op": "ADD"}, "then[0].text"),
]


@pytest.mark.parametrize(("item", "place"), [pytest.param(item, place, id=name) for name, item, place in ITEMS])
def test_bad_item_is_400_with_its_place(world: World, item: object, place: str) -> None:
    reply = world("POST", "/v1/txn", {"then": [item]})
    assert (reply.status_code, reply.json()["code"], reply.json()["parameter"]) == (400, "invalid-request", place)
    assert world.service.store.head().index == 100


def test_op_that_is_not_of_a_transaction_is_told_with_those_that_are(world: World) -> None:
    detail = world("POST", "/v1/txn", {"else": [{"op": "EXPIRE"}]}).json()["detail"]
    assert "LOCK_FORCE_RELEASE" in detail
    assert "GATE_CONSUME" in detail


def test_two_operations_on_one_lock_in_an_arm_are_400_but_one_in_each_arm_is_not(world: World) -> None:
    release = {"op": "LOCK_RELEASE", "name": "l", "owner": A, "token": 1}
    reply = world("POST", "/v1/txn", {"then": [acquire("l"), acquire("k"), release]})
    assert (reply.status_code, reply.json()["parameter"]) == (400, "then[2].name")
    assert world("POST", "/v1/txn", {"then": [acquire("l")], "else": [release]}).status_code == 200
