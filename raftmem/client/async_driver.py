"""Performs the effects of programs on asyncio. It makes no decision.

The rule: connections and background tasks belong to the event loop that they were begun on; each loop has its own.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Protocol, TypeVar, assert_never, runtime_checkable

import httpx

from raftmem.client.config import boottime, failed, header_bytes, timeouts
from raftmem.client.effects import (
    Effect,
    Failed,
    Flag,
    Open,
    Outcome,
    Pause,
    Program,
    Read,
    Reply,
    Request,
    Rest,
    Send,
    Shut,
)
from raftmem.client.per_loop import PerLoop
from raftmem.client.shielded import bounded, shielded

T = TypeVar("T")


@runtime_checkable
class AsyncFlag(Flag, Protocol):
    """A flag like asyncio.Event, with a timeout."""

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is raised, for `timeout` seconds at most. True: it is raised."""
        ...


class AsyncTime(Protocol):
    """The clock and the waits by it. They come from outside, so a test can own them."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def flag(self) -> AsyncFlag: ...


class LoopFlag:
    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event.clear()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self, timeout: float | None = None) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return self._event.is_set()
        return True


class SystemAsyncTime:
    def now(self) -> float:
        return boottime()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def flag(self) -> AsyncFlag:
        return LoopFlag()


class AsyncStream:
    """One reply at a time, read while it comes."""

    def __init__(self) -> None:
        self.response: httpx.Response | None = None
        self.chunks: AsyncIterator[bytes] | None = None

    async def shut(self) -> None:
        if self.response is not None:
            response, self.response, self.chunks = self.response, None, None
            await response.aclose()


class _Loop:
    """The connections and background tasks of one event loop."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.tasks: set[asyncio.Task[None]] = set()


class AsyncDriver:
    """Any loop may run a program here. `connect`: makes the connections of one loop."""

    def __init__(self, connect: Callable[[], httpx.AsyncClient], clock: AsyncTime) -> None:
        self._loops = PerLoop(lambda: _Loop(connect()))
        self._closed = False
        self.clock = clock

    @property
    def _here(self) -> _Loop:
        if self._closed:
            raise RuntimeError("this client is closed; make another one, or enter it again")
        return self._loops.here

    def flag(self) -> AsyncFlag:
        return self.clock.flag()

    def spawn(self, program: Program[None]) -> None:
        self._begin(self.run(program), "raftmem-client")

    def call(self, callback: Callable[[], object]) -> None:
        """A callback that is a coroutine function is awaited."""

        async def called() -> None:
            result = callback()
            if inspect.isawaitable(result):
                await result

        self._begin(called(), "raftmem-client-callback")

    def _begin(self, work: Coroutine[object, None, None], name: str) -> None:
        tasks = self._here.tasks
        task = asyncio.get_running_loop().create_task(work, name=name)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def open(self) -> None:
        """A closed one can be used again."""
        self._closed = False

    async def close(self) -> None:
        """End what runs in the background, and close the connections; those of another loop end on that loop."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, one in self._loops.taken().items():
            if loop is here:
                await _closed(one)
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(_closed(one), loop)

    async def finish(self, program: Program[T], bound_s: float) -> T:
        """As `run`, but a cancellation of the caller waits for its end, for `bound_s` seconds at most."""
        return await shielded(self.run(program), bound_s=bound_s, sleep=self.clock.sleep)

    async def finish_cut_off(self, program: Program[None], bound_s: float, error: BaseException | None) -> None:
        """As `finish`, of a caller that `error` ends: if that is no ordinary error, the bound counts from now."""
        if error is None or isinstance(error, Exception):
            await self.finish(program, bound_s)
        else:
            await bounded(self.run(program), bound_s=bound_s, sleep=self.clock.sleep)

    async def run(self, program: Program[T]) -> T:
        outcome: Outcome = None
        try:
            while True:
                effect = program.send(outcome)
                outcome = await self._perform(effect)
        except StopIteration as ended:
            value: T = ended.value
            return value
        finally:
            program.close()

    async def _perform(self, effect: Effect) -> Outcome:
        match effect:
            case Send(request):
                return await self._send(request)
            case Pause(seconds):
                await self.clock.sleep(seconds)
            case Rest(flag, seconds):
                assert isinstance(flag, AsyncFlag)
                await flag.wait(seconds)
                flag.clear()
            case Open(stream, request):
                assert isinstance(stream, AsyncStream)
                return await self._open(stream, request)
            case Read(stream):
                assert isinstance(stream, AsyncStream)
                return await _read(stream)
            case Shut(stream):
                assert isinstance(stream, AsyncStream)
                await stream.shut()
            case _:
                assert_never(effect)
        return None

    def _build(self, request: Request) -> httpx.Request:
        patience = timeouts(request.connect_s, request.read_s)
        method, url, headers = request.method, request.url, header_bytes(request.headers)
        return self._here.http.build_request(method, url, content=request.content, headers=headers, timeout=patience)

    async def _send(self, request: Request) -> Reply | Failed:
        try:
            response = await self._here.http.send(self._build(request))
        except httpx.RequestError as error:
            return failed(error)
        return Reply(response.status_code, dict(response.headers), response.content)

    async def _open(self, stream: AsyncStream, request: Request) -> Reply | Failed:
        await stream.shut()
        try:
            response = await self._here.http.send(self._build(request), stream=True)
            stream.response, stream.chunks = response, response.aiter_raw()
            body = b"" if response.is_success else await response.aread()
        except httpx.RequestError as error:
            return failed(error)
        return Reply(response.status_code, dict(response.headers), body)


async def _closed(one: _Loop) -> None:
    for task in list(one.tasks):
        task.cancel()
    await asyncio.gather(*one.tasks, return_exceptions=True)
    await one.http.aclose()


async def _read(stream: AsyncStream) -> bytes | Failed:
    if stream.chunks is None:
        return b""
    try:
        return await anext(stream.chunks, b"")
    except httpx.RequestError as error:
        return failed(error)
