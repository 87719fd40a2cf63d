"""How reads choose their level, page, wait, and what they show."""

import asyncio
import struct

import pytest
from api_world import World, at_once, run

from raftmem import errors
from raftmem.api.http import embedding, times
from raftmem.api.http.settings import ApiSettings, Override
from raftmem.errors import BadRequest
from raftmem.limits import LIST_SCAN_ROWS_MAX
from raftmem.service.expiry import PERIOD_SECONDS
from raftmem.service.interface import Level, ReadOptions


def last_read(world: World) -> ReadOptions:
    return world.service.reads[-1]


# --- levels ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", ReadOptions(Level.LEASE)),
        ("?consistency=linearizable&timeout_ms=7", ReadOptions(Level.LINEARIZABLE, timeout_ms=7)),
        ("?consistency=session&min_index=100", ReadOptions(Level.SESSION, 100)),
        ("?consistency=bounded&max_staleness_ms=0", ReadOptions(Level.BOUNDED, None, 0)),
        ("?consistency=eventual", ReadOptions(Level.EVENTUAL)),
        ("?min_index=100", ReadOptions(Level.LEASE, 100)),
        ("?at=50", ReadOptions(Level.LEASE, at=50)),
    ],
)
def test_read_passes_the_barrier_that_was_asked_for(query: str, options: ReadOptions) -> None:
    world = World()
    assert world("GET", "/v1/state/digest" + query).status_code == 200
    assert last_read(world) == options


OVERRIDES = ApiSettings(
    overrides=(
        Override(level="linearizable", tags=("critical", "lock")),
        Override(level="eventual", tags=("metric",)),
        Override(level="linearizable", app_id="bank", user_id="u"),
    )
)


@pytest.mark.parametrize(
    ("query", "level"),
    [
        ("", "lease"),
        ("?tag=metric", "eventual"),
        ("?tag=metric&tag=lock", "linearizable"),
        ("?tag=lock&consistency=eventual", "eventual"),
        ("?app_id=bank", "lease"),
        ("?app_id=bank&user_id=u", "linearizable"),
    ],
)
def test_settings_choose_the_level_by_tag_and_scope(query: str, level: str) -> None:
    reply = World(settings=OVERRIDES)("GET", "/v1/memories" + query)
    assert reply.headers["raftmem-consistency"] == level


def test_settings_choose_the_level_of_one_memory_by_its_own_tags() -> None:
    world = World(settings=OVERRIDES)
    for tag in ("critical", "metric", "other"):
        world("POST", "/v1/memories", {"id": tag, "text": "a", "tags": [tag]})
    shown = {tag: world("GET", f"/v1/memories/{tag}").headers["raftmem-consistency"] for tag in ("critical", "metric")}
    assert shown == {"critical": "linearizable", "metric": "eventual"}
    assert world("GET", "/v1/memories/other").headers["raftmem-consistency"] == "lease"
    assert world("GET", "/v1/memories/metric?consistency=lease").headers["raftmem-consistency"] == "lease"


def test_memory_that_became_critical_since_the_first_look_is_read_again() -> None:
    world = World(settings=OVERRIDES)
    world("POST", "/v1/memories", {"id": "m", "text": "a", "tags": ["metric"]})
    read = world.service.read

    async def read_after_a_change(options: ReadOptions) -> object:
        point = await read(options)
        if len(world.service.reads) == 1:
            await world.ask("PATCH", "/v1/memories/m", {"tags": ["critical"]})
        return point

    world.service.read = read_after_a_change  # type: ignore[method-assign,assignment]  # a change comes in between
    assert world("GET", "/v1/memories/m").headers["raftmem-consistency"] == "linearizable"


def test_answer_that_its_lease_does_not_cover_is_read_again() -> None:
    world = World()
    world.service.lapses = 2
    assert world("GET", "/v1/state/digest").status_code == 200
    assert len(world.service.reads) == 3
    world.service.lapses = 3
    reply = world("GET", "/v1/memories/m")
    assert (reply.status_code, reply.json()["code"]) == (503, "no-quorum")


# --- errors of the service ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("failure", "status", "code", "retryable", "outcome"),
    [
        (errors.NoLeader("no leader is known"), 503, "no-leader", True, "not_applied"),
        (errors.NoQuorum("not confirmed"), 503, "no-quorum", True, "not_applied"),
        (errors.TooStale("not fresh"), 503, "too-stale", True, "not_applied"),
        (errors.ShuttingDown("leaving"), 503, "shutting-down", True, "not_applied"),
        (errors.TooManyRequests("10000 in flight"), 429, "too-many-requests", True, "not_applied"),
        (errors.NoSpace("disk full"), 507, "no-space", True, "not_applied"),
        (errors.UnknownOutcome(""), 504, "unknown-outcome", True, "unknown"),
        (errors.ConsistencyTimeout("late"), 504, "consistency-timeout", True, "not_applied"),
        (errors.TooLarge("too large"), 413, "too-large", False, "not_applied"),
        (errors.Corrupt("state", "is broken", index=7), 503, "corrupt", False, "not_applied"),
        (errors.StorageFailed("fsync failed"), 503, "corrupt", False, "not_applied"),
        (RuntimeError("secret"), 500, "internal", False, "unknown"),
    ],
)
def test_failure_of_a_write_says_what_became_of_it(
    failure: Exception, status: int, code: str, retryable: bool, outcome: str
) -> None:
    world = World()
    world.service.failure = failure
    reply = world("POST", "/v1/memories", {"text": "a"}, headers={"X-Request-Id": "r"})
    found = reply.json()
    assert (reply.status_code, found["code"], found["retryable"]) == (status, code, retryable)
    assert (found["outcome"], found["request_id"]) == (outcome, "r")
    assert reply.headers["raftmem-node"] == "n2"
    assert ("retry-after" in reply.headers) == (status in (429, 504, 507) or (status == 503 and retryable))
    assert "secret" not in reply.text
    if status == 503:
        assert found["leader"] == {"id": "n1", "url": "http://127.0.0.1:8101"}


def test_failure_of_a_read_applied_nothing() -> None:
    world = World()
    world.service.failure = RuntimeError("secret")
    for target in ("/v1/memories/m", "/v1/state/digest"):
        found = world("GET", target).json()
        assert (found["code"], found["outcome"], found["status"]) == ("internal", "not_applied", 500)


def test_replica_that_cannot_read_is_not_ready() -> None:
    world = World()
    assert world("GET", "/readyz").json() == {"ready": True, "checks": {"leader": "ok", "read": "ok"}}
    leader, _ = world.group.replicas
    leader.kill()
    world.skip(2 * world.group.timing.election_timeout)
    world.pass_time(world.group.timing.heartbeat)
    reply = world("GET", "/readyz")
    assert (reply.status_code, reply.json()["ready"]) == (503, False)
    assert "raftmem-leader" not in reply.headers
    assert world("GET", "/livez").status_code == 200


# --- pages ----------------------------------------------------------------------------------------
def pages(world: World, target: str, plural: str) -> list[list[object]]:
    """All pages of a list, one write between each."""
    found: list[list[object]] = []
    cursor = ""
    while True:
        body = world("GET", target + (f"&cursor={cursor}" if cursor else "")).json()
        found.append([row.get("id", (row.get("index"), row.get("seq"))) for row in body[plural]])
        cursor = body["next_cursor"]
        if cursor is None:
            return found
        world("POST", "/v1/memories", {"text": "in between"})


def five() -> World:
    world = World()
    for memory_id in "abcde":
        world("POST", "/v1/memories", {"id": memory_id, "text": memory_id, "tags": ["t"]})
    return world


def test_list_pages_through_what_was_there_at_its_first_page() -> None:
    assert pages(five(), "/v1/memories?limit=2", "memories") == [["a", "b"], ["c", "d"], ["e"]]
    assert pages(five(), "/v1/memories?limit=2&order=desc", "memories") == [["e", "d"], ["c", "b"], ["a"]]
    assert pages(five(), "/v1/memories?limit=2&at=103", "memories") == [["a", "b"], ["c"]]
    assert pages(five(), "/v1/memories?limit=5", "memories") == [["a", "b", "c", "d", "e"]]


def test_events_page_through_the_log_of_their_first_page() -> None:
    world = five()
    batch = [{"op": "ADD", "id": f"x{n}", "text": "x"} for n in range(3)]
    world("POST", "/v1/events", {"events": batch})
    up = [[(101, 0), (102, 0)], [(103, 0), (104, 0)], [(105, 0), (106, 0)], [(106, 1), (106, 2)]]
    assert pages(world, "/v1/events?limit=2", "events") == up
    down = [[(106, 2), (106, 1), (106, 0)], [(105, 0), (104, 0), (103, 0)]]
    assert pages(world, "/v1/events?limit=3&order=desc&to=106", "events")[:2] == down


def test_history_pages_with_before_and_after() -> None:
    world = World()
    world("POST", "/v1/memories", {"id": "m", "text": "one"})
    world("PATCH", "/v1/memories/m", {"text": "two"}, headers={"If-Match": '"9"'})
    world("PATCH", "/v1/memories/m", {"text": "two"})
    world("DELETE", "/v1/memories/m")
    first = world("GET", "/v1/memories/m/history?limit=3").json()
    rest = world("GET", f"/v1/memories/m/history?limit=3&cursor={first['next_cursor']}").json()
    told = [
        (e["op"], e["outcome"], e["before"] and e["before"]["text"], e["after"]["text"], e["after"]["version"])
        for e in first["events"] + rest["events"]
    ]
    assert told == [
        ("ADD", "applied", None, "one", 1),
        ("UPDATE", "refused", "one", "one", 1),
        ("UPDATE", "applied", "one", "two", 2),
        ("DELETE", "applied", "two", None, 3),
    ]
    assert rest["next_cursor"] is None
    assert [e["payload"] for e in first["events"]][2] == {"text": "two"}
    assert world("GET", "/v1/memories/never/history").status_code == 404


def test_cursor_of_another_list_is_400() -> None:
    world = five()
    cursor = world("GET", "/v1/memories?limit=2").json()["next_cursor"]
    changed = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    for target in (
        f"/v1/memories?limit=3&cursor={cursor}",
        f"/v1/memories?limit=2&tag=t&cursor={cursor}",
        f"/v1/memories?limit=2&cursor={changed}",
        f"/v1/events?limit=2&cursor={cursor}",
        f"/v1/memories/a/history?limit=2&cursor={cursor}",
    ):
        reply = world("GET", target)
        assert (reply.status_code, reply.json()["parameter"]) == (400, "cursor")
    assert world("GET", f"/v1/memories?limit=2&timeout_ms=9&cursor={cursor}").status_code == 200


def test_list_filters_are_anded_and_ids_are_any() -> None:
    world = five()
    world("POST", "/v1/memories", {"id": "f", "text": "f", "tags": ["t", "u"], "memory_type": "fact", "user_id": "me"})
    for query, ids in (
        ("id=a&id=c&id=zzz", ["a", "c"]),
        ("tag=t&tag=u", ["f"]),
        ("memory_type=fact&user_id=me", ["f"]),
        ("user_id=you", []),
        ("filter=%7B%22field%22:%22text%22,%22op%22:%22in%22,%22value%22:[%22b%22,%22f%22]%7D", ["b", "f"]),
        ("status=deleted", []),
    ):
        assert [m["id"] for m in world("GET", f"/v1/memories?{query}").json()["memories"]] == ids


# --- events ---------------------------------------------------------------------------------------
def test_events_are_filtered() -> None:
    world = five()
    agent = {"Raftmem-Actor": "agent/x", "X-Request-Id": "mine"}
    world("PATCH", "/v1/memories/a", {"tags": ["late"]}, headers=agent)
    world("DELETE", "/v1/memories/b")
    world("DELETE", "/v1/memories/never")
    world("POST", "/v1/memories", {"text": "s", "agent_id": "s"})
    for query, indexes in (
        ("op=DELETE", [107, 108]),
        ("memory_id=a", [101, 106]),
        ("actor_id=x", [106]),
        ("request_id=mine", [106]),
        ("outcome=refused", [108]),
        ("tag=late", [106]),
        ("tag=t&memory_id=b", [102, 107]),
        ("agent_id=s", [109]),
        ("op=RAFT", []),
        ("from=105&to=106", [105, 106]),
        ("op=RAFT&include=internal&to=2", [1, 2]),
        ("include=internal&from=100&to=101", [100, 101]),
    ):
        found = world("GET", f"/v1/events?{query}").json()["events"]
        assert [event["index"] for event in found] == indexes, query


def test_replay_under_a_key_leaves_no_event_but_its_entry_is_explained() -> None:
    world = World()

    async def at_the_same_time() -> None:
        asked = [world.ask("POST", "/v1/memories", {"text": "a"}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        first, second = await asyncio.gather(*asked)
        assert first.content == second.content

    run(at_the_same_time())
    assert world("GET", "/v1/events/102").json() == {"events": [], "next_cursor": None}
    (shown,) = world("GET", "/v1/events/102?include=internal").json()["events"]
    assert (shown["op"], shown["decision"]["reason"]) == ("RAFT", "first applied at index 101")


def test_entry_above_the_applied_index_is_404_and_below_the_kept_ones_410() -> None:
    world = World()
    assert world("GET", "/v1/events/101").status_code == 404
    assert world("GET", "/v1/events/100").json() == {"events": [], "next_cursor": None}


def test_payload_shows_what_was_given_and_nothing_else() -> None:
    world = World()
    body = {
        "text": "a",
        "value": {"b": 1, "a": [1.0, 1e21, "é"]},
        "tags": [],
        "metadata": None,
        "provenance": {"source_ref": "s"},
        "valid_at": "2026-01-01T00:00:00+01:00",
        "invalid_at": None,
        "ttl_ms": 1000,
        "embedding": [0.1, 1],
    }
    world("POST", "/v1/memories", body)
    world("PUT", "/v1/memories/p", {"text": "p", "app_id": None})
    first, second = world("GET", "/v1/events").json()["events"]
    provenance = {"source_ref": "s", "derived_from": [], "resources": [], "reason": None}
    shown = {**body, "provenance": provenance, "valid_at": "2025-12-31T23:00:00.000Z", "embedding": [0.1, 1.0]}
    assert first["payload"] == shown
    assert second["payload"] == {"text": "p", "app_id": None}


def test_long_poll_answers_when_an_event_comes() -> None:
    async def scenario() -> None:
        world = World()
        waiting = asyncio.create_task(world.ask("GET", "/v1/events?from=101&op=DELETE&wait_ms=30000"))
        while not world.service.reads:
            await asyncio.sleep(0)
        await world.ask("POST", "/v1/memories", {"id": "m", "text": "not waited for"})
        with at_once():
            await world.ask("DELETE", "/v1/memories/m")
            reply = await waiting
        assert [event["index"] for event in reply.json()["events"]] == [102]
        assert reply.headers["raftmem-index"] == "102"

    run(scenario())


def test_long_poll_over_more_entries_than_a_page_looks_at_goes_on_to_the_end_and_waits_there() -> None:
    async def scenario() -> None:
        world = World(entries=LIST_SCAN_ROWS_MAX + 110)
        waiting = asyncio.create_task(world.ask("GET", "/v1/events?from=1&op=ADD&wait_ms=30000"))
        while len(world.service.reads) < 2:
            await asyncio.sleep(0)
        added = await world.ask("POST", "/v1/memories", {"text": "t"})
        found = (await waiting).json()["events"]
        assert [event["index"] for event in found] == [added.json()["event"]["index"]]

    run(scenario())


def test_long_poll_ends_empty_at_its_time_and_at_once_when_to_is_passed() -> None:
    world = World()
    assert world("GET", "/v1/events?from=101&wait_ms=1").json() == {"events": [], "next_cursor": None}
    assert world("GET", "/v1/events?to=50&wait_ms=60000").json() == {"events": [], "next_cursor": None}


# --- one ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "status"), [('"1"', 304), ('W/"1"', 304), ('"7", "1"', 304), ("*", 304), ('"2"', 200), ("1", 200)]
)
def test_if_none_match_of_a_read(given: str, status: int) -> None:
    assert five()("GET", "/v1/memories/a", headers={"If-None-Match": given}).status_code == status


def test_expired_memory_is_404_and_says_so() -> None:
    world = World()
    world("POST", "/v1/memories", {"id": "m", "text": "a", "ttl_ms": 1})
    world.pass_time(2 * PERIOD_SECONDS)
    reply = world("GET", "/v1/memories/m")
    assert (reply.status_code, reply.json()["memory_status"], reply.json()["updated_index"]) == (404, "expired", 102)
    assert reply.headers["raftmem-consistency"] == "lease"
    (event,) = world("GET", "/v1/events/102").json()["events"]
    assert (event["op"], event["actor"]["type"], event["payload"]) == ("EXPIRE", "system", {})


def test_refusals_of_a_write_tell_what_stands_in_the_way() -> None:
    world = World()
    world("POST", "/v1/memories", {"id": "m", "text": "a", "value": {"n": "x"}, "app_id": "a"})
    taken = world("POST", "/v1/memories", {"id": "m", "text": "b"})
    assert (taken.status_code, taken.json()["code"], taken.headers["etag"]) == (409, "already-exists", '"1"')
    assert taken.json()["current"]["text"] == "a"
    unfit = world("PATCH", "/v1/memories/m", {"merge": {"value.n": {"op": "inc", "by": 1}}})
    assert (unfit.status_code, unfit.json()["code"], unfit.json()["path"]) == (409, "merge-type", "value.n")
    moved = world("PUT", "/v1/memories/m", {"text": "b", "app_id": "b"})
    assert (moved.status_code, moved.json()["code"]) == (409, "wrong-state")
    empty = world("PATCH", "/v1/memories/m", {"text": None, "value": None})
    assert (empty.status_code, empty.json()["code"], empty.headers["raftmem-index"]) == (400, "invalid-request", "105")
    there = world("PUT", "/v1/memories/m", {"text": "b"}, headers={"If-None-Match": "*"})
    assert (there.status_code, there.json()["current"]["version"]) == (412, 1)
    absent = world("PUT", "/v1/memories/n", {"text": "b"}, headers={"If-Match": "*"})
    assert (absent.status_code, absent.json()["current"], "etag" in absent.headers) == (412, None, False)


def test_put_creates_with_201_and_replaces_with_200() -> None:
    world = World()
    first = world("PUT", "/v1/memories/m", {"text": "a", "tags": ["t"]})
    second = world("PUT", "/v1/memories/m", {"value": 1})
    assert (first.status_code, first.headers["location"], first.json()["event"]["op"]) == (201, "/v1/memories/m", "ADD")
    assert (second.status_code, second.json()["event"]["op"], second.json()["memory"]["tags"]) == (200, "UPDATE", [])


def test_percent_encoded_id_is_the_same_memory() -> None:
    world = World()
    world("PUT", "/v1/memories/%6D%7e1", {"text": "a"})
    assert world("GET", "/v1/memories/m~1").json()["id"] == "m~1"
    assert world("GET", "/v1/memories/search").status_code == 404  # an id like any other


# --- numbers and times ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "number", [0.8, 0.1, 1.0, -3.0, 16777216.0, 1e-45, 3.4028234663852886e38, 1.17549435e-38, 1 / 3, 123456.7, 0.0]
)
def test_vector_is_shown_with_the_fewest_digits_that_name_it(number: float) -> None:
    packed = struct.pack("<2f", number, 1.0)
    (shown, _) = embedding.unpack(packed)
    assert struct.pack("<2f", shown, 1.0) == packed
    if 1e-30 < abs(number) < 1e30:
        significant = len(repr(shown).replace(".", "").strip("-0").split("e")[0])
        assert significant <= 9


def test_vector_within_float32_keeps_its_own_text() -> None:
    numbers = [0.8, 0.6, -0.123456, 1e-05, 12345.6, 0.1234567]
    assert embedding.unpack(embedding.pack(numbers)) == numbers


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_time_is_rfc_3339_in_milliseconds(ms: int, text: str) -> None:
    assert times.shown(ms) == text


def test_actor_of_the_body_signs_the_event() -> None:
    body = {"text": "a", "actor": {"type": "user", "id": "mia", "role": "owner"}, "read_index": 99}
    reply = World()("POST", "/v1/memories", body)
    assert reply.json()["event"]["actor"] == {"type": "user", "id": "mia", "role": "owner"}
    assert reply.json()["event"]["read_index"] == 99
    assert reply.json()["memory"]["actor"]["role"] == "owner"


def test_embedding_beside_a_wrong_place_names_it() -> None:
    with pytest.raises(BadRequest) as refused:
        embedding.pack([0.0], "events[2].embedding")
    assert refused.value.parameter == "events[2].embedding"


def test_metrics_count_replies_by_route() -> None:
    world = World()
    world("GET", "/v1/memories/a")
    world("GET", "/v1/memories/b")
    text = world("GET", "/metrics").text
    assert 'raftmem_http_requests_total{method="GET",route="/v1/memories/{id}",status="404"} 2.0' in text
    assert "raftmem_server_proposals_committed_total 100.0" in text
