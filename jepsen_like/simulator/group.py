"""A group of replicas in a world: start, propose, read, change the membership; a referee watches every step.

What a client or an operator would do stands here; what goes wrong is in `nemesis.py`, what must hold in `oracles.py`.
"""

import random

from jepsen_like.simulator.commands import command
from jepsen_like.simulator.coordination import Coordination
from jepsen_like.simulator.disk import Disk, Folder, MemoryDisk, NewDisk, WatchedLog
from jepsen_like.simulator.life import first_entry, member
from jepsen_like.simulator.network import VirtualNetwork
from jepsen_like.simulator.oracles import Referee, Stuck
from jepsen_like.simulator.replicas import Replica
from jepsen_like.simulator.sometimes import Sometimes
from jepsen_like.simulator.world import VirtualMachine, World
from raftmem.errors import NotApplied
from raftmem.model.commands import Actor, Members
from raftmem.raft import messages as m
from raftmem.raft.consensus import Consensus
from raftmem.raft.interfaces import Timing
from raftmem.storage.log.contract import Append, LogEntry, LogStore

OPERATOR = Actor("user", "operator")


class Group:
    """`acked`: number -> index of commands whose proposer saw them applied. `answers`: of forwarded ones, so far.

    `faults`: the random stream of what goes wrong. `replicas`: everyone who ever was in it, removed ones too.
    `coordination`: None in a group that nobody uses for locks or tasks.
    """

    def __init__(
        self,
        seed: int,
        *,
        names: tuple[str, ...] = ("n1", "n2", "n3"),
        timing: Timing = Timing(),  # noqa: B008  # immutable
        append_bytes_max: int = 1 << 20,
        sync_seconds: float = 0.001,
        compact_entries: int = 1 << 30,
        keep_entries: int = 0,
        chunks: int = 1,
        new_disk: NewDisk | None = None,
        coordinated: bool = False,
    ) -> None:
        self.seed = seed
        self.names = names
        self.timing = timing
        self.append_bytes_max = append_bytes_max
        self.sync_seconds = sync_seconds
        self.compact_entries = compact_entries
        self.keep_entries = keep_entries
        self.chunks = chunks
        self.world = World(seed)
        self.faults = random.Random(f"open choices {seed}")
        self.sometimes = Sometimes()
        self.network = VirtualNetwork(self.world, seed=seed)
        self.referee = Referee(self.world, seed, self.sometimes, self._logs)
        self.network.watch = lambda name, peer, data: self.referee.sent(name, peer, data, self.replicas[name].store)
        self.network.never_doubled = lambda data: isinstance(m.decode(data), m.Forward | m.Change)
        self.network.may_connect = self._may_connect
        self.acked: dict[int, int] = {}
        self.proposed: dict[int, tuple[int, int]] = {}
        self.answers: dict[int, int] = {}
        self.unknown: dict[int, bytes] = {}  # number -> body of what was forwarded, and the connection broke
        self.sent_again: set[bytes] = set()  # a refusal of one sending says nothing of the other
        self.reads = 0
        self._new_disk = new_disk or (lambda _name, folder, log: MemoryDisk(folder, log))
        self._births = 0
        self._numbers: dict[tuple[int, int], list[int]] = {}
        self._asked_of: dict[int, VirtualMachine] = {}  # the life of the leader that took a command
        self.coordination = Coordination(self) if coordinated else None
        self.replicas = {name: self._bootstrapped(name) for name in names}

    # --- replicas ----------------------------------------------------------------------------------
    def _bootstrapped(self, name: str) -> Replica:
        return Replica(self, name, self.new_folder(name, f"folder-{name}"))

    def new_folder(self, name: str, folder_id: str) -> Disk:
        """An empty folder, bootstrapped again or about to join."""
        self._births += 1

        def log(inner: LogStore) -> WatchedLog:
            return WatchedLog(name, inner, self.referee, self.sometimes)

        disk = self._new_disk(name, Folder(folder_id, f"birth-{self._births}"), log)
        voters = self.names if name in self.names else ()
        disk.log.commit([Append((first_entry(voters, self.timing),))])
        return disk

    def newcomer(self) -> Replica:
        """A new replica that waits to be made a member."""
        name = f"n{len(self.replicas) + 1}"
        self.replicas[name] = replica = Replica(self, name, self.new_folder(name, f"folder-{name}"))
        replica.rate = self.replicas[self.names[0]].rate
        replica.start()
        return replica

    def _logs(self, name: str) -> list[LogStore]:
        replica = self.replicas[name]
        return [replica.disk.log, *replica.old_logs]

    def start(self) -> None:
        for replica in list(self.replicas.values()):
            replica.start()

    def leader(self) -> Replica | None:
        """The replica that leads in the newest term, if it is up."""
        newest: Replica | None = None
        term = -1
        for replica in self.replicas.values():
            consensus = replica.consensus
            if consensus is not None and consensus.term > term and consensus.is_leader:
                newest, term = replica, consensus.term
        return newest

    def is_removed(self, name: str) -> bool:
        """Somebody wrote so; that it was committed is seen when it is applied."""
        return any(name in one.removed for one in self.referee.memberships.values())

    def settled_memberships(self) -> list[Members]:
        """Those that were committed, oldest first."""
        referee = self.referee
        true = [place for place in referee.memberships if place[0] in referee.truth]
        return [referee.memberships[p] for p in sorted(true) if referee.truth[p[0]].term == p[1] and p[0] > 0]

    # --- the network -------------------------------------------------------------------------------
    def _may_connect(self, a: str, b: str) -> bool:
        """Somebody would dial, and neither end objects."""
        one, other = self.replicas[a], self.replicas[b]
        if not (one.names(b) or other.names(a)):
            return False
        objections = [one.objects_to(other), other.objects_to(one)]
        if any(objections):
            if one.wiped or other.wiped:
                self.sometimes.saw("wiped folder refused")
            return False
        one.meet(other)
        other.meet(one)
        return True

    def members_moved(self, replica: Replica) -> None:
        """Its membership is another one: who was removed is told and left, who came is dialled."""
        if not replica.up:
            return
        for gone in sorted(replica.removed):
            if self.network.is_connected(replica.name, gone):
                replica.objects_to(self.replicas[gone])
                self.network.cut(replica.name, gone)
        self.network.connect_all(replica.name)

    def deliver(self, replica: Replica, consensus: Consensus, peer: str, data: bytes) -> None:
        if not consensus.receive(peer, data):
            raise self.referee.fail(f"{replica.name}: {consensus.last_refusal}")
        if consensus.is_leader:
            self.check_leader(replica, consensus)

    def check_leader(self, replica: Replica, consensus: Consensus) -> None:
        """It may be one, and so may its lease."""
        if self.referee.leads(replica.name, consensus):
            if len(self.acked) < len(self.proposed):
                self.sometimes.saw("election during an unknown write")
            for other in self.replicas.values():  # paused ones too: they would go on with it when they wake
                if other.consensus is not None and other.consensus.lease_index() is not None:
                    self.referee.leases(other.name, other.consensus.term)
        self.lease_read(replica)

    # --- clients -----------------------------------------------------------------------------------
    def committed(self, entries: list[LogEntry]) -> None:
        for entry in entries:
            for number in self._numbers.pop((entry.index, entry.term), ()):
                self.acked[number] = entry.index
                if number in self._asked_of and not self._asked_of[number].alive:
                    self.sometimes.saw("unknown write applied")

    def lease_read(self, replica: Replica) -> bool:
        """True: it holds the lease now, so it sees all that was applied anywhere, and nobody leads after it."""
        consensus = replica.consensus
        if consensus is None or not replica.machine.runs:
            return False
        index = consensus.lease_index()
        if index is None:
            if consensus.is_leader:
                self.sometimes.saw("lease refused")
            return False
        self.referee.leases(replica.name, consensus.term)
        self.referee.may_read(replica.name, index, self.referee.newest, "lease")
        return True

    def read(self, replica: Replica, *, quorum: bool) -> None:
        """Ask for a read index; the answer, if one comes, covers all that was applied anywhere before."""
        newest, name = self.referee.newest, replica.name

        def confirmed(index: int | None) -> None:
            if index is not None:
                self.reads += 1
                self.referee.may_read(name, index, newest, "confirmed by a round" if quorum else "asked of the lease")

        if replica.consensus is not None and replica.machine.runs:
            replica.consensus.read_index(quorum=quorum, callback=confirmed)

    def propose(self, number: int, body: bytes | None = None) -> bool:
        """Give a command to the leader; whether one took it."""
        leader = self.leader()
        if leader is None or leader.consensus is None:
            return False
        try:
            self.took(number, leader.consensus.propose(body or command(number)), leader.machine)
        except NotApplied:
            return False
        return True

    def took(self, number: int, place: tuple[int, int], machine: VirtualMachine) -> None:
        """The leader on that machine has put a command there."""
        self._stands(number, place)
        self._asked_of[number] = machine

    def _stands(self, number: int, place: tuple[int, int]) -> None:
        self.proposed[number] = place
        self._numbers.setdefault(place, []).append(number)

    def forward(self, number: int, replica: Replica, body: bytes | None = None) -> bool:
        """Have a follower pass a command to its leader; whether it was sent."""
        if replica.consensus is None or not replica.machine.runs:
            return False
        given = body or command(number)
        try:
            replica.consensus.forward(given, lambda reply: self._answered(number, given, reply))
        except NotApplied:
            return False
        return True

    def _answered(self, number: int, body: bytes, reply: m.Forwarded | None) -> None:
        self.answers[number] = self.answers.get(number, 0) + 1
        if self.answers[number] > 1:
            raise self.referee.fail(f"forwarded command {number} is answered twice")
        if reply is None:
            self.unknown[number] = body
        elif reply.code is not None:
            if body not in self.sent_again:
                self.referee.refused.add(body)
            self.sometimes.saw("refused write")
        else:
            self._stands(number, (reply.index, reply.term))
            if self.coordination is not None:
                self.coordination.seqs[number] = reply.seq

    # --- operators -----------------------------------------------------------------------------------
    def add(self, newcomer: Replica, *, replaces: str | None = None) -> str | None:
        """Make it a learner. Why not, if not."""
        return self._change("add", newcomer.name, replaces)

    def remove(self, name: str) -> str | None:
        return self._change("remove", name, None)

    def _change(self, op: m.ChangeOp, name: str, replaces: str | None) -> str | None:
        leader = self.leader()
        if leader is None or leader.consensus is None or not leader.machine.runs:
            return "nobody leads"
        try:
            leader.consensus.change(op, member(name, replaces=replaces), OPERATOR, f"{op}-{name}")
        except NotApplied as error:
            return str(error)
        return None

    def transfer(self, name: str | None) -> str | None:
        leader = self.leader()
        if leader is None or leader.consensus is None or not leader.machine.runs:
            return "nobody leads"
        try:
            leader.consensus.transfer(name)
        except NotApplied as error:
            return str(error)
        return None

    # --- waiting -------------------------------------------------------------------------------------
    def wait_leader(self, seconds: float = 20.0) -> Replica:
        """Run until some replica leads, has committed an entry of its term, and holds its lease if it ever may."""

        def settled() -> bool:
            leader = self.leader()
            leading = None if leader is None or leader.consensus is None else leader.consensus.leading
            if leading is None:
                return False
            return leading.is_settled() if leading.given_up else leading.lease_index() is not None

        if not self.world.run(seconds, settled):
            raise Stuck(f"seed {self.seed}: no leader within {seconds:g} s")
        leader = self.leader()
        assert leader is not None
        return leader

    def wait_equal(self, seconds: float = 30.0) -> None:
        """Run until every member that is up has applied the same, newest index."""

        def equal() -> bool:
            leader = self.leader()
            if leader is None or leader.consensus is None:
                return False
            last = leader.consensus.journal.last_index
            present = self.present(leader.consensus.members)
            return all(replica.index == last for replica in present)

        if not self.world.run(seconds, equal):
            where = {
                n: (r.index, r.consensus.journal.last_index if r.consensus else None) for n, r in self.replicas.items()
            }
            raise Stuck(f"seed {self.seed}: replicas do not converge within {seconds:g} s: {where}")

    def present(self, membership: Members) -> list[Replica]:
        """Its members that are up, with the folder that is theirs."""
        named = [self.replicas[one.id] for one in (*membership.voters, *membership.learners)]
        return [replica for replica in named if replica.up and not replica.wiped]
