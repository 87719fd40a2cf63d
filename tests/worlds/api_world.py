"""A group in memory behind the API: the real service, consensus and machine, on a clock that the tests own.

The members are n1, n2 and n3. n3 led term 2, handed the lead to n1 and is gone; n2 answers the requests. Index 1 to 100
are Raft's own entries, so the first write stands at index 101 of term 3. The clocks move one second an entry, and the
wall clock stands at 2026-11-20T09:00:00.120Z for index 101.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Final, cast

import httpx
from service_world import Group, run
from starlette.types import Message, Receive, Scope, Send

from raftmem import errors
from raftmem.api.app import create_app
from raftmem.api.http.settings import ApiSettings
from raftmem.model import codec
from raftmem.model.commands import Actor, Draft, Member, Members
from raftmem.model.coordination_rows import hold_key
from raftmem.raft import messages as m
from raftmem.raft.interfaces import Timing
from raftmem.service.expiry import PERIOD_SECONDS
from raftmem.service.interface import Changed, Point, ReadOptions, Written
from raftmem.service.replica_service import ReplicaService
from raftmem.storage.log.contract import LogEntry
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.contract import StateStore

TERM: Final = 3
FIRST_WALL_MS: Final = 1_795_165_200_120  # 2026-11-20T09:00:00.120Z
FIRST: Final = 101
VOTERS: Final = tuple(
    Member(f"n{k}", f"127.0.0.1:910{k}", f"http://127.0.0.1:810{k}", f"folder-{k}") for k in (1, 2, 3)
)


@contextmanager
def at_once() -> Iterator[None]:
    """Fails if the block took time of the loop: its waits must end by an event, since a deadline would end them too."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    yield
    assert loop.time() == began


class _Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class AnyLoop:
    """The turns and timers of a group on whichever asyncio loop runs: a test has one loop a request.

    Time passes only while such a loop runs. `now`: seconds.
    """

    def __init__(self) -> None:
        self._turns: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._numbers = count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._since = 0.0  # time of that loop when ours was 0
        self._at = 0.0
        self._turn_is_due = False
        self._next_timer: asyncio.TimerHandle | None = None

    @property
    def now(self) -> float:
        if self._loop is not None and not self._loop.is_closed():
            self._at = self._loop.time() - self._since
        return self._at

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._turns.append(callback)
        self.attach()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), timer))
        self.attach()
        return timer

    def drain(self) -> None:
        """Run every turn that is due, where no loop need run."""
        while self._turns:
            self._turns.popleft()()

    def attach(self) -> None:
        """Go on on the loop that runs now."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if loop is not self._loop:
            now = self.now
            self._loop, self._since = loop, loop.time() - now
            self._turn_is_due, self._next_timer = False, None
        if self._turns and not self._turn_is_due:
            self._turn_is_due = True
            loop.call_soon(self._turn)
        if self._timers:
            at = self._since + self._timers[0][0]
            if self._next_timer is None or self._next_timer.when() > at:
                if self._next_timer is not None:
                    self._next_timer.cancel()
                self._next_timer = loop.call_at(at, self._look)

    def _turn(self) -> None:
        self._turn_is_due = False
        for _ in range(len(self._turns)):  # what they bring is of the next turn
            self._turns.popleft()()
        self.attach()

    def _look(self) -> None:
        self._next_timer = None
        now = self.now + 1e-6  # asyncio, too, takes a timer for due that is due within the clock's resolution
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()
        self.attach()


class EntryClock:
    """Both clocks of all replicas: they move one second with each entry, and with the loop.

    `times`: log time at which the entry of an index is proposed, microseconds, where it is another. `next_index`: of
    the entry that comes.
    """

    def __init__(self, loop: AnyLoop) -> None:
        self.times: dict[int, int] = {}
        self.next_index: Callable[[], int] = lambda: FIRST - 1
        self._loop = loop
        self._skipped = 0.0
        self._newest = 0.0

    def skip(self, seconds: float) -> None:
        self._skipped += seconds

    def boottime(self) -> float:
        index = self.next_index()
        given = self.times.get(index)
        time = index - 1 + self._loop.now + self._skipped if given is None else given / 1_000_000
        self._newest = max(self._newest, time)
        return self._newest

    def wall_ms(self) -> int:
        return FIRST_WALL_MS + (self.next_index() - FIRST) * 1000


class ApiService(ReplicaService):
    """The real service of n2, with the failures that a test cannot bring it to.

    `failure`: raised by the next writes, reads and changes. `lapses`: how many answers the lease does not cover.
    `oldest`: lowest index that may be read. `reads`: those that were asked for.
    """

    group: "ApiGroup"
    reads: list[ReadOptions]
    failure: Exception | None = None
    lapses = 0
    oldest = 1

    @property
    def store(self) -> StateStore:
        return self._replica.store

    @property
    def times(self) -> dict[int, int]:
        return self.group.entry_clock.times

    @property
    def watchers(self) -> int:
        return self._hub.subscriptions

    def _may_fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def write(self, draft: Draft, *, timeout_ms: int) -> Written:
        self._may_fail()
        return await super().write(draft, timeout_ms=timeout_ms)

    async def read(self, options: ReadOptions) -> Point:
        self.reads.append(options)
        self._may_fail()
        if options.at is not None and options.at < self.oldest:
            raise errors.IndexCompacted(options.at, self.oldest)
        return await super().read(options)

    def still_holds(self, point: Point) -> bool:
        if self.lapses:
            self.lapses -= 1
            return False
        return super().still_holds(point)

    async def add_member(self, member: Member, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        self._may_fail()
        return await super().add_member(member, actor=actor, request_id=request_id, timeout_ms=timeout_ms)

    async def remove_member(self, member_id: str, *, actor: Actor, request_id: str, timeout_ms: int) -> Changed:
        self._may_fail()
        return await super().remove_member(member_id, actor=actor, request_id=request_id, timeout_ms=timeout_ms)

    async def snapshot(self, *, timeout_ms: int) -> SnapshotMeta:
        self._may_fail()
        return await super().snapshot(timeout_ms=timeout_ms)

    def pass_over(self) -> None:
        """Tell the watchers that entries were passed over; these groups send no snapshots."""
        self._hub.installed()

    def expire_hold(self, lock: str, owner: str) -> None:
        """Let the leader see that a hold has run out, which has."""
        run(self.group.pass_time(2 * PERIOD_SECONDS))
        assert self.store.read().coordination_row(hold_key(lock, owner)) is None


@cache
def first_entries(incarnation: int, entries: int) -> list[LogEntry]:
    """The membership and entries without content: of term 2, and all of one moment."""
    time, wall_ms = (FIRST - 2) * 1_000_000, FIRST_WALL_MS
    members = codec.membership(Members("5f2a9c01", incarnation, VOTERS, 1000, 500), time=time, wall_ms=wall_ms)
    no_op = codec.no_op(time=time, wall_ms=wall_ms)
    return [LogEntry(1, TERM - 1, members), *(LogEntry(n, TERM - 1, no_op) for n in range(2, entries + 1))]


class ApiGroup(Group):
    """n1, which leads, and n2. A message or a sync takes a turn of the loop and no time."""

    timing = Timing(election_timeout=3600.0, heartbeat=1.0)  # the clocks may be moved far at once
    service_type = ApiService

    def __init__(self, *, incarnation: int, entries: int) -> None:
        self.incarnation = incarnation
        self._entries = entries
        self.turns = AnyLoop()
        self.entry_clock = EntryClock(self.turns)
        super().__init__(3, loop=self.turns, clock=self.entry_clock, delay=0, there=2)
        self.entry_clock.next_index = lambda: max(one.consensus.journal.last_index for one in self.replicas) + 1

    def first_entries(self) -> list[LogEntry]:
        return first_entries(self.incarnation, self._entries)

    async def pass_time(self, seconds: float) -> None:
        """Replicas go on while no request does."""
        self.turns.attach()
        await asyncio.sleep(seconds)

    def elect(self) -> None:
        """n3 shows that it leads, then hands the lead to n1."""
        said = m.Append(TERM - 1, 1, self._entries, TERM - 1, self._entries, ())
        for one in self.replicas:
            one.consensus.receive("n3", m.encode(said))
        self.turns.drain()
        self.replicas[0].consensus.receive("n3", m.encode(m.TimeoutNow(TERM - 1)))
        self.turns.drain()


class World:
    """A client and the replica that answers it. `entries`: how many stand in the log before n1 leads."""

    def __init__(
        self,
        *,
        settings: ApiSettings | None = None,
        oldest: int = 1,
        incarnation: int = 1,
        entries: int = FIRST - 2,
    ) -> None:
        self.group = ApiGroup(incarnation=incarnation, entries=entries)
        self.group.start()
        self.group.elect()
        self.service = cast(ApiService, self.group.replicas[1].service)
        self.service.group, self.service.reads, self.service.oldest = self.group, [], oldest
        self.app = create_app(self.service, settings=settings)

    def skip(self, seconds: float) -> None:
        """Let so much time pass while nobody does anything."""
        self.group.entry_clock.skip(seconds)

    def pass_time(self, seconds: float) -> None:
        """Let the replicas go on for so long while no request comes."""
        run(self.group.pass_time(seconds))

    async def ask(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One request. `body`: JSON; `content`: bytes as they are, sent as JSON unless `headers` say otherwise."""
        self.group.turns.attach()
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            if content is not None:
                headers = {"content-type": "application/json", **(headers or {})}
                return await client.request(method, target, content=content, headers=headers)
            if body is None:
                return await client.request(method, target, headers=headers)
            return await client.request(method, target, json=body, headers=headers)

    def __call__(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """`ask`, from outside a loop."""
        return run(self.ask(method, target, body, content=content, headers=headers))

    async def on_virtual_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app for clients that bring a loop of their own: each request runs on one whose waits take no time."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = [await receive()]
        while asked[-1].get("more_body"):
            asked.append(await receive())
        said: list[Message] = []

        async def hear() -> Message:
            return asked.pop(0) if asked else await asyncio.get_running_loop().create_future()

        async def say(message: Message) -> None:
            said.append(message)

        async def serve() -> None:
            self.group.turns.attach()
            await self.app(scope, hear, say)

        await asyncio.to_thread(run, serve())
        for message in said:
            await send(message)
