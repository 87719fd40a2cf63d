"""The routes of tasks: what a worker is given and told, and what stands in the log of it."""

import asyncio

import pytest
from api_world import World, at_once, run

WORKER = "w#1"


@pytest.fixture
def world() -> World:
    return World()


def added(world: World, task: str, **more: object) -> None:
    reply = world("POST", "/v1/tasks", {"queue": "q", "id": task, **more})
    assert reply.status_code == 201, reply.text


def claimed(world: World, worker: str = WORKER, **more: object) -> list[dict[str, object]]:
    reply = world("POST", "/v1/tasks/claim", {"queues": ["q"], "worker": worker, "ttl_ms": 5000, **more})
    assert reply.status_code == 200, reply.text
    tasks: list[dict[str, object]] = reply.json()["tasks"]
    return tasks


def last_event(world: World) -> dict[str, object]:
    index = world.service.store.head().index
    event: dict[str, object] = world("GET", f"/v1/events/{index}").json()["events"][0]
    return event


def test_task_is_added_with_its_place_and_shown_whole(world: World) -> None:
    body = {"queue": "a/b", "payload": {"n": [1, None]}, "priority": -3, "unique_key": "u"}
    reply = world("POST", "/v1/tasks", body)
    task = reply.json()["task"]
    assert (reply.status_code, reply.headers["location"]) == (201, f"/v1/tasks/{task['id']}")
    assert (task["state"], task["payload"], task["priority"]) == ("available", {"n": [1, None]}, -3)
    assert (task["worker"], task["token"], task["remaining_ms"]) == (None, None, None)
    event = reply.json()["event"]
    assert (event["op"], event["task_ids"], event["token"]) == ("TASK_ADD", [task["id"]], None)
    assert "task_state" not in event
    assert world("GET", f"/v1/tasks/{task['id']}").json() == task
    assert last_event(world)["payload"] == body


def test_equal_unique_key_is_a_noop_with_that_task(world: World) -> None:
    added(world, "t", unique_key="u")
    reply = world("POST", "/v1/tasks", {"queue": "q", "unique_key": "u"})
    body = reply.json()
    assert (reply.status_code, body["task"]["id"], "location" in reply.headers) == (200, "t", False)
    assert (body["event"]["op"], body["event"]["requested_op"]) == ("NOOP", "TASK_ADD")


def test_id_that_is_taken_is_told_with_the_task(world: World) -> None:
    added(world, "t")
    problem = world("POST", "/v1/tasks", {"queue": "q", "id": "t"}).json()
    assert (problem["status"], problem["code"], problem["current"]["id"]) == (409, "already-exists", "t")


def test_cycle_of_dependencies_is_refused_with_its_path(world: World) -> None:
    added(world, "a", depends_on=["b"])
    reply = world("POST", "/v1/tasks", {"queue": "q", "id": "b", "depends_on": ["a"]})
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["path"]) == (409, "dependency-cycle", "b -> a -> b")
    assert world("GET", "/v1/tasks/b").status_code == 404
    itself = world("POST", "/v1/tasks", {"queue": "q", "id": "c", "depends_on": ["c"]}).json()
    assert (itself["code"], itself["path"]) == ("dependency-cycle", "c -> c")


def test_worker_completes_what_it_claimed(world: World) -> None:
    added(world, "t")
    (task,) = claimed(world)
    assert (task["worker"], task["attempt"], task["remaining_ms"]) == (WORKER, 1, 5000)
    reply = world("POST", "/v1/tasks/t/complete", {"token": task["token"], "result": {"ok": True}})
    done = reply.json()
    assert (done["task"]["state"], done["task"]["result"]) == ("completed", {"ok": True})
    assert (done["task"]["worker"], done["task"]["token"], done["task"]["remaining_ms"]) == (None, None, None)
    assert (done["event"]["token"], done["event"]["task_state"]) == (task["token"], "completed")
    assert last_event(world)["payload"] == {"token": task["token"], "result": {"ok": True}}


def test_worker_that_completes_after_its_claim_was_given_to_another_is_refused(world: World) -> None:
    added(world, "t")
    (first,) = claimed(world)
    world("POST", "/v1/owners/w%231/release")
    (second,) = claimed(world, "w#2")
    reply = world("POST", "/v1/tasks/t/complete", {"token": first["token"]})
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (409, "stale-token")
    assert problem["current_token"] == problem["current"]["token"] == second["token"]
    assert (problem["current"]["worker"], problem["current"]["state"]) == ("w#2", "claimed")
    refused = last_event(world)
    assert (refused["op"], refused["outcome"], refused["code"]) == ("TASK_COMPLETE", "refused", "stale-token")
    twice = world("POST", "/v1/tasks/t/complete", {"token": second["token"]})
    assert twice.status_code == 200
    again = world("POST", "/v1/tasks/t/complete", {"token": second["token"]}).json()
    assert (again["code"], again["current_token"], again["current"]["state"]) == ("stale-token", None, "completed")
    assert "it is completed now" in again["detail"]


def test_errors_are_kept_with_what_the_worker_said(world: World) -> None:
    added(world, "t", max_attempts=2)
    (task,) = claimed(world)
    body = {"token": task["token"], "error": {"exit": 3}, "delay_ms": 0}
    failed = world("POST", "/v1/tasks/t/fail", body).json()["task"]
    assert failed["state"] == "available"
    error = {"attempt": 1, "worker": WORKER, "code": "failed", "error": {"exit": 3}, "index": 103}
    assert failed["errors"] == [{**error, "time": "2026-11-20T09:00:02.120Z"}]
    (task,) = claimed(world)
    dead = world("POST", "/v1/tasks/t/fail", {"token": task["token"]}).json()["task"]
    assert (dead["state"], [one["error"] for one in dead["errors"]]) == ("dead", [{"exit": 3}, None])
    retried = world("POST", "/v1/tasks/t/retry").json()["task"]
    assert (retried["state"], retried["attempt"], len(retried["errors"])) == ("available", 0, 2)


def test_heartbeat_says_what_remains_and_whether_to_stop(world: World) -> None:
    added(world, "t")
    (task,) = claimed(world)
    beat = world("POST", "/v1/tasks/t/heartbeat", {"token": task["token"], "ttl_ms": 900}).json()
    assert list(beat) == ["cancel_requested", "remaining_ms", "event"]
    assert (beat["cancel_requested"], beat["remaining_ms"]) == (False, 900)
    asked = world("POST", "/v1/tasks/t/cancel").json()
    assert (asked["task"]["state"], asked["event"]["task_state"]) == ("claimed", "claimed")
    assert world("POST", "/v1/tasks/t/heartbeat", {"token": task["token"]}).json()["cancel_requested"] is True
    given_back = world("POST", "/v1/tasks/t/release", {"token": task["token"]}).json()["task"]
    assert given_back["state"] == "cancelled"


@pytest.mark.parametrize("verb", ["heartbeat", "complete", "fail", "release"])
def test_task_that_is_not_there_is_404(world: World, verb: str) -> None:
    reply = world("POST", f"/v1/tasks/never/{verb}", {"token": 1})
    assert (reply.status_code, reply.json()["code"], reply.json()["current"]) == (404, "not-found", None)
    assert world("GET", "/v1/tasks/never").status_code == 404


def test_retry_of_a_task_that_runs_is_wrong_state_with_the_task(world: World) -> None:
    added(world, "t")
    claimed(world)
    problem = world("POST", "/v1/tasks/t/retry").json()
    assert (problem["status"], problem["code"], problem["current"]["state"]) == (409, "wrong-state", "claimed")


def test_task_in_the_wrong_state_is_told_with_what_would_help(world: World) -> None:
    added(world, "a")
    added(world, "b", depends_on=["a"])
    world("POST", "/v1/tasks/a/cancel")

    def detail(task: str, verb: str) -> str:
        problem = world("POST", f"/v1/tasks/{task}/{verb}").json()
        assert (problem["status"], problem["code"]) == (409, "wrong-state")
        return str(problem["detail"])

    assert detail("b", "retry") == "task b is cancelled and depends on a, which is cancelled: retry that one first"
    world("POST", "/v1/tasks/a/retry")
    assert detail("a", "retry").startswith("task a is available; only dead, cancelled and scheduled ones are retried")
    (task,) = claimed(world)
    world("POST", "/v1/tasks/a/complete", {"token": task["token"]})
    assert detail("a", "cancel") == "task a is completed: there is nothing left to cancel"


def test_waiting_claim_is_given_the_task_that_comes(world: World) -> None:
    async def work() -> None:
        body = {"queues": ["q", "other"], "worker": WORKER, "ttl_ms": 1000, "wait_ms": 30_000}
        wait = asyncio.ensure_future(world.ask("POST", "/v1/tasks/claim", body))
        await asyncio.sleep(0)
        before = world.service.store.head().index
        with at_once():
            await world.ask("POST", "/v1/tasks", {"queue": "q", "id": "t"})
            reply = await wait
        assert [task["id"] for task in reply.json()["tasks"]] == ["t"]
        assert int(reply.headers["raftmem-index"]) == before + 2

    run(work())


def test_replayed_claim_shows_what_remains_of_it_now(world: World) -> None:
    added(world, "t")
    body, key = {"queues": ["q"], "worker": WORKER, "ttl_ms": 5000}, {"Idempotency-Key": "k"}
    first = world("POST", "/v1/tasks/claim", body, headers=key).json()["tasks"][0]
    world.skip(1)
    again = world("POST", "/v1/tasks/claim", body, headers=key)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["tasks"] == [{**first, "remaining_ms": 4000}]
    world("POST", "/v1/tasks/t/complete", {"token": first["token"]})
    assert world("POST", "/v1/tasks/claim", body, headers=key).json()["tasks"] == [{**first, "remaining_ms": 0}]


def test_tasks_are_listed_by_queue_state_and_worker(world: World) -> None:
    for n in range(4):
        added(world, f"t{n}", queue="q" if n % 2 == 0 else "p")
    claimed(world, max=1)

    def ids(query: str) -> list[str]:
        return [task["id"] for task in world("GET", "/v1/tasks?" + query).json()["tasks"]]

    assert ids("") == ["t0", "t1", "t2", "t3"]
    assert ids("order=desc") == ["t3", "t2", "t1", "t0"]
    assert ids("queue=q") == ["t0", "t2"]
    assert ids("queue=q&order=desc") == ["t2", "t0"]
    assert ids("state=claimed") == ["t0"]
    assert ids("worker=w%231") == ["t0"]
    assert ids("worker=w%231&queue=p") == []
    page = world("GET", "/v1/tasks?state=available&limit=2").json()
    assert [task["id"] for task in page["tasks"]] == ["t1", "t2"]
    assert ids(f"state=available&limit=2&cursor={page['next_cursor']}") == ["t3"]


def test_payload_of_task_events_is_what_the_requests_gave(world: World) -> None:
    given = {"queue": "q", "id": "t", "backoff": {"initial_ms": 5, "factor": 1.5, "max_ms": 50}, "depends_on": ["u"]}
    world("POST", "/v1/tasks", given)
    assert last_event(world)["payload"] == given
    added(world, "u")
    (task,) = claimed(world, max=7)
    claim = {"queues": ["q"], "worker": WORKER, "ttl_ms": 5000, "max": 7}
    assert last_event(world)["payload"] == claim
    failure = {"token": task["token"], "retryable": False, "delay_ms": 3, "error": "no"}
    world("POST", "/v1/tasks/u/fail", failure)
    index = world.service.store.head().index
    failed, cancelled = world("GET", f"/v1/events/{index}").json()["events"]
    assert failed["payload"] == failure
    assert (cancelled["op"], cancelled["task_ids"], cancelled["payload"]) == ("TASK_CANCEL", ["t"], {})
