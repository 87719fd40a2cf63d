"""The routes of locks: what is granted, what is told to the one who does not get it, waiting, and lists."""

import asyncio
from collections.abc import Callable, Coroutine

import httpx
import pytest
from api_world import World, at_once, run

from raftmem.limits import OWNER_RELEASE_MAX, TXN_OPERATIONS_MAX, WAITERS_MAX
from raftmem.model.commands import Actor, Draft, Header, LockAcquire

A, B, C = "a#1", "b#2", "c#3"
LOCK = "/v1/locks/deploy/prod"


@pytest.fixture
def world() -> World:
    return World()


def ask(owner: str, **more: object) -> dict[str, object]:
    return {"owner": owner, "ttl_ms": 10_000, **more}


def taken(world: World, owner: str, **more: object) -> int:
    """The token of an acquire."""
    reply = world("POST", LOCK + "/acquire", ask(owner, **more))
    assert reply.status_code == 200, reply.text
    token: int = reply.json()["token"]
    return token


def events(world: World, index: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = world("GET", f"/v1/events/{index}").json()["events"]
    return found


# --- holding --------------------------------------------------------------------------------------
def test_asking_again_as_the_owner_renews_and_gives_the_same_token(world: World) -> None:
    token = taken(world, A, metadata={"host": "h1"})
    again = world("POST", LOCK + "/acquire", ask(A, ttl_ms=500)).json()
    assert (again["token"], again["remaining_ms"]) == (token, 500)
    assert (again["event"]["op"], again["event"]["requested_op"]) == ("LOCK_RENEW", "LOCK_ACQUIRE")
    holder = world("GET", LOCK).json()["holders"][0]
    assert holder == {"owner": A, "token": token, "remaining_ms": 500, "metadata": {"host": "h1"}}


def test_renewal_counts_from_its_own_entry_and_keeps_the_ttl_if_none_is_given(world: World) -> None:
    token = taken(world, A)
    reply = world("POST", LOCK + "/renew", {"owner": A, "token": token})
    body = reply.json()
    assert (reply.status_code, body["remaining_ms"], body["token"]) == (200, 10_000, token)
    assert (body["name"], body["owner"], body["event"]["op"]) == ("deploy/prod", A, "LOCK_RENEW")
    assert world("POST", LOCK + "/renew", {"owner": A, "token": token, "ttl_ms": 700}).json()["remaining_ms"] == 700


def test_read_shows_what_remains_now_and_never_less_than_nothing(world: World) -> None:
    taken(world, A)
    world.skip(2.5004)
    assert world("GET", LOCK).json()["holders"][0]["remaining_ms"] == 7499
    world.skip(96.5)
    reply = world("GET", LOCK)
    assert reply.json()["holders"][0]["remaining_ms"] == 0
    assert (reply.headers["raftmem-index"], reply.headers["raftmem-consistency"]) == ("101", "lease")


def test_free_lock_is_read_as_an_empty_one(world: World) -> None:
    reply = world("GET", "/v1/locks/never")
    assert (reply.status_code, reply.json()) == (200, {"name": "never", "permits": 1, "holders": [], "queue": []})


def test_release_frees_the_lock_and_releasing_twice_is_a_stale_token(world: World) -> None:
    token = taken(world, A)
    reply = world("POST", LOCK + "/release", {"owner": A, "token": token})
    assert reply.json()["lock"] == {"name": "deploy/prod", "permits": 1, "holders": [], "queue": []}
    assert (reply.json()["event"]["op"], reply.json()["event"]["token"]) == ("LOCK_RELEASE", token)
    twice = world("POST", LOCK + "/release", {"owner": A, "token": token})
    problem = twice.json()
    assert (twice.status_code, problem["code"], problem["current_token"]) == (409, "stale-token", None)
    assert problem["current"]["holders"] == []
    assert "nobody" in problem["detail"]
    refused = events(world, int(twice.headers["raftmem-index"]))[0]
    assert (refused["op"], refused["outcome"], refused["code"]) == ("LOCK_RELEASE", "refused", "stale-token")


@pytest.mark.parametrize("verb", ["renew", "release"])
@pytest.mark.parametrize(("owner", "wrong"), [("nobody#0", 0), (A, 1)])
def test_unknown_owner_or_the_token_of_another_lock_is_a_stale_token(
    world: World, verb: str, owner: str, wrong: int
) -> None:
    token = taken(world, A)
    other = world("POST", "/v1/locks/other/acquire", ask(A)).json()["token"]
    reply = world("POST", f"{LOCK}/{verb}", {"owner": owner, "token": other if wrong else token})
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["current_token"]) == (409, "stale-token", token)
    assert problem["current"]["holders"][0]["owner"] == A
    assert world("GET", LOCK).json()["holders"][0]["token"] == token


def test_other_number_of_permits_is_told_with_the_one_in_force(world: World) -> None:
    taken(world, A, permits=3)
    reply = world("POST", LOCK + "/acquire", ask(B))
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["permits"]) == (409, "permits-mismatch", 3)
    assert problem["current"]["holders"][0]["owner"] == A
    assert "permits=3" in problem["detail"]


def test_semaphore_is_held_by_as_many_and_tells_the_soonest_end(world: World) -> None:
    taken(world, A, permits=2)
    taken(world, B, permits=2, ttl_ms=60_000)
    problem = world("POST", LOCK + "/acquire", ask(C, permits=2)).json()
    assert [holder["owner"] for holder in problem["holders"]] == [A, B]
    assert (problem["remaining_ms"], problem["retry_after_ms"]) == (8000, 8000)
    assert "a#1 and 1 more" in problem["detail"]


def test_force_release_takes_it_away_and_names_whom(world: World) -> None:
    token = taken(world, A)
    reply = world("DELETE", LOCK, headers={"Raftmem-Actor": "user/mia"})
    event = reply.json()["event"]
    assert (event["op"], event["owner"], event["token"]) == ("LOCK_FORCE_RELEASE", A, token)
    assert reply.json()["lock"]["holders"] == []
    again = world("DELETE", LOCK).json()["event"]
    assert (again["op"], again["requested_op"], "owner" in again) == ("NOOP", "LOCK_FORCE_RELEASE", False)


def test_replayed_acquire_shows_what_remains_of_the_first_grant(world: World) -> None:
    key = {"Idempotency-Key": "k"}
    first = world("POST", LOCK + "/acquire", ask(A), headers=key)
    world.skip(4)
    again = world("POST", LOCK + "/acquire", ask(A), headers=key)
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.json()["token"], again.headers["raftmem-index"]) == (first.json()["token"], "101")
    assert again.json()["remaining_ms"] == 6000
    world("DELETE", LOCK)
    assert world("POST", LOCK + "/acquire", ask(A), headers=key).json()["remaining_ms"] == 0


def test_many_are_renewed_by_one_entry_and_each_says_what_came_of_it(world: World) -> None:
    token = taken(world, A)
    other = world("POST", "/v1/locks/other/acquire", ask(B)).json()["token"]
    body = {
        "owner": A,
        "ttl_ms": 2000,
        "locks": [{"name": "deploy/prod", "token": token}, {"name": "other", "token": 7}],
    }
    reply = world("POST", "/v1/locks/renew", body)
    kept, lost = reply.json()["locks"]
    assert reply.status_code == 200
    assert (kept["name"], kept["owner"], kept["token"], kept["remaining_ms"]) == ("deploy/prod", A, token, 2000)
    assert (kept["error"], kept["event"]["seq"]) == (None, 0)
    assert (lost["remaining_ms"], lost["event"]["seq"], lost["event"]["outcome"]) == (None, 1, "refused")
    assert (lost["error"]["code"], lost["error"]["current_token"]) == ("stale-token", other)


GUARDS: list[tuple[str, dict[str, object], str]] = [
    ("free", {"lock": "free", "token": 7}, "free is held by nobody now, not with token 7: you lost the lock; stop"),
    ("an older token", {"lock": "one", "token": 7}, "one is now held with token 101, not 7: you lost the lock; stop"),
    ("its token, another owner", {"lock": "one", "token": 101, "owner": B}, "by a#1, not by b#2; stop"),
    ("several permits, no owner", {"lock": "two", "token": 102}, "two has 2 permits: name the owner beside token 102"),
    ("several permits, lost", {"lock": "two", "token": 7, "owner": A}, "not held by a#1 with token 7 any more"),
]


@pytest.mark.parametrize(("guard", "detail"), [pytest.param(guard, said, id=name) for name, guard, said in GUARDS])
def test_false_guard_over_a_lock_says_who_has_it(world: World, guard: dict[str, object], detail: str) -> None:
    world("POST", "/v1/locks/one/acquire", ask(A))
    world("POST", "/v1/locks/two/acquire", ask(A, permits=2))
    reply = world("POST", "/v1/tasks", {"queue": "q", "guards": [guard]})
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (412, "precondition-failed")
    assert detail in problem["detail"]
    assert problem["failed"] == [{"guard": guard, "current": problem["current"]}]
    assert problem["current"]["name"] == guard["lock"]


def test_true_guards_over_locks_let_any_write_through(world: World) -> None:
    world("POST", "/v1/locks/one/acquire", ask(A))
    world("POST", "/v1/locks/two/acquire", ask(A, permits=2))
    guards = [{"lock": "one", "token": 101}, {"lock": "two", "token": 102, "owner": A}]
    assert world("POST", "/v1/memories", {"text": "x", "guards": guards}).status_code == 201
    assert world("POST", "/v1/tasks", {"queue": "q", "guards": guards}).status_code == 201
    assert world("POST", "/v1/locks/three/acquire", ask(A, guards=guards)).status_code == 200
    assert world("POST", "/v1/events", {"guards": guards, "events": [{"op": "ADD", "text": "y"}]}).status_code == 200


# --- names ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b/c", "a/b/c"), ("a%2Fb", "a/b"), ("acquire", "acquire"), ("renew", "renew"), ("x%23y", "x#y"), ("é", "é")],
)
def test_name_may_hold_a_slash_or_be_a_verb(world: World, path: str, name: str) -> None:
    granted = world("POST", f"/v1/locks/{path}/acquire", ask(A)).json()
    assert granted["name"] == name
    assert world("GET", f"/v1/locks/{path}").json()["name"] == name
    released = world("POST", f"/v1/locks/{path}/release", {"owner": A, "token": granted["token"]})
    assert (released.status_code, released.json()["lock"]["name"]) == (200, name)


# --- waiting --------------------------------------------------------------------------------------
def together(work: Callable[[], Coroutine[object, object, None]]) -> None:
    run(work())


async def waiting(world: World, lock: str, count: int) -> None:
    while len((await world.ask("GET", lock)).json()["queue"]) != count:
        await asyncio.sleep(0)


def test_waiter_is_granted_by_the_release_and_answers_with_that_event(world: World) -> None:
    token = taken(world, A)

    async def work() -> None:
        wait = asyncio.ensure_future(world.ask("POST", LOCK + "/acquire", ask(B, wait_ms=30_000)))
        await waiting(world, LOCK, 1)
        queue = (await world.ask("GET", LOCK)).json()["queue"]
        assert queue == [{"owner": B, "position": 1}]
        held = (await world.ask("POST", LOCK + "/acquire", ask(B))).json()
        assert (held["queue_position"], held["queue_length"]) == (1, 1)
        assert "b#2 stands at place 1 of its queue" in held["detail"]
        with at_once():
            release = await world.ask("POST", LOCK + "/release", {"owner": A, "token": token})
            reply = await wait
        assert (reply.status_code, reply.headers["raftmem-index"]) == (200, release.headers["raftmem-index"])
        body = reply.json()
        assert (body["token"], body["remaining_ms"]) == (int(release.headers["raftmem-index"]), 10_000)
        assert (body["event"]["op"], body["event"]["owner"], body["event"]["seq"]) == ("LOCK_GRANT", B, 1)
        grant = (await world.ask("GET", f"/v1/events/{body['token']}")).json()["events"][1]
        assert (grant["op"], grant["payload"]) == ("LOCK_GRANT", {})

    together(work)


def test_wait_that_ends_is_lock_held_and_leaves_the_queue(world: World) -> None:
    taken(world, A)
    reply = world("POST", LOCK + "/acquire", ask(B, wait_ms=1))
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["queue_position"]) == (409, "lock-held", None)
    assert "wait_ms" in problem["detail"]
    assert world("GET", LOCK).json()["queue"] == []
    left = events(world, int(reply.headers["raftmem-index"]))[0]
    assert (left["op"], left["owner"]) == ("LOCK_LEAVE", B)


def test_client_that_hangs_up_leaves_the_queue(world: World) -> None:
    """The server says so by a disconnect after the body."""
    taken(world, A)
    sent: list[object] = []
    body = httpx.Request("POST", "http://n2", json=ask(B, wait_ms=60_000)).content
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    hung_up = asyncio.Event()

    async def receive() -> dict[str, object]:
        if messages:
            return messages.pop()
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    async def work() -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": LOCK + "/acquire",
            "raw_path": (LOCK + "/acquire").encode(),
            "query_string": b"",
            "headers": [(b"host", b"n2"), (b"content-type", b"application/json")],
        }
        request = asyncio.ensure_future(world.app(scope, receive, send))
        await waiting(world, LOCK, 1)
        hung_up.set()
        await request
        assert (await world.ask("GET", LOCK)).json()["queue"] == []
        (left,) = (await world.ask("GET", "/v1/events/103")).json()["events"]
        assert (left["op"], left["owner"]) == ("LOCK_LEAVE", B)

    together(work)


# --- owners and lists -----------------------------------------------------------------------------
def test_owner_that_is_dead_loses_locks_waits_and_claims(world: World) -> None:
    token = taken(world, A)
    world("POST", "/v1/tasks", {"queue": "q", "id": "t"})
    world("POST", "/v1/tasks/claim", {"queues": ["q"], "worker": A, "ttl_ms": 1000})
    other = world("POST", "/v1/locks/other/acquire", ask(B)).json()["token"]

    async def work() -> None:
        wait = asyncio.ensure_future(world.ask("POST", "/v1/locks/other/acquire", ask(A, wait_ms=20_000)))
        await waiting(world, "/v1/locks/other", 1)
        reply = await world.ask("POST", "/v1/owners/a%231/release")
        body = reply.json()
        assert (reply.status_code, body["owner"], body["event"]["op"]) == (200, A, "OWNER_RELEASE")
        assert body["released"] == {
            "locks": [{"name": "deploy/prod", "token": token}],
            "waits": ["other"],
            "tasks": ["t"],
        }
        assert (body["event"]["owner"], "lock" in body["event"]) == (A, False)
        assert (await wait).status_code == 409

    together(work)
    assert world("GET", "/v1/tasks/t").json()["state"] == "available"
    assert world("GET", "/v1/locks/other").json()["holders"][0]["token"] == other


def test_owner_that_has_more_than_one_entry_takes_is_told_all_of_it(world: World) -> None:
    count = OWNER_RELEASE_MAX + 3
    for n in range(0, count, TXN_OPERATIONS_MAX):
        names = range(n, min(count, n + TXN_OPERATIONS_MAX))
        world("POST", "/v1/txn", {"then": [{"op": "LOCK_ACQUIRE", "name": f"l{k}", **ask(A)} for k in names]})
    reply = world("POST", "/v1/owners/a%231/release").json()
    assert {lock["name"] for lock in reply["released"]["locks"]} == {f"l{k}" for k in range(count)}
    assert len(reply["released"]["locks"]) == count


def test_full_queue_is_429_with_its_length_and_limit(world: World) -> None:
    taken(world, A)

    async def fill() -> None:
        for n in range(WAITERS_MAX):
            header = Header(Actor("agent", "x"), "r", (LockAcquire("deploy/prod", f"w{n}", 1000, wait_ms=60_000),))
            await world.service.write(Draft(header, (None,)), timeout_ms=1)

    run(fill())
    reply = world("POST", LOCK + "/acquire", ask(B, wait_ms=5))
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (429, "too-many-requests")
    assert (problem["queue_length"], problem["limit"]) == (WAITERS_MAX, WAITERS_MAX)
    assert "retry-after" in reply.headers


def test_renewal_that_shares_its_entry_answers_with_its_own_event_and_actor(world: World) -> None:
    token = taken(world, A)
    zoe, mia = ({"Raftmem-Actor": f"user/{name}", "X-Request-Id": f"req-{name}"} for name in ("zoe", "mia"))

    async def together() -> tuple[httpx.Response, httpx.Response]:
        return await asyncio.gather(
            world.ask("POST", "/v1/locks/other/renew", {"owner": "z", "token": 1}, headers=zoe),
            world.ask("POST", LOCK + "/renew", {"owner": A, "token": token, "ttl_ms": 700}, headers=mia),
        )

    refused, reply = run(together())
    event = reply.json()["event"]
    assert (reply.status_code, event["seq"], event["outcome"]) == (200, 1, "applied")
    assert (event["actor"]["id"], event["request_id"]) == ("mia", "req-mia")
    theirs, mine = events(world, event["index"])
    assert (theirs["code"], theirs["request_id"]) == ("stale-token", "req-zoe")
    assert (mine["request_id"], mine["payload"]) == ("req-mia", {"owner": A, "token": token, "ttl_ms": 700})
    assert (refused.json()["code"], refused.headers["raftmem-index"]) == ("stale-token", str(event["index"]))
    lost = world("POST", LOCK + "/renew", {"owner": B, "token": 9}).json()
    assert (lost["code"], lost["current_token"], lost["instance"]) == ("stale-token", token, LOCK + "/renew")


def test_unknown_owner_has_nothing_to_release(world: World) -> None:
    reply = world("POST", "/v1/owners/nobody/release", {"actor": {"type": "user", "id": "mia"}})
    assert (reply.status_code, reply.json()["released"]) == (200, {"locks": [], "waits": [], "tasks": []})
    assert reply.json()["event"]["actor"]["id"] == "mia"


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_locks_are_listed_by_age_page_by_page(world: World, order: str) -> None:
    names = [f"{kind}/{n}" for n in range(4) for kind in ("a", "b")]
    for n, name in enumerate(names):
        world("POST", f"/v1/locks/{name}/acquire", ask(A if n % 4 == 0 else B))
    shown = names if order == "asc" else names[::-1]
    assert listed(world, f"/v1/locks?limit=3&order={order}") == shown
    assert listed(world, f"/v1/locks?limit=1&prefix=a/&order={order}") == [name for name in shown if name[0] == "a"]
    assert listed(world, f"/v1/locks?limit=1&owner=a%231&order={order}") == [n for n in shown if n in ("a/0", "a/2")]
    assert listed(world, "/v1/locks?owner=nobody") == []


def listed(world: World, query: str) -> list[str]:
    """All pages of a list."""
    names: list[str] = []
    cursor = ""
    while True:
        page = world("GET", query + cursor).json()
        names += [lock["name"] for lock in page["locks"]]
        if page["next_cursor"] is None:
            return names
        cursor = "&cursor=" + page["next_cursor"]


def test_list_goes_on_after_a_row_that_has_gone(world: World) -> None:
    tokens = [world("POST", f"/v1/locks/l{n}/acquire", ask(A)).json()["token"] for n in range(3)]
    page = world("GET", "/v1/locks?limit=1").json()
    world("POST", "/v1/locks/l0/release", {"owner": A, "token": tokens[0]})
    rest = world("GET", f"/v1/locks?limit=1&cursor={page['next_cursor']}").json()
    assert [lock["name"] for lock in rest["locks"]] == ["l1"]
    other = world("GET", f"/v1/locks?limit=2&cursor={page['next_cursor']}")
    assert (other.status_code, other.json()["parameter"]) == (400, "cursor")


def test_payload_of_a_lock_event_is_what_the_request_gave(world: World) -> None:
    token = taken(world, A, metadata={"host": "h"}, permits=2)
    world("POST", LOCK + "/renew", {"owner": A, "token": token, "ttl_ms": 900})
    world("POST", LOCK + "/release", {"owner": A, "token": token})
    acquired, renewed, released = (events(world, 101 + n)[0]["payload"] for n in range(3))
    assert acquired == {"owner": A, "ttl_ms": 10_000, "permits": 2, "metadata": {"host": "h"}}
    assert renewed == {"owner": A, "token": token, "ttl_ms": 900}
    assert released == {"owner": A, "token": token}


def test_a_place_that_is_kept_is_told_with_its_position(world: World) -> None:
    taken(world, A)
    kept = world("POST", LOCK + "/acquire", ask(B, wait_ms=1, keep_ms=5000))
    assert (kept.status_code, kept.json()["code"], kept.json()["queue_position"]) == (409, "lock-held", 1)
    assert "place 1 of the queue is kept for now" in kept.json()["detail"]
    left = world("POST", LOCK + "/acquire", ask(B, wait_ms=1))
    assert (left.status_code, left.json()["queue_position"], left.json()["queue_length"]) == (409, None, 0)


def test_wait_that_used_up_its_key_is_not_told_to_retry_with_it(world: World) -> None:
    token = taken(world, A)
    key = {"Idempotency-Key": "k"}
    plain = world("POST", LOCK + "/acquire", ask(C, wait_ms=1)).json()
    first = world("POST", LOCK + "/acquire", ask(B, wait_ms=1), headers=key).json()
    assert (plain["code"], plain["retryable"]) == ("lock-held", True)
    assert (first["code"], first["retryable"]) == ("lock-held", False)
    assert "another Idempotency-Key" in first["detail"]
    world("POST", LOCK + "/release", {"owner": A, "token": token})
    assert world("POST", LOCK + "/acquire", ask(B, wait_ms=1), headers=key).json()["code"] == "lock-held"
    other = world("POST", LOCK + "/acquire", ask(B, wait_ms=1), headers={"Idempotency-Key": "k2"})
    assert other.status_code == 200


def test_place_that_is_kept_under_a_key_may_be_asked_for_with_it(world: World) -> None:
    taken(world, A)
    key = {"Idempotency-Key": "k"}
    kept = world("POST", LOCK + "/acquire", ask(B, wait_ms=1, keep_ms=5000), headers=key).json()
    assert (kept["queue_position"], kept["retryable"]) == (1, True)
