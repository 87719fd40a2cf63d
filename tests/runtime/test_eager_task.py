"""Coroutines run up to their first wait, and what becomes of the rest: parked for a promise, or in a task."""

import asyncio
from collections.abc import Coroutine

import pytest

from raftmem.runtime.eager_task import EagerTask, begin
from raftmem.runtime.promise import Deadline, Promise, TimedOut

FAR_MS = 60_000


class Ends:
    """What was said of coroutines that are over."""

    def __init__(self) -> None:
        self.errors: list[BaseException | None] = []
        self.last: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(self, _begun: EagerTask, error: BaseException | None) -> None:
        self.errors.append(error)
        self.last.set_result(None)

    def begin(self, work: Coroutine[object, None, None]) -> EagerTask | None:
        return begin(work, asyncio.get_running_loop(), self.tell)


def test_what_never_waits_is_done_at_once() -> None:
    async def run() -> None:
        ends, done = Ends(), list[int]()

        async def work() -> None:
            done.append(1)

        assert ends.begin(work()) is None
        assert (done, ends.errors) == ([1], [])

    asyncio.run(run())


def test_what_fails_before_it_waits_raises_at_once() -> None:
    async def work() -> None:
        raise ValueError("at once")

    async def run() -> None:
        ends = Ends()
        with pytest.raises(ValueError, match="at once"):
            ends.begin(work())
        assert ends.errors == []

    asyncio.run(run())


def test_who_waits_for_a_promise_is_in_no_task_and_goes_on_in_a_later_turn() -> None:
    async def run() -> None:
        ends, promise, seen = Ends(), Promise[int](), list[object]()

        async def work() -> None:
            for promised in (promise, second):
                seen.append(await promised.wait(Deadline(FAR_MS)))
                seen.append(asyncio.current_task())

        second: Promise[int] = Promise()
        tasks = asyncio.all_tasks()
        assert ends.begin(work()) is not None
        promise.resolve(7)
        assert seen == [], "whoever keeps a promise is not kept by those who wait for it"
        await asyncio.sleep(0)
        assert seen == [7, None]
        second.resolve(8)
        await ends.last
        assert (seen, ends.errors, asyncio.all_tasks()) == ([7, None, 8, None], [None], tasks)

    asyncio.run(run())


def test_what_waits_for_something_else_goes_on_in_a_task_with_all_that_a_task_offers() -> None:
    async def run() -> None:
        ends, promise, seen = Ends(), Promise[str](), list[object]()
        first: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            seen.append(await first)
            await asyncio.sleep(0)
            async with asyncio.timeout(60):
                seen.append(await promise.wait(Deadline(FAR_MS)))
                seen.append(asyncio.current_task() is not None)

        assert ends.begin(work()) is not None
        first.set_result(7)
        await asyncio.sleep(0)
        promise.resolve("kept")
        await ends.last
        assert (seen, ends.errors) == ([7, "kept", True], [None])

    asyncio.run(run())


def test_a_promise_and_then_a_future_and_then_a_promise() -> None:
    async def run() -> None:
        ends, one, other, seen = Ends(), Promise[int](), Promise[int](), list[int]()
        between: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            seen.append(await one.wait(Deadline(FAR_MS)))
            seen.append(await between)
            seen.append(await other.wait(Deadline(FAR_MS)))

        ends.begin(work())
        one.resolve(1)
        await asyncio.sleep(0)
        between.set_result(2)
        await asyncio.sleep(0)
        other.resolve(3)
        await ends.last
        assert (seen, ends.errors) == ([1, 2, 3], [None])

    asyncio.run(run())


@pytest.mark.parametrize("turns", [0, 1, 5])
@pytest.mark.parametrize("kind", ["promise", "future", "kept promise"])
def test_who_is_cancelled_is_told_however_early(turns: int, kind: str) -> None:
    told: list[str] = []

    async def run() -> None:
        ends, promise = Ends(), Promise[None]()

        async def work() -> None:
            try:
                if kind == "future":
                    await asyncio.get_running_loop().create_future()
                await promise.wait(Deadline(FAR_MS), on_timeout=lambda: told.append("forgotten"))
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                told.append("cancelled")
                await asyncio.sleep(0)
                told.append("cleaned up")
                raise

        begun = ends.begin(work())
        assert begun is not None
        if kind == "kept promise":
            promise.resolve(None)
        for _ in range(turns):
            await asyncio.sleep(0)
        begun.cancel()
        await ends.last
        promise.resolve(None)
        await asyncio.sleep(0)
        assert ends.errors == [None]

    asyncio.run(run())
    assert told == [*(["forgotten"] if kind == "promise" else []), "cancelled", "cleaned up"]


def test_a_cancelled_wait_that_goes_on_is_not_woken_by_what_it_waited_for_before() -> None:
    async def run() -> None:
        ends, one, other, seen = Ends(), Promise[int](), Promise[int](), list[int]()

        async def work() -> None:
            try:
                await one.wait(Deadline(FAR_MS))
            except asyncio.CancelledError:
                seen.append(await other.wait(Deadline(FAR_MS)))

        begun = ends.begin(work())
        assert begun is not None
        begun.cancel()
        await asyncio.sleep(0)
        one.resolve(1)
        await asyncio.sleep(0)
        assert (seen, ends.errors) == ([], [])
        other.resolve(2)
        await ends.last
        assert (seen, ends.errors) == ([2], [None])

    asyncio.run(run())


@pytest.mark.parametrize("waits_for", ["promise", "future"])
def test_what_fails_after_a_wait_is_told_to_its_owner(waits_for: str) -> None:
    async def run() -> None:
        ends, promise = Ends(), Promise[None]()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            await (promise.wait(Deadline(FAR_MS)) if waits_for == "promise" else future)
            raise ValueError("why")

        ends.begin(work())
        promise.resolve(None)
        future.set_result(None)
        await ends.last
        assert [str(error) for error in ends.errors] == ["why"]

    asyncio.run(run())


@pytest.mark.parametrize("timeout_ms", [0, 1, 1001])
@pytest.mark.parametrize("in_a_task", [False, True])
def test_a_promise_that_is_not_kept_in_time_is_forgotten(timeout_ms: int, in_a_task: bool) -> None:
    async def run() -> None:
        ends, promise, told = Ends(), Promise[int](), list[str]()

        async def work() -> None:
            with pytest.raises(TimedOut):
                await promise.wait(Deadline(timeout_ms), on_timeout=lambda: told.append("forgotten"))

        if in_a_task:
            await asyncio.create_task(work())
        else:
            ends.begin(work())
            await ends.last
        promise.resolve(1)
        assert told == ["forgotten"]

    asyncio.run(run())


def test_a_promise_that_is_kept_before_anybody_waits_is_had_at_once() -> None:
    async def run() -> None:
        ends, promise, seen = Ends(), Promise[int](), list[int]()
        promise.resolve(1)
        promise.resolve(2)

        async def work() -> None:
            seen.append(await promise.wait(Deadline(0)))

        assert ends.begin(work()) is None
        assert seen == [1]

    asyncio.run(run())
