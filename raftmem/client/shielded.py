"""Ends work that its caller may not cut off: a lock given back, a claim released, a connection closed.

The rule: a cancellation is never lost and never waited for longer than the bound. It is noticed, the work goes on for
`bound_s` seconds at most, and then it is raised. This holds for `task.cancel()`, `asyncio.timeout` and for a cancelled
scope of anyio, which would cancel each further await.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")


async def shielded(
    work: Coroutine[object, None, T],
    *,
    bound_s: float,
    sleep: Callable[[float], Awaitable[None]],
    at_once: bool = False,
) -> T | None:
    """The result of `work`; None: the bound was over first.

    `sleep`: of the client's clock. `at_once`: the caller is cut off already, so the bound counts from now.

    Raises: CancelledError after the end of the work, or after the bound; else what the work raises.
    """
    loop = asyncio.get_running_loop()
    working = loop.create_task(work, name="raftmem-client-shielded")
    cancelled: asyncio.CancelledError | None = None
    if not at_once:
        try:
            await asyncio.wait((working,))
        except asyncio.CancelledError as error:
            cancelled = error
    if not working.done():
        ended = loop.create_task(_within(working, bound_s, sleep), name="raftmem-client-shielded")
        cancelled = await _to_its_end(ended) or cancelled
    failure = None if working.cancelled() else working.exception()
    if cancelled is not None:
        raise cancelled
    if failure is not None:
        raise failure
    return None if working.cancelled() else working.result()


async def _within(working: asyncio.Task[T], bound_s: float, sleep: Callable[[float], Awaitable[None]]) -> None:
    """Wait for the work, and cut it off after the bound."""

    async def over() -> None:
        await sleep(bound_s)

    timer = asyncio.get_running_loop().create_task(over())
    await asyncio.wait((working, timer), return_when=asyncio.FIRST_COMPLETED)
    timer.cancel()
    working.cancel()
    await asyncio.wait((working, timer))


async def _to_its_end(ended: asyncio.Task[None]) -> asyncio.CancelledError | None:
    """Wait for `ended`, which is bounded -> the last cancellation of the caller meanwhile."""
    import anyio

    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not ended.done():
            try:
                await asyncio.wait((ended,))
            except asyncio.CancelledError as error:
                cancelled = error
    return cancelled
