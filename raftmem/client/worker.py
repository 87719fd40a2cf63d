"""A worker: claims tasks, keeps the claims, tells what came of them, and leaves nothing behind when it stops.

The rules: what a claim gave late is renewed before a handler sees it; a result of a claim that is known to be lost is
not sent, and one that turns out to be is dropped and counted; a claim whose outcome is unknown is asked for again with
the same words under the same key, so that no task is claimed and forgotten.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from raftmem.client import tasks
from raftmem.client.coordination_shapes import Claim, Task
from raftmem.client.effects import Driver, Flag, Pause, Program, Rest
from raftmem.client.errors import (
    BadRequest,
    Forbidden,
    LeaseLost,
    NotFound,
    RaftmemClientError,
    StaleToken,
    TaskCancelled,
    TooLarge,
    WriteOutcomeUnknown,
)
from raftmem.client.hold import patience_of
from raftmem.client.keeper import Keeper
from raftmem.client.lease import RENEW_SHARE, Lease
from raftmem.client.plan import Plan
from raftmem.client.retry import Caller, Patience

_log = logging.getLogger("raftmem.client")
F = TypeVar("F", bound=Flag)
_LOOK_S: Final = 0.5  # a worker that is told to stop by a signal hears of it within this
_PAUSE_S: Final = 1.0  # between claims while the service cannot be asked
_GIVE_BACK_S: Final = 5.0  # spent on giving back one task
_CLAIM_MAX: Final = 100
_ERROR_TEXT_MAX: Final = 600  # characters: fits the service's bound however they are written
_TELL_AGAIN: Final = (TooLarge, BadRequest)


class Retry(Exception):
    """Raised by a handler: this attempt failed, try again after `delay` seconds (None: by the task's backoff)."""

    def __init__(self, delay: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "the handler asked for another attempt")
        self.delay = delay


class NonRetryable(Exception):
    """Raised by a handler: another attempt would not help. The task is dead."""


class Done(NamedTuple):
    result: object


class Failure(NamedTuple):
    error: object
    retryable: bool = True
    delay: float | None = None


class GivenBack(NamedTuple):
    """The attempt does not count."""


End = Done | Failure | GivenBack


@dataclass
class Counts:
    """What a worker has done. `lost`: claims that went to others. `unknown`: ends that could not be told."""

    claimed: int = 0
    completed: int = 0
    failed: int = 0
    released: int = 0
    lost: int = 0
    unknown: int = 0


class Job(Generic[F]):
    """A claimed task in the hands of a handler. `cancelled`: somebody wants it stopped. `lost`: the claim is over."""

    def __init__(self, task: Task, token: int, cancelled: F, lost: F) -> None:
        self.task = task
        self.token = token
        self.cancelled = cancelled
        self.lost = lost
        self.lease: Lease | None = None
        self.given_back = False

    @property
    def id(self) -> str:
        return self.task.id

    @property
    def queue(self) -> str:
        return self.task.queue

    @property
    def payload(self) -> object:
        return self.task.payload

    @property
    def attempt(self) -> int:
        """From 1."""
        return self.task.attempt

    @property
    def held(self) -> Lease:
        assert self.lease is not None  # set before a handler sees it
        return self.lease

    def check(self) -> None:
        """Raises: TaskCancelled, LeaseLost. Let them pass."""
        if self.cancelled.is_set():
            raise TaskCancelled(self.id)
        self.held.check()


def end_of(error: BaseException, job: Job[F]) -> End:
    """What it means that a handler has raised this."""
    if isinstance(error, Retry):
        return Failure(_said(error), delay=error.delay)
    if isinstance(error, NonRetryable):
        return Failure(_said(error), retryable=False)
    if isinstance(error, TaskCancelled | LeaseLost) and (job.cancelled.is_set() or job.held.is_lost()):
        return GivenBack()
    return Failure(_said(error))


def _said(error: BaseException) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error)[:_ERROR_TEXT_MAX]}


class Crew(Generic[F]):
    """The jobs of one worker. `poll`: how long one claim waits for a task; stopping takes as long at most."""

    def __init__(
        self,
        caller: Caller,
        driver: Driver,
        flag: Callable[[], F],
        *,
        queues: Sequence[str],
        worker: str,
        concurrency: int,
        ttl: float,
        poll: float,
    ) -> None:
        self._caller = caller
        self._flag = flag
        self._keeper = Keeper(caller.clock, driver, self._beating)
        self._bell = driver.flag()
        self._queues = list(queues)
        self._concurrency = concurrency
        self._ttl = ttl
        self._poll = poll
        self._jobs: dict[tuple[str, int], Job[F]] = {}
        self.worker = worker
        self.counts = Counts()
        self.stopping = False

    def stop(self) -> None:
        self.stopping = True
        self._bell.set()

    # --- claiming -----------------------------------------------------------------------------------
    def claiming(self, start: Callable[[Job[F]], None]) -> Program[None]:
        """Until it is told to stop. Raises: what no later request can mend (BadRequest, Forbidden, …)."""
        clock = self._caller.clock
        plan: Plan[Claim] | None = None
        first = 0.0
        while not self.stopping:
            free = self._concurrency - len(self._jobs)
            if free <= 0 and plan is None:
                yield Rest(self._bell, _LOOK_S)
                continue
            if plan is None:
                plan, first = self._claim(free), clock.now()
            try:
                answer = yield from self._caller.call(plan)
            except WriteOutcomeUnknown as error:
                _log.warning("a claim of %s is asked for again: %s", self.worker, error)
                yield Pause(_PAUSE_S * self._caller.randomness.random())
                continue
            except (BadRequest, Forbidden, NotFound, TooLarge):
                raise
            except RaftmemClientError as error:
                _log.warning("%s cannot claim yet: %s", self.worker, error)
                plan = None
                yield Pause(_PAUSE_S * (0.5 + self._caller.randomness.random()))
                continue
            plan = None
            for task in answer.value.tasks:
                yield from self._take(task, first, start)
            if not answer.value.tasks and clock.now() - first < self._poll / 2:
                yield Pause(_PAUSE_S * self._caller.randomness.random())  # the wait was cut short

    def _claim(self, free: int) -> Plan[Claim]:
        key = f"claim-{self._caller.randomness.text()}"
        return tasks.claim(
            self._queues, worker=self.worker, ttl=self._ttl, max=min(free, _CLAIM_MAX), wait=self._poll, key=key
        )

    def _take(self, task: Task, sent: float, start: Callable[[Job[F]], None]) -> Program[None]:
        """`sent`: when the claim was first asked for."""
        assert task.token is not None
        self.counts.claimed += 1
        job = Job(task, task.token, self._flag(), self._flag())
        if self.stopping:
            yield from self._give_back(job)
            return
        if self._caller.clock.now() - sent > self._ttl * RENEW_SHARE:
            beat = tasks.heartbeat(task.id, token=job.token, ttl=self._ttl)
            try:
                answer = yield from self._caller.call(beat, patience_of(self._caller, self._ttl, self._ttl))
            except RaftmemClientError as error:
                _log.warning("task %s is not begun, its claim came late: %s", task.id, error)
                self.counts.lost += 1
                return
            sent = answer.sent
            if answer.value.cancel_requested:
                job.cancelled.set()
        lease = Lease(
            self._caller.clock,
            name=f"task {task.id}",
            owner=self.worker,
            token=job.token,
            ttl=self._ttl,
            sent=sent,
            on_lost=job.lost.set,
        )
        job.lease = lease
        self._jobs[task.id, job.token] = job
        self._keeper.keep(lease)
        start(job)

    # --- keeping ------------------------------------------------------------------------------------
    def _beating(self, leases: Sequence[Lease]) -> Program[None]:
        """Those that are due, one by one."""
        jobs = {id(job.lease): job for job in list(self._jobs.values())}
        for lease in leases:
            job, now = jobs.get(id(lease)), self._caller.clock.now()
            if job is None:  # its end is being told
                lease.retry()
            elif lease.renew_at <= now and lease.reason is None:
                beat = tasks.heartbeat(job.id, token=job.token, ttl=self._ttl)
                patience = patience_of(self._caller, self._ttl, max(lease.until - now, 0.0))
                try:
                    answer = yield from self._caller.call(beat, patience)
                except (StaleToken, NotFound) as error:
                    lease.lose(error.detail, refused=True)
                except RaftmemClientError as error:
                    _log.warning("the claim of task %s is not renewed yet: %s", job.id, error)
                    lease.retry()
                else:
                    lease.renewed(answer.sent)
                    if answer.value.cancel_requested:
                        job.cancelled.set()

    # --- ending -------------------------------------------------------------------------------------
    def finishing(self, job: Job[F], end: End) -> Program[None]:
        """Tell what came of it."""
        try:
            if job.given_back:
                return
            if job.held.is_lost() and job.held.refused:
                self._lost(job, job.held.reason or "")
                return
            try:
                yield from self._tell(job, end)
            except _TELL_AGAIN as error:
                yield from self._tell(job, Failure(_said(error), retryable=False))
        except StaleToken as error:
            self._lost(job, error.detail)
        except RaftmemClientError as error:
            self.counts.unknown += 1
            _log.warning("the end of task %s could not be told, its claim will run out: %s", job.id, error)
        finally:
            self._forget(job)

    def _tell(self, job: Job[F], end: End) -> Program[None]:
        if isinstance(end, Done):
            try:
                plan = tasks.complete(job.id, token=job.token, result=end.result)
            except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
                end = Failure({"type": type(error).__name__, "message": f"the result is no JSON: {error}"}, False)
            else:
                yield from self._caller.call(plan)
                self.counts.completed += 1
                return
        if isinstance(end, Failure):
            failed = tasks.fail(job.id, token=job.token, error=end.error, retryable=end.retryable, delay=end.delay)
            yield from self._caller.call(failed)
            self.counts.failed += 1
        else:
            yield from self._caller.call(tasks.release(job.id, token=job.token))
            self.counts.released += 1

    def _lost(self, job: Job[F], reason: str) -> None:
        self.counts.lost += 1
        _log.warning("the end of task %s is dropped, its claim was lost: %s", job.id, reason)

    def _forget(self, job: Job[F]) -> None:
        if job.lease is not None:
            self._keeper.drop(job.lease)
        self._jobs.pop((job.id, job.token), None)
        self._bell.set()

    def draining(self, grace: float) -> Program[None]:
        """Wait for what runs, then give the rest back; their handlers are told that the claim is over."""
        ends = self._caller.clock.now() + grace
        while self._jobs and self._caller.clock.now() < ends:
            yield Rest(self._bell, min(ends - self._caller.clock.now(), _LOOK_S))
        for job in list(self._jobs.values()):
            job.given_back = True
            job.held.lose("the worker is stopping and has given it back", refused=True)
            yield from self._give_back(job)
            self._forget(job)
        self._keeper.close()

    def _give_back(self, job: Job[F]) -> Program[None]:
        patience = Patience(_GIVE_BACK_S, self._caller.patience.attempt_s, self._caller.patience.pause_s)
        try:
            yield from self._caller.call(tasks.release(job.id, token=job.token), patience)
            self.counts.released += 1
        except RaftmemClientError as error:
            self.counts.unknown += 1
            _log.warning("task %s could not be given back, its claim will run out: %s", job.id, error)
