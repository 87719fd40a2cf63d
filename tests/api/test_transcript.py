"""The exchanges of the contract, in their order, on one replica.

Every shape is compared whole: names, nesting, nulls, status, and the bytes of all that is not an example.
"""

import json

import httpx
import pytest
from api_world import World

MEMORY = "01939c0a-7b1e-7c31-9f43-2f6a1c8e4d10"
PATH = f"/v1/memories/{MEMORY}"
SHOP = {"app_id": "shop", "user_id": None, "agent_id": None, "run_id": None}
PLANNER = {"Raftmem-Actor": "agent/planner-7"}
RECORD = {
    "id": MEMORY,
    "text": "Prod deploys are frozen until 18:00",
    "value": {"frozen": True, "seen": 1},
    **SHOP,
    "tags": ["deploy"],
    "metadata": {"env": "prod"},
    "memory_type": "fact",
    "claim_type": "verified",
    "confidence": 0.9,
    "importance": None,
    "actor": {"type": "agent", "id": "planner-7", "role": None},
    "visibility": "shared",
    "provenance": None,
    "sha256": "761bb5cdf2a374276bd6e3f7117b2b3b76c7e83a99810ddb6e52127a8e8bb883",
    "version": 1,
    "created_index": 101,
    "updated_index": 101,
    "created_at": "2026-11-20T09:00:00.120Z",
    "updated_at": "2026-11-20T09:00:00.120Z",
    "valid_at": None,
    "invalid_at": None,
    "expires_at": None,
    "pinned": False,
    "status": "active",
    "embedding": {"model": "toy-3", "dimension": 3},
}
MERGED_SHA256 = "69c2efcb8bfeb1d77f690f49ec84d356ba5889ef0157c0b1635d1e6f0ba3c5e7"
MERGE = {"merge": {"value.seen": {"op": "inc", "by": 1}, "tags": {"op": "union", "by": ["freeze"]}}}
ADD = {
    **{key: RECORD[key] for key in ("id", "text", "value", "app_id", "tags", "metadata", "memory_type", "claim_type")},
    **{"confidence": 0.9, "embedding": [0.8, 0.6, 0.0], "embedding_model": "toy-3", "on_duplicate": "noop"},
}
DUPLICATE = {
    "text": "Prod deploys are frozen until 18:00",
    "value": {"seen": 1, "frozen": True},
    "app_id": "shop",
    "on_duplicate": "noop",
}


def event(index: int, op: str, *, seq: int = 0, actor: str = "planner-7", **more: object) -> dict[str, object]:
    """An event of the transcript: applied, by an agent, in the second after the entry before it."""
    return {
        "index": index,
        "seq": seq,
        "term": 3,
        "time": f"2026-11-20T09:00:{index - 101:02d}.120Z",
        "op": op,
        "actor": {"type": "agent", "id": actor, "role": None},
        "scope": SHOP,
        "read_index": None,
        "request_id": f"req-{index}",
        "outcome": "applied",
        "code": None,
        **more,
    }


def same(reply: httpx.Response, expected: object) -> None:
    """Equal as JSON, and with the same names in the same order."""
    assert reply.text == json.dumps(expected, ensure_ascii=False, separators=(",", ":"))


def changed(record: dict[str, object], **changes: object) -> dict[str, object]:
    return {**record, **changes}


VERSION_2 = changed(RECORD, confidence=0.95, version=2, updated_index=103, updated_at="2026-11-20T09:00:02.120Z")
VERSION_3 = changed(
    VERSION_2,
    value={"frozen": True, "seen": 2},
    tags=["deploy", "freeze"],
    sha256=MERGED_SHA256,
    version=3,
    updated_index=105,
    updated_at="2026-11-20T09:00:04.120Z",
)
VERSION_4 = changed(VERSION_3, confidence=1.0, version=4, updated_index=106, updated_at="2026-11-20T09:00:05.120Z")


@pytest.fixture
def world() -> World:
    return World(oldest=90)


def write(world: World, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
    """A write of planner-7, named after the index it will get."""
    named = {"X-Request-Id": f"req-{world.service.store.head().index + 1}", **PLANNER, **headers}
    return world(method, path, body, headers=named)


def played(world: World, exchanges: int) -> None:
    """The writes of the transcript up to an exchange."""
    writes = [
        lambda: write(world, "POST", "/v1/memories", ADD),
        lambda: write(world, "POST", "/v1/memories", DUPLICATE, **{"Raftmem-Actor": "agent/coder-2"}),
        lambda: write(world, "PATCH", PATH, {"confidence": 0.95}),
        lambda: write(world, "PATCH", PATH, {"text": "Prod deploys are open"}, **{"If-Match": '"1"'}),
        lambda: write(world, "PATCH", PATH, MERGE, **{"Idempotency-Key": "bump-1"}),
        lambda: write(world, "POST", "/v1/events", BATCH),
        lambda: write(world, "POST", ACQUIRE, {"owner": "planner-7#a81c", "ttl_ms": 10000}),
        lambda: write(world, "POST", ACQUIRE, {"owner": "coder-2#07d4", "ttl_ms": 10000, "wait_ms": 0}, **CODER),
        lambda: world.service.expire_hold("deploy/prod", "planner-7#a81c"),
        lambda: write(world, "POST", ACQUIRE, {"owner": "coder-2#07d4", "ttl_ms": 10000}, **CODER),
        lambda: write(world, "PATCH", PATH, FENCED),
        lambda: write(world, "POST", "/v1/tasks", {"queue": "review", "id": TASK, "payload": {"pr": 812}}),
        lambda: write(world, "POST", "/v1/tasks/claim", CLAIM, **{"Raftmem-Actor": "agent/w-3"}),
    ]
    world.service.times.update(LOG_TIMES)
    for play in writes[:exchanges]:
        play()


CODER = {"Raftmem-Actor": "agent/coder-2"}
ACQUIRE = "/v1/locks/deploy/prod/acquire"
FENCED = {"value": {"frozen": False, "seen": 2}, "guards": [{"lock": "deploy/prod", "token": 107}]}
TASK = "01939c0b-1111-7000-8000-000000000001"
CLAIM = {"queues": ["review"], "worker": "w-3#9e", "ttl_ms": 30000, "max": 2, "wait_ms": 0}
LOG_TIMES = {107: 106_000_000, 108: 107_550_000, 109: 116_000_000, 110: 116_000_000, 111: 116_900_000}


BATCH = {
    "atomic": True,
    "guards": [{"memory": MEMORY, "version": 3}],
    "events": [
        {"op": "ADD", "id": "freeze-owner", "text": "Mia owns the freeze", "app_id": "shop"},
        {"op": "UPDATE", "memory_id": MEMORY, "confidence": 1.0},
        {
            "op": "NOOP",
            "memory_id": MEMORY,
            "decision": {
                "by": "llm",
                "reason": "same fact in other words",
                "matched_id": MEMORY,
                "similarity": 0.97,
            },
        },
    ],
}


def test_1_add(world: World) -> None:
    headers = {"Idempotency-Key": "add-7f1", "X-Request-Id": "req-101", **PLANNER}
    reply = world("POST", "/v1/memories", ADD, headers=headers)
    assert reply.status_code == 201
    assert reply.headers["location"] == PATH
    assert reply.headers["etag"] == '"1"'
    assert reply.headers["raftmem-index"] == "101"
    assert reply.headers["raftmem-term"] == "3"
    assert reply.headers["raftmem-node"] == "n2"
    assert reply.headers["raftmem-leader"] == "n1"
    assert reply.headers["raftmem-cluster"] == "5f2a9c01/1"
    assert reply.headers["x-request-id"] == "req-101"
    assert "raftmem-consistency" not in reply.headers
    same(reply, {"memory": RECORD, "event": event(101, "ADD", memory_id=MEMORY, version=1)})


def test_2_duplicate_is_a_noop(world: World) -> None:
    played(world, 1)
    reply = write(world, "POST", "/v1/memories", DUPLICATE, **{"Raftmem-Actor": "agent/coder-2"})
    assert reply.status_code == 200
    assert reply.headers["etag"] == '"1"'
    assert reply.headers["raftmem-index"] == "102"
    assert "location" not in reply.headers
    decision = {"by": "duplicate", "matched_id": MEMORY, "similarity": None, "reason": "equal sha256"}
    noop = event(102, "NOOP", actor="coder-2", memory_id=MEMORY, version=1, requested_op="ADD", decision=decision)
    same(reply, {"memory": RECORD, "event": noop})


def test_3_get_one(world: World) -> None:
    played(world, 2)
    reply = world("GET", PATH)
    assert reply.status_code == 200
    assert reply.headers["etag"] == '"1"'
    assert reply.headers["raftmem-index"] == "102"
    assert reply.headers["raftmem-consistency"] == "lease"
    same(reply, RECORD)


def test_3_get_one_unchanged_is_304(world: World) -> None:
    played(world, 2)
    reply = world("GET", PATH, headers={"If-None-Match": '"1"'})
    assert (reply.status_code, reply.content) == (304, b"")
    assert reply.headers["etag"] == '"1"'
    assert reply.headers["raftmem-index"] == "102"
    assert reply.headers["raftmem-consistency"] == "lease"


def test_4_patch_with_a_stale_if_match_is_412(world: World) -> None:
    played(world, 3)
    reply = write(world, "PATCH", PATH, {"text": "Prod deploys are open"}, **{"If-Match": '"1"'})
    assert reply.status_code == 412
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["etag"] == '"2"'
    assert reply.headers["raftmem-index"] == "104"
    assert reply.headers["x-request-id"] == "req-104"
    same(
        reply,
        {
            "type": "urn:raftmem:error:precondition-failed",
            "title": "A precondition was false",
            "status": 412,
            "detail": 'memory is at version 2, not 1; read it, decide again, send If-Match: "2"',
            "instance": PATH,
            "code": "precondition-failed",
            "retryable": False,
            "outcome": "not_applied",
            "request_id": "req-104",
            "failed": [{"guard": {"memory": MEMORY, "version": 1}, "current": VERSION_2}],
            "current": VERSION_2,
        },
    )
    refused = world("GET", "/v1/events/104").json()["events"][0]
    assert (refused["op"], refused["outcome"], refused["code"]) == ("UPDATE", "refused", "precondition-failed")


def test_5_update_by_merge(world: World) -> None:
    played(world, 4)
    reply = write(world, "PATCH", PATH, MERGE, **{"Idempotency-Key": "bump-1"})
    assert reply.status_code == 200
    assert reply.headers["etag"] == '"3"'
    assert reply.headers["raftmem-index"] == "105"
    # A new version keeps the vector: its text has not changed.
    same(reply, {"memory": VERSION_3, "event": event(105, "UPDATE", memory_id=MEMORY, version=3)})


def test_6_idempotent_replay(world: World) -> None:
    played(world, 4)
    first = write(world, "PATCH", PATH, MERGE, **{"Idempotency-Key": "bump-1"})
    write(world, "PATCH", PATH, {"importance": 0.5})
    again = write(world, "PATCH", PATH, MERGE, **{"Idempotency-Key": "bump-1", "X-Request-Id": "req-777"})
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["x-request-id"] == "req-777"
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for header in ("etag", "raftmem-index"):
        assert again.headers[header] == first.headers[header]
    assert "idempotent-replayed" not in first.headers
    assert world("GET", PATH).json()["value"]["seen"] == 2
    patient = write(world, "PATCH", PATH + "?timeout_ms=9000", MERGE, **{"Idempotency-Key": "bump-1"})
    assert (patient.headers["idempotent-replayed"], patient.content) == ("true", first.content)
    other = write(world, "PATCH", PATH, {"importance": 0.1}, **{"Idempotency-Key": "bump-1"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_6_replay_of_an_add_is_201_with_its_location(world: World) -> None:
    first = world("POST", "/v1/memories", {"text": "once"}, headers={"Idempotency-Key": "k"})
    again = world("POST", "/v1/memories", {"text": "once"}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.headers["location"]) == (201, first.headers["location"])
    assert again.content == first.content


def test_6_a_refused_request_leaves_its_key_free(world: World) -> None:
    key = {"Idempotency-Key": "k"}
    assert world("PATCH", "/v1/memories/m", {"text": "b"}, headers=key).status_code == 404
    world("POST", "/v1/memories", {"id": "m", "text": "a"})
    assert world("PATCH", "/v1/memories/m", {"text": "b"}, headers=key).status_code == 200


def test_7_batch_atomic_and_guarded(world: World) -> None:
    played(world, 5)
    reply = write(world, "POST", "/v1/events", BATCH)
    assert (reply.status_code, reply.headers["raftmem-index"]) == (200, "106")
    body = reply.json()
    owner = {
        **dict.fromkeys(RECORD),
        **{"id": "freeze-owner", "text": "Mia owns the freeze", "app_id": "shop", "tags": [], "metadata": {}},
        **{"actor": RECORD["actor"], "visibility": "shared", "version": 1, "pinned": False, "status": "active"},
        **{"created_index": 106, "updated_index": 106},
        **{"created_at": "2026-11-20T09:00:05.120Z", "updated_at": "2026-11-20T09:00:05.120Z"},
        "sha256": body["results"][0]["memory"]["sha256"],
    }
    decision = {"by": "llm", "matched_id": MEMORY, "similarity": 0.97, "reason": "same fact in other words"}
    said = [
        (event(106, "ADD", memory_id="freeze-owner", version=1), owner),
        (event(106, "UPDATE", seq=1, memory_id=MEMORY, version=4), VERSION_4),
        (event(106, "NOOP", seq=2, memory_id=MEMORY, version=4, decision=decision), VERSION_4),
    ]
    same(reply, {"index": 106, "results": [{"event": e, "memory": m, "error": None} for e, m in said]})


def test_7_atomic_batch_with_one_refusal_is_its_problem(world: World) -> None:
    body = {"events": [{"op": "ADD", "id": "a", "text": "a"}, {"op": "DELETE", "memory_id": "never"}]}
    reply = world("POST", "/v1/events", body)
    assert (reply.status_code, reply.json()["code"], reply.json()["failed_seq"]) == (404, "not-found", 1)
    index = reply.headers["raftmem-index"]
    events = world("GET", f"/v1/events/{index}").json()["events"]
    assert [(e["outcome"], e["code"]) for e in events] == [("refused", "batch-refused"), ("refused", "not-found")]
    assert world("GET", "/v1/memories/a").status_code == 404


def test_7_batch_that_is_not_atomic_carries_its_errors(world: World) -> None:
    operations = [{"op": "ADD", "id": "a", "text": "a"}, {"op": "DELETE", "memory_id": "never"}]
    reply = world("POST", "/v1/events", {"atomic": False, "events": operations})
    added, missing = reply.json()["results"]
    assert reply.status_code == 200
    assert (added["memory"]["id"], added["error"]) == ("a", None)
    assert (missing["memory"], missing["event"]["outcome"]) == (None, "refused")
    assert (missing["error"]["status"], missing["error"]["code"]) == (404, "not-found")


def test_8_list_one_page_and_the_next_at_its_index(world: World) -> None:
    played(world, 6)
    first = world("GET", "/v1/memories?app_id=shop&limit=1")
    assert (first.status_code, first.headers["raftmem-index"]) == (200, "106")
    assert first.headers["raftmem-consistency"] == "lease"
    cursor = first.json()["next_cursor"]
    same(first, {"memories": [VERSION_4], "next_cursor": cursor})
    write(world, "PATCH", "/v1/memories/freeze-owner", {"text": "Nobody owns the freeze"})
    second = world("GET", f"/v1/memories?app_id=shop&limit=1&cursor={cursor}")
    assert (second.headers["raftmem-index"], second.headers["raftmem-consistency"]) == ("106", "lease")
    assert [memory["text"] for memory in second.json()["memories"]] == ["Mia owns the freeze"]
    assert second.json()["next_cursor"] is None


def test_9_search_by_vector_with_scope_and_filter(world: World) -> None:
    played(world, 6)
    query = {
        "embedding": [0.6, 0.8, 0.0],
        "top_k": 2,
        "threshold": 0.5,
        "app_id": "shop",
        "filter": {"field": "metadata.env", "op": "eq", "value": "prod"},
    }
    reply = world("POST", "/v1/memories/search?consistency=session&min_index=106", query)
    assert (reply.status_code, reply.headers["raftmem-index"]) == (200, "106")
    assert reply.headers["raftmem-consistency"] == "session"
    same(reply, {"results": [{"memory": VERSION_4, "score": 0.96, "score_details": {"cosine": 0.96}}]})
    nothing = world("POST", "/v1/memories/search", {**query, "app_id": "other"})
    same(nothing, {"results": []})


def test_10_the_log(world: World) -> None:
    played(world, 6)
    reply = world("GET", "/v1/events?from=102&to=105&limit=2")
    assert (reply.status_code, reply.headers["raftmem-index"]) == (200, "106")
    assert reply.headers["raftmem-consistency"] == "lease"
    decision = {"by": "duplicate", "matched_id": MEMORY, "similarity": None, "reason": "equal sha256"}
    payload = {key: DUPLICATE[key] for key in ("text", "value", "app_id", "on_duplicate")}
    noop = event(102, "NOOP", actor="coder-2", memory_id=MEMORY, version=1, requested_op="ADD", decision=decision)
    update = event(103, "UPDATE", memory_id=MEMORY, version=2, payload={"confidence": 0.95})
    cursor = reply.json()["next_cursor"]
    same(reply, {"events": [{**noop, "payload": payload}, update], "next_cursor": cursor})
    rest = world("GET", f"/v1/events?from=102&to=105&limit=2&cursor={cursor}").json()
    assert [(e["index"], e["outcome"]) for e in rest["events"]] == [(104, "refused"), (105, "applied")]
    assert rest["events"][1]["payload"] == MERGE
    assert rest["next_cursor"] is None


def test_11_lock_acquired(world: World) -> None:
    played(world, 6)
    reply = write(world, "POST", ACQUIRE, {"owner": "planner-7#a81c", "ttl_ms": 10000})
    assert (reply.status_code, reply.headers["raftmem-index"]) == (200, "107")
    assert "raftmem-consistency" not in reply.headers
    granted = {"name": "deploy/prod", "owner": "planner-7#a81c", "token": 107, "remaining_ms": 10000}
    said = event(107, "LOCK_ACQUIRE", scope=None, lock="deploy/prod", token=107)
    same(reply, {**granted, "event": said})


def test_11_lock_held_is_409(world: World) -> None:
    played(world, 7)
    reply = write(world, "POST", ACQUIRE, {"owner": "coder-2#07d4", "ttl_ms": 10000, "wait_ms": 0}, **CODER)
    assert (reply.status_code, reply.headers["raftmem-index"], reply.headers["retry-after"]) == (409, "108", "9")
    assert reply.headers["content-type"] == "application/problem+json"
    same(
        reply,
        {
            "type": "urn:raftmem:error:lock-held",
            "title": "The lock is held",
            "status": 409,
            "detail": "deploy/prod is held by planner-7#a81c for about 8450 ms more (it may renew); "
            "ask again with wait_ms to queue",
            "instance": ACQUIRE,
            "code": "lock-held",
            "retryable": True,
            "outcome": "not_applied",
            "request_id": "req-108",
            "holders": [{"owner": "planner-7#a81c", "token": 107, "remaining_ms": 8450, "metadata": {}}],
            "remaining_ms": 8450,
            "queue_position": None,
            "queue_length": 0,
            "retry_after_ms": 8450,
        },
    )


def test_12_fenced_write_whose_token_is_old_is_412(world: World) -> None:
    played(world, 10)
    reply = write(world, "PATCH", PATH, FENCED)
    assert (reply.status_code, reply.headers["raftmem-index"]) == (412, "111")
    assert "etag" not in reply.headers
    holder = {"owner": "coder-2#07d4", "token": 110, "remaining_ms": 9100, "metadata": {}}
    current = {"name": "deploy/prod", "permits": 1, "holders": [holder], "queue": []}
    same(
        reply,
        {
            "type": "urn:raftmem:error:precondition-failed",
            "title": "A precondition was false",
            "status": 412,
            "detail": "deploy/prod is now held with token 110, not 107: you lost the lock; stop",
            "instance": PATH,
            "code": "precondition-failed",
            "retryable": False,
            "outcome": "not_applied",
            "request_id": "req-111",
            "failed": [{"guard": {"lock": "deploy/prod", "token": 107}, "current": current}],
            "current": current,
        },
    )


def test_13_task_claim(world: World) -> None:
    played(world, 12)
    reply = write(world, "POST", "/v1/tasks/claim", CLAIM, **{"Raftmem-Actor": "agent/w-3"})
    assert (reply.status_code, reply.headers["raftmem-index"]) == (200, "113")
    task = {
        "id": TASK,
        "queue": "review",
        "state": "claimed",
        "payload": {"pr": 812},
        "priority": 0,
        "attempt": 1,
        "max_attempts": 25,
        "worker": "w-3#9e",
        "token": 113,
        "remaining_ms": 30000,
        "result": None,
        "errors": [],
        "depends_on": [],
        "created_index": 112,
        "updated_index": 113,
    }
    said = event(113, "TASK_CLAIM", actor="w-3", scope=None, task_ids=[TASK], token=113)
    same(reply, {"tasks": [task], "event": said})
    nothing = write(world, "POST", "/v1/tasks/claim", CLAIM)
    assert (nothing.status_code, nothing.headers["raftmem-index"]) == (200, "113")
    same(nothing, {"tasks": [], "event": None})


def test_14_delete_and_again(world: World) -> None:
    played(world, 13)
    reply = write(world, "DELETE", PATH, **{"If-Match": '"4"'})
    assert (reply.status_code, reply.headers["etag"], reply.headers["raftmem-index"]) == (200, '"5"', "114")
    tombstone = {
        **dict.fromkeys(RECORD),
        **{"id": MEMORY, **SHOP, "tags": [], "metadata": {}, "actor": RECORD["actor"], "visibility": "shared"},
        **{"version": 5, "created_index": 101, "updated_index": 114, "pinned": False, "status": "deleted"},
        **{"created_at": RECORD["created_at"], "updated_at": "2026-11-20T09:00:13.120Z"},
    }
    same(reply, {"memory": tombstone, "event": event(114, "DELETE", memory_id=MEMORY, version=5)})
    again = write(world, "DELETE", PATH)
    assert again.status_code == 200
    said = event(115, "NOOP", memory_id=MEMORY, version=5, requested_op="DELETE")
    same(again, {"memory": tombstone, "event": said})
    gone = world("GET", PATH)
    assert (gone.status_code, gone.json()["code"]) == (404, "not-found")
    assert (gone.json()["memory_status"], gone.json()["updated_index"]) == ("deleted", 114)
    assert write(world, "DELETE", "/v1/memories/never").status_code == 404
    back = write(world, "POST", "/v1/memories", {"id": MEMORY, "text": "again"})
    assert (back.status_code, back.headers["etag"]) == (201, '"6"')


def test_15_unknown_consistency(world: World) -> None:
    reply = world("GET", f"{PATH}?consistency=strong", headers={"X-Request-Id": "0f3c2a"})
    assert reply.status_code == 400
    assert "raftmem-index" not in reply.headers
    levels = ["lease", "linearizable", "session", "bounded", "eventual"]
    same(
        reply,
        {
            "type": "urn:raftmem:error:unknown-consistency",
            "title": "No such read level",
            "status": 400,
            "detail": "consistency=strong is not one of lease, linearizable, session, bounded, eventual",
            "instance": PATH,
            "code": "unknown-consistency",
            "retryable": False,
            "outcome": "not_applied",
            "request_id": "0f3c2a",
            "parameter": "consistency",
            "allowed": levels,
        },
    )


def test_16_time_travel_below_what_is_kept(world: World) -> None:
    played(world, 6)
    reply = world("GET", f"{PATH}?at=40", headers={"X-Request-Id": "1b77e0"})
    assert (reply.status_code, reply.headers["raftmem-index"]) == (410, "106")
    same(
        reply,
        {
            "type": "urn:raftmem:error:index-compacted",
            "title": "That index is no longer kept",
            "status": 410,
            "detail": "index 40 is below the oldest kept index 90",
            "instance": PATH,
            "code": "index-compacted",
            "retryable": False,
            "outcome": "not_applied",
            "request_id": "1b77e0",
            "oldest_index": 90,
        },
    )


def test_16_time_travel_shows_the_record_as_it_was(world: World) -> None:
    played(world, 6)
    reply = world("GET", f"{PATH}?at=105")
    assert (reply.headers["raftmem-index"], reply.headers["etag"]) == ("105", '"3"')
    assert reply.headers["raftmem-consistency"] == "at"
    same(reply, VERSION_3)
    future = world("GET", f"{PATH}?at=999")
    assert (future.status_code, future.json()["code"]) == (400, "future-index")
    assert future.json()["commit_index"] == 106
