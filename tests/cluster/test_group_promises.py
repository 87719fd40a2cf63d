"""What a running group promises its clients, over real sockets: levels, races, preconditions, replays, search, time."""

import itertools

import numpy as np
import pytest

from jepsen_like.cluster.client import Answer, Client, together
from jepsen_like.cluster.group import LoopbackGroup

REPLICAS = ("n1", "n2", "n3")
HEADERS = ("raftmem-index", "raftmem-term", "raftmem-node", "raftmem-leader", "raftmem-cluster", "x-request-id")


def levels(index: int) -> dict[str, str]:
    """The query of each level that must show what was written at `index`."""
    return {
        "lease": "",
        "linearizable": "consistency=linearizable",
        "session": f"consistency=session&min_index={index}",
        "bounded": f"consistency=bounded&max_staleness_ms=0&min_index={index}",
        "eventual": f"consistency=eventual&min_index={index}",
    }


@pytest.mark.parametrize("writes_to", REPLICAS)
def test_what_one_replica_wrote_is_read_from_each_at_every_level(shared_group: LoopbackGroup, writes_to: str) -> None:
    memory_id = f"levels-{writes_to}"
    body = {"id": memory_id, "text": f"written to {writes_to}"}
    written = shared_group[writes_to].ask("POST", "/v1/memories", body, X_Request_Id=f"req-{memory_id}")
    assert written.status == 201
    assert written.headers["location"] == f"/v1/memories/{memory_id}"
    assert written.headers["etag"] == '"1"'
    assert written.headers["x-request-id"] == f"req-{memory_id}"
    assert written.headers["raftmem-node"] == writes_to
    assert "raftmem-consistency" not in written.headers
    assert all(name in written.headers for name in HEADERS)
    for name, (level, query) in itertools.product(REPLICAS, levels(written.index).items()):
        read = shared_group[name].ask("GET", f"/v1/memories/{memory_id}?{query}")
        assert (read.status, read.body) == (200, written.at("memory")), (name, level)
        assert read.headers["raftmem-consistency"] == level
        assert read.headers["raftmem-node"] == name
        assert read.headers["raftmem-cluster"] == written.headers["raftmem-cluster"]
        assert read.headers["raftmem-leader"] in REPLICAS
        assert read.headers["etag"] == '"1"'
        assert read.index >= written.index


@pytest.mark.parametrize("query", ["", "consistency=linearizable"])
def test_a_read_anywhere_shows_the_write_that_was_answered_before_it(shared_group: LoopbackGroup, query: str) -> None:
    memory_id = f"after-{len(query)}"
    clients = [Client(url) for url in shared_group.urls]
    for turn in range(60):
        writer, reader = clients[turn % 3], clients[(turn + 1 + turn // 3 % 2) % 3]
        written = writer.ask("PUT", f"/v1/memories/{memory_id}", {"value": turn})
        assert written.status in (200, 201)
        assert reader.ask("GET", f"/v1/memories/{memory_id}?{query}").at("value") == turn
    for client in clients:
        client.close()


def test_two_agents_racing_200_equal_adds_make_one_memory_and_199_noops(shared_group: LoopbackGroup) -> None:
    body = {"text": "Prod deploys are frozen", "app_id": "race", "on_duplicate": "noop"}

    def agent(k: int) -> list[Answer]:
        client = Client(shared_group.urls[k], actor=f"agent/racer-{k}")
        try:
            return [client.ask("POST", "/v1/memories", body) for _ in range(100)]
        finally:
            client.close()

    answers = list(itertools.chain(*together(2, agent)))
    ops = [answer.at("event", "op") for answer in answers]
    assert (ops.count("ADD"), ops.count("NOOP")) == (1, 199)
    assert sorted(answer.status for answer in answers) == [200] * 199 + [201]
    assert len({answer.text("memory", "id") for answer in answers}) == 1
    assert len({answer.integer("event", "index") for answer in answers}) == 200
    assert len(shared_group.memories("app_id=race")) == 1
    log = shared_group["n3"].ask("GET", "/v1/events?app_id=race&op=NOOP&limit=1000").rows("events")
    assert len(log) == 199
    assert {str(event["requested_op"]) for event in log} == {"ADD"}


def test_1000_increments_of_50_clients_over_all_replicas_give_1000(shared_group: LoopbackGroup) -> None:
    shared_group["n1"].ask("PUT", "/v1/memories/counter", {"value": {"n": 0}})

    def agent(k: int) -> list[Answer]:
        client = Client(shared_group.urls[k % 3], actor=f"agent/counter-{k}")
        body = {"merge": {"value.n": {"op": "inc", "by": 1}}}
        try:
            return [client.ask("PATCH", "/v1/memories/counter?timeout_ms=60000", body) for _ in range(20)]
        finally:
            client.close()

    answers = list(itertools.chain(*together(50, agent)))
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.integer("memory", "value", "n") for answer in answers) == list(range(1, 1001))
    for replica in shared_group.replicas:
        assert replica.ask("GET", "/v1/memories/counter").at("value", "n") == 1000


def test_an_update_with_an_old_version_is_412_with_the_current_record(shared_group: LoopbackGroup) -> None:
    shared_group["n1"].ask("POST", "/v1/memories", {"id": "versioned", "text": "first"})
    second = shared_group["n2"].ask("PATCH", "/v1/memories/versioned", {"text": "second"}, If_Match='"1"')
    assert second.status == 200
    refused = shared_group["n3"].ask("PATCH", "/v1/memories/versioned", {"text": "third"}, If_Match='"1"')
    assert refused.status == 412
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["etag"] == '"2"'
    assert refused.at("code") == "precondition-failed"
    assert refused.at("outcome") == "not_applied"
    assert refused.at("current") == second.at("memory") == refused.at("failed", 0, "current")
    event = shared_group["n1"].ask("GET", f"/v1/events/{refused.index}").rows("events")[0]
    assert (event["op"], event["outcome"], event["code"]) == ("UPDATE", "refused", "precondition-failed")
    assert shared_group["n1"].ask("GET", "/v1/memories/versioned").at("text") == "second"


def first_reply(answer: Answer) -> tuple[object, ...]:
    """What a replay repeats."""
    named = [answer.headers.get(name) for name in ("etag", "location", "raftmem-index")]
    return answer.status, answer.body, *named


def test_the_same_key_again_gives_the_first_reply_and_another_body_is_422(shared_group: LoopbackGroup) -> None:
    body = {"text": "kept once", "app_id": "again"}
    first = shared_group["n1"].ask("POST", "/v1/memories", body, Idempotency_Key="again-1")
    assert first.status == 201
    assert "idempotent-replayed" not in first.headers
    for name in ("n1", "n2", "n3"):
        again = shared_group[name].ask("POST", "/v1/memories", body, Idempotency_Key="again-1")
        assert first_reply(again) == first_reply(first)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["raftmem-node"] == name
        other = shared_group[name].ask("POST", "/v1/memories", {**body, "text": "other"}, Idempotency_Key="again-1")
        assert (other.status, other.at("code")) == (422, "idempotency-key-reused")
    log = shared_group["n2"].ask("GET", "/v1/events?app_id=again").rows("events")
    assert [event["index"] for event in log if event["outcome"] == "applied"] == [first.index]
    assert {event["code"] for event in log[1:]} == {"idempotency-key-reused"}


def test_one_key_sent_by_many_at_once_is_one_event_with_one_reply(shared_group: LoopbackGroup) -> None:
    shared_group["n1"].ask("PUT", "/v1/memories/at-once", {"value": 0, "app_id": "at-once"})
    body = {"merge": {"value": {"op": "inc", "by": 1}}}

    def agent(k: int) -> list[Answer]:
        client = Client(shared_group.urls[k % 3])
        try:
            return [
                client.ask("PATCH", "/v1/memories/at-once?timeout_ms=60000", body, key=f"at-once-{turn}")
                for turn in range(10)
            ]
        finally:
            client.close()

    for turn, replies in enumerate(zip(*together(12, agent), strict=True)):
        assert {reply.status for reply in replies} == {200}
        assert {reply.index for reply in replies} == {replies[0].index}
        assert {reply.integer("memory", "value") for reply in replies} == {turn + 1}
    assert shared_group["n3"].ask("GET", "/v1/memories/at-once").at("value") == 10
    applied = shared_group["n3"].ask("GET", "/v1/events?app_id=at-once&op=UPDATE").rows("events")
    assert len(applied) == 10


def test_search_finds_the_nearest_of_10000_vectors_in_a_scope_as_numpy_does(shared_group: LoopbackGroup) -> None:
    randomness = np.random.default_rng(7)
    vectors = randomness.standard_normal((10_000, 32)).astype(np.float32)
    apps = [f"search-{k % 3}" for k in range(len(vectors))]
    last = 0
    for start in range(0, len(vectors), 500):
        events = [
            {"op": "ADD", "id": f"v{k:05}", "value": k, "app_id": apps[k], "embedding": vectors[k].tolist()}
            for k in range(start, start + 500)
        ]
        written = shared_group[REPLICAS[start % 3]].ask("POST", "/v1/events?timeout_ms=60000", {"events": events})
        assert written.status == 200, written
        last = written.index
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    inside = np.array([app == "search-1" for app in apps])
    for turn, query in enumerate(randomness.standard_normal((9, 32)).astype(np.float32)):
        cosines = unit @ (query / np.linalg.norm(query))
        cosines[~inside] = -2.0
        nearest = np.argsort(-cosines, kind="stable")[:10]
        found = shared_group[REPLICAS[turn % 3]].ask(
            "POST",
            f"/v1/memories/search?consistency=session&min_index={last}",
            {"embedding": query.tolist(), "top_k": 10, "app_id": "search-1"},
        )
        assert found.status == 200, found
        hits = range(len(found.rows("results")))
        assert [found.at("results", k, "memory", "id") for k in hits] == [f"v{k:05}" for k in nearest]
        scores = [found.at("results", k, "score") for k in hits]
        assert scores == pytest.approx(cosines[nearest].tolist(), abs=1e-5)
        assert {found.at("results", k, "memory", "app_id") for k in hits} == {"search-1"}


def test_a_past_index_shows_an_overwritten_and_a_deleted_memory_as_they_were(shared_group: LoopbackGroup) -> None:
    target = "/v1/memories/past"
    first = shared_group["n1"].ask("POST", "/v1/memories", {"id": "past", "text": "one", "tags": ["a"]})
    second = shared_group["n2"].ask("PATCH", target, {"text": "two", "tags": ["b"]})
    gone = shared_group["n3"].ask("DELETE", target)
    assert (first.status, second.status, gone.status) == (201, 200, 200)
    for replica in shared_group.replicas:
        for written, version in ((first, 1), (second, 2)):
            then = replica.ask("GET", f"{target}?at={written.index}")
            assert (then.status, then.body) == (200, written.at("memory"))
            assert then.headers["raftmem-consistency"] == "at"
            assert (then.index, then.headers["etag"]) == (written.index, f'"{version}"')
        before = replica.ask("GET", f"{target}?at={first.index - 1}")
        deleted = replica.ask("GET", f"{target}?at={gone.index}")
        assert (before.status, deleted.status) == (404, 404)
        assert deleted.at("memory_status") == "deleted"
        listed = replica.ask("GET", f"/v1/memories?id=past&tag=a&at={first.index}").rows("memories")
        assert [row["text"] for row in listed] == ["one"]
        assert replica.ask("GET", f"/v1/memories?id=past&tag=a&at={second.index}").rows("memories") == []


def test_an_index_above_the_commit_index_is_400_future_index(shared_group: LoopbackGroup) -> None:
    for replica in shared_group.replicas:
        ahead = replica.ask("GET", "/v1/memories/anything?at=1000000000")
        assert (ahead.status, ahead.at("code")) == (400, "future-index")
        assert 0 < ahead.integer("commit_index") < 1_000_000_000
