"""A group of replicas in which nothing happens unless a script says so: messages wait, disks and clocks obey.

Real consensus, apply loop and snapshots; virtual time; the oracle looks at every step. What happened is said, a line
each, by `say`. Rule: the same commands give the same lines, in any process.
"""

from collections.abc import Sequence

from jepsen_like.simulator.life import first_entry
from jepsen_like.simulator.stage_clients import Clients
from jepsen_like.simulator.stage_network import Letter, StageNetwork
from jepsen_like.simulator.stage_oracle import StageOracle
from jepsen_like.simulator.stage_replica import StageReplica
from jepsen_like.simulator.words import in_words
from jepsen_like.simulator.world import World
from raftmem.errors import Corrupt, Removed, Stop
from raftmem.raft.consensus import Consensus
from raftmem.raft.interfaces import Timing
from raftmem.raft.transport import frames
from raftmem.storage.log.contract import LogEntry

STEP_SECONDS = 0.05  # roles are looked at this often while time goes on
LETTERS_MAX = 2000  # a network that is not quiet after so many messages never will be


class Stage:
    """`replicas`: everyone who was ever on it. `lines`: what was said since they were last taken away."""

    def __init__(self, names: Sequence[str], *, timing: Timing, append_bytes: int, chunk_bytes: int) -> None:
        self.names = tuple(names)  # the first voters
        self.timing = timing
        self.append_bytes = append_bytes
        self.chunk_bytes = chunk_bytes
        self.world = World(0)
        self.lines: list[str] = []
        self.replicas: dict[str, StageReplica] = {}
        self.oracle = StageOracle(self.world, self.replicas, first_entry(names, timing))
        self.clients = Clients(self.world, self.oracle, self.say)
        self.network = StageNetwork(
            may_connect=self._may_connect, on_connected=self._connected, on_disconnected=self._disconnected
        )
        self._seen: dict[str, tuple[int, str]] = {}
        self._objections: set[tuple[str, str, int]] = set()
        for name in names:
            self.enter(name, names)

    def say(self, line: str) -> None:
        self.lines.append(line)

    # --- replicas -----------------------------------------------------------------------------------
    def enter(self, name: str, voters: Sequence[str]) -> StageReplica:
        """A new replica, not started; without voters, one that is to join."""
        patience = 0.05 + 0.12 * (len(self.replicas) % 8)
        replica = self.replicas[name] = StageReplica(self, self.world, name, voters, patience)
        return replica

    def start(self, name: str) -> None:
        replica = self.replicas[name]
        try:
            replica.start()
        except Corrupt as error:
            self._stopped(replica, error)
            return
        replica.begin()
        self.network.attach(name)
        self.settle()

    def crash(self, name: str) -> None:
        replica = self.replicas[name]
        self.network.detach(name)
        replica.crash()
        self._seen.pop(name, None)
        self.clients.lost(name)

    # --- what replicas call ---------------------------------------------------------------------------
    def send(self, sender: str, to: str, data: bytes) -> None:
        self.network.send(sender, to, data)

    def applies(self, name: str, term: int, entries: list[LogEntry]) -> None:
        self.say(f"{name} applies {' '.join(f'{entry.index}/{entry.term}' for entry in entries)}")
        self.oracle.applies(name, term, entries)
        self.clients.applied(name, entries)

    def stops(self, name: str, error: Stop) -> None:
        self._stopped(self.replicas[name], error)
        self.world.soon(lambda: self.crash(name))

    def _stopped(self, replica: StageReplica, error: Stop) -> None:
        replica.stopped_by = error
        self.say(f"{replica.name} stops: {error}")

    def members_moved(self, name: str) -> None:
        """Tell and leave a replica that was removed; dial one that came."""

        def later() -> None:
            replica = self.replicas[name]
            for gone in replica.removed:
                if self.network.is_connected(name, gone):
                    self._objects(name, gone)
                    self.network.break_off(name, gone)
            if replica.up:
                self.network.connect_all(name)

        self.world.soon(later)

    # --- connections ------------------------------------------------------------------------------------
    def _may_connect(self, a: str, b: str) -> bool:
        """One of them names the other, and neither objects."""
        one, other = self.replicas[a], self.replicas[b]
        if not any(r.members is not None and r.members.member(p) for r, p in ((one, b), (other, a))):
            return False
        if self._objects(a, b) or self._objects(b, a):
            return False
        for me, peer in ((one, other), (other, one)):
            if me.members is not None and me.members.member(peer.name) is not None:
                me.met.setdefault(peer.name, f"birth-{peer.births}")
        return True

    def _objects(self, name: str, peer: str) -> bool:
        one, other = self.replicas[name], self.replicas[peer]
        named = None if one.members is None else one.members.member(peer)
        bye = frames.objection(
            one.hello(peer),
            other.hello(name),
            is_removed=peer in one.removed,
            bound_folder=None if named is None else named.folder_id,
            known_birth=one.met.get(peer),
        )
        if bye is None:
            return False
        if (name, peer, other.lives) not in self._objections:
            self._objections.add((name, peer, other.lives))
            self.say(f"{name} will not talk to {peer}: {bye.reason}")
        consensus = other.consensus
        if bye.removed and consensus is not None:
            other.machine.perform(lambda: consensus.fail(Removed(bye.reason)))
        return True

    def _connected(self, name: str, peer: str) -> None:
        replica = self.replicas[name]
        consensus = replica.consensus
        if consensus is not None:
            replica.machine.perform(lambda: consensus.connected(peer))

    def _disconnected(self, name: str, peer: str) -> None:
        replica = self.replicas[name]
        consensus = replica.consensus
        if consensus is not None:
            replica.machine.perform(lambda: consensus.disconnected(peer))

    # --- messages ------------------------------------------------------------------------------------------
    def deliver(self, letter: Letter) -> None:
        """It arrives, and what follows at once happens; nothing if it is not there any more."""
        if not self.network.take(letter):
            return
        self.say(self.shown(letter))
        replica = self.replicas[letter.to]
        consensus = replica.consensus
        if consensus is not None:
            replica.machine.perform(lambda: self._receive(letter, consensus))
        self.settle()

    def _receive(self, letter: Letter, consensus: Consensus) -> None:
        if not consensus.receive(letter.sender, letter.data):
            raise self.oracle.fail(f"{letter.to}: {consensus.last_refusal}")

    def deliver_until_quiet(self) -> None:
        for _ in range(LETTERS_MAX):
            waiting = self.network.waiting()
            if not waiting:
                return
            self.deliver(waiting[0])
        raise self.oracle.fail(f"the network is not quiet after {LETTERS_MAX} messages")

    def shown(self, letter: Letter) -> str:
        return f"{letter.sender}->{letter.to} {in_words(letter.message, chunk_bytes=self.chunk_bytes)}"

    # --- time -------------------------------------------------------------------------------------------------
    def settle(self) -> None:
        """All that follows at once, without time or messages."""
        self.world.run(0.0)
        self._look()

    def advance(self, seconds: float, *, delivering: bool = False) -> None:
        """Time goes on; messages wait, or with `delivering` take none."""
        end = self.world.now + seconds
        while self.world.now < end:
            self.world.run(min(STEP_SECONDS, end - self.world.now))
            self._look()
            if delivering:
                self.deliver_until_quiet()

    def _look(self) -> None:
        """Say what became of roles and terms; the oracle looks at new leaders."""
        for name, replica in self.replicas.items():
            consensus = replica.consensus
            if consensus is None:
                continue
            term, role = consensus.term, self._role(name, consensus)
            before, self._seen[name] = self._seen.get(name, (0, "a follower of nobody")), (term, role)
            if before != (term, role):
                self.say(f"{name} is {role} in term {term}")
                if consensus.is_leader:
                    self.oracle.leads(name, term)
        if self.world.failure is not None:
            raise self.world.failure

    def _role(self, name: str, consensus: Consensus) -> str:
        if consensus.is_leader:
            return "the leader"
        has_led = self.oracle.leaders.get(consensus.term) == name
        if consensus.leader is None and consensus.journal.vote == name and not has_led:
            return "a candidate"
        return f"a follower of {consensus.leader or 'nobody'}"
