"""Ends work that its caller may not cut off: a lock given back, a claim released, a connection closed.

The rule: a cancellation is never lost and never waited for longer than the bound. It is noticed, the work goes on for
`bound_s` seconds at most, and then it is raised. This holds for `task.cancel()`, `asyncio.timeout` and for a cancelled
scope of anyio, which would cancel each further await.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, TypeVar

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
_NAME: Final = "raftmem-client-shielded"


async def shielded(work: Coroutine[object, None, T], *, bound_s: float, sleep: Sleep) -> T:
    """The result of `work`. `sleep`: of the client's clock.

    Raises: CancelledError after the end of the work, or after the bound; else what the work raises.
    """
    working = asyncio.get_running_loop().create_task(work, name=_NAME)
    try:
        await asyncio.wait((working,))
    except asyncio.CancelledError as cancelled:
        await _to_its_end(working, bound_s, sleep)
        raise cancelled from None
    return working.result()


async def bounded(work: Coroutine[object, None, None], *, bound_s: float, sleep: Sleep) -> None:
    """Do `work` for a caller that is cut off already: the bound counts from now, and its end is silent.

    Raises: CancelledError, if the caller is cancelled once more, after the end of the work; else what the work raises.
    """
    working = asyncio.get_running_loop().create_task(work, name=_NAME)
    cancelled = await _to_its_end(working, bound_s, sleep)
    if cancelled is not None:
        raise cancelled
    if not working.cancelled():
        working.result()


async def _to_its_end(working: asyncio.Task[T], bound_s: float, sleep: Sleep) -> asyncio.CancelledError | None:
    """Wait for the work, and cut it off after the bound -> the last cancellation of the caller meanwhile."""
    import anyio

    ending = asyncio.get_running_loop().create_task(_within(working, bound_s, sleep), name=_NAME)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not ending.done():
            try:
                await asyncio.wait((ending,))
            except asyncio.CancelledError as error:
                cancelled = error
    if not working.cancelled():
        working.exception()  # looked at: the cancellation goes before it
    return cancelled


async def _within(working: asyncio.Task[T], bound_s: float, sleep: Sleep) -> None:
    async def over() -> None:
        await sleep(bound_s)

    timer = asyncio.get_running_loop().create_task(over(), name=_NAME)
    await asyncio.wait((working, timer), return_when=asyncio.FIRST_COMPLETED)
    timer.cancel()
    working.cancel()
    await asyncio.wait((working, timer))
