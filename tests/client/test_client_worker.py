"""A worker: what it tells of each task, how it keeps its claims, and what it leaves behind when it stops."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest
from client_world import URLS, Asked, Dice, OwnedAsyncTime, OwnedTime, Replicas, answer, event, problem

from raftmem.client import (
    AsyncFlag,
    AsyncRaftmemClient,
    AsyncWorker,
    BadRequest,
    BlockingFlag,
    Counts,
    Job,
    NonRetryable,
    RaftmemClient,
    Retry,
    TaskCancelled,
)

TTL = 30.0


def task(id: str, token: int, **fields: object) -> dict[str, object]:
    shown = {"id": id, "queue": "q", "state": "claimed", "payload": {"n": 1}, "priority": 0, "attempt": 1}
    claim = {"max_attempts": 25, "worker": "w", "token": token, "remaining_ms": 30000, "result": None, "errors": []}
    return {**shown, **claim, "depends_on": [], "created_index": 1, "updated_index": token, **fields}


@dataclass
class TaskService:
    """Gives out the tasks it has, once each; remembers what it is told of them; waits as long as it is asked to.

    `idle`: called when a claim finds nothing, with how long it was to wait.
    """

    waiting: list[dict[str, object]]
    idle: Callable[[float], None]
    told: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    lose_next: int = 0
    refuse: dict[str, httpx.Response] = field(default_factory=dict)
    claims: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> httpx.Response | Exception:
        if asked.path == "/v1/tasks/claim":
            return self._claim(asked)
        id, verb = asked.path.removeprefix("/v1/tasks/").split("/")
        if id in self.stale:
            return problem(409, "stale-token", current_token=99)
        if verb == "heartbeat":
            self.told.append((verb, id, asked.body))
            return answer({"cancel_requested": id in self.cancelled, "remaining_ms": 30000, "event": None})
        if verb in self.refuse:
            return self.refuse.pop(verb)
        self.told.append((verb, id, asked.body))
        return answer({"task": task(id, 5), "event": event("TASK")})

    def _claim(self, asked: Asked) -> httpx.Response | Exception:
        assert asked.key is not None
        if asked.key not in self.claims:
            count = asked.body["max"]
            found, self.waiting = self.waiting[:count], self.waiting[count:]
            if not found:
                self.idle(asked.body.get("wait_ms", 0) / 1000)
                return answer({"tasks": [], "event": None})
            self.claims[asked.key] = found
        if self.lose_next:
            self.lose_next -= 1
            return httpx.ReadError("reset")
        return answer({"tasks": self.claims[asked.key], "event": event("TASK_CLAIM")})

    def ends(self) -> list[tuple[str, str]]:
        return [(verb, id) for verb, id, _ in self.told if verb != "heartbeat"]


class World:
    """One worker on asyncio; it stops by itself when there is nothing left to claim and nothing runs."""

    def __init__(self, *tasks: dict[str, object]) -> None:
        self.time = OwnedAsyncTime()
        self.service = TaskService(list(tasks), self._idle)
        self.replicas = Replicas(self.service)
        self.client = AsyncRaftmemClient(URLS, transport=self.replicas, time=self.time, randomness=Dice())
        self.worker: AsyncWorker | None = None

    def _idle(self, _seconds: float) -> None:
        assert self.worker is not None
        self.worker.stop()

    def run(self, handler: Callable[[Job[AsyncFlag]], object], *, concurrency: int = 1, grace: float = 30.0) -> Counts:
        async def handle(job: Job[AsyncFlag]) -> object:
            result = handler(job)
            return await result if asyncio.iscoroutine(result) else result

        async def whole() -> Counts:
            self.worker = self.client.tasks.worker(["q"], handle, concurrency, TTL, grace=grace)
            running = asyncio.ensure_future(self.worker.run())
            while not running.done():
                await self.time.advance(0.25)
            await self.client.close()
            return await running

        return asyncio.run(whole())

    def told(self, verb: str) -> dict[str, object]:
        return next(body for found, _, body in self.service.told if found == verb)


# --- what it tells ------------------------------------------------------------------------------------
def test_result_completes_each_task_once() -> None:
    world = World(task("a", 10), task("b", 10), task("c", 12))
    counts = world.run(lambda job: {"was": job.payload}, concurrency=2)
    assert sorted(world.service.ends()) == [("complete", "a"), ("complete", "b"), ("complete", "c")]
    assert world.told("complete") == {"token": 10, "result": {"was": {"n": 1}}}
    assert (counts.claimed, counts.completed) == (3, 3)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (KeyError("k"), {"error": {"type": "KeyError", "message": "'k'"}, "retryable": True}),
        (Retry(1.5, "later"), {"error": {"type": "Retry", "message": "later"}, "retryable": True, "delay_ms": 1500}),
        (NonRetryable("no"), {"error": {"type": "NonRetryable", "message": "no"}, "retryable": False}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exception_fails_the_task_as_it_says(raised: Exception, told: dict[str, object]) -> None:
    def handler(_job: Job[AsyncFlag]) -> object:
        raise raised

    world = World(task("a", 10))
    counts = world.run(handler)
    assert world.told("fail") == {"token": 10, **told}
    assert counts.failed == 1


@pytest.mark.parametrize("result", [{1, 2}, object(), float])
def test_result_that_is_no_json_fails_for_good(result: object) -> None:
    world = World(task("a", 10))
    world.run(lambda _job: result if not isinstance(result, set) else {"x": object()})
    assert world.told("fail")["retryable"] is False


def test_result_that_is_too_large_fails_for_good() -> None:
    world = World(task("a", 10))
    world.service.refuse["complete"] = problem(413, "too-large")
    world.run(lambda _job: "x")
    assert world.service.ends() == [("fail", "a")]
    assert world.told("fail")["retryable"] is False


# --- claims -----------------------------------------------------------------------------------------
def test_claim_whose_reply_was_lost_is_asked_for_again_in_the_same_words_and_nothing_is_forgotten() -> None:
    world = World(task("a", 10))
    world.service.lose_next = 300  # more than one call tries
    world.run(lambda _job: None)
    claims = [(one.key, one.body) for one in world.replicas.asked if one.path == "/v1/tasks/claim"]
    assert all(claim == claims[0] for claim in claims[:301])
    assert world.service.ends() == [("complete", "a")]


def test_handler_that_takes_long_keeps_its_claim_by_heartbeats() -> None:
    async def handler(job: Job[AsyncFlag]) -> None:
        await world.time.sleep(2 * TTL)
        job.check()

    world = World(task("a", 10))
    world.run(handler)
    beats = [body for verb, _, body in world.service.told if verb == "heartbeat"]
    assert beats == [{"token": 10, "ttl_ms": 30000}] * 5
    assert world.service.ends() == [("complete", "a")]


def test_result_of_a_claim_that_went_to_another_is_not_sent() -> None:
    async def handler(job: Job[AsyncFlag]) -> str:
        world.service.stale.add("a")
        await job.lost.wait()
        return "too late"

    world = World(task("a", 10))
    counts = world.run(handler)
    assert [one.path for one in world.replicas.asked if one.path.endswith("complete")] == []
    assert (counts.lost, counts.completed) == (1, 0)


def test_completion_that_is_refused_as_stale_is_swallowed_and_counted() -> None:
    world = World(task("a", 10), task("b", 11))
    world.service.stale.add("a")
    counts = world.run(lambda _job: None)
    assert (counts.lost, counts.completed) == (1, 1)
    assert world.service.ends() == [("complete", "b")]


@pytest.mark.parametrize("lost", [False, True])
def test_claim_that_came_late_is_renewed_before_its_handler_begins_if_it_still_can_be(lost: bool) -> None:
    world = World(task("a", 10))
    real = world.service

    def late(asked: Asked) -> httpx.Response | Exception:
        came = real(asked)
        if asked.path == "/v1/tasks/claim" and not world.time.now() > 1011:
            world.time.jump(11.0)
            real.stale |= {"a"} if lost else set()
        return came

    world.replicas.script = late
    begun: list[list[str]] = []
    counts = world.run(lambda _job: begun.append([verb for verb, _, _ in real.told]))
    assert begun == ([] if lost else [["heartbeat"]])
    assert counts.lost == int(lost)


def test_cancelled_task_is_told_to_its_handler_and_given_back() -> None:
    async def handler(job: Job[AsyncFlag]) -> None:
        world.service.cancelled.add("a")
        await job.cancelled.wait()
        with pytest.raises(TaskCancelled):
            job.check()
        job.check()

    world = World(task("a", 10))
    counts = world.run(handler)
    assert world.service.ends() == [("release", "a")]
    assert counts.released == 1


# --- stopping ---------------------------------------------------------------------------------------
def test_stopped_worker_waits_for_what_runs_within_its_grace() -> None:
    async def handler(_job: Job[AsyncFlag]) -> str:
        assert world.worker is not None
        world.worker.stop()
        await world.time.sleep(9.0)
        return "done"

    world = World(task("a", 10), task("b", 11))
    world.run(handler, grace=10.0)
    assert world.service.ends() == [("complete", "a")]
    assert world.service.waiting == [task("b", 11)]


def test_stopped_worker_gives_back_what_outlasts_its_grace() -> None:
    seen: list[bool] = []

    async def handler(job: Job[AsyncFlag]) -> str:
        assert world.worker is not None
        world.worker.stop()
        await world.time.sleep(5.0)
        seen.append(job.lost.is_set())
        return "too late"

    world = World(task("a", 10))
    counts = world.run(handler, grace=3.0)
    assert world.service.ends() == [("release", "a")]
    assert (counts.released, counts.completed, counts.lost) == (1, 0, 0)


def test_claim_that_can_never_succeed_ends_the_worker_aloud() -> None:
    world = World()
    world.replicas.script = lambda _asked: problem(400, "invalid-request", parameter="ttl_ms")
    with pytest.raises(BadRequest) as caught:
        world.run(lambda _job: None)
    assert caught.value.parameter == "ttl_ms"


# --- on threads ---------------------------------------------------------------------------------------
class Threads:
    def __init__(self, *tasks: dict[str, object]) -> None:
        self.time = OwnedTime(jumps=True)
        self.service = TaskService(list(tasks), lambda _seconds: self.idle())
        self.replicas = Replicas(self.service)
        self.client = RaftmemClient(URLS, transport=self.replicas, time=self.time, randomness=Dice())
        self.idle: Callable[[], None] = lambda: None


def test_threads_run_handlers_side_by_side() -> None:
    world = Threads(task("a", 10), task("b", 10))
    both = threading.Barrier(2)

    def handler(job: Job[BlockingFlag]) -> str:
        both.wait(20)
        return job.id

    worker = world.client.tasks.worker(["q"], handler, concurrency=2, ttl=TTL)
    world.idle = worker.stop
    with worker:
        world.time.until(lambda: worker.counts.completed == 2, "both are completed")
    assert sorted(world.service.ends()) == [("complete", "a"), ("complete", "b")]
    world.client.close()


def test_handler_that_ends_its_thread_fails_its_task_and_keeps_no_claim() -> None:
    world = Threads(task("a", 10))

    def handler(_job: Job[BlockingFlag]) -> None:
        raise SystemExit(1)

    worker = world.client.tasks.worker(["q"], handler, ttl=TTL)
    world.idle = worker.stop
    with worker:
        world.time.until(lambda: worker.counts.failed == 1, "it is told")
    assert world.service.ends() == [("fail", "a")]
    world.client.close()


def test_sigterm_drains_and_the_handlers_of_before_are_put_back() -> None:
    world = Threads(task("a", 10))
    before = signal.getsignal(signal.SIGTERM)

    def handler(_job: Job[BlockingFlag]) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return "done"

    worker = world.client.tasks.worker(["q"], handler, ttl=TTL, install_signals=True)
    counts = worker.run()
    assert counts.completed == 1
    assert signal.getsignal(signal.SIGTERM) is before
    world.client.close()
