"""Everything that must be refused before it is proposed: status, code and place, and no entry in the log."""

import json

import pytest
from api_world import World

from raftmem import limits

DEEP = 1000


def nested(depth: int) -> bytes:
    """A body whose value makes `depth` levels in all."""
    inner = depth - 1
    return b'{"value":' + b"[" * inner + b"]" * inner + b"}"


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def problem(world: World, method: str, target: str, **request: object) -> tuple[int, str, object]:
    before = world.service.store.head().index
    reply = world(method, target, **request)  # type: ignore[arg-type]  # words of the test
    assert reply.headers["content-type"] == "application/problem+json"
    assert world.service.store.head().index == before
    found = reply.json()
    assert (found["status"], found["outcome"]) == (reply.status_code, "not_applied")
    assert found["request_id"] == reply.headers["x-request-id"]
    assert "raftmem-index" not in reply.headers
    return reply.status_code, found["code"], found.get("parameter")


INVALID = (400, "invalid-request")

BODIES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "body"),
    ("not JSON", b"hello", "body"),
    ("two values", b'{"text":"a"} {}', "body"),
    ("byte order mark", b'\xef\xbb\xbf{"text":"a"}', "body"),
    ("bad UTF-8", b'{"text":"\xff"}', "body"),
    ("bad UTF-8 in a key", b'{"\xff":"a"}', "body"),
    ("encoded surrogate", b'{"text":"\xed\xa0\x80"}', "body"),
    ("lone high surrogate", rb'{"text":"\ud800"}', "body"),
    ("lone low surrogate", rb'{"text":"\udc00 and more text"}', "body"),
    ("NaN", b'{"text":"a","value":NaN}', "body"),
    ("Infinity", b'{"text":"a","value":-Infinity}', "body"),
    ("float overflow", b'{"text":"a","value":1e400}', "body"),
    ("array", b"[]", "body"),
    ("null", b"null", "body"),
    ("depth 65", nested(65), "body"),
    ("depth 1000", nested(DEEP), "body"),
    ("depth 100000, open", b"[" * 100_000, "body"),
    ("objects of depth 1000", b'{"value":' + b'{"a":' * DEEP + b"1" + b"}" * (DEEP + 1), "body"),
    ("integer 2^53", b'{"text":"a","value":9007199254740992}', "value"),
    ("integer -2^53", b'{"text":"a","value":{"a":[0,-9007199254740992]}}', "value.a[1]"),
    ("integer of 3000 digits", b'{"text":"a","value":1' + b"0" * 3000 + b"}", "value"),
    ("integer of 9000 digits", b'{"text":"a","value":1' + b"0" * 9000 + b"}", "body"),
    ("integer 2^64", b'{"text":"a","metadata":{"n":18446744073709551616}}', "metadata.n"),
    ("key twice", b'{"text":"a","text":"b"}', "text"),
    ("key twice, escaped", rb'{"text":"a","te\u0078t":"b"}', "text"),
    ("key twice, deep", b'{"text":"a","value":{"b":[{"c":1,"c":2}]}}', "c"),
    ("key twice behind escaped colons", rb'{"text":"a\u003a\u003a","value":{"c":1,"c":2}}', "c"),
    ("unknown field", b'{"text":"a","txet":"b"}', "txet"),
    ("unknown field in provenance", b'{"text":"a","provenance":{"x":1}}', "provenance.x"),
    ("nothing said", b"{}", "text"),
    ("text and value null", b'{"text":null,"value":null}', "text"),
    ("text is a number", b'{"text":1}', "text"),
    ("id with a slash", b'{"text":"a","id":"a/b"}', "id"),
    ("id empty", b'{"text":"a","id":""}', "id"),
    ("id with a newline at its end", rb'{"text":"a","id":"a\n"}', "id"),
    ("id of 256", b'{"text":"a","id":"' + b"a" * 256 + b'"}', "id"),
    ("scope id empty", b'{"text":"a","app_id":""}', "app_id"),
    ("scope id of 256 bytes", b'{"text":"a","app_id":"' + "é".encode() * 128 + b'"}', "app_id"),
    ("65 tags", json.dumps({"text": "a", "tags": [str(n) for n in range(65)]}).encode(), "tags"),
    ("tag empty", b'{"text":"a","tags":["a",""]}', "tags[1]"),
    ("tags is a string", b'{"text":"a","tags":"a"}', "tags"),
    ("metadata is an array", b'{"text":"a","metadata":[]}', "metadata"),
    ("memory_type unknown", b'{"text":"a","memory_type":"dream"}', "memory_type"),
    ("confidence above 1", b'{"text":"a","confidence":1.01}', "confidence"),
    ("importance below 0", b'{"text":"a","importance":-0.01}', "importance"),
    ("ttl of 0", b'{"text":"a","ttl_ms":0}', "ttl_ms"),
    ("ttl past its limit", b'{"text":"a","ttl_ms":%d}' % (limits.TTL_MS_MAX + 1), "ttl_ms"),
    ("valid_at without an offset", b'{"text":"a","valid_at":"2026-01-01T00:00:00"}', "valid_at"),
    ("valid_at in no year", b'{"text":"a","valid_at":"0001-01-01T00:00:00+23:59"}', "valid_at"),
    ("embedding empty", b'{"text":"a","embedding":[]}', "embedding"),
    ("embedding zero", b'{"text":"a","embedding":[0,0.0,-0.0]}', "embedding"),
    ("embedding zero as float32", b'{"text":"a","embedding":[1e-60]}', "embedding"),
    ("embedding past float32", b'{"text":"a","embedding":[1e39]}', "embedding"),
    ("embedding of a string", b'{"text":"a","embedding":["1"]}', "embedding[0]"),
    ("embedding of 4097", b'{"text":"a","embedding":[' + b"1," * 4096 + b"1]}", "embedding"),
    ("embedding_model alone", b'{"text":"a","embedding_model":"m"}', "embedding_model"),
    ("on_duplicate unknown", b'{"text":"a","on_duplicate":"merge"}', "on_duplicate"),
    ("guard over nothing", b'{"text":"a","guards":[{}]}', "guards[0]"),
    ("guard over two things", b'{"text":"a","guards":[{"lock":"x","token":1,"gate":"g","open":true}]}', "guards[0]"),
    ("guard over a lock, no token", b'{"text":"a","guards":[{"lock":"x","owner":"o"}]}', "guards[0]"),
    ("guard over a lock, open", b'{"text":"a","guards":[{"lock":"x","token":1,"open":true}]}', "guards[0]"),
    ("guard over a gate, no open", b'{"text":"a","guards":[{"gate":"x"}]}', "guards[0]"),
    ("guard over a gate with a token", b'{"text":"a","guards":[{"gate":"x","open":true,"token":1}]}', "guards[0]"),
    ("guard over a memory with a token", b'{"text":"a","guards":[{"memory":"m","version":1,"token":1}]}', "guards[0]"),
    ("guard with token 0", b'{"text":"a","guards":[{"lock":"x","token":0}]}', "guards[0].token"),
    ("guard with an empty name", b'{"text":"a","guards":[{"lock":"","token":1}]}', "guards[0].lock"),
    ("guard without a condition", b'{"text":"a","guards":[{"memory":"m"}]}', "guards[0]"),
    ("guard with two", b'{"text":"a","guards":[{"memory":"m","version":1,"exists":true}]}', "guards[0]"),
    ("actor of no type", b'{"text":"a","actor":{"type":"robot","id":"x"}}', "actor.type"),
    ("read_index negative", b'{"text":"a","read_index":-1}', "read_index"),
]


@pytest.mark.parametrize(("body", "place"), [pytest.param(b, p, id=name) for name, b, p in BODIES])
def test_bad_body_of_an_add_is_400_with_its_place(world: World, body: bytes, place: str) -> None:
    assert problem(world, "POST", "/v1/memories", content=body) == (*INVALID, place)


@pytest.mark.parametrize("depth", [2, 64])
def test_body_within_the_depth_is_taken(depth: int) -> None:
    assert World()("POST", "/v1/memories", content=nested(depth)).status_code == 201


def test_largest_integers_and_repeated_values_are_taken() -> None:
    value = {"a": 9007199254740991, "b": [-9007199254740991, ":", '\\":', "\u003a"], "c": {"a": 1}}
    reply = World()("POST", "/v1/memories", {"value": value})
    assert (reply.status_code, reply.json()["memory"]["value"]) == (201, value)


PATCHES: list[tuple[str, object, str]] = [
    ("nothing", {}, "body"),
    ("only an actor", {"actor": {"type": "user", "id": "u"}}, "body"),
    ("an empty merge", {"merge": {}}, "body"),
    ("id", {"id": "b"}, "id"),
    ("scope", {"app_id": "b"}, "app_id"),
    ("merge of a field", {"merge": {"text": {"op": "set", "by": "a"}}}, "merge.text"),
    ("merge of an empty key", {"merge": {"value..a": {"op": "set", "by": "a"}}}, "merge.value..a"),
    ("merge of a long path", {"merge": {"value." + "a" * 250: {"op": "set", "by": 1}}}, "merge.value." + "a" * 58),
    ("inc by a float", {"merge": {"value.n": {"op": "inc", "by": 1.5}}}, "merge.value.n.by"),
    ("inc by true", {"merge": {"value.n": {"op": "inc", "by": True}}}, "merge.value.n.by"),
    ("max by a string", {"merge": {"value.n": {"op": "max", "by": "9"}}}, "merge.value.n.by"),
    ("union by a string", {"merge": {"tags": {"op": "union", "by": "a"}}}, "merge.tags.by"),
    ("merge without by", {"merge": {"tags": {"op": "union"}}}, "merge[...].by"),
]


@pytest.mark.parametrize(("body", "place"), [pytest.param(b, p, id=name) for name, b, p in PATCHES])
def test_bad_patch_is_400_with_its_place(world: World, body: object, place: str) -> None:
    assert problem(world, "PATCH", "/v1/memories/m", body=body) == (*INVALID, place)


BATCHES: list[tuple[str, object, str]] = [
    ("no events", {"events": []}, "events"),
    ("events missing", {}, "events"),
    ("1001 events", {"events": [{"op": "DELETE", "memory_id": "m"}] * 1001}, "events"),
    ("op unknown", {"events": [{"op": "PURGE"}]}, "events[0].op"),
    ("op missing", {"events": [{"text": "a"}]}, "events[0].op"),
    ("lock op", {"events": [{"op": "LOCK_ACQUIRE", "lock": "x"}]}, "events[0].op"),
    ("memory_id missing", {"events": [{"op": "DELETE"}]}, "events[0].memory_id"),
    ("memory_id bad", {"events": [{"op": "DELETE", "memory_id": "a b"}]}, "events[0].memory_id"),
    ("second says nothing", {"events": [{"op": "ADD", "text": "a"}, {"op": "ADD"}]}, "events[1].text"),
    ("update of nothing", {"events": [{"op": "UPDATE", "memory_id": "m"}]}, "events[0]"),
    ("noop without decision", {"events": [{"op": "NOOP"}]}, "events[0].decision"),
    ("noop without by", {"events": [{"op": "NOOP", "decision": {}}]}, "events[0].decision.by"),
    ("guards inside", {"events": [{"op": "ADD", "text": "a", "guards": []}]}, "events[0].guards"),
]


@pytest.mark.parametrize(("body", "place"), [pytest.param(b, p, id=name) for name, b, p in BATCHES])
def test_bad_batch_is_400_with_its_place(world: World, body: object, place: str) -> None:
    assert problem(world, "POST", "/v1/events", body=body) == (*INVALID, place)


ACQUIRE: dict[str, object] = {"owner": "o", "ttl_ms": 1000}
CLAIM: dict[str, object] = {"queues": ["q"], "worker": "w", "ttl_ms": 1000}
GATE: dict[str, object] = {"required": 1}
COORDINATION: list[tuple[str, str, str, object, str]] = [
    ("no owner", "POST", "/v1/locks/l/acquire", {"ttl_ms": 1000}, "owner"),
    ("owner empty", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "owner": ""}, "owner"),
    ("owner of 256 bytes", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "owner": "é" * 128}, "owner"),
    ("owner with a NUL", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "owner": "a\0"}, "owner"),
    ("ttl too short", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "ttl_ms": limits.LOCK_TTL_MS_MIN - 1}, "ttl_ms"),
    ("ttl too long", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "ttl_ms": limits.LOCK_TTL_MS_MAX + 1}, "ttl_ms"),
    ("ttl of a float", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "ttl_ms": 1000.5}, "ttl_ms"),
    ("wait too long", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "wait_ms": limits.WAIT_MS_MAX + 1}, "wait_ms"),
    ("no permits", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "permits": 0}, "permits"),
    ("too many permits", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "permits": limits.PERMITS_MAX + 1}, "permits"),
    ("metadata is text", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "metadata": "m"}, "metadata"),
    ("unknown field", "POST", "/v1/locks/l/acquire", {**ACQUIRE, "force": True}, "force"),
    ("release without a token", "POST", "/v1/locks/l/release", {"owner": "o"}, "token"),
    ("token 0", "POST", "/v1/locks/l/renew", {"owner": "o", "token": 0}, "token"),
    ("nothing to renew", "POST", "/v1/locks/renew", {"owner": "o", "locks": []}, "locks"),
    ("1001 to renew", "POST", "/v1/locks/renew", {"owner": "o", "locks": [{"name": "l", "token": 1}] * 1001}, "locks"),
    ("renewal without a token", "POST", "/v1/locks/renew", {"owner": "o", "locks": [{"name": "l"}]}, "locks[0].token"),
    (
        "renewal of a NUL",
        "POST",
        "/v1/locks/renew",
        {"owner": "o", "locks": [{"name": "\0", "token": 1}]},
        "locks[0].name",
    ),
    ("no queue", "POST", "/v1/tasks", {}, "queue"),
    ("queue with a NUL", "POST", "/v1/tasks", {"queue": "a\0b"}, "queue"),
    ("id with a slash", "POST", "/v1/tasks", {"queue": "q", "id": "a/b"}, "id"),
    ("priority too high", "POST", "/v1/tasks", {"queue": "q", "priority": limits.TASK_PRIORITY_MAX + 1}, "priority"),
    ("no attempts", "POST", "/v1/tasks", {"queue": "q", "max_attempts": 0}, "max_attempts"),
    ("delay past its limit", "POST", "/v1/tasks", {"queue": "q", "delay_ms": limits.TASK_DELAY_MS_MAX + 1}, "delay_ms"),
    ("backoff that shrinks", "POST", "/v1/tasks", {"queue": "q", "backoff": {"factor": 0.5}}, "backoff.factor"),
    ("bad dependency", "POST", "/v1/tasks", {"queue": "q", "depends_on": ["t", "a b"]}, "depends_on[1]"),
    ("65 dependencies", "POST", "/v1/tasks", {"queue": "q", "depends_on": ["t"] * 65}, "depends_on"),
    ("no queues", "POST", "/v1/tasks/claim", {**CLAIM, "queues": []}, "queues"),
    ("queue empty", "POST", "/v1/tasks/claim", {**CLAIM, "queues": ["q", ""]}, "queues[1]"),
    ("claim of none", "POST", "/v1/tasks/claim", {**CLAIM, "max": 0}, "max"),
    ("claim of 101", "POST", "/v1/tasks/claim", {**CLAIM, "max": limits.TASK_CLAIM_MAX + 1}, "max"),
    ("claim that waits too long", "POST", "/v1/tasks/claim", {**CLAIM, "wait_ms": 60_001}, "wait_ms"),
    ("completion without a token", "POST", "/v1/tasks/t/complete", {"result": 1}, "token"),
    ("failure that is told wrongly", "POST", "/v1/tasks/t/fail", {"token": 1, "retryable": "no"}, "retryable"),
    ("cancel with a token", "POST", "/v1/tasks/t/cancel", {"token": 1}, "token"),
    ("required missing", "PUT", "/v1/gates/g", {}, "required"),
    ("more required than may approve", "PUT", "/v1/gates/g", {"required": 2, "approvers": ["a", "a"]}, "required"),
    ("approver with a NUL", "PUT", "/v1/gates/g", {"required": 0, "approvers": ["a", "\0"]}, "approvers[1]"),
    ("pin without a version", "PUT", "/v1/gates/g", {**GATE, "pins": [{"memory": "m"}]}, "pins[0].version"),
    ("memory pinned twice", "PUT", "/v1/gates/g", {**GATE, "pins": [{"memory": "m", "version": 1}] * 2}, "pins"),
    ("bad pin", "PUT", "/v1/gates/g", {**GATE, "pins": [{"memory": "a b", "version": 1}]}, "pins[0].memory"),
    ("comment is a number", "POST", "/v1/gates/g/approve", {"comment": 1}, "comment"),
    ("unknown field of an approval", "POST", "/v1/gates/g/approve", {"role": "qa"}, "role"),
]


@pytest.mark.parametrize(
    ("method", "target", "body", "place"), [pytest.param(*case, id=name) for name, *case in COORDINATION]
)
def test_bad_body_of_coordination_is_400_with_its_place(
    world: World, method: str, target: str, body: object, place: str
) -> None:
    assert problem(world, method, target, body=body) == (*INVALID, place)


TOO_LARGE: list[tuple[str, str, object]] = [
    ("metadata", "/v1/locks/l/acquire", {**ACQUIRE, "metadata": {"a": "x" * limits.LOCK_METADATA_BYTES_MAX}}),
    ("payload", "/v1/tasks", {"queue": "q", "payload": "x" * limits.VALUE_BYTES_MAX}),
    ("result", "/v1/tasks/t/complete", {"token": 1, "result": "x" * limits.VALUE_BYTES_MAX}),
    ("error", "/v1/tasks/t/fail", {"token": 1, "error": "x" * limits.TASK_ERROR_BYTES_MAX}),
    ("comment", "/v1/gates/g/approve", {"comment": "x" * limits.GATE_COMMENT_BYTES_MAX}),
]


@pytest.mark.parametrize(("target", "body"), [pytest.param(*case, id=name) for name, *case in TOO_LARGE])
def test_what_coordination_says_past_its_size_is_413(world: World, target: str, body: object) -> None:
    assert problem(world, "POST", target, body=body) == (413, "too-large", None)


SEARCHES: list[tuple[str, dict[str, object], str]] = [
    ("no embedding", {}, "embedding"),
    ("zero", {"embedding": [0, 0]}, "embedding"),
    ("top_k of 0", {"embedding": [1], "top_k": 0}, "top_k"),
    ("top_k past its limit", {"embedding": [1], "top_k": 1001}, "top_k"),
    ("threshold above 1", {"embedding": [1], "threshold": 1.1}, "threshold"),
    ("text query, not yet", {"embedding": [1], "query": "deploys"}, "query"),
    ("mode, not yet", {"embedding": [1], "mode": "hybrid"}, "mode"),
    ("include unknown", {"embedding": [1], "include": ["text"]}, "include[0]"),
    ("filter unknown op", {"embedding": [1], "filter": {"field": "id", "op": "like", "value": 1}}, "filter.op"),
]


@pytest.mark.parametrize(("body", "place"), [pytest.param(b, p, id=name) for name, b, p in SEARCHES])
def test_bad_search_is_400_with_its_place(world: World, body: object, place: str) -> None:
    assert problem(world, "POST", "/v1/memories/search", body=body) == (*INVALID, place)


QUERIES: list[tuple[str, str, str]] = [
    ("GET", "/v1/memories/m?foo=1", "foo"),
    ("GET", "/v1/memories/m?at=1&consistency=lease", "consistency"),
    ("GET", "/v1/memories/m?at=1&min_index=1", "min_index"),
    ("GET", "/v1/memories/m?at=0", "at"),
    ("GET", "/v1/memories/m?at=-1", "at"),
    ("GET", "/v1/memories/m?at=01", "at"),
    ("GET", "/v1/memories/m?at=1&at=1", "at"),
    ("GET", "/v1/memories/m?at=9007199254740992", "at"),
    ("GET", "/v1/memories/m?consistency=session", "min_index"),
    ("GET", "/v1/memories/m?consistency=bounded", "max_staleness_ms"),
    ("GET", "/v1/memories/m?max_staleness_ms=5", "max_staleness_ms"),
    ("GET", "/v1/memories/m?consistency=eventual&max_staleness_ms=5", "max_staleness_ms"),
    ("GET", "/v1/memories/m?timeout_ms=0", "timeout_ms"),
    ("GET", "/v1/memories/m?timeout_ms=60001", "timeout_ms"),
    ("GET", "/v1/memories/m?include=text", "include"),
    ("GET", "/v1/memories/m?include=%ff", "include"),
    ("GET", "/v1/memories/m?include=%zz", "include"),
    ("GET", "/v1/memories?limit=0", "limit"),
    ("GET", "/v1/memories?limit=1001", "limit"),
    ("GET", "/v1/memories?limit=ten", "limit"),
    ("GET", "/v1/memories?limit=1&limit=1", "limit"),
    ("GET", "/v1/memories?order=up", "order"),
    ("GET", "/v1/memories?status=conflicted", "status"),
    ("GET", "/v1/memories?memory_type=dream", "memory_type"),
    ("GET", "/v1/memories?app_id=", "app_id"),
    ("GET", "/v1/memories?app_id=a&app_id=b", "app_id"),
    ("GET", "/v1/memories?id=a%2Fb", "id"),
    ("GET", "/v1/memories?tag=", "tag"),
    ("GET", "/v1/memories?filter=%7B", "filter"),
    (
        "GET",
        "/v1/memories?filter=%7B%22field%22%3A%22nope%22%2C%22op%22%3A%22eq%22%2C%22value%22%3A1%7D",
        "filter.field",
    ),
    ("GET", "/v1/memories?cursor=abc", "cursor"),
    ("GET", "/v1/memories?cursor=%C3%A9", "cursor"),
    ("GET", "/v1/memories?wait_ms=1", "wait_ms"),
    ("GET", "/v1/memories/a%20b", "id"),
    ("GET", "/v1/memories/a%2Fb", "id"),
    ("GET", "/v1/memories/a%00", "path"),
    ("GET", "/v1/memories/%ff", "path"),
    ("GET", "/v1/memories/%zz", "path"),
    ("GET", "/v1/memories/m/history?order=desc", "order"),
    ("GET", "/v1/events?at=5", "at"),
    ("GET", "/v1/events?from=0", "from"),
    ("GET", "/v1/events?from=9&to=8", "to"),
    ("GET", "/v1/events?op=LOCK_STEAL", "op"),
    ("GET", "/v1/events?lock=", "lock"),
    ("GET", "/v1/locks?at=5", "at"),
    ("GET", "/v1/locks?queue=q", "queue"),
    ("GET", "/v1/locks?owner=", "owner"),
    ("GET", "/v1/locks?prefix=a%00", "prefix"),
    ("GET", "/v1/locks?cursor=abc", "cursor"),
    ("GET", "/v1/locks?limit=1001", "limit"),
    ("GET", "/v1/locks/x?at=5", "at"),
    ("GET", "/v1/locks/%ff", "path"),
    ("GET", "/v1/locks/a/%zz", "path"),
    ("GET", "/v1/locks/a%00b", "path"),
    ("GET", "/v1/locks/" + "a" * 256, "name"),
    ("DELETE", "/v1/locks/x?wait_ms=1", "wait_ms"),
    ("GET", "/v1/tasks?state=running", "state"),
    ("GET", "/v1/tasks?owner=x", "owner"),
    ("GET", "/v1/tasks/a%2Fb", "id"),
    ("GET", "/v1/gates/g?wait_ms=60001", "wait_ms"),
    ("GET", "/v1/gates?worker=x", "worker"),
    ("POST", "/v1/owners/" + "a" * 256 + "/release", "owner"),
    ("POST", "/v1/tasks/a%20b/cancel", "id"),
    ("GET", "/v1/events?outcome=maybe", "outcome"),
    ("GET", "/v1/events?include=everything", "include"),
    ("GET", "/v1/events?wait_ms=60001", "wait_ms"),
    ("GET", "/v1/events?wait_ms=1&order=desc", "wait_ms"),
    ("GET", "/v1/events/first", "index"),
    ("GET", "/v1/events/0", "index"),
    ("GET", "/v1/events/٣", "index"),
    ("DELETE", "/v1/memories/m?redact=true", "redact"),
    ("DELETE", "/v1/memories/m?consistency=lease", "consistency"),
    ("GET", "/v1/cluster?consistency=lease", "consistency"),
    ("GET", "/livez?a=1", "a"),
    ("GET", "/metrics?a=1", "a"),
]


@pytest.mark.parametrize(("method", "target", "place"), QUERIES)
def test_bad_path_or_query_is_400_with_its_place(world: World, method: str, target: str, place: str) -> None:
    assert problem(world, method, target) == (*INVALID, place)


HEADERS: list[tuple[str, str, dict[str, str], str]] = [
    ("PATCH", "/v1/memories/m", {"If-Match": "1"}, "If-Match"),
    ("PATCH", "/v1/memories/m", {"If-Match": '"1" "2"'}, "If-Match"),
    ("PATCH", "/v1/memories/m", {"If-None-Match": '"1"'}, "If-None-Match"),
    ("POST", "/v1/memories", {"If-None-Match": "*"}, "If-None-Match"),
    ("PATCH", "/v1/memories/m", {"Raftmem-Actor": "planner"}, "Raftmem-Actor"),
    ("PATCH", "/v1/memories/m", {"Raftmem-Actor": "robot/x"}, "Raftmem-Actor"),
    ("PATCH", "/v1/memories/m", {"Raftmem-Actor": "agent/"}, "Raftmem-Actor"),
    ("PATCH", "/v1/memories/m", {"Idempotency-Key": ""}, "Idempotency-Key"),
    ("PATCH", "/v1/memories/m", {"Idempotency-Key": "k" * 256}, "Idempotency-Key"),
    ("PATCH", "/v1/memories/m", {"X-Request-Id": "two words"}, "X-Request-Id"),
    ("PATCH", "/v1/memories/m", {"X-Request-Id": "x" * 256}, "X-Request-Id"),
]


@pytest.mark.parametrize(("method", "target", "headers", "place"), HEADERS)
def test_bad_header_is_400_with_its_name(
    world: World, method: str, target: str, headers: dict[str, str], place: str
) -> None:
    assert problem(world, method, target, body={"text": "a"}, headers=headers) == (*INVALID, place)


def test_actor_in_body_and_header_that_differ_are_400(world: World) -> None:
    body = {"text": "a", "actor": {"type": "agent", "id": "a"}}
    found = problem(world, "POST", "/v1/memories", body=body, headers={"Raftmem-Actor": "agent/b"})
    assert found == (*INVALID, "actor")


@pytest.mark.parametrize("target", ["/v1/memories/m", "/v1/locks/l"])
def test_delete_with_a_body_is_400(world: World, target: str) -> None:
    assert problem(world, "DELETE", target, body={}) == (*INVALID, "body")


def test_body_that_may_be_left_out_is_read_as_json_if_it_is_there(world: World) -> None:
    for media_type in ("text/plain", ""):
        headers = {"content-type": media_type}
        found = problem(world, "POST", "/v1/gates/g/approve", content=b"{}", headers=headers)
        assert found == (415, "unsupported-media-type", None)
    found = problem(world, "POST", "/v1/gates/g/approve", content=b"null", headers={"content-type": "application/json"})
    assert found == (*INVALID, "body")


@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded"])
def test_body_that_is_left_out_has_no_type_to_be_wrong(media_type: str) -> None:
    world = World()
    world("PUT", "/v1/gates/g", {"required": 1})
    reply = world("POST", "/v1/gates/g/approve", content=b"", headers={"content-type": media_type})
    assert (reply.status_code, reply.json()["gate"]["open"]) == (200, True)


def test_condition_over_a_memory_stands_at_no_lock(world: World) -> None:
    found = problem(world, "POST", "/v1/locks/l/acquire", body=ACQUIRE, headers={"If-Match": '"1"'})
    assert found == (*INVALID, "If-Match")
    detail = world("DELETE", "/v1/locks/l", headers={"If-None-Match": "*"}).json()["detail"]
    assert detail == "If-None-Match is about one memory, and this request names none; send guards"


SIZES: list[tuple[str, bytes]] = [
    ("body", b'{"text":"' + b"a" * limits.BODY_BYTES_MAX + b'"}'),
    ("text", b'{"text":"' + b"a" * (limits.TEXT_BYTES_MAX + 1) + b'"}'),
    ("text in bytes", b'{"text":"' + "é".encode() * (limits.TEXT_BYTES_MAX // 2 + 1) + b'"}'),
    ("value", b'{"value":"' + b"a" * limits.VALUE_BYTES_MAX + b'"}'),
    ("metadata", b'{"text":"a","metadata":{"a":"' + b"a" * limits.METADATA_BYTES_MAX + b'"}}'),
]


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in SIZES])
def test_what_is_past_its_size_is_413(world: World, body: bytes) -> None:
    assert problem(world, "POST", "/v1/memories", content=body) == (413, "too-large", None)


def test_query_past_its_size_is_413(world: World) -> None:
    target = "/v1/memories?tag=" + "a" * limits.QUERY_BYTES_MAX
    assert problem(world, "GET", target) == (413, "too-large", None)


def test_text_of_exactly_its_limit_is_taken() -> None:
    body = b'{"text":"' + b"a" * limits.TEXT_BYTES_MAX + b'"}'
    assert World()("POST", "/v1/memories", content=body).status_code == 201


@pytest.mark.parametrize("media_type", ["text/plain", "", "application/json; charset=latin-1", "application/jsonx"])
def test_body_that_is_not_json_is_415(world: World, media_type: str) -> None:
    found = problem(world, "POST", "/v1/memories", content=b"{}", headers={"content-type": media_type})
    assert found == (415, "unsupported-media-type", None)


def test_compressed_body_is_415(world: World) -> None:
    found = problem(world, "POST", "/v1/memories", content=b"{}", headers={"content-encoding": "gzip"})
    assert found == (415, "unsupported-media-type", None)


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=UTF-8"])
def test_json_under_any_of_its_names_is_taken(media_type: str) -> None:
    reply = World()("POST", "/v1/memories", content=b'{"text":"a"}', headers={"content-type": media_type})
    assert reply.status_code == 201


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("POST", "/v1/memories/m", "DELETE, GET, HEAD, PATCH, PUT"),
        ("POST", "/v1/locks/l", "DELETE, GET, HEAD"),
        ("PUT", "/v1/locks/l/acquire", "DELETE, GET, HEAD, POST"),
        ("POST", "/v1/locks/l/steal", "DELETE, GET, HEAD"),
        ("POST", "/v1/gates/g", "GET, HEAD, PUT"),
        ("GET", "/v1/txn", "POST"),
        ("GET", "/v1/tasks/t/complete", "POST"),
        ("DELETE", "/v1/events", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/memories", "GET, HEAD, POST"),
        ("POST", "/v1/cluster", "GET, HEAD"),
    ],
)
def test_wrong_method_is_405_with_the_allowed_ones(world: World, method: str, target: str, allowed: str) -> None:
    reply = world(method, target)
    assert (reply.status_code, reply.headers["allow"]) == (405, allowed)
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "target",
    [
        *("/", "/v1", "/v1/memories/", "/v1/memories/m/", "/v1/memories/m/other", "/v1//memories"),
        *("/v1%2Fmemories", "/v1/conflicts", "/v1/memories/m/history/x", "/v1/tasks/", "/v1/tasks/a/b"),
        *("/v1/locks/", "/v1/locks//x", "/v1/locks/x/", "/v1/gates/", "/v1/owners/x", "/v1/txn/x"),
    ],
)
def test_route_that_is_not_there_is_404(world: World, target: str) -> None:
    assert problem(world, "GET", target) == (404, "not-found", None)
