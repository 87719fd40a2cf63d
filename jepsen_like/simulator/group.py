"""A group of replicas in a world: start, crash, restart, propose, read; a referee watches every step.

`apply` here records what each replica applied; a replica's log store survives its crashes, nothing else does but
what the recorder calls its state (as an LMDB state survives a process kill).
"""

from jepsen_like.simulator.oracles import Referee, Violation, WatchedStore
from jepsen_like.simulator.world import VirtualMachine, VirtualNetwork, World
from raftmem import codec
from raftmem.commands import Actor, Draft, Header, Member, Members, Noop
from raftmem.commands import Decision as NoopDecision
from raftmem.errors import NotApplied, Stop
from raftmem.raft import messages as m
from raftmem.raft.consensus import Consensus
from raftmem.raft.timing import Timing
from raftmem.storage.contracts import Append, LogEntry


def bootstrap(names: tuple[str, ...], timing: Timing) -> bytes:
    """Index 1 of every log: the membership."""
    voters = tuple(Member(name, f"peer-{name}", f"http://{name}", f"folder-{name}") for name in names)
    members = Members("5f2a9c01", 1, voters, int(timing.election_timeout * 1000), int(timing.drift * 1e6))
    return codec.membership(members, time=0, wall_ms=0)


def command(number: int) -> bytes:
    """A small command body that can be told from all others."""
    header = Header(Actor("agent", "sim"), f"r{number}", (Noop(NoopDecision("sim", reason=str(number))),))
    return codec.encode_draft(Draft(header, (None,)), lambda count: b"\0" * count)


class Replica:
    """One replica over all its lives."""

    def __init__(self, group: "Group", name: str) -> None:
        self.group = group
        self.name = name
        self.store = WatchedStore(group.referee.written)
        self.store.commit([Append((LogEntry(1, 0, bootstrap(group.names, group.timing)),))])
        self.applied: list[LogEntry] = self.store.read(1, 2)
        self.machine = VirtualMachine(group.world)
        self.machine.alive = False
        self.consensus: Consensus | None = None
        self.stopped_by: Stop | None = None
        self.rate = 1.0

    @property
    def up(self) -> bool:
        return self.consensus is not None

    def start(self) -> None:
        world, network = self.group.world, self.group.network
        self.machine = machine = VirtualMachine(world, rate=self.rate, sync_seconds=self.group.sync_seconds)
        consensus = Consensus(
            node_id=self.name,
            voters=self.group.names,
            store=self.store,
            applied=len(self.applied),
            apply=self._apply,
            on_stop=self._on_stop,
            timing=self.group.timing,
            loop=machine,
            clock=machine,
            randomness=machine,
            executor=machine,
            network=network.port(self.name),
            append_bytes_max=self.group.append_bytes_max,
        )
        self.consensus = consensus
        network.attach(
            self.name,
            lambda peer, data: machine.run_at(world.now, lambda: self.group.deliver(self, consensus, peer, data)),
            lambda peer: machine.run_at(world.now, lambda: consensus.connected(peer)),
            lambda peer: machine.run_at(world.now, lambda: consensus.disconnected(peer)),
        )
        consensus.start()

    def crash(self) -> None:
        """At once, between two events: what was not committed to the log store is gone."""
        self.machine.alive = False
        if self.consensus is not None:
            self.consensus.stopped = True
        self.consensus = None
        self.group.network.detach(self.name)

    def _apply(self, entries: list[LogEntry]) -> None:
        for entry in entries:
            if entry.index != len(self.applied) + 1:
                raise Violation(f"{self.name} applies {entry.index} after {len(self.applied)}")
            if self.store.read(entry.index, entry.index + 1) != [entry]:
                raise Violation(f"{self.name} applies {entry.index}, its disk ends at {self.store.last_index()}")
            self.applied.append(entry)
            self.group.committed(self.name, entry)

    def _on_stop(self, error: Stop) -> None:
        self.stopped_by = error


class Group:
    """`acked`: number -> index of commands whose proposer saw them applied. `answers`: of forwarded ones, so far."""

    def __init__(
        self,
        seed: int,
        *,
        names: tuple[str, ...] = ("n1", "n2", "n3"),
        timing: Timing = Timing(),  # noqa: B008  # immutable
        append_bytes_max: int = 1 << 20,
        sync_seconds: float = 0.001,
    ) -> None:
        self.seed = seed
        self.names = names
        self.timing = timing
        self.append_bytes_max = append_bytes_max
        self.sync_seconds = sync_seconds
        self.world = World(seed)
        self.network = VirtualNetwork(self.world)
        self.referee = Referee(seed, len(names))
        self.network.watch = lambda name, peer, data: self.referee.sent(name, peer, data, self.replicas[name].store)
        self.network.never_doubled = lambda data: isinstance(m.decode(data), m.Forward)
        self.acked: dict[int, int] = {}
        self.proposed: dict[int, tuple[int, int]] = {}
        self.answers: dict[int, int] = {}
        self.reads = 0
        self._numbers: dict[tuple[int, int], int] = {}
        self.replicas = {name: Replica(self, name) for name in names}

    def start(self) -> None:
        for replica in self.replicas.values():
            replica.start()

    def deliver(self, replica: Replica, consensus: Consensus, peer: str, data: bytes) -> None:
        if not consensus.receive(peer, data):
            raise Violation(f"{replica.name} refuses a message of {peer}")
        self.check(replica)

    def committed(self, name: str, entry: LogEntry) -> None:
        consensus = self.replicas[name].consensus
        term = consensus.term if consensus is not None else entry.term
        self.referee.applied(name, entry, term, [replica.store for replica in self.replicas.values()])
        number = self._numbers.get((entry.index, entry.term))
        if number is not None:
            self.acked[number] = entry.index

    def check(self, replica: Replica) -> None:
        """After each message: nobody stopped, and a leader may be one."""
        if replica.stopped_by is not None:
            raise self.referee.fail(f"{replica.name} stopped: {replica.stopped_by}")
        consensus = replica.consensus
        if consensus is None or not consensus.is_leader:
            return
        if self.referee.leads(replica.name, consensus):
            self._check_leases(replica.name, consensus.term)
        self.lease_read(replica)

    def _check_leases(self, winner: str, term: int) -> None:
        """Nobody is elected while a leader of an earlier term holds its lease, be it paused."""
        for other in self.replicas.values():
            consensus = other.consensus
            if consensus is not None and consensus.term < term and consensus.lease_index() is not None:
                raise self.referee.fail(f"{winner} is elected in term {term} while {other.name} holds a lease")

    def lease_read(self, replica: Replica) -> bool:
        """Whether it holds the lease now: then it sees all that was applied anywhere, and nobody else holds one."""
        index = self._lease_index(replica)
        if index is None:
            return False
        self.referee.may_read(replica.name, index, self.referee.newest, "lease")
        for other in self.replicas.values():
            if other is not replica and self._lease_index(other) is not None:
                raise self.referee.fail(f"{replica.name} and {other.name} hold a lease at once")
        return True

    def _lease_index(self, replica: Replica) -> int | None:
        if replica.consensus is None or replica.machine.paused_until > self.world.now:
            return None
        return replica.consensus.lease_index()

    def read(self, replica: Replica, *, quorum: bool) -> None:
        """Ask for a read index; the answer, if one comes, covers all that was applied anywhere before."""
        newest, name = self.referee.newest, replica.name

        def confirmed(index: int | None) -> None:
            if index is not None:
                self.reads += 1
                self.referee.may_read(name, index, newest, "confirmed by a round" if quorum else "asked of the lease")

        if replica.consensus is not None and replica.machine.paused_until <= self.world.now:
            replica.consensus.read_index(quorum=quorum, callback=confirmed)

    def leader(self) -> Replica | None:
        """The replica that leads in the newest term, if it is up."""
        leading = [r for r in self.replicas.values() if r.consensus is not None and r.consensus.is_leader]
        return max(leading, key=lambda r: r.consensus.term if r.consensus else 0, default=None)

    def wait_leader(self, seconds: float = 20.0) -> Replica:
        """Run until some replica leads and has committed an entry of its term."""

        def settled() -> bool:
            leader = self.leader()
            return leader is not None and leader.consensus is not None and leader.consensus.lease_index() is not None

        if not self.world.run(seconds, settled):
            raise Violation(f"seed {self.seed}: no leader within {seconds} s")
        leader = self.leader()
        assert leader is not None
        return leader

    def propose(self, number: int) -> bool:
        """Give a command to the leader; whether one took it."""
        leader = self.leader()
        if leader is None or leader.consensus is None:
            return False
        try:
            self.proposed[number] = place = leader.consensus.propose(command(number))
        except NotApplied:
            return False
        self._numbers[place] = number
        return True

    def forward(self, number: int, replica: Replica) -> bool:
        """Have a follower pass a command to its leader; whether it was sent."""
        if replica.consensus is None or replica.machine.paused_until > self.world.now:
            return False
        try:
            replica.consensus.forward(command(number), lambda reply: self._answered(number, reply))
        except NotApplied:
            return False
        return True

    def _answered(self, number: int, reply: m.Forwarded | None) -> None:
        self.answers[number] = self.answers.get(number, 0) + 1
        if self.answers[number] > 1:
            raise self.referee.fail(f"forwarded command {number} is answered twice")
        if reply is None:
            return
        if reply.code is not None:
            self.referee.refused.add(command(number))
            return
        self.proposed[number] = (reply.index, reply.term)
        self._numbers[reply.index, reply.term] = number

    def wait_equal(self, seconds: float = 30.0) -> None:
        """Run until every replica that is up has applied the same, newest index."""

        def equal() -> bool:
            up = [r for r in self.replicas.values() if r.up]
            last = max(len(r.applied) for r in up)
            newest = max(r.consensus.journal.last_index for r in up if r.consensus is not None)
            return all(len(r.applied) == last for r in up) and last == newest

        if not self.world.run(seconds, equal):
            where = {
                n: (len(r.applied), r.consensus.journal.last_index if r.consensus else None)
                for n, r in self.replicas.items()
            }
            raise Violation(f"seed {self.seed}: replicas do not converge: {where}")
