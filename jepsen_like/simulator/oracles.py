"""The referee sees all disks, messages and clocks at once, and checks at every step what must hold whatever happens.

Checked: a promise is on its sender's disk when it leaves; hard state never goes back; log matching; one leader a term,
with every committed entry; what is applied is on a majority's disks and never changes; state digests equal to those of
a replay from scratch that the referee does itself; no command twice, none that was refused; log time never goes back;
no stale read under a lease or after a confirmation, and no lease beside a later leader.
"""

from collections.abc import Callable, Iterable, Sequence

from jepsen_like.simulator.sometimes import Sometimes
from jepsen_like.simulator.world import World
from raftmem.machine.run import Applied, step_entry
from raftmem.model import codec
from raftmem.model.commands import Members
from raftmem.raft import messages as m
from raftmem.raft.consensus import Consensus
from raftmem.storage.log.contract import Append, Compact, HardState, LogEntry, LogStore, LogWrite, Reset, Truncate
from raftmem.storage.state.in_memory import InMemoryStateStore


class Violation(AssertionError):
    """Something that must always hold did not."""


class Stuck(AssertionError):
    """Nothing was broken, and nothing went on either: a liveness failure."""


class Referee:
    """`truth`: index -> entry as first applied anywhere. `newest`: the highest index applied anywhere.

    `watchers`: see each entry then, once and in order.

    `disks(name)`: every log that replica ever had, a wiped one too: it did hold what it held.
    """

    def __init__(
        self, world: World, seed: int, sometimes: Sometimes, disks: Callable[[str], Iterable[LogStore]]
    ) -> None:
        self.seed = seed
        self.truth: dict[int, LogEntry] = {}
        self.applied: dict[int, Applied] = {}
        self.newest = 0
        self.leaders: dict[int, str] = {}
        self.newest_term = 0  # of those that had a leader
        self.refused: set[bytes] = set()
        self.watchers: list[Callable[[Applied], None]] = []
        self._world = world
        self._sometimes = sometimes
        self._disks = disks
        self._model = InMemoryStateStore()
        self._committed_in: dict[int, int] = {}  # term -> the highest index that was certainly committed in it
        self._written: dict[tuple[int, int], tuple[int, bytes]] = {}  # (index, term) -> (term before it, data)
        self._bodies: dict[bytes, int] = {}
        self._transfers: set[tuple[str, str, int, int]] = set()  # (follower, leader, term, index) of snapshots
        self._heirs: dict[int, str] = {}  # term -> who was told to stand for it
        self._memberships: dict[tuple[int, int], Members] = {}  # (index, term) of every one that was written

    def fail(self, what: str) -> Exception:
        """The world stops at the first violation, wherever it was noticed."""
        if self._world.failure is None:
            self._world.failure = Violation(f"seed {self.seed}, {self._world.now - 1000.0:.6f} s: {what}")
        return self._world.failure

    # --- disks ---------------------------------------------------------------------------------------
    def writes(self, name: str, log: LogStore, writes: Sequence[LogWrite]) -> None:
        """Before a commit. Log matching: index and term name one entry with one history."""
        terms: dict[int, int] = {}
        state = log.hard_state()
        for write in writes:
            match write:
                case Append(entries=entries):
                    for entry in entries:
                        self._entry(log, entry, terms)
                case HardState():
                    if write.term < state.term or (write.term == state.term and state.vote not in (None, write.vote)):
                        raise self.fail(f"the hard state of {name} goes back from {state} to {write}")
                    state = write
                case Truncate(index=index):
                    if index <= log.last_index():
                        self._sometimes.saw("truncation")
                case Compact(first_index=index, members=members):
                    self._begins(name, index, members)
                    self._sometimes.saw("compaction")
                case Reset(entry=entry, members=members):
                    if self.truth.get(entry.index) != entry:
                        raise self.fail(f"the log of {name} begins anew at {entry.index} with what was not committed")
                    self._begins(name, entry.index, members)
                    self._sometimes.saw("snapshot installed")

    def _entry(self, log: LogStore, entry: LogEntry, terms: dict[int, int]) -> None:
        before = terms.get(entry.index - 1)
        if before is None:
            found = log.read(entry.index - 1, entry.index)
            before = found[0].term if found else 0
        terms[entry.index] = entry.term
        known = self._written.setdefault((entry.index, entry.term), (before, entry.data))
        if known != (before, entry.data) and entry.index > 0:
            raise self.fail(f"two entries of term {entry.term} at index {entry.index}")
        if entry.data[0] == codec.MEMBERSHIP and (entry.index, entry.term) not in self._memberships:
            members = codec.decode(entry.data).members
            assert members is not None
            self._memberships[entry.index, entry.term] = members

    def _begins(self, name: str, index: int, members: LogEntry) -> None:
        """A log that loses its front keeps the membership that was in force there, and only loses what is committed."""
        if index > self.newest:
            raise self.fail(f"the log of {name} is to begin at {index}, beyond all that was applied")
        if members != self.truth[self.membership_index(index)]:
            raise self.fail(f"the log of {name} is to begin at {index} with the membership of {members.index}")

    # --- what is applied -------------------------------------------------------------------------------
    def applies(self, name: str, entries: Sequence[LogEntry], term: int, in_force: Members | None) -> None:
        """Before a replica in `term` applies them. An old entry may be committed in a much later term only.

        `in_force`: the membership that it goes by.
        """
        for entry in entries:
            truth = self.truth.get(entry.index)
            if truth is None:
                self._first_applied(name, entry, in_force)
            elif truth != entry:
                raise self.fail(f"{name} applies another entry at {entry.index} than was applied before")
        last = entries[-1].index
        if last > self._committed_in.get(term, 0):
            self._committed_in[term] = last

    def _first_applied(self, name: str, entry: LogEntry, in_force: Members | None) -> None:
        index = entry.index
        if index != self.newest + 1:
            raise self.fail(f"{name} applies {index}, and {self.newest + 1} was applied nowhere")
        if index > 1:
            self._on_majority(name, entry, in_force)
            if codec.times(self.truth[index - 1].data)[0] > codec.times(entry.data)[0]:
                raise self.fail(f"log time goes back at {index}")
        with self._model.write() as writer:
            applied = step_entry(writer, index, entry.term, entry.data)
        self.truth[index], self.applied[index], self.newest = entry, applied, index
        self._once(name, entry, applied)
        for watch in self.watchers:
            watch(applied)
        if applied.entry.members is not None and applied.entry.members.change is not None:
            op = applied.entry.members.change.op
            self._sometimes.saw({"promote": "learner promoted", "remove": "member removed"}.get(op, f"member: {op}"))

    def _on_majority(self, name: str, entry: LogEntry, in_force: Members | None) -> None:
        """Of the membership in force there, or of a later one: it counts from when its leader has begun to use it."""
        settled = self.membership_index(self.newest)
        groups = [members for (index, _), members in self._memberships.items() if index >= settled]
        if in_force is not None:
            groups.append(in_force)
        for members in reversed(groups):
            copies = sum(self._is_on_disk(voter.id, entry) for voter in members.voters)
            if copies > len(members.voters) // 2:
                return
        raise self.fail(f"{name} applies {entry.index}, which is on no majority's disks")

    def _is_on_disk(self, name: str, entry: LogEntry) -> bool:
        return any(log.read(entry.index, entry.index + 1) == [entry] for log in self._disks(name))

    def _once(self, name: str, entry: LogEntry, applied: Applied) -> None:
        """A refused command is nowhere; another is there once, or applied once if it carries an idempotency key."""
        body = entry.data[codec.PREFIX_BYTES :]
        if not body or applied.entry.header is None:
            return
        if body in self.refused:
            raise self.fail(f"{name} applies at {entry.index} what its proposer was told is not applied")
        first = self._bodies.setdefault(body, entry.index)
        if first == entry.index:
            return
        keyed = applied.entry.header.idempotency is not None
        if not keyed or (_changed(applied) and _changed(self.applied[first])):
            raise self.fail(f"the command at {first} is applied again at {entry.index}")
        if _changed(applied):
            self._bodies[body] = entry.index

    def stands_at(self, name: str, index: int, digest: bytes) -> None:
        """A state's digest is that of the referee's own replay."""
        if index and digest != self.applied[index].row.digest:
            raise self.fail(f"the state of {name} at {index} has another digest than a replay of the log")

    def membership_index(self, index: int) -> int:
        """Of the membership entry in force at `index`."""
        return max((at for at, term in self._memberships if at <= index and self._is_true(at, term)), default=1)

    def _is_true(self, index: int, term: int) -> bool:
        truth = self.truth.get(index)
        return truth is not None and truth.term == term

    @property
    def memberships(self) -> dict[tuple[int, int], Members]:
        """Every membership that was ever written, by index and term."""
        return self._memberships

    # --- messages --------------------------------------------------------------------------------------
    def sent(self, name: str, peer: str, data: bytes, disk: LogStore) -> None:
        """Sync-before-promise: what a message says of its sender is on the sender's disk."""
        message = m.decode(data)
        state = disk.hard_state()
        match message:
            case m.Append():
                return
            case m.Echo() | m.Refuse():
                held = state.term >= message.term
            case m.Accept():
                held = state.term >= message.term and disk.last_index() >= message.match
            case m.Reject():
                held = state.term >= message.term
            case m.Vote():
                held = state.term == message.term and state.vote == name
            case m.VoteReply(granted=granted):
                held = state.term == message.term and state.vote == peer if granted else state.term >= message.term
                if not granted:
                    self._sometimes.saw("vote refused")
            case m.PreVoteReply(granted=False):
                held = True
                self._sometimes.saw("pre-vote denied")
            case m.ChunkReply():
                transfer = (name, peer, message.term, message.index)
                if transfer not in self._transfers and message.received > 0:
                    self._sometimes.saw("snapshot resumed")  # by another leader
                self._transfers.add(transfer)
                return
            case m.TimeoutNow():
                self._heirs[message.term + 1] = peer
                return
            case _:
                return
        if not held:
            raise self.fail(f"{name} sends {message}, its disk has {state} and ends at {disk.last_index()}")

    # --- leaders and readers -----------------------------------------------------------------------------
    def leads(self, name: str, consensus: Consensus) -> bool:
        """One leader a term; it has every entry that was committed in an earlier term. True when it is new."""
        term = consensus.term
        known = self.leaders.get(term)
        if known == name:
            return False
        if known is not None:
            raise self.fail(f"two leaders in term {term}: {known} and {name}")
        self.leaders[term] = name
        self.newest_term = max(self.newest_term, term)
        if self._heirs.get(term) == name:
            self._sometimes.saw("transfer done")
        journal = consensus.journal
        for earlier, index in self._committed_in.items():
            if earlier < term and index >= journal.first_index and journal.term_at(index) != self.truth[index].term:
                raise self.fail(f"{name} leads term {term} without the committed entry {index}")
        return True

    def leases(self, name: str, term: int) -> None:
        """A replica holds a lease in `term`: nobody may have been elected in a later one."""
        if term < self.newest_term:
            raise self.fail(
                f"{name} holds a lease in term {term}, {self.leaders[self.newest_term]} was elected after it"
            )

    def may_read(self, name: str, index: int, newest: int, how: str) -> None:
        """A read that began when `newest` was applied somewhere."""
        if index < newest:
            raise self.fail(f"{name} reads at {index} ({how}), {newest} was applied before")


def _changed(applied: Applied) -> bool:
    return any(outcome.applied for outcome in applied.row.result.outcomes)
