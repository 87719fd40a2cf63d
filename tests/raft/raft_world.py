"""What the tests of consensus share: a log as a list, and one replica alone with a hand that plays its peers."""

from collections.abc import Callable, Sequence

from jepsen_like.simulator.commands import command
from jepsen_like.simulator.life import first_entry
from jepsen_like.simulator.world import VirtualMachine, World
from raftmem.errors import Stop
from raftmem.model import codec
from raftmem.raft import messages as m
from raftmem.raft.assembly import Seams, assemble
from raftmem.raft.interfaces import Timing
from raftmem.raft.log.journal import Journal
from raftmem.raft.pysyncobj_core import Core
from raftmem.storage.log.contract import Append, HardState, LogEntry, LogWrite
from raftmem.storage.log.in_memory import InMemoryLogStore
from raftmem.storage.snapshots.contract import SnapshotMeta

NAMES = ("n1", "n2", "n3")
TIMING = Timing(1.0, 0.1, 0.01)
HERE, PEER, OTHER = NAMES


def data(number: int, *, time: int = 0) -> bytes:
    return codec.seal(command(number), time=time, wall_ms=0)


def body(number: int) -> bytes:
    return command(number)


class TermLog:
    """A log of which only the terms matter: `TermLog(0, 1, 1)` holds indexes 1 to 3."""

    first_index = 1

    def __init__(self, *terms: int) -> None:
        self._terms = terms

    @property
    def last_index(self) -> int:
        return len(self._terms)

    def term_at(self, index: int) -> int | None:
        return self._terms[index - 1] if 1 <= index <= len(self._terms) else None


def entries(*terms: int, start: int = 2) -> tuple[LogEntry, ...]:
    return tuple(LogEntry(start + i, term, data(1000 * term + start + i)) for i, term in enumerate(terms))


def wire(*terms: int, start: int = 2) -> tuple[tuple[int, bytes], ...]:
    return tuple((entry.term, entry.data) for entry in entries(*terms, start=start))


def store_of(
    terms: Sequence[int] = (), *, term: int = 0, vote: str | None = None, voters: tuple[str, ...] = NAMES
) -> InMemoryLogStore:
    """A disk with the bootstrap entry, then entries of these terms."""
    store = InMemoryLogStore()
    first = first_entry(voters, TIMING)
    store.commit([HardState(term, vote), Append((first, *entries(*terms)))])
    return store


class CountingStore(InMemoryLogStore):
    """Counts commits, and fails as told: `failures` are raised one a commit."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)
        self.commits: list[Sequence[LogWrite]] = []
        super().commit([Append((first_entry(NAMES, TIMING),))])

    def commit(self, writes: Sequence[LogWrite]) -> None:
        self.commits.append(writes)
        if self.failures:
            raise self.failures.pop(0)
        super().commit(writes)


class FakeSnapshots:
    """Snapshots whose bytes come and go at once, on paper: what consensus asked for is in `asked`.

    `here`: how many bytes of one that is being received are on disk. `sound`: what a check of it will say.
    """

    def __init__(self) -> None:
        self.listed: list[SnapshotMeta] = []
        self.here = 0
        self.sound = True
        self.asked: list[str] = []
        self.installed: list[SnapshotMeta] = []

    def newest(self) -> SnapshotMeta | None:
        return self.listed[0] if self.listed else None

    def read(self, meta: SnapshotMeta, offset: int, size: int, done: Callable[[bytes | None], None]) -> None:
        self.asked.append(f"read {offset}")
        done(bytes(min(size, meta.size - offset)) if meta in self.listed else None)

    def begin(self, meta: SnapshotMeta, done: Callable[[int], None]) -> None:
        self.asked.append(f"begin {meta.index}")
        done(self.here)

    def write(
        self,
        meta: SnapshotMeta,  # noqa: ARG002  # named so by the protocol
        offset: int,
        data: bytes,
        done: Callable[[int], None],
    ) -> None:
        self.asked.append(f"write {offset}")
        self.here = offset + len(data)
        done(self.here)

    def prepare(self, meta: SnapshotMeta, done: Callable[[bool], None]) -> None:
        self.asked.append(f"prepare {meta.index}")
        done(self.sound)

    def install(self, meta: SnapshotMeta) -> None:
        self.installed.append(meta)

    def discard(self) -> None:
        self.asked.append("discard")

    def doubt(self, meta: SnapshotMeta) -> None:
        self.asked.append(f"doubt {meta.index}")


def snapshot_of(index: int, term: int, *, size: int = 100) -> SnapshotMeta:
    """Of a group whose membership has not changed; its last entry is what `entries` gives."""
    members = first_entry(NAMES, TIMING)
    return SnapshotMeta(index, term, size, bytes(32), bytes(32), entries(term, start=index)[0].data, members, 0)


class Bench:
    """A journal and a core over a disk that syncs when told: `sync()`; nothing is sent."""

    def __init__(self, store: InMemoryLogStore, *, voters: tuple[str, ...] = NAMES, applied: int = 1) -> None:
        self.world = World(0)
        self.machine = VirtualMachine(self.world)
        self.machine.hold_syncs = True
        self.failed: list[Stop] = []
        self.journal = Journal(
            store,
            executor=self.machine,
            loop=self.machine,
            clock=self.machine,
            on_durable=lambda: None,
            on_failed=self.failed.append,
        )
        self.core = Core(
            node_id=HERE,
            voters=voters,
            journal=self.journal,
            applied=applied,
            no_op=lambda _term: codec.no_op(time=0, wall_ms=0),
        )

    def sync(self) -> None:
        """Let all that is queued reach the disk."""
        self.world.run(0)
        self.machine.release_syncs()
        self.world.run(1.0)
        self.machine.hold_syncs = True

    def begin_sync(self) -> Callable[[], None]:
        """The queued group is under way; finish it with what is returned. What is queued later waits."""
        self.world.run(0)
        return self.sync


class Solo:
    """Consensus of n1 with all its parts; n2 and n3 are played by `give`, what it says is in `said`."""

    def __init__(
        self,
        store: InMemoryLogStore | None = None,
        *,
        applied: int = 1,
        voters: tuple[str, ...] = NAMES,
        snapshots: FakeSnapshots | None = None,
        rate: float = 1.0,
        timing: Timing = TIMING,
        connected: bool = True,
    ) -> None:
        self.world = World(1)
        self.machine = VirtualMachine(self.world, rate=rate)
        self.store = store if store is not None else store_of(voters=voters)
        self.snapshots = snapshots if snapshots is not None else FakeSnapshots()
        self.said: list[tuple[str, m.Message]] = []
        self.applied: list[LogEntry] = []
        self.stopped_by: Stop | None = None
        self.apply_failures: list[Exception] = []
        self.consensus = assemble(
            Seams(
                node_id=HERE,
                store=self.store,
                applied=applied,
                settle=lambda: None,
                apply=self._apply,
                on_stop=self._stop,
                timing=timing,
                loop=self.machine,
                clock=self.machine,
                randomness=self.machine,
                executor=self.machine,
                network=self,
                snapshots=self.snapshots,
            )
        )
        if connected:
            for member in self.consensus.members.voters:
                if member.id != HERE:
                    self.consensus.connected(member.id)
        self.consensus.start()

    def _apply(self, batch: list[LogEntry]) -> None:
        if self.apply_failures:
            raise self.apply_failures.pop(0)
        self.applied.extend(batch)

    def _stop(self, error: Stop) -> None:
        self.stopped_by = error

    def send(self, peer: str, data: bytes) -> None:
        self.said.append((peer, m.decode(data)))

    def run(self, seconds: float = 0.01) -> None:
        self.world.run(seconds)

    def give(self, peer: str, message: m.Message) -> list[m.Message]:
        """Deliver, run what follows at once (no sync ends), and return what was said to that peer by it."""
        before = len(self.said)
        assert self.consensus.receive(peer, m.encode(message))
        self.world.run(0)
        return [said for to, said in self.said[before:] if to == peer]

    def give_refused(self, peer: str, message: m.Message) -> None:
        """Deliver a message that must be refused and counted, and whose connection must be closed."""
        before = self.consensus.bad_messages
        assert not self.consensus.receive(peer, m.encode(message))
        self.world.run(0)
        assert self.consensus.bad_messages == before + 1

    def heard(self, kind: type[m.Message]) -> list[m.Message]:
        """Everything of a kind that was said so far, to anybody."""
        return [said for _, said in self.said if isinstance(said, kind)]

    def forget(self) -> None:
        self.said.clear()

    def lead(self) -> int:
        """Win an election with the vote of n2; the term."""
        self.world.run(5.0, lambda: any(isinstance(said, m.PreVote) for _, said in self.said))
        question = self.heard(m.PreVote)[-1]
        assert isinstance(question, m.PreVote)
        self.give(PEER, m.PreVoteReply(self.consensus.term, question.term, True))
        self.run()
        assert self.heard(m.Vote)
        self.give(PEER, m.VoteReply(question.term, True))
        assert self.consensus.is_leader
        return question.term

    def echo_last_round(self, peer: str = PEER) -> None:
        rounds = [said for to, said in self.said if to == peer and isinstance(said, m.Append) and said.round]
        self.give(peer, m.Echo(self.consensus.term, rounds[-1].round, 1))

    def lead_with_lease(self) -> int:
        """As `lead`, and n2 has taken the first entry of the term and echoed a round."""
        term = self.lead()
        self.run()
        self.echo_last_round()
        self.give(PEER, m.Accept(term, self.consensus.journal.last_index))
        self.run()
        assert self.consensus.lease_index() == self.consensus.journal.last_index
        return term
