"""A worker on asyncio: each task of a queue in a task of the loop."""

import asyncio
import contextlib
import inspect
import signal
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Final, Self

from raftmem.client.async_driver import AsyncDriver, AsyncFlag
from raftmem.client.failure import Done, End, Failure, GivenBack, has_failed
from raftmem.client.giving_back import GIVE_BACK_S
from raftmem.client.loop_watch import LoopWatch
from raftmem.client.shielded import shielded
from raftmem.client.worker import Counts, Crew, Job

AsyncHandler = Callable[[Job[AsyncFlag]], Awaitable[object]]
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_CUT_OFF: Final = {"type": "CancelledError", "message": "something that the handler awaited was cancelled"}


class AsyncWorker:
    """`await run()`, or `async with worker:` beside what else goes on; `stop()` from anywhere on the loop."""

    def __init__(
        self,
        driver: AsyncDriver,
        crew: Crew[AsyncFlag],
        handler: AsyncHandler,
        *,
        grace: float,
        install_signals: bool,
    ) -> None:
        self._driver = driver
        self._crew = crew
        self._handler = handler
        self._grace = grace
        self._install_signals = install_signals
        self._running: set[asyncio.Task[None]] = set()
        self._run_by: asyncio.Task[object] | None = None
        self._interrupt: KeyboardInterrupt | None = None
        self._beside: asyncio.Task[Counts] | None = None

    @property
    def counts(self) -> Counts:
        return self._crew.counts

    @property
    def name(self) -> str:
        """The worker's name in its claims."""
        return self._crew.worker

    def __repr__(self) -> str:
        return f"<AsyncWorker {self.name}: {self.counts}>"

    async def run(self) -> Counts:
        """Work until `stop()`, or until SIGTERM or SIGINT with `install_signals`. Running handlers then have `grace`
        seconds to end.

        Raises: the errors that no later request can mend (BadRequest, Forbidden, …), after the same `grace`.
        """
        self._run_by = asyncio.current_task()
        with self._signals(), LoopWatch(self._crew.ttl, self._crew.in_hand, self._crew.has_blocked):
            try:
                await self._driver.run(self._crew.claiming(self._start))
            finally:
                self._crew.stop()
                bound_s = self._grace + GIVE_BACK_S
                await shielded(self._drained(), bound_s=bound_s, sleep=self._driver.clock.sleep)
        if self._interrupt is not None:
            raise self._interrupt
        return self.counts

    async def _drained(self) -> None:
        await self._driver.run(self._crew.draining(self._grace))
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def stop(self) -> None:
        """Claim no more. Returns at once."""
        self._crew.stop()

    async def __aenter__(self) -> Self:
        self._beside = asyncio.get_running_loop().create_task(self.run(), name="raftmem-worker")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        assert self._beside is not None
        await self._beside

    def _start(self, job: Job[AsyncFlag]) -> None:
        task = asyncio.get_running_loop().create_task(self._work(job), name=f"raftmem-task-{job.id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _work(self, job: Job[AsyncFlag]) -> None:
        end: End
        try:
            end = Done(await self._handled(job))
        except asyncio.CancelledError:
            end = GivenBack() if self._is_stopping else Failure(_CUT_OFF)
        except GeneratorExit:  # the loop is gone: nobody can be told, and the claim runs out
            self._crew.abandon(job)
            raise
        except BaseException as error:  # noqa: BLE001  whatever it was (also sys.exit()), the service is told
            end = self._crew.raised(job, error)
            has_failed(job.id, error)
            if isinstance(error, KeyboardInterrupt):
                self._interrupt = error
                self._crew.stop()
        await self._driver.finish(self._crew.finishing(job, end), GIVE_BACK_S)

    async def _handled(self, job: Job[AsyncFlag]) -> object:
        result = self._handler(job)
        if not inspect.isawaitable(result):
            raise TypeError(
                f"the handler gave {type(result).__name__} and nothing to await: write it with `async def`, "
                "or give a blocking one to the worker of RaftmemClient"
            )
        return await result

    @property
    def _is_stopping(self) -> bool:
        """True: a cancellation is the worker's own, or that of its caller."""
        return self._crew.stopping or (self._run_by is not None and self._run_by.cancelling() > 0)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if not self._install_signals:
            yield
            return
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
