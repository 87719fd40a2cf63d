"""One replica over all its lives: the production code of consensus, apply loop, snapshots and housekeeping on a disk.

Put together as `raftmem/node.py` does it, less HTTP and sockets. A crash is a life that just ends: nothing is closed,
and what the next one finds is what the disk kept.
"""

import errno
import random
from typing import Protocol

from jepsen_like.simulator.chores import Chores
from jepsen_like.simulator.disk import Disk
from jepsen_like.simulator.life import greeting, restored
from jepsen_like.simulator.network import Ends, VirtualNetwork
from jepsen_like.simulator.oracles import Referee
from jepsen_like.simulator.sometimes import Sometimes
from jepsen_like.simulator.world import VirtualMachine, World
from raftmem.errors import Removed, Stop, StorageFailed
from raftmem.model.commands import Members
from raftmem.raft.assembly import Seams, assemble
from raftmem.raft.consensus import Consensus
from raftmem.raft.interfaces import Timing
from raftmem.raft.transport.frames import Hello, objection
from raftmem.replica.apply_loop import Replica as ApplyLoop
from raftmem.storage.log.contract import LogEntry, LogStore
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.vectors.in_memory import InMemoryVectorIndex


class Users(Protocol):
    """Locks and tasks in use: production code that is begun with each life of a replica."""

    def begin(self, replica: "Replica", consensus: Consensus, apply_loop: ApplyLoop) -> None: ...


class Setting(Protocol):
    """The group, as its replicas see it. `faults`: the random stream of what goes wrong."""

    world: World
    network: VirtualNetwork
    referee: Referee
    faults: random.Random
    timing: Timing
    sometimes: Sometimes
    compact_entries: int
    keep_entries: int
    chunks: int
    sync_seconds: float
    append_bytes_max: int

    @property
    def coordination(self) -> Users | None: ...
    def deliver(self, replica: "Replica", consensus: Consensus, peer: str, data: bytes) -> None: ...
    def committed(self, entries: list[LogEntry]) -> None: ...
    def members_moved(self, replica: "Replica") -> None: ...
    def is_removed(self, name: str) -> bool: ...


class Replica:
    """`consensus` is None while it is down. `gone`: the group has removed it. `wiped`: its folder was emptied."""

    def __init__(self, group: Setting, name: str, disk: Disk) -> None:
        self.group = group
        self.name = name
        self.disk = disk
        self.old_logs: list[LogStore] = []
        self.machine = VirtualMachine(group.world)
        self.machine.alive = False
        self.consensus: Consensus | None = None
        self.state: ApplyLoop | None = None
        self.chores: Chores | None = None
        self.stopped_by: Stop | None = None
        self.members: Members | None = None
        self.removed: frozenset[str] = frozenset()
        self.rate = 1.0
        self.gone = False
        self.wiped = False
        self.condemned = False  # whoever would start it again must not
        self._booted = 0.0

    @property
    def up(self) -> bool:
        return self.consensus is not None

    @property
    def store(self) -> LogStore:
        return self.disk.log

    @property
    def index(self) -> int:
        """The index that its state stands at."""
        return self.disk.state.head().index

    @property
    def applied(self) -> list[LogEntry]:
        """Everything that its state is made of; each entry was compared when it was applied."""
        truth = self.group.referee.truth
        return [truth[index] for index in range(1, self.index + 1)]

    # --- lives -----------------------------------------------------------------------------------
    def start(self, *, power_lost: bool = False) -> None:
        """A new life, on the same machine or on one that lost its power."""
        group = self.group
        if power_lost:
            self._booted = group.world.now
        self.stopped_by = None
        self.disk.open(power_lost=power_lost)
        self.machine = machine = VirtualMachine(
            group.world, rate=self.rate, sync_seconds=group.sync_seconds, booted=self._booted
        )
        log = self.disk.log
        try:
            if restored(self.name, log, self.disk.state, self.disk.snapshots) is not None:
                group.referee.stands_at(self.name, self.disk.state.head().index, self.disk.state.head().digest)
                group.sometimes.saw("state rebuilt")
        except Stop as error:
            raise group.referee.fail(f"{self.name} cannot start: {error}") from error
        state = self.disk.state
        self.state = replica = ApplyLoop(state, InMemoryVectorIndex.open(state.read()))
        if log.first_index() == 1 and replica.applied == 0:
            self._apply(log.read(1, 2))
        self.chores = chores = Chores(
            group,
            self.disk,
            machine,
            replica,
            installed=self.installed,
            on_failed=lambda error: self.stops(machine, error),
        )
        self.consensus = consensus = assemble(
            Seams(
                node_id=self.name,
                store=log,
                applied=replica.applied,
                apply=self._apply,
                settle=replica.settle,
                on_stop=lambda error: self.stops(machine, error),
                timing=group.timing,
                loop=machine,
                clock=machine,
                randomness=machine,
                executor=machine,
                network=group.network.port(self.name),
                snapshots=chores.snapshots,
                on_members=self._on_members,
                birth_of=self._birth_of,
                append_bytes_max=group.append_bytes_max,
            )
        )
        chores.begin(consensus)
        if group.coordination is not None:
            group.coordination.begin(self, consensus, replica)
        consensus.start()
        group.network.attach(self.name, self._ends(machine, consensus))

    def _ends(self, machine: VirtualMachine, consensus: Consensus) -> Ends:
        deliver = self.group.deliver

        def receive(peer: str, data: bytes) -> None:
            if machine.runs:
                deliver(self, consensus, peer, data)
            else:
                machine.perform(lambda: deliver(self, consensus, peer, data))

        return Ends(
            receive,
            lambda peer: machine.call_soon(lambda: consensus.connected(peer)),
            lambda peer: machine.call_soon(lambda: consensus.disconnected(peer)),
        )

    def crash(self) -> None:
        """At once, between two events: what was not committed to the log store is gone."""
        self.machine.alive = False
        if self.consensus is not None:
            self.consensus.abandon()
        self.consensus = self.state = None
        self.group.network.detach(self.name)

    def take_snapshot(self) -> None:
        """As an operator would ask for one."""
        if self.up and self.machine.runs and self.chores is not None:
            self.chores.take()

    def wipe(self, disk: Disk) -> None:
        """The folder is emptied, and somebody starts it again under its old name."""
        self.crash()
        self.old_logs.append(self.disk.log)
        self.disk = disk
        self.wiped = True

    # --- what consensus calls ----------------------------------------------------------------------
    def _apply(self, entries: list[LogEntry]) -> None:
        group, log = self.group, self.disk.log
        replica, first = self.state, entries[0].index
        assert replica is not None
        if log.full and self.consensus is not None and self.group.faults.random() < 0.5:
            raise OSError(errno.ENOSPC, "no room left for the state")
        if first != replica.applied + 1:
            raise group.referee.fail(f"{self.name} applies {first} after {replica.applied}")
        if log.read(first, entries[-1].index + 1) != entries:
            raise group.referee.fail(f"{self.name} applies from {first}, its disk ends at {log.last_index()}")
        term = entries[-1].term if self.consensus is None else self.consensus.term
        group.referee.applies(self.name, entries, term, self.members)
        replica.apply(entries)
        group.referee.stands_at(self.name, replica.head.index, replica.head.digest)
        group.committed(entries)

    def installed(self, meta: SnapshotMeta) -> None:
        """A snapshot has become its state."""
        head = self.disk.state.head()
        if head.index != meta.index:
            raise self.group.referee.fail(
                f"{self.name} installs a snapshot of {meta.index}, its state is at {head.index}"
            )
        self.group.referee.stands_at(self.name, head.index, head.digest)

    def stops(self, machine: VirtualMachine, error: Stop) -> None:
        """It may stop for a sync that was made to fail, and when it was removed; nothing else is an excuse."""
        if machine is not self.machine:
            return
        self.stopped_by = error
        if isinstance(error, Removed):
            if not self.group.is_removed(self.name):
                self.group.referee.fail(f"{self.name} stops as removed, and is not")
            self.gone = True
        elif not (isinstance(error, StorageFailed) and self.disk.log.failed):
            self.group.referee.fail(f"{self.name} stopped: {error}")
        self.group.world.soon(self.crash)

    def _on_members(self, in_force: Members, committed: Members) -> None:
        self.members = in_force
        self.removed = frozenset(committed.removed)
        self.group.world.soon(lambda: self.group.members_moved(self))

    # --- the handshake -------------------------------------------------------------------------------
    def names(self, peer: str) -> bool:
        """It would dial that one."""
        return self.members is not None and self.members.member(peer) is not None

    def objects_to(self, other: "Replica") -> str | None:
        """Why it does not talk to that one; it learns who it is if it does (obligation no-amnesia)."""
        bound = None if self.members is None else self.members.member(other.name)
        known = self._birth_of(other.name) if bound is None or bound.birth is None else bound.birth
        bye = objection(
            self._hello(other.name),
            other._hello(self.name),
            is_removed=other.name in self.removed,
            bound_folder=None if bound is None else bound.folder_id,
            known_birth=known,
        )
        if bye is None:
            return None
        if bye.removed and other.consensus is not None:
            consensus = other.consensus
            other.machine.call_soon(lambda: consensus.fail(Removed(bye.reason)))
        return bye.reason

    def _birth_of(self, name: str) -> str | None:
        folder = self.disk.folder
        return folder.birth if name == self.name else folder.known_births.get(name)

    def meet(self, other: "Replica") -> None:
        """They are connected: a member's folder is remembered."""
        if self.names(other.name):
            self.disk.folder.known_births.setdefault(other.name, other.disk.folder.birth)

    def _hello(self, to: str) -> Hello:
        folder = self.disk.folder
        return greeting(self.name, to, folder_id=folder.folder_id, birth=folder.birth, timing=self.group.timing)
