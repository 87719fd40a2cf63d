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
from raftmem.errors import Stop
from raftmem.machine.run import Applied
from raftmem.model.commands import Actor, Content, Draft, Header, Idempotency, Operation
from raftmem.raft.assembly import Seams, assemble
from raftmem.raft.interfaces import Timing
from raftmem.replica.apply_loop import Replica
from raftmem.replica.snapshot_keeper import SnapshotKeeper
from raftmem.runtime.system import AsyncioLoop
from raftmem.service.expiry import Expiry
from raftmem.service.interface import Gone
from raftmem.service.replica_service import ReplicaService
from raftmem.storage.log.contract import Append, HardState
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


def run(work: Coroutine[object, object, T]) -> T:
    """On a loop whose time is its own."""

    def new_loop() -> asyncio.AbstractEventLoop:
        jumping = _Jumping()
        loop = asyncio.SelectorEventLoop(jumping)
        loop.time = lambda: jumping.now  # type: ignore[method-assign]  # the only way to give asyncio a clock
        return loop

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)


class _Here(Pool):
    """A pool without threads."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]  # as in the standard library
        done: Future[object] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class _Machine:
    """Clock, randomness and executor of one replica, on the loop's time."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._random = random.Random(name)

    def boottime(self) -> float:
        return self._loop.time()

    def wall_ms(self) -> int:
        return int(self._loop.time() * 1000)

    def random(self) -> float:
        return self._random.random()

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        def do() -> None:
            work()
            done(None)

        self._loop.call_later(0.0005, do)


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
        machine, loop = _Machine(name), AsyncioLoop(asyncio.get_running_loop())
        store, state = InMemoryLogStore(), InMemoryStateStore()
        first = first_entry(group.names, TIMING)
        store.commit([HardState(0, None), Append((first,))])
        self.replica = Replica(state, InMemoryVectorIndex())
        self.replica.observers.append(self)
        self.replica.apply([first])
        snapshots = SnapshotKeeper(
            store=InMemorySnapshotStore(InMemoryFiles(), state),
            replica=self.replica,
            executor=machine,
            loop=loop,
            clock=machine,
            members_at=lambda index: self.consensus.journal.membership_at(index),
            holds=lambda meta: self.consensus.journal.term_at(meta.index) == meta.term,
            vectors=InMemoryVectorIndex.open,
            on_failed=self._stop,
        )
        self.consensus = assemble(
            Seams(
                node_id=name,
                store=store,
                applied=1,
                apply=self.replica.apply,
                settle=self.replica.settle,
                on_stop=self._stop,
                timing=TIMING,
                loop=loop,
                clock=machine,
                randomness=machine,
                executor=machine,
                network=self,
                snapshots=snapshots,
            )
        )
        self.expiry = Expiry(consensus=self.consensus, replica=self.replica, loop=loop, randomness=machine)
        self.service = ReplicaService(
            incarnation=1,
            consensus=self.consensus,
            replica=self.replica,
            space=Space(Path("/"), statvfs=lambda _path: _Roomy()),
            expiry=self.expiry,
            loop=loop,
            clock=machine,
            randomness=machine,
            pool=_Here(),
            snapshot=state.read_private,
            snapshots=snapshots,
            greeting=lambda _node: None,
            version="test",
        )

    def _stop(self, error: Stop) -> None:
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
    """Replicas n1, n2, …; messages take half a millisecond."""

    def __init__(self, count: int) -> None:
        self.names = tuple(f"n{k + 1}" for k in range(count))
        self.replicas = [One(self, name) for name in self.names]
        self.cut: set[str] = set()  # those that no message reaches or leaves

    def running(self) -> list[One]:
        return [one for one in self.replicas if one.runs]

    def carry(self, sender: One, peer: str, data: bytes) -> None:
        to = self.replicas[self.names.index(peer)]

        def deliver() -> None:
            if to.runs and sender.runs and not self.cut & {sender.name, peer}:
                to.consensus.receive(sender.name, data)

        asyncio.get_running_loop().call_later(0.0005, deliver)

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
    group = Group(count)
    for one in group.replicas:
        for other in group.names:
            if other != one.name:
                one.consensus.connected(other)
        one.consensus.start()
        one.expiry.start()
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
