"""Coroutines run up to their first wait, and what becomes of the rest."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import pytest

from raftmem.eager import run_eagerly

T = TypeVar("T")


def begin(work: Coroutine[object, None, T]) -> "asyncio.Task[T] | None":
    return run_eagerly(work, asyncio.get_running_loop())


def test_what_never_waits_is_done_at_once() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    async def run() -> None:
        assert begin(work()) is None
        assert done == [1]

    asyncio.run(run())


def test_what_fails_before_it_waits_raises_at_once() -> None:
    async def work() -> None:
        raise ValueError("at once")

    async def run() -> None:
        with pytest.raises(ValueError, match="at once"):
            begin(work())

    asyncio.run(run())


def test_what_waits_goes_on_in_a_task_with_all_that_a_task_offers() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        first: asyncio.Future[int] = loop.create_future()

        async def work() -> tuple[int, bool]:
            found = await first
            await asyncio.sleep(0)
            async with asyncio.timeout(60):
                return found, asyncio.current_task() is task

        task = begin(work())
        assert task is not None
        first.set_result(7)
        assert await task == (7, True)

    asyncio.run(run())


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_a_task_that_is_cancelled_tells_what_was_begun_however_early(turns: int) -> None:
    told: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            told.append("cancelled")
            await asyncio.sleep(0)
            told.append("cleaned up")
            raise

    async def run() -> None:
        task = begin(work())
        assert task is not None
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert told == ["cancelled", "cleaned up"]


def test_what_was_waited_for_may_fail() -> None:
    async def run() -> None:
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def work() -> str:
            try:
                await first
            except ValueError as error:
                return str(error)
            return ""

        task = begin(work())
        assert task is not None
        first.set_exception(ValueError("why"))
        assert await task == "why"

    asyncio.run(run())
