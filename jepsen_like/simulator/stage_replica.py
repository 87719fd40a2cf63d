"""One replica on a stage: the production consensus, apply loop and snapshots over the twins in memory.

Its disk outlives its crashes: log and snapshots always, the state unless the machine lost its power. A wiped folder is
an empty one with a new birth, under the old name.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from jepsen_like.simulator.life import first_entry, greeting, restored
from jepsen_like.simulator.world import VirtualHandle, VirtualMachine, World
from raftmem.errors import Stop
from raftmem.model.commands import Members
from raftmem.raft.assembly import Seams, assemble
from raftmem.raft.consensus import Consensus
from raftmem.raft.interfaces import Timing
from raftmem.raft.transport.frames import Hello
from raftmem.replica.apply_loop import Replica
from raftmem.replica.snapshot_keeper import SnapshotKeeper
from raftmem.runtime.interfaces import TimerHandle
from raftmem.service.expiry import Expiry
from raftmem.storage.log.contract import Append, Compact, LogEntry, LogWrite, Reset, Truncate
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.snapshots.in_memory import InMemorySnapshotStore
from raftmem.storage.state.in_memory import InMemoryStateStore
from raftmem.storage.state.in_memory_copy import InMemoryFiles
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex


class Setting(Protocol):
    """The stage, as its replicas see it."""

    timing: Timing
    append_bytes: int
    chunk_bytes: int

    def say(self, line: str) -> None: ...
    def send(self, sender: str, to: str, data: bytes) -> None: ...
    def applies(self, name: str, term: int, entries: list[LogEntry]) -> None: ...
    def stops(self, name: str, error: Stop) -> None: ...
    def members_moved(self, name: str) -> None: ...


class _ShownLog(InMemoryLogStore):
    """Says what is taken off it."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        super().__init__()
        self._name = name
        self._say = say

    def commit(self, writes: Sequence[LogWrite]) -> None:
        last = self.last_index()
        super().commit(writes)
        for write in writes:
            match write:
                case Truncate(index=index) if index <= last:
                    self._say(f"{self._name} cuts its log from {index}")
                case Compact(first_index=first):
                    self._say(f"{self._name} compacts its log: it begins at {first}")
                case Reset(entry=entry):
                    self._say(f"{self._name} begins its log anew at {entry.index}/{entry.term}")


class _SmallPieces(SnapshotKeeper):
    """Snapshots are read in pieces of a size that suits small states."""

    chunk_bytes = 1

    def read(self, meta: SnapshotMeta, offset: int, size: int, done: Callable[[bytes | None], None]) -> None:
        super().read(meta, offset, min(size, self.chunk_bytes), done)


class _NeverRings:
    """A loop without time: what is to look again later waits until it is told to."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:  # noqa: ARG002  # the signature
        return VirtualHandle()


class StageReplica:
    """`consensus` is None while it is down. `stopped_by`: why it stopped by itself. `lives`: how often it started."""

    def __init__(self, setting: Setting, world: World, name: str, voters: Sequence[str], patience: float) -> None:
        self.name = name
        self.consensus: Consensus | None = None
        self.replica: Replica | None = None
        self.keeper: SnapshotKeeper | None = None
        self.expiry: Expiry | None = None
        self.machine = VirtualMachine(world, sync_seconds=0.0)
        self.machine.alive = False
        self.stopped_by: Stop | None = None
        self.lives = 0
        self.births = 0
        self.met: dict[str, str] = {}  # births of the folders that it was connected with
        self.members: Members | None = None
        self.removed: tuple[str, ...] = ()
        self._setting = setting
        self._world = world
        self.patience = patience  # share of the election timeout, beyond the first, that it waits
        self.wipe(voters)

    @property
    def up(self) -> bool:
        return self.consensus is not None

    # --- its disk ---------------------------------------------------------------------------------
    def wipe(self, voters: Sequence[str]) -> None:
        """An empty folder: bootstrapped with these voters, or, with none, of a replica that joins."""
        self.births += 1
        self.log = _ShownLog(self.name, self._setting.say)
        self.log.commit([Append((first_entry(voters, self._setting.timing),))])
        self._files = InMemoryFiles()
        self.lose_state()

    def lose_state(self) -> None:
        """The machine lost its power: the state was not synced, and is not trusted."""
        self.state = InMemoryStateStore(snapshots=self._files)

    # --- lives --------------------------------------------------------------------------------------
    def start(self) -> None:
        """Raises: Corrupt when the disk cannot be gone on from."""
        self.lives += 1
        self.stopped_by = None
        self.machine = machine = VirtualMachine(self._world, sync_seconds=0.0)
        self.state.close(clean=False)  # a kill, unless it is the first life
        snapshots = InMemorySnapshotStore(self._files, self.state)
        meta = restored(self.name, self.log, self.state, snapshots)
        if meta is not None:
            self._setting.say(f"{self.name} restores its state from the snapshot of {meta.index}/{meta.term}")
        self.replica = Replica(self.state, InMemoryVectorIndex.open(self.state.read()))
        if self.log.first_index() == 1 and self.replica.applied == 0:
            self.replica.apply(self.log.read(1, 2))
        self.keeper = keeper = _SmallPieces(
            store=snapshots,
            replica=self.replica,
            executor=machine.chores,
            loop=machine,
            clock=machine,
            members_at=self._members_at,
            holds=self._holds,
            vectors=InMemoryVectorIndex.open,
            on_failed=self._stops,
        )
        keeper.chunk_bytes = self._setting.chunk_bytes
        self.consensus = assemble(
            Seams(
                node_id=self.name,
                store=self.log,
                applied=self.replica.applied,
                apply=self._apply,
                settle=self.replica.settle,
                on_stop=self._stops,
                timing=self._setting.timing,
                loop=machine,
                clock=machine,
                randomness=self,
                executor=machine,
                network=self,
                snapshots=keeper,
                on_members=self._on_members,
                append_bytes_max=self._setting.append_bytes,
            )
        )
        self.expiry = Expiry(consensus=self.consensus, replica=self.replica, loop=_NeverRings(), randomness=self)

    def begin(self) -> None:
        """After it was attached to the network."""
        if self.consensus is not None:
            self.consensus.start()

    def crash(self) -> None:
        """At once: what is not on disk is gone."""
        self.machine.alive = False
        if self.consensus is not None:
            self.consensus.abandon()
        self.consensus = self.replica = self.keeper = self.expiry = None

    def _holds(self, meta: SnapshotMeta) -> bool:
        assert self.consensus is not None, "nothing is asked before consensus is there"
        return self.consensus.journal.term_at(meta.index) == meta.term

    def _members_at(self, index: int) -> LogEntry:
        assert self.consensus is not None
        return self.consensus.journal.membership_at(index)

    # --- what consensus calls -------------------------------------------------------------------------
    def send(self, peer: str, data: bytes) -> None:
        self._setting.send(self.name, peer, data)

    def _apply(self, entries: list[LogEntry]) -> None:
        assert self.consensus is not None
        assert self.replica is not None
        self._setting.applies(self.name, self.consensus.term, entries)
        self.replica.apply(entries)

    def random(self) -> float:
        """Elections go by patience, and no two lives are alike."""
        return self.patience + 0.01 * self.machine.random()

    def bytes(self, count: int) -> bytes:
        return self.machine.bytes(count)

    def _stops(self, error: Stop) -> None:
        self.stopped_by = error
        self._setting.stops(self.name, error)

    def _on_members(self, in_force: Members, committed: Members) -> None:
        self.members, self.removed = in_force, committed.removed
        self._setting.members_moved(self.name)

    # --- the handshake -----------------------------------------------------------------------------------
    def hello(self, to: str) -> Hello:
        return greeting(
            self.name,
            to,
            folder_id=f"folder-{self.name}",
            birth=f"birth-{self.births}",
            timing=self._setting.timing,
        )
