"""A group in one process for tests of the service: real consensus, machine and waiting, stores in memory, owned time.

The loop is asyncio's with a clock of its own: when nothing is ready to run it jumps to the next timer, so a wait of a
minute takes no time and nothing depends on how fast the machine is.
"""

import asyncio
import contextlib
import random
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from jepsen_like.simulator.life import first_entry
from raftmem.errors import Removed, Stop
from raftmem.machine.run import Applied
from raftmem.model.commands import Actor, Content, Draft, Header, Idempotency, Operation
from raftmem.raft.assembly import Seams, assemble
from raftmem.raft.interfaces import Timing
from raftmem.replica.apply_loop import Replica
from raftmem.replica.snapshot_keeper import SnapshotKeeper
from raftmem.runtime.interfaces import Clock, Loop
from raftmem.runtime.system import AsyncioLoop
from raftmem.service.expiry import Expiry
from raftmem.service.interface import Gone
from raftmem.service.replica_service import ReplicaService
from raftmem.storage.log.contract import Append, HardState, LogEntry
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.snapshots.in_memory import InMemorySnapshotStore
from raftmem.storage.space import Space
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.in_memory_copy import InMemoryFiles
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex

T = TypeVar("T")
TIMING = Timing(1.0, 0.1, 0.0005)


class _Jumping(selectors.SelectSelector):
    """Never waits: what it would have waited is added to `now`."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left that could wake anybody"
            self.now += max(timeout, 0)
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    """Work for other threads is done at once: time must not jump while one of them computes."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(self, executor, func, *args):  # type: ignore[no-untyped-def]  # as in the standard library
        return super().run_in_executor(executor or _Here(), func, *args)


def run(work: Coroutine[object, object, T]) -> T:
    """On a loop whose time is its own."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(work)


class _Here(Pool):
    """A pool without threads."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]  # as in the standard library
        done: Future[object] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class LoopClock:
    """A clock on the time of the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def boottime(self) -> float:
        return self._loop.time()

    def wall_ms(self) -> int:
        return int(self._loop.time() * 1000)


class _Machine:
    """Randomness and executor of one replica. `delay`: seconds that its disk takes."""

    def __init__(self, name: str, loop: Loop, delay: float) -> None:
        self._loop = loop
        self._delay = delay
        self._random = random.Random(name)

    def random(self) -> float:
        return self._random.random()

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        def do() -> None:
            work()
            done(None)

        after(self._loop, self._delay, do)


def after(loop: Loop, seconds: float, work: Callable[[], None]) -> None:
    """In the next turn if it takes no time."""
    if seconds:
        loop.call_later(seconds, work)
    else:
        loop.call_soon(work)


class _Roomy(NamedTuple):
    f_bavail: int = 1 << 40
    f_blocks: int = 1 << 40
    f_frsize: int = 1


class One:
    """A replica of the group. `log`: every entry as it was applied here."""

    def __init__(self, group: "Group", name: str) -> None:
        self.name = name
        self.log: list[Applied] = []
        self.runs = True
        self._group = group
        loop, clock = group.loop, group.clock
        machine = _Machine(name, loop, group.delay)
        store, state = InMemoryLogStore(), InMemoryStateStore()
        entries = group.first_entries()
        store.commit([HardState(entries[-1].term, None), Append(tuple(entries))])
        self.replica = Replica(state, InMemoryVectorIndex())
        self.replica.observers.append(self)
        self.replica.apply(entries)
        snapshots = SnapshotKeeper(
            store=InMemorySnapshotStore(InMemoryFiles(), state),
            replica=self.replica,
            executor=machine,
            loop=loop,
            clock=clock,
            members_at=lambda index: self.consensus.journal.membership_at(index),
            holds=lambda meta: self.consensus.journal.term_at(meta.index) == meta.term,
            vectors=InMemoryVectorIndex.open,
            on_failed=self._stop,
        )
        self.consensus = assemble(
            Seams(
                node_id=name,
                store=store,
                applied=entries[-1].index,
                apply=self.replica.apply,
                settle=self.replica.settle,
                on_stop=self._stop,
                timing=group.timing,
                loop=loop,
                clock=clock,
                randomness=machine,
                executor=machine,
                network=self,
                snapshots=snapshots,
            )
        )
        self.expiry = Expiry(consensus=self.consensus, replica=self.replica, loop=loop, randomness=machine)
        self.service = group.service_type(
            incarnation=group.incarnation,
            consensus=self.consensus,
            replica=self.replica,
            space=Space(Path("/"), statvfs=lambda _path: _Roomy()),
            expiry=self.expiry,
            loop=loop,
            clock=clock,
            randomness=machine,
            pool=_Here(),
            snapshot=state.read_private,
            snapshots=snapshots,
            greeting=lambda _node: None,
            version="test",
        )

    def _stop(self, error: Stop) -> None:
        if isinstance(error, Removed):
            self.runs = False
            return
        raise AssertionError(f"{self.name} stops") from error

    def send(self, peer: str, data: bytes) -> None:
        self._group.carry(self, peer, data)

    def applied(self, entries: Sequence[Applied]) -> None:
        self.log += entries

    def installed(self) -> None:
        raise AssertionError("these groups send no snapshots")

    def kill(self) -> None:
        self.runs = False
        self.consensus.stop()
        for other in self._group.running():
            other.consensus.disconnected(self.name)

    def events(self, *ops: str) -> list[str]:
        """The ops of its log, of those named if any are."""
        found = [outcome.op for one in self.log for outcome in one.row.result.outcomes]
        return [op for op in found if op in ops] if ops else found


class Group:
    """Replicas n1, n2, …, of which the first `there` run. `delay`: seconds that a message or a sync takes."""

    timing = TIMING
    incarnation = 1
    service_type: type[ReplicaService] = ReplicaService

    def __init__(
        self, count: int, *, loop: Loop, clock: Clock, delay: float = 0.0005, there: int | None = None
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.delay = delay
        self.names = tuple(f"n{k + 1}" for k in range(count))
        self.replicas = [One(self, name) for name in self.names[:there]]
        self.cut: set[str] = set()  # those that no message reaches or leaves

    def first_entries(self) -> list[LogEntry]:
        """What every log holds at the start."""
        return [first_entry(self.names, self.timing)]

    def start(self) -> None:
        for one in self.replicas:
            for other in self.replicas:
                if other is not one:
                    one.consensus.connected(other.name)
            one.consensus.start()
            one.expiry.start()

    def running(self) -> list[One]:
        return [one for one in self.replicas if one.runs]

    def carry(self, sender: One, peer: str, data: bytes) -> None:
        to = next((one for one in self.replicas if one.name == peer), None)

        def deliver() -> None:
            if to is not None and to.runs and sender.runs and not self.cut & {sender.name, peer}:
                to.consensus.receive(sender.name, data)

        after(self.loop, self.delay, deliver)

    async def elected(self) -> One:
        """Who leads, once somebody does and has a lease."""
        while True:
            for one in self.running():
                if one.consensus.lease_index() is not None:
                    return one
            await asyncio.sleep(0.01)

    def followers(self) -> list[One]:
        return [one for one in self.running() if not one.consensus.is_leader]


@contextlib.asynccontextmanager
async def group_of(count: int) -> AsyncIterator[Group]:
    """With a leader."""
    group = Group(count, loop=AsyncioLoop(asyncio.get_running_loop()), clock=LoopClock())
    group.start()
    await group.elected()
    yield group
    for one in group.running():
        one.consensus.stop()


# --- words ------------------------------------------------------------------------------------------
def draft(*operations: Operation, key: str | None = None, actor: str = "alice", payload: object = None) -> Draft:
    idempotency = None if key is None else Idempotency(key, key.encode().ljust(32, b"."))
    header = Header(Actor("agent", actor), f"req-{actor}", operations, (), len(operations) == 1, idempotency)
    content = None if payload is None else Content(payload=msgspec.json.encode(payload))
    return Draft(header, (content,) * len(operations))


async def never() -> None:
    """A client that stays."""
    await asyncio.get_running_loop().create_future()


class Client:
    """A client that goes when it is told."""

    def __init__(self) -> None:
        self._left = asyncio.Event()

    def leave(self) -> None:
        self._left.set()

    @property
    def gone(self) -> Gone:
        async def wait() -> None:
            await self._left.wait()

        return wait


async def settled(condition: Callable[[], bool]) -> None:
    """Until it holds; time passes."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come about")
