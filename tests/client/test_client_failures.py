"""A handler that fails in whatever way: a counted failure that the service is told, and a free slot."""

import asyncio
import datetime
import logging
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from client_world import URLS, Dice, Replicas, ending, problem
from test_client_worker import TTL, TaskService, Threads, World, task

from raftmem.client import (
    AsyncFlag,
    AsyncRaftmemClient,
    BlockingFlag,
    Job,
    LeaseLost,
    NonRetryable,
    RaftmemClient,
    Retry,
    TaskCancelled,
)
from raftmem.client.failure import Failure, GivenBack, end_of

LOG = logging.getLogger("raftmem.client")
UNDECODABLE = os.fsdecode(b"caf\xe9.txt")


@pytest.fixture(autouse=True)
def tracebacks_of_their_own() -> Iterator[None]:
    """They are written, but not into the report of a test run: text that is no UTF-8 cannot be sent there."""

    def kept(record: logging.LogRecord) -> bool:
        return not (record.exc_info and logging.Formatter().format(record))

    LOG.addFilter(kept)
    yield
    LOG.removeFilter(kept)


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class ExitText(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class OddText(str):
    def __getitem__(self, _at: object) -> str:
        raise RuntimeError("no slices")

    def encode(self, *_words: object, **_more: object) -> bytes:
        raise RuntimeError("no bytes")


class Subclassed(str):
    __slots__ = ()


class TextOfAKind(Exception):
    def __str__(self) -> str:
        return OddText("odd")


class OwnRetry(Retry):
    def __init__(self) -> None:
        """The base is not asked, so there is no delay."""


class NoDelay(Retry):
    @property
    def delay(self) -> float:  # type: ignore[override]  # the fault that is meant
        raise RuntimeError("no delay")

    @delay.setter
    def delay(self, value: object) -> None:
        pass


class Base(BaseException):
    pass


def changed(delay: object) -> Retry:
    error = Retry(1.0)
    error.delay = delay  # type: ignore[assignment]  # the fault that is meant
    return error


FAILURES: list[BaseException] = [
    NoText(),
    ExitText(),
    TextOfAKind(),
    OwnRetry(),
    NoDelay(),
    Base("base"),
    SystemExit(1),
    BaseExceptionGroup("both", [NoText(), Base(UNDECODABLE)]),
    ValueError(UNDECODABLE),
    ValueError("x" * 10_000_000),
    ValueError("\0" * 5_000 + "\U0001f600" * 5_000),
    UnicodeEncodeError("utf-8", UNDECODABLE, 3, 4, "surrogates not allowed"),
    StopAsyncIteration("odd"),
    changed(float("nan")),
    changed("later"),
    changed(datetime.timedelta(seconds=1)),
    changed(-1.0),
    changed(True),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_any_exception_is_a_failure_that_can_be_told(error: BaseException) -> None:
    def handler(_job: Job[AsyncFlag]) -> object:
        raise error

    world = World(task("a", 10), task("b", 11))
    counts = world.run(handler)
    assert world.service.ends() == [("fail", "a"), ("fail", "b")]
    assert (counts.claimed, counts.failed, counts.unknown) == (2, 2, 0)
    told = world.told("fail")
    assert told["retryable"] is True
    assert "delay_ms" not in told
    assert len(str(told["error"]).encode()) < 4096


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_any_exception_on_a_thread_is_a_failure_that_can_be_told(error: BaseException) -> None:
    def handler(_job: Job[BlockingFlag]) -> None:
        raise error

    world = Threads(task("a", 10), task("b", 11))
    worker = world.client.tasks.worker(["q"], handler, ttl=TTL)
    world.idle = worker.stop
    with worker:
        world.time.until(lambda: worker.counts.failed == 2, "both are told")
    assert world.service.ends() == [("fail", "a"), ("fail", "b")]
    world.client.close()


@pytest.mark.parametrize(
    "error",
    [
        NonRetryable("cannot read " + UNDECODABLE),
        NonRetryable(NoText()),
        ExceptionGroup("of a task group", [ValueError("x"), NonRetryable("no")]),
        BaseExceptionGroup("deep", [ExceptionGroup("in it", [NonRetryable("no")])]),
    ],
    ids=lambda error: type(error.args[-1]).__name__,
)
def test_failure_that_no_attempt_would_mend_is_told_as_such(error: BaseException) -> None:
    end = end_of(error, is_over=False)
    assert isinstance(end, Failure)
    assert end.retryable is False


def test_group_of_retries_asks_for_the_longest_delay() -> None:
    end = end_of(ExceptionGroup("both", [Retry(2.0), Retry(5.0), Retry()]), is_over=False)
    assert isinstance(end, Failure)
    assert (end.retryable, end.delay) == (True, 5.0)


def test_group_says_what_is_in_it() -> None:
    end = end_of(ExceptionGroup("both", [ValueError("one"), KeyError("two")]), is_over=False)
    assert isinstance(end, Failure)
    assert end.error == {
        "type": "ExceptionGroup",
        "message": "both (2 sub-exceptions): ValueError: one; KeyError: 'two'",
    }


@pytest.mark.parametrize("is_over", [True, False])
def test_group_of_ended_claims_is_given_back_only_if_the_claim_is_over(is_over: bool) -> None:
    end = end_of(ExceptionGroup("both", [TaskCancelled("a"), LeaseLost("a", 1, "r")]), is_over=is_over)
    assert isinstance(end, GivenBack) is is_over


@pytest.mark.parametrize("delay", [datetime.timedelta(seconds=1), "later", True, [1], float])
def test_retry_with_a_delay_of_a_wrong_type_is_refused_where_it_is_made(delay: float) -> None:
    with pytest.raises(TypeError, match="seconds as a number"):
        Retry(delay)


@pytest.mark.parametrize("delay", [float("inf"), float("nan"), -1, -0.5])
def test_retry_with_a_delay_that_is_no_time_is_refused_where_it_is_made(delay: float) -> None:
    with pytest.raises(ValueError, match="finite seconds"):
        Retry(delay)


def test_failure_that_the_service_refuses_is_told_without_what_it_refuses() -> None:
    def handler(_job: Job[AsyncFlag]) -> object:
        raise Retry(1e9, "far too late")

    world = World(task("a", 10))
    world.service.refuse["fail"] = problem(400, "invalid-request", parameter="delay_ms")
    counts = world.run(handler)
    told = world.told("fail")
    assert (told["retryable"], "delay_ms" in told, counts.failed) == (True, False, 1)
    assert "far too late" in str(told["error"])
    assert "invalid-request" in str(told["error"])


# --- cancellation -----------------------------------------------------------------------------------
async def cut_off_below(_job: Job[AsyncFlag]) -> None:
    below = asyncio.create_task(asyncio.sleep(10))
    below.cancel()
    await below


async def cuts_itself_off(_job: Job[AsyncFlag]) -> None:
    me = asyncio.current_task()
    assert me is not None
    me.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize("handler", [cut_off_below, cuts_itself_off])
def test_cancellation_that_is_not_the_workers_own_is_a_failed_attempt(
    handler: Callable[[Job[AsyncFlag]], object],
) -> None:
    world = World(task("a", 10), task("b", 11))
    counts = world.run(handler)
    assert world.service.ends() == [("fail", "a"), ("fail", "b")]
    assert (counts.failed, counts.released) == (2, 0)
    assert world.told("fail")["error"] == {
        "type": "CancelledError",
        "message": "something that the handler awaited was cancelled",
    }


def test_interrupt_in_a_handler_is_told_and_stops_the_worker() -> None:
    def handler(_job: Job[AsyncFlag]) -> object:
        raise KeyboardInterrupt

    world = World(task("a", 10), task("b", 11))
    with ending(KeyboardInterrupt):
        world.run(handler)
    assert world.service.ends() == [("fail", "a")]
    assert world.service.waiting == [task("b", 11)]


# --- handlers of the wrong kind -----------------------------------------------------------------------
def test_blocking_handler_of_an_async_worker_is_told_to_be_one() -> None:
    async def play() -> None:
        world = World(task("a", 10))
        world.worker = world.client.tasks.worker(["q"], lambda _job: "done", ttl=TTL)  # type: ignore[arg-type, return-value]  # the fault that is meant
        running = asyncio.ensure_future(world.worker.run())
        while not running.done():
            await world.time.advance(0.25)
        assert "async def" in str(world.told("fail")["error"])
        await world.client.close()

    asyncio.run(play())


def test_coroutine_handler_of_a_worker_on_threads_is_refused_at_once() -> None:
    async def handler(_job: Job[BlockingFlag]) -> None: ...

    client = RaftmemClient(URLS, transport=Replicas(lambda _asked: problem(500, "x")))
    with pytest.raises(TypeError, match="AsyncRaftmemClient"):
        client.tasks.worker(["q"], handler)


class Said(logging.Handler):
    """Tells when a log line comes that has some words in it."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.lines: list[str] = []
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.lines.append(record.getMessage())
            self.came.set()


def test_handler_that_blocks_the_loop_is_named_while_it_does() -> None:
    said = Said("stood still")
    LOG.addHandler(said)

    async def handler(_job: Job[AsyncFlag]) -> bool:
        return said.came.wait(20)  # ends when it is said

    async def play() -> None:
        service = TaskService([task("a", 10)], lambda _seconds: worker.stop())
        client = AsyncRaftmemClient(URLS, transport=Replicas(service), randomness=Dice())
        worker = client.tasks.worker(["q"], handler, ttl=0.3, poll=0.0)
        counts = await worker.run()
        assert counts.blocked == 1
        await client.close()

    asyncio.run(play())
    LOG.removeHandler(said)
    assert said.came.is_set()
    assert "tasks a in hand" in said.lines[0]
    assert "threading.py" in said.lines[0]
