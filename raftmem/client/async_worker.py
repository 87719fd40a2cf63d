"""A worker on asyncio: each task in a task of its own."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Final, Self

from raftmem.client.async_driver import AsyncDriver, AsyncFlag
from raftmem.client.errors import RaftmemClientError
from raftmem.client.worker import Counts, Crew, Done, GivenBack, Job, NonRetryable, Retry, end_of

_log = logging.getLogger("raftmem.client")
AsyncHandler = Callable[[Job[AsyncFlag]], Awaitable[object]]
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


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
        self._beside: asyncio.Task[Counts] | None = None

    @property
    def counts(self) -> Counts:
        return self._crew.counts

    @property
    def name(self) -> str:
        """As which it claims."""
        return self._crew.worker

    async def run(self) -> Counts:
        """Until `stop()`, or SIGTERM or SIGINT with `install_signals`; what runs then has `grace` seconds to end.

        Raises: what no later request can mend (BadRequest, Forbidden, …), after the same.
        """
        with self._signals():
            try:
                await self._driver.run(self._crew.claiming(self._start))
            finally:
                self._crew.stop()
                await self._driver.run(self._crew.draining(self._grace))
                for task in list(self._running):
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)
        return self.counts

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
        try:
            end = Done(await self._handler(job))
        except asyncio.CancelledError:
            await self._driver.run(self._crew.finishing(job, GivenBack()))
            raise
        except (Retry, NonRetryable, RaftmemClientError) as error:
            await self._driver.run(self._crew.finishing(job, end_of(error, job)))
        except Exception as error:  # noqa: BLE001  whatever it was, the service is told
            _log.exception("the handler of task %s has failed", job.id)
            await self._driver.run(self._crew.finishing(job, end_of(error, job)))
        else:
            await self._driver.run(self._crew.finishing(job, end))

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
