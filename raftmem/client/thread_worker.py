"""A worker on threads: each task in a thread of its own."""

import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Final, Self

from raftmem.client.failure import Done, End, has_failed
from raftmem.client.thread_driver import BlockingFlag, ThreadDriver
from raftmem.client.worker import Counts, Crew, Job

Handler = Callable[[Job[BlockingFlag]], object]
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Worker:
    """`run()` here, or `with worker:` beside what else goes on; `stop()` from anywhere."""

    def __init__(
        self, driver: ThreadDriver, crew: Crew[BlockingFlag], handler: Handler, *, grace: float, install_signals: bool
    ) -> None:
        """Raises: TypeError for a handler that is a coroutine function."""
        if inspect.iscoroutinefunction(handler):
            raise TypeError("the handler is `async def`: give it to the worker of AsyncRaftmemClient")
        self._driver = driver
        self._crew = crew
        self._handler = handler
        self._grace = grace
        self._install_signals = install_signals
        self._beside: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def counts(self) -> Counts:
        return self._crew.counts

    @property
    def name(self) -> str:
        """The worker's name in its claims."""
        return self._crew.worker

    def __repr__(self) -> str:
        return f"<Worker {self.name}: {self.counts}>"

    def run(self) -> Counts:
        """Work until `stop()`, or until SIGTERM or SIGINT with `install_signals`. Running handlers then have `grace`
        seconds to end.

        Raises: the errors that no later request can mend (BadRequest, Forbidden, …), after the same `grace`.
        """
        with self._signals():
            try:
                self._driver.run(self._crew.claiming(self._start))
            finally:
                self._crew.stop()
                self._driver.run(self._crew.draining(self._grace))
        return self.counts

    def stop(self) -> None:
        """Claim no more. Returns at once."""
        self._crew.stop()

    def __enter__(self) -> Self:
        self._beside = threading.Thread(target=self._run_beside, name="raftmem-worker", daemon=True)
        self._beside.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        assert self._beside is not None
        self._beside.join()
        if self._error is not None and error is None:
            raise self._error

    def _run_beside(self) -> None:
        try:
            self._install_signals = False  # they belong to the main thread
            self.run()
        except BaseException as error:
            self._error = error
            raise

    def _start(self, job: Job[BlockingFlag]) -> None:
        threading.Thread(target=self._work, args=(job,), name=f"raftmem-task-{job.id}", daemon=True).start()

    def _work(self, job: Job[BlockingFlag]) -> None:
        end: End
        try:
            end = Done(self._handler(job))
        except BaseException as error:  # noqa: BLE001  whatever it was (also sys.exit()), the service is told
            end = self._crew.raised(job, error)
            has_failed(job.id, error)
        self._driver.run(self._crew.finishing(job, end))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        if not self._install_signals:
            yield
            return

        def told(_number: int, _frame: FrameType | None) -> None:
            self._crew.stopping = True  # no lock is taken in a signal handler

        before = [(number, signal.signal(number, told)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)
