"""RaftmemClient: the client on threads. The modules of plans say what a call means; this one performs it.

The rule: any thread may use a client. After a fork the child has connections, owners and heartbeats of its own.
"""

import functools
import inspect
import os
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Generic, ParamSpec, Self, TypeVar

import httpx

from raftmem.client import gates, locks, log, memories, tasks, watch
from raftmem.client.config import configured, unique_owner
from raftmem.client.coordination_shapes import Gate
from raftmem.client.effects import Program, Randomness
from raftmem.client.endpoints import Endpoints
from raftmem.client.giving_back import Undo, acquire_undone, claim_undone
from raftmem.client.hold import Places, Want, renewing
from raftmem.client.keeper import Keeper
from raftmem.client.plan import Level, ListPlan, Page, Plan
from raftmem.client.shapes import Entry
from raftmem.client.thread_driver import BlockingFlag, BlockingTime, SystemTime, ThreadDriver, ThreadStream, http_client
from raftmem.client.thread_hold import Hold
from raftmem.client.thread_worker import Handler, Worker
from raftmem.client.watch import Watching, WatchPlan
from raftmem.client.worker import Crew

P = ParamSpec("P")
T = TypeVar("T")


class RaftmemClient:
    """`RaftmemClient("http://a:8101,http://b:8101", actor="agent/planner-7")`; a context manager too.

    Without endpoints it takes those of RAFTMEM_URL. `consistency`: of reads that name none; None: as the service is
    set, never older than this client has seen. `timeout`: seconds of one call with all its attempts, without its own
    wait. `on_restored(was, now)`: called after a restore of the group; the client forgets the indexes it has seen.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str] | None = None,
        *,
        actor: str | None = None,
        consistency: Level | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
        on_restored: Callable[[str, str], None] | None = None,
        transport: httpx.BaseTransport | None = None,
        time: BlockingTime | None = None,
        randomness: Randomness | None = None,
    ) -> None:
        """Raises: ValueError."""
        self._config = configured(
            Endpoints(endpoints),
            actor=actor,
            consistency=consistency,
            timeout=timeout,
            connect_timeout=connect_timeout,
            headers=headers,
            randomness=randomness,
            on_restored=on_restored,
        )
        self._verify = verify
        self._transport = transport
        self._time = time or SystemTime()
        self._here = _Here(self)
        self.memories = Memories(self)
        self.locks = Locks(self)
        self.owners = Owners(self)
        self.tasks = Tasks(self)
        self.gates = Gates(self)
        self._log = _Log(self)
        self.batch = self._log.batch
        self.txn = self._log.txn
        self.events = self._log.events
        self.cluster = self._log.cluster
        self.watch = self._log.watch

    @property
    def index(self) -> int:
        """The highest index of the log that this client has seen: what its reads do not fall behind."""
        return self.here.caller.session.seen.index

    @property
    def incarnation(self) -> str | None:
        """`<cluster id>/<incarnation>` that the index belongs to; None: nothing was seen yet."""
        return self.here.caller.session.seen.cluster

    @property
    def owner(self) -> str:
        """Unique to this client in this process; its holds have owners below it."""
        return self.here.owner

    def __repr__(self) -> str:
        return self._config.shown(type(self).__name__, self.index)

    def run(self, program: Program[T]) -> T:
        """Run a generator that waits for plans by `yield from client.ask(plan)`. The same one runs on
        AsyncRaftmemClient."""
        return self.here.run(program)

    def ask(self, plan: Plan[T]) -> Program[T]:
        """The request of a plan (see `raftmem.client.memories`, `locks`, …) as part of a program."""
        return (yield from self.here.caller.call(plan)).value

    @property
    def here(self) -> "_Here":
        """The parts that belong to this process."""
        if self._here.process != os.getpid():
            self._config = replace(self._config, session=self._config.session.again())
            self._here = _Here(self)
        return self._here

    def close(self) -> None:
        """Close the connections. Holds are not renewed any more."""
        self.here.keeper.close()
        self.here.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Here:
    """The parts of a client that belong to one process."""

    def __init__(self, client: RaftmemClient) -> None:
        config = client._config
        self.process = os.getpid()
        self.http = http_client(config.endpoints.urls, verify=client._verify, transport=client._transport)
        self.driver = ThreadDriver(self.http, client._time)
        self.caller = config.caller(client._time)
        self.owner = unique_owner(config.randomness)
        self.places = Places(self.owner)
        self.keeper = Keeper(client._time, self.driver, lambda leases: renewing(self.caller, leases))

    def run(self, program: Program[T]) -> T:
        return self.driver.run(program)


# --- how plans become methods -----------------------------------------------------------------------
class _Group:
    def __init__(self, client: RaftmemClient) -> None:
        self._client = client

    @property
    def _here(self) -> _Here:
        return self._client.here


class _Call(Generic[P, T]):
    """A method that sends the request of a plan and answers its value. `undo`: if Ctrl-C cuts it off meanwhile."""

    def __init__(self, make: Callable[P, Plan[T]], undo: Undo | None = None) -> None:
        self._make = make
        self._undo = undo

    def __get__(self, group: _Group, _owner: type[_Group]) -> Callable[P, T]:
        @functools.wraps(self._make)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            here = group._here
            plan, seen = self._make(*args, **kwargs), here.caller.session.seen.index
            try:
                return here.run(here.caller.call(plan)).value
            except BaseException as error:
                if self._undo is not None and not isinstance(error, Exception):
                    given = inspect.signature(self._make).bind(*args, **kwargs).arguments
                    here.run(self._undo(here.caller, given, seen))
                raise

        return call


class _List(Generic[P, T]):
    """A method that answers a list whose pages are asked for as they are needed."""

    def __init__(self, make: Callable[P, ListPlan[T]]) -> None:
        self._make = make

    def __get__(self, group: _Group, _owner: type[_Group]) -> "Callable[P, Listing[T]]":
        @functools.wraps(self._make)
        def call(*args: P.args, **kwargs: P.kwargs) -> "Listing[T]":
            return Listing(group._client, self._make(*args, **kwargs))

        return call


class Listing(Generic[T]):
    """Iterate over it for all items; each iteration asks anew."""

    def __init__(self, client: RaftmemClient, plan: ListPlan[T]) -> None:
        self._client = client
        self._plan = plan

    def __repr__(self) -> str:
        return f"<Listing of {self._plan.first.path}>"

    def pages(self) -> Iterator[Page[T]]:
        plan: Plan[Page[T]] | None = self._plan.first
        while plan is not None:
            here = self._client.here
            answer = here.run(here.caller.call(plan))
            yield answer.value
            plan = self._plan.following(answer.value, answer.params)

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.items

    def all(self) -> list[T]:
        return list(self)


class Watch:
    """An endless iterator; `close()` it, or use it in a `with`. `index`: up to where everything was delivered."""

    def __init__(self, client: RaftmemClient, plan: WatchPlan) -> None:
        self._driver = client.here.driver
        self._stream = ThreadStream()
        self._watching = Watching(client.here.caller, self._stream, plan)

    def __repr__(self) -> str:
        return f"<Watch, delivered up to {self.index}>"

    @property
    def index(self) -> int | None:
        return self._watching.index

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Entry:
        return self._driver.run(self._watching.next_entry())

    def close(self) -> None:
        self._driver.run(self._watching.shut())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Watch(Generic[P]):
    def __init__(self, make: Callable[P, WatchPlan]) -> None:
        self._make = make

    def __get__(self, group: _Group, _owner: type[_Group]) -> Callable[P, Watch]:
        @functools.wraps(self._make)
        def call(*args: P.args, **kwargs: P.kwargs) -> Watch:
            return Watch(group._client, self._make(*args, **kwargs))

        return call


# --- the groups of methods --------------------------------------------------------------------------
class Memories(_Group):
    """Memories."""

    add = _Call(memories.add)
    put = _Call(memories.put)
    get = _Call(memories.show)
    patch = _Call(memories.patch)
    delete = _Call(memories.delete)
    list = _List(memories.many)
    search = _Call(memories.search)
    history = _List(memories.history)


class Locks(_Group):
    """Locks and semaphores."""

    acquire = _Call(locks.acquire, acquire_undone)
    renew = _Call(locks.renew)
    renew_many = _Call(locks.renew_many)
    release = _Call(locks.release)
    force_release = _Call(locks.force_release)
    get = _Call(locks.show)
    list = _List(locks.many)

    def hold(
        self,
        name: str,
        ttl: float = 10.0,
        wait: float | None = None,
        *,
        owner: str | None = None,
        permits: int = 1,
        metadata: Mapping[str, object] | None = None,
        on_lost: Callable[[Hold], object] | None = None,
    ) -> Hold:
        """To hold it in a `with`. `wait`: seconds in the queue; None: however long; 0: not at all (LockHeld).

        `on_lost`: called once, on a thread of its own, when the hold is over before its end.
        """
        here = self._here
        want = Want(name, "", ttl, wait, permits, None if metadata is None else dict(metadata))
        return Hold(here.caller, here.driver, lambda: here.keeper, here.places, want, owner, on_lost)


class Owners(_Group):
    """The owners of locks and claims."""

    release = _Call(locks.release_owner)


class Tasks(_Group):
    """Tasks in queues."""

    add = _Call(tasks.add)
    claim = _Call(tasks.claim, claim_undone)
    heartbeat = _Call(tasks.heartbeat)
    complete = _Call(tasks.complete)
    fail = _Call(tasks.fail)
    release = _Call(tasks.release)
    cancel = _Call(tasks.cancel)
    retry = _Call(tasks.retry)
    get = _Call(tasks.show)
    list = _List(tasks.many)

    def worker(
        self,
        queues: Sequence[str],
        handler: Handler,
        concurrency: int = 1,
        ttl: float = 30.0,
        *,
        name: str | None = None,
        poll: float = 5.0,
        grace: float = 30.0,
        install_signals: bool = False,
    ) -> Worker:
        """Runs `handler(job)` for each task: what it returns is the result, what it raises a failure (Retry,
        NonRetryable say which). `poll`: seconds of one wait for a task. `grace`: for what runs when it is stopped.
        """
        here = self._here
        worker = name or f"{here.owner}/{here.caller.randomness.text()[:4]}"
        crew: Crew[BlockingFlag] = Crew(
            here.caller,
            here.driver,
            here.driver.flag,
            queues=queues,
            worker=worker,
            concurrency=concurrency,
            ttl=ttl,
            poll=poll,
        )
        return Worker(here.driver, crew, handler, grace=grace, install_signals=install_signals)


class Gates(_Group):
    """Gates that open by approvals."""

    put = _Call(gates.put)
    approve = _Call(gates.approve)
    revoke = _Call(gates.revoke)
    consume = _Call(gates.consume)
    get = _Call(gates.show)
    list = _List(gates.many)

    def wait_open(self, name: str, wait: float | None = None) -> Gate:
        """Wait until it is open, for `wait` seconds; None: without a limit. Raises: WaitTimeout, NotFound."""
        return self._here.run(gates.waiting_open(self._here.caller, name, wait))


class _Log(_Group):
    batch = _Call(log.batch)
    txn = _Call(log.txn)
    cluster = _Call(log.cluster)
    events = _List(log.events)
    watch = _Watch(watch.watch)
