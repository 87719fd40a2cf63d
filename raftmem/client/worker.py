"""The work of a worker: it claims tasks, keeps the claims, tells the end of each, and stops with no claim left.

The rules: a claim that came late is renewed before its handler begins. The result of a claim that is known to be lost
is not sent; if the service refuses it as stale, it is dropped and counted. A claim whose outcome is unknown is asked
for again with the same body under the same key, so no task is claimed and forgotten. Each attempt ends exactly once:
told, given back or lost; then its slot is free again.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from raftmem.client import tasks
from raftmem.client.coordination_shapes import Claim, Task
from raftmem.client.effects import Driver, Flag, Pause, Program, Rest
from raftmem.client.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    RaftmemClientError,
    StaleToken,
    TaskCancelled,
    TooLarge,
    WriteOutcomeUnknown,
)
from raftmem.client.failure import Done, End, Failure, described, end_of
from raftmem.client.giving_back import GIVE_BACK_S, unclaim
from raftmem.client.hold import patience_of
from raftmem.client.keeper import Keeper
from raftmem.client.lease import RENEW_SHARE, Lease
from raftmem.client.plan import Plan
from raftmem.client.retry import Caller, Patience
from raftmem.client.values import names, seconds, text

_log = logging.getLogger("raftmem.client")
F = TypeVar("F", bound=Flag)
_LOOK_S: Final = 0.5  # a worker that is told to stop by a signal hears of it within this
_PAUSE_S: Final = 1.0  # between claims while the service cannot be asked
_CLAIM_MAX: Final = 100
_TEXT_MAX: Final = 600
_REFUSED_TEXT_MAX: Final = 200
_TELL_AGAIN: Final = (TooLarge, BadRequest)


@dataclass
class Counts:
    """The tasks of a worker so far. `lost`: claims that went to others. `unknown`: ends that could not be told.
    `blocked`: how often a handler was seen to block the event loop."""

    claimed: int = 0
    completed: int = 0
    failed: int = 0
    released: int = 0
    lost: int = 0
    unknown: int = 0
    blocked: int = 0


class Job(Generic[F]):
    """A claimed task, as its handler sees it. `cancelled`: somebody has cancelled it. `lost`: the claim is over."""

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
        """The number of this attempt, from 1."""
        return self.task.attempt

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, queue={self.queue!r}, attempt={self.attempt})"

    @property
    def held(self) -> Lease:
        assert self.lease is not None  # set before a handler sees it
        return self.lease

    def check(self) -> None:
        """Raises: TaskCancelled, LeaseLost. Let them pass."""
        if self.cancelled.is_set():
            raise TaskCancelled(self.id)
        self.held.check()


def _bare(end: End, refused: RaftmemClientError) -> Failure:
    """The failure that is told instead of an end whose result, delay or size the service refuses."""
    why = described(refused)
    if not isinstance(end, Failure) or not isinstance(end.error, dict):
        return Failure(why, retryable=False)
    message = f"{str(end.error.get('message', ''))[:_REFUSED_TEXT_MAX]} (not told as it was: {why['message']})"
    return Failure({"type": end.error.get("type", ""), "message": message[:_TEXT_MAX]}, end.retryable)


class Crew(Generic[F]):
    """The jobs of one worker. `poll`: seconds that one claim waits for a task; stopping takes as long at most."""

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
        """Raises: TypeError, ValueError for values that cannot be sent."""
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ValueError(f"concurrency is {concurrency!r}; it is an integer, 1 at least")
        text(worker, "name")
        seconds(poll, "poll")
        self._caller = caller
        self._flag = flag
        self._keeper = Keeper(caller.clock, driver, self._beating)
        self._bell = driver.flag()
        self._queues = names(queues, "queues")
        self._concurrency = concurrency
        self.ttl = seconds(ttl, "ttl")
        self._poll = poll
        self._jobs: dict[tuple[str, int], Job[F]] = {}
        self._claimed_after: int | None = None  # the index seen before a claim that is under way
        self.worker = worker
        self.counts = Counts()
        self.stopping = False

    def in_hand(self) -> list[str]:
        """The ids of the tasks whose handlers run."""
        return [job.id for job in list(self._jobs.values())]

    def has_blocked(self) -> None:
        self.counts.blocked += 1

    def stop(self) -> None:
        self.stopping = True
        self._bell.set()

    # --- claiming -----------------------------------------------------------------------------------
    def claiming(self, start: Callable[[Job[F]], None]) -> Program[None]:
        """Claim tasks until it is told to stop. Raises: the errors that no later request can mend (BadRequest, …)."""
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
                self._claimed_after = self._caller.session.seen.index
            try:
                answer = yield from self._caller.call(plan)
            except WriteOutcomeUnknown as error:
                _log.warning("a claim of %s is asked for again: %s", self.worker, error)
                yield Pause(_PAUSE_S * self._caller.randomness.random())
                continue
            except (BadRequest, Forbidden, NotFound, TooLarge):
                self._claimed_after = None
                raise
            except RaftmemClientError as error:
                _log.warning("%s cannot claim yet: %s", self.worker, error)
                plan = self._claimed_after = None
                yield Pause(_PAUSE_S * (0.5 + self._caller.randomness.random()))
                continue
            plan = None
            waiting = list(answer.value.tasks)
            while waiting:
                yield from self._take(waiting.pop(0), first, start)
            self._claimed_after = None
            if not answer.value.tasks and clock.now() - first < self._poll / 2:
                yield Pause(_PAUSE_S * self._caller.randomness.random())  # the wait was cut short

    def _claim(self, free: int) -> Plan[Claim]:
        key = f"claim-{self._caller.randomness.text()}"
        return tasks.claim(
            self._queues, worker=self.worker, ttl=self.ttl, max=min(free, _CLAIM_MAX), wait=self._poll, key=key
        )

    def _take(self, task: Task, sent: float, start: Callable[[Job[F]], None]) -> Program[None]:
        """`sent`: when the claim was first asked for."""
        assert task.token is not None
        self.counts.claimed += 1
        job = Job(task, task.token, self._flag(), self._flag())
        if self.stopping:
            yield from self._give_back(job)
            return
        if self._caller.clock.now() - sent > self.ttl * RENEW_SHARE:
            beat = tasks.heartbeat(task.id, token=job.token, ttl=self.ttl)
            try:
                answer = yield from self._caller.call(beat, patience_of(self._caller, self.ttl, self.ttl))
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
            ttl=self.ttl,
            sent=sent,
            on_lost=job.lost.set,
        )
        job.lease = lease
        self._jobs[task.id, job.token] = job
        self._keeper.keep(lease)
        start(job)

    # --- keeping ------------------------------------------------------------------------------------
    def _beating(self, leases: Sequence[Lease]) -> Program[None]:
        """Renew the claims that are due, one by one."""
        jobs = {id(job.lease): job for job in list(self._jobs.values())}
        for lease in leases:
            job, now = jobs.get(id(lease)), self._caller.clock.now()
            if job is None:  # its end is being told
                lease.retry()
            elif lease.renew_at <= now and lease.reason is None:
                beat = tasks.heartbeat(job.id, token=job.token, ttl=self.ttl)
                patience = patience_of(self._caller, self.ttl, max(lease.until - now, 0.0))
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
    def raised(self, job: Job[F], error: BaseException) -> End:
        """The end of an attempt whose handler raised this."""
        return end_of(error, is_over=job.cancelled.is_set() or job.held.is_lost())

    def finishing(self, job: Job[F], end: End) -> Program[None]:
        """Tell the end of an attempt. Its slot is free afterwards, whatever happens."""
        try:
            if job.given_back:
                return
            if job.held.is_lost() and job.held.refused:
                self._lost(job, job.held.reason or "")
                return
            try:
                yield from self._tell(job, end)
            except _TELL_AGAIN as refused:
                yield from self._tell(job, _bare(end, refused))
        except StaleToken as error:
            self._lost(job, error.detail)
        except RaftmemClientError as error:
            self.counts.unknown += 1
            _log.warning("the end of task %s could not be told, its claim will expire: %s", job.id, error)
        finally:
            self._forget(job)

    def _tell(self, job: Job[F], end: End) -> Program[None]:
        if isinstance(end, Done):
            try:
                plan = tasks.complete(job.id, token=job.token, result=end.result)
            except Exception as error:  # noqa: BLE001  the result's own code may run, and fail
                told = described(error)
                end = Failure({**told, "message": f"the result is no JSON: {told['message']}"[:_TEXT_MAX]}, False)
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

    def abandon(self, job: Job[F]) -> None:
        """Nobody can be told of its end: its claim runs out."""
        self.counts.unknown += 1
        self._forget(job)

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
        if self._claimed_after is not None:  # it was cut off: its tasks are in nobody's hand
            self.counts.released += yield from unclaim(self._caller, self.worker, seen=self._claimed_after)

    def _give_back(self, job: Job[F]) -> Program[None]:
        patience = Patience(GIVE_BACK_S, self._caller.patience.attempt_s, self._caller.patience.pause_s)
        try:
            yield from self._caller.call(tasks.release(job.id, token=job.token), patience)
            self.counts.released += 1
        except RaftmemClientError as error:
            self.counts.unknown += 1
            _log.warning("task %s could not be given back, its claim will expire: %s", job.id, error)
