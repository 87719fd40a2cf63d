"""One call: what is sent again, where, how often, under which key, and what it all comes to."""

import json
from datetime import datetime

import httpx
import pytest
from client_world import URLS, Asked, Dice, OwnedTime, Replicas, Script, answer, event, memory, problem, script

from raftmem.client import (
    AlreadyExists,
    IndexCompacted,
    LockHeld,
    NoLeader,
    NotFound,
    PreconditionFailed,
    RaftmemClient,
    RaftmemClientError,
    StaleToken,
    Unreachable,
    WriteOutcomeUnknown,
    of_problem,
)
from raftmem.client.errors import _BY_CODE

WRITTEN = {"memory": memory(), "event": event()}
LOST = httpx.ReadError("reset")
REFUSED = httpx.ConnectError("refused")


class World:
    def __init__(self, told: Script, *, share: float = 0.5, **options: object) -> None:
        self.replicas = Replicas(told)
        self.time = OwnedTime(jumps=True)
        self.client = RaftmemClient(
            URLS,
            actor="agent/a",
            transport=self.replicas,
            time=self.time,
            randomness=Dice(share),
            **options,  # type: ignore[arg-type]  # a test says what it means
        )

    @property
    def asked(self) -> list[Asked]:
        return self.replicas.asked


# --- what is sent again -----------------------------------------------------------------------------
def test_write_whose_reply_is_lost_is_sent_again_elsewhere_under_its_key() -> None:
    world = World(script(LOST, answer(WRITTEN)))
    assert world.client.memories.add(text="t").event.op == "ADD"
    first, second = world.asked
    assert first.node != second.node
    assert first.key is not None
    assert (first.key, first.body, first.query) == (second.key, second.body, second.query)


def test_two_writes_have_two_keys() -> None:
    world = World(script(answer(WRITTEN)))
    world.client.memories.add(text="t")
    world.client.memories.add(text="t")
    assert world.asked[0].key != world.asked[1].key


def test_refused_connection_goes_on_at_the_next_replica_at_once_and_stays_there() -> None:
    world = World(lambda asked: REFUSED if asked.node == "n1" else answer(memory()))
    world.client.memories.get("m1")
    world.client.memories.get("m1")
    assert [one.node for one in world.asked] == ["n1", "n2", "n2"]
    assert world.time.slept == []


def test_without_a_leader_every_replica_is_asked_before_the_pause_that_the_service_wants() -> None:
    none = problem(503, "no-leader", retry_after_ms=300)
    world = World(script(none, none, none, answer(WRITTEN)), share=0.0)
    world.client.memories.add(text="t")
    assert [one.node for one in world.asked] == ["n1", "n2", "n3", "n1"]
    assert world.time.slept == [0.3]


def test_pauses_grow_and_are_drawn_from_nothing_to_their_bound() -> None:
    busy = problem(429, "too-many-requests", retry_after_ms=0)
    drawn = World(script(*[busy] * 8, answer(WRITTEN)), share=1.0)
    drawn.client.memories.add(text="t")
    assert drawn.time.slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert {one.node for one in drawn.asked} == {"n1"}
    lucky = World(script(*[busy] * 8, answer(WRITTEN)), share=0.0)
    lucky.client.memories.add(text="t")
    assert sum(lucky.time.slept) == 0


def test_retry_after_header_counts_where_the_body_says_nothing() -> None:
    gateway = httpx.Response(503, text="busy", headers={"Retry-After": "2"})
    world = World(script(gateway, gateway, gateway, answer(memory())), share=0.0)
    world.client.memories.get("m1")
    assert world.time.slept == [2.0]


def test_read_that_times_out_on_one_replica_is_answered_by_the_next() -> None:
    world = World(script(problem(504, "consistency-timeout", retry_after_ms=200), answer(memory())))
    assert world.client.memories.get("m1").id == "m1"
    assert len(world.asked) == 2


@pytest.mark.parametrize("call", ["acquire", "renew", "heartbeat"])
def test_what_is_harmless_to_repeat_goes_without_a_key_and_is_repeated(call: str) -> None:
    grant = {"name": "l", "owner": "o", "token": 7, "remaining_ms": 1000, "event": event("LOCK_ACQUIRE")}
    world = World(script(LOST, answer(grant | {"cancel_requested": False})))
    if call == "acquire":
        world.client.locks.acquire("l", owner="o", ttl=1)
    elif call == "renew":
        world.client.locks.renew("l", owner="o", token=7)
    else:
        world.client.tasks.heartbeat("t", token=7)
    assert [one.key for one in world.asked] == [None, None]


def test_claim_has_a_key_so_that_a_lost_reply_does_not_claim_twice() -> None:
    world = World(script(LOST, answer({"tasks": [], "event": None})))
    assert world.client.tasks.claim(["q"], worker="w", ttl=5, wait=3).tasks == []
    assert world.asked[0].key == world.asked[1].key is not None
    assert world.asked[0].read_s == 13  # the wait, the service's own, and a margin


# --- how it ends ------------------------------------------------------------------------------------
def test_write_unknown_at_the_deadline_says_its_key_and_can_be_asked_for_again_with_it() -> None:
    world = World(script(LOST, problem(503, "no-leader", retry_after_ms=500)))
    with pytest.raises(WriteOutcomeUnknown, match="ask again") as caught:
        world.client.memories.add(text="t")
    assert caught.value.key == world.asked[0].key
    assert sum(world.time.slept) <= 60
    world.replicas.script = script(answer(WRITTEN))
    world.client.memories.add(text="t", key=caught.value.key)
    assert world.asked[-1].key == caught.value.key


def test_write_that_certainly_did_nothing_ends_as_what_stood_in_its_way() -> None:
    world = World(script(REFUSED, problem(503, "no-leader", retry_after_ms=500)), timeout=3.0)
    with pytest.raises(NoLeader, match="try again later"):
        world.client.memories.add(text="t")


def test_no_endpoint_answers_is_told_with_the_reason_of_each() -> None:
    world = World(script(REFUSED), share=1.0, timeout=1.0)
    with pytest.raises(Unreachable, match="n2:1: cannot connect") as caught:
        world.client.memories.get("m1")
    assert caught.value.reasons.keys() == set(URLS)
    assert world.time.now() <= 1001.0


def test_write_through_a_gateway_that_fails_is_unknown_until_it_is_answered() -> None:
    gateway = httpx.Response(502, text="<html>bad gateway</html>")
    world = World(script(gateway), timeout=0.5)
    with pytest.raises(WriteOutcomeUnknown):
        world.client.memories.delete("m1")


def test_answer_that_is_not_of_the_service_is_an_error_for_a_read_and_unknown_for_a_write() -> None:
    world = World(script(httpx.Response(200, text="<html>hello</html>")))
    with pytest.raises(RaftmemClientError, match="not as a"):
        world.client.memories.get("m1")
    with pytest.raises(WriteOutcomeUnknown):
        world.client.memories.add(text="t")


def test_defect_of_the_service_leaves_a_write_unknown_and_is_not_hammered() -> None:
    world = World(script(problem(500, "internal", outcome="unknown")))
    with pytest.raises(WriteOutcomeUnknown):
        world.client.memories.add(text="t")
    assert len(world.asked) == 1


# --- refusals -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", sorted(_BY_CODE))
def test_every_code_has_its_error_which_says_the_fact(code: str) -> None:
    told = of_problem({"code": code, "status": 409, "detail": "the fact"})
    assert type(told) is _BY_CODE[code]
    assert "the fact" in str(told)
    assert told.code == code


def test_lock_held_is_told_and_not_asked_for_again() -> None:
    holders = [{"owner": "o", "token": 7, "remaining_ms": 8450, "metadata": {}}]
    world = World(script(problem(409, "lock-held", retryable=True, holders=holders, remaining_ms=8450, queue_length=2)))
    with pytest.raises(LockHeld) as caught:
        world.client.locks.acquire("deploy/prod", owner="p", ttl=10)
    assert (caught.value.holders[0].token, caught.value.remaining_ms, caught.value.queue_length) == (7, 8450, 2)
    assert world.replicas.paths() == ["POST /v1/locks/deploy%2Fprod/acquire"]


def test_refusals_carry_the_truth() -> None:
    failed = [{"guard": {"lock": "l", "token": 1}, "current": {"name": "l"}}]
    world = World(
        script(
            problem(412, "precondition-failed", failed=failed, current={"name": "l"}),
            problem(409, "stale-token", current_token=9),
            problem(410, "index-compacted", oldest_index=90),
            problem(409, "already-exists", failed_seq=3),
            problem(404, "not-found"),
        )
    )
    with pytest.raises(PreconditionFailed) as precondition:
        world.client.memories.patch("m1", text="x", guards=[{"lock": "l", "token": 1}])
    assert (precondition.value.failed, precondition.value.current) == (failed, {"name": "l"})
    with pytest.raises(StaleToken, match="stop what relied on it") as stale:
        world.client.tasks.complete("t", token=1)
    assert stale.value.current_token == 9
    with pytest.raises(IndexCompacted) as compacted:
        world.client.memories.get("m1", at=3)
    assert compacted.value.oldest_index == 90
    with pytest.raises(AlreadyExists) as exists:
        world.client.txn(then=[{"op": "TASK_ADD", "queue": "q"}])
    assert exists.value.failed_seq == 3
    with pytest.raises(NotFound):
        world.client.gates.get("g")


# --- the session ------------------------------------------------------------------------------------
def test_reads_do_not_fall_behind_what_was_written_and_levels_ask_for_what_they_need() -> None:
    world = World(script(answer(memory(), index=0), answer(WRITTEN, index=41), answer(memory(), index=40)))
    world.client.memories.get("m1", consistency="session")
    world.client.memories.add(text="t")
    assert world.client.index == 41
    read = world.client.memories.get
    read("m1")
    read("m1", consistency="linearizable")
    read("m1", consistency="eventual")
    read("m1", at=7)
    read("m1", consistency="bounded", max_staleness=1.5)
    assert [one.query for one in world.asked] == [
        {"consistency": "session", "min_index": "0"},
        {},
        {"min_index": "41"},
        {"consistency": "linearizable", "min_index": "41"},
        {"consistency": "eventual"},
        {"at": "7"},
        {"consistency": "bounded", "min_index": "41", "max_staleness_ms": "1500"},
    ]


def test_pages_after_the_first_are_asked_for_in_the_words_of_the_first() -> None:
    def pages(asked: Asked) -> httpx.Response:
        cursor = "c1" if "cursor" not in asked.query else None
        return answer({"memories": [memory(f"m{len(asked.query)}")], "next_cursor": cursor}, index=77)

    world = World(pages, consistency="session")
    found = world.client.memories.list(app_id="shop", tags=["a", "b"], filter={"field": "text", "op": "exists"})
    assert len(found.all()) == 2
    first, second = world.asked
    assert world.client.index == 77
    assert second.query == {**first.query, "cursor": "c1"}
    assert first.query["min_index"] == "0"
    assert json.loads(first.query["filter"]) == {"field": "text", "op": "exists"}


def test_restored_cluster_begins_anew_and_is_told() -> None:
    told: list[tuple[str, str]] = []
    world = World(
        script(answer(memory(), index=900, cluster="c/1"), answer(memory(), index=3, cluster="c/2")),
        on_restored=lambda was, now: told.append((was, now)),
    )
    world.client.memories.get("m1")
    world.client.memories.get("m1")
    assert (world.client.index, world.client.incarnation, told) == (3, "c/2", [("c/1", "c/2")])


def test_read_is_not_answered_by_an_incarnation_that_is_over() -> None:
    world = World(
        script(
            answer(memory(), cluster="c/2"),
            answer(memory("old"), index=999, cluster="c/1"),
            answer(memory(), cluster="c/2"),
        )
    )
    world.client.memories.get("m1")
    assert world.client.memories.get("m1").id == "m1"
    assert world.client.index == 5


# --- what is sent -----------------------------------------------------------------------------------
def test_fields_that_are_not_given_are_left_out_and_none_clears() -> None:
    world = World(script(answer(WRITTEN)))
    world.client.memories.patch("a.b", text=None, ttl=1.5, if_version=4, merge={"tags": {"op": "union", "by": ["x"]}})
    one = world.asked[0]
    assert one.body == {"text": None, "ttl_ms": 1500, "merge": {"tags": {"op": "union", "by": ["x"]}}}
    assert one.headers["if-match"] == '"4"'
    assert one.headers["raftmem-actor"] == "agent/a"


def test_time_without_a_zone_is_refused_before_anybody_is_asked() -> None:
    world = World(script(answer(WRITTEN)))
    with pytest.raises(ValueError, match="no time zone"):
        world.client.memories.add(text="t", valid_at=datetime(2026, 1, 1))  # noqa: DTZ001  what is refused
    assert world.asked == []


@pytest.mark.parametrize("given", ["", "n1:8101", "ftp://n1", ["http://"]])
def test_endpoints_that_are_none_are_refused(given: str | list[str]) -> None:
    with pytest.raises(ValueError, match="http://127"):
        RaftmemClient(given)
