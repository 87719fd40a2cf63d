"""AsyncRaftmemClient: the client on asyncio, with the names of RaftmemClient.

The modules of plans say what a call means; this one performs it. The rules: one client belongs to one process; each
event loop has connections and heartbeats of its own, so a hold, a watch or a worker stays on the loop that began it.
"""

import asyncio
import functools
import inspect
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Generic, ParamSpec, Self, TypeVar

import httpx

from raftmem.client import gates, locks, log, memories, tasks, watch
from raftmem.client.async_driver import AsyncDriver, AsyncFlag, AsyncStream, AsyncTime, SystemAsyncTime
from raftmem.client.async_hold import AsyncHold
from raftmem.client.async_worker import AsyncHandler, AsyncWorker
from raftmem.client.config import configured, limits, socket_options, unique_owner
from raftmem.client.coordination_shapes import Gate
from raftmem.client.effects import Program, Randomness
from raftmem.client.endpoints import Endpoints
from raftmem.client.giving_back import GIVE_BACK_S, Undo, acquire_undone, claim_undone
from raftmem.client.hold import Places, Want, renewing
from raftmem.client.keeper import Keeper
from raftmem.client.per_loop import PerLoop
from raftmem.client.plan import Level, ListPlan, Page, Plan
from raftmem.client.shapes import Entry
from raftmem.client.watch import Watching, WatchPlan
from raftmem.client.worker import Crew

P = ParamSpec("P")
T = TypeVar("T")


class AsyncRaftmemClient:
    """`AsyncRaftmemClient("http://a:8101,http://b:8101", actor="agent/planner-7")`; an async context manager too.

    Parameters are as of RaftmemClient.
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
        transport: httpx.AsyncBaseTransport | None = None,
        time: AsyncTime | None = None,
        randomness: Randomness | None = None,
    ) -> None:
        """Raises: ValueError."""
        asked = Endpoints(endpoints)
        config = configured(
            asked,
            actor=actor,
            consistency=consistency,
            timeout=timeout,
            connect_timeout=connect_timeout,
            headers=headers,
            randomness=randomness,
            on_restored=on_restored,
        )
        self._config = config
        clock = time or SystemAsyncTime()
        secure = verify if any(url.startswith("https:") for url in asked.urls) else False

        def connect() -> httpx.AsyncClient:
            return httpx.AsyncClient(
                transport=transport
                or httpx.AsyncHTTPTransport(
                    verify=secure, limits=limits(), socket_options=socket_options(), trust_env=False
                )
            )

        self.driver = AsyncDriver(connect, clock)
        self.caller = config.caller(clock)
        self.owner = unique_owner(config.randomness)
        self.places = Places(self.owner)
        self._keepers = PerLoop(lambda: Keeper(clock, self.driver, lambda leases: renewing(self.caller, leases)))
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
        return self.caller.session.seen.index

    @property
    def incarnation(self) -> str | None:
        """`<cluster id>/<incarnation>` that the index belongs to; None: nothing was seen yet."""
        return self.caller.session.seen.cluster

    def __repr__(self) -> str:
        return self._config.shown(type(self).__name__, self.index)

    async def run(self, program: Program[T]) -> T:
        """Run a generator that awaits plans by `yield from client.ask(plan)`. The same one runs on RaftmemClient."""
        return await self.driver.run(program)

    def ask(self, plan: Plan[T]) -> Program[T]:
        """The request of a plan (see `raftmem.client.memories`, `locks`, …) as part of a program."""
        return (yield from self.caller.call(plan)).value

    @property
    def keeper(self) -> Keeper:
        """The keeper of the holds on the running loop."""
        return self._keepers.here

    async def close(self) -> None:
        """Close the connections. Holds are not renewed any more."""
        here = asyncio.get_running_loop()
        for loop, keeper in self._keepers.taken().items():
            if loop is here:
                keeper.close()
            else:
                loop.call_soon_threadsafe(keeper.close)
        await self.driver.close()

    async def __aenter__(self) -> Self:
        self.driver.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


# --- how plans become methods -----------------------------------------------------------------------
class _Group:
    def __init__(self, client: AsyncRaftmemClient) -> None:
        self._client = client


class _Call(Generic[P, T]):
    """A method that sends the request of a plan and answers its value.

    `undo`: what follows if the caller is cut off meanwhile. `ends`: the request gives something back, so it goes on for
    `GIVE_BACK_S` although its caller is cancelled.
    """

    def __init__(self, make: Callable[P, Plan[T]], undo: Undo | None = None, *, ends: bool = False) -> None:
        self._make = make
        self._undo = undo
        self._ends = ends

    def __get__(self, group: _Group, _owner: type[_Group]) -> Callable[P, Coroutine[None, None, T]]:
        client = group._client

        @functools.wraps(self._make)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            plan, seen = self._make(*args, **kwargs), client.index
            if self._ends:
                return (await client.driver.finish(client.caller.call(plan), GIVE_BACK_S)).value
            try:
                return (await client.driver.run(client.caller.call(plan))).value
            except BaseException as error:
                if self._undo is not None and not isinstance(error, Exception):
                    given = inspect.signature(self._make).bind(*args, **kwargs).arguments
                    await client.driver.finish_cut_off(self._undo(client.caller, given, seen), GIVE_BACK_S, error)
                raise

        return call


class _List(Generic[P, T]):
    """A method that answers a list whose pages are asked for as they are needed."""

    def __init__(self, make: Callable[P, ListPlan[T]]) -> None:
        self._make = make

    def __get__(self, group: _Group, _owner: type[_Group]) -> "Callable[P, AsyncListing[T]]":
        @functools.wraps(self._make)
        def call(*args: P.args, **kwargs: P.kwargs) -> "AsyncListing[T]":
            return AsyncListing(group._client, self._make(*args, **kwargs))

        return call


class AsyncListing(Generic[T]):
    """`async for` gives all items; each iteration asks anew."""

    def __init__(self, client: AsyncRaftmemClient, plan: ListPlan[T]) -> None:
        self._client = client
        self._plan = plan

    def __repr__(self) -> str:
        return f"<AsyncListing of {self._plan.first.path}>"

    async def pages(self) -> AsyncIterator[Page[T]]:
        plan: Plan[Page[T]] | None = self._plan.first
        while plan is not None:
            answer = await self._client.driver.run(self._client.caller.call(plan))
            yield answer.value
            plan = self._plan.following(answer.value, answer.params)

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def all(self) -> list[T]:
        return [item async for item in self]


class AsyncWatch:
    """An endless async iterator; `close()` it, or use it in an `async with`. `index`: up to where all was delivered."""

    def __init__(self, client: AsyncRaftmemClient, plan: WatchPlan) -> None:
        self._driver = client.driver
        self._stream = AsyncStream()
        self._watching = Watching(client.caller, self._stream, plan)

    def __repr__(self) -> str:
        return f"<AsyncWatch, delivered up to {self.index}>"

    @property
    def index(self) -> int | None:
        return self._watching.index

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry:
        try:
            return await self._driver.run(self._watching.next_entry())
        except asyncio.CancelledError:
            await self.close()  # a stream cut off in its middle cannot be read on; the next one resumes by its index
            raise

    async def close(self) -> None:
        await self._driver.finish(self._watching.shut(), GIVE_BACK_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Watch(Generic[P]):
    def __init__(self, make: Callable[P, WatchPlan]) -> None:
        self._make = make

    def __get__(self, group: _Group, _owner: type[_Group]) -> Callable[P, AsyncWatch]:
        @functools.wraps(self._make)
        def call(*args: P.args, **kwargs: P.kwargs) -> AsyncWatch:
            return AsyncWatch(group._client, self._make(*args, **kwargs))

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
    release = _Call(locks.release, ends=True)
    force_release = _Call(locks.force_release, ends=True)
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
        on_lost: Callable[[AsyncHold], object] | None = None,
    ) -> AsyncHold:
        """To hold it in an `async with`. `wait`: seconds in the queue; None: however long; 0: not at all (LockHeld).

        `on_lost`: called once (awaited if it is a coroutine) when the hold is over before its end.
        """
        here = self._client
        want = Want(name, "", ttl, wait, permits, None if metadata is None else dict(metadata))
        return AsyncHold(here.caller, here.driver, lambda: here.keeper, here.places, want, owner, on_lost)


class Owners(_Group):
    """The owners of locks and claims."""

    release = _Call(locks.release_owner, ends=True)


class Tasks(_Group):
    """Tasks in queues."""

    add = _Call(tasks.add)
    claim = _Call(tasks.claim, claim_undone)
    heartbeat = _Call(tasks.heartbeat)
    complete = _Call(tasks.complete, ends=True)
    fail = _Call(tasks.fail, ends=True)
    release = _Call(tasks.release, ends=True)
    cancel = _Call(tasks.cancel)
    retry = _Call(tasks.retry)
    get = _Call(tasks.show)
    list = _List(tasks.many)

    def worker(
        self,
        queues: Sequence[str],
        handler: AsyncHandler,
        concurrency: int = 1,
        ttl: float = 30.0,
        *,
        name: str | None = None,
        poll: float = 5.0,
        grace: float = 30.0,
        install_signals: bool = False,
    ) -> AsyncWorker:
        """Awaits `handler(job)` for each task: what it returns is the result, what it raises a failure (Retry,
        NonRetryable say which). `poll`: seconds of one wait for a task. `grace`: for what runs when it is stopped.
        """
        here = self._client
        worker = name or f"{here.owner}/{here.caller.randomness.text()[:4]}"
        crew: Crew[AsyncFlag] = Crew(
            here.caller,
            here.driver,
            here.driver.flag,
            queues=queues,
            worker=worker,
            concurrency=concurrency,
            ttl=ttl,
            poll=poll,
        )
        return AsyncWorker(here.driver, crew, handler, grace=grace, install_signals=install_signals)


class Gates(_Group):
    """Gates that open by approvals."""

    put = _Call(gates.put)
    approve = _Call(gates.approve)
    revoke = _Call(gates.revoke)
    consume = _Call(gates.consume)
    get = _Call(gates.show)
    list = _List(gates.many)

    async def wait_open(self, name: str, wait: float | None = None) -> Gate:
        """Wait until it is open, for `wait` seconds; None: without a limit. Raises: WaitTimeout, NotFound."""
        return await self._client.driver.run(gates.waiting_open(self._client.caller, name, wait))


class _Log(_Group):
    batch = _Call(log.batch)
    txn = _Call(log.txn)
    cluster = _Call(log.cluster)
    events = _List(log.events)
    watch = _Watch(watch.watch)
