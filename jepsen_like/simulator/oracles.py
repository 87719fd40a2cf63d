"""What must hold at every step, whatever happens: the referee that sees all disks, messages and clocks at once.

Checked: a promise is on its sender's disk when it leaves; log matching; one leader a term, with every committed entry;
what is applied is on a majority's disks and never changes; no command twice, none that was refused; log time never goes
back; no read under a lease or after a confirmation is stale, and no two leases at once.
"""

from collections.abc import Callable, Iterable, Sequence

from raftmem import codec
from raftmem.raft import messages as m
from raftmem.raft.consensus import Consensus
from raftmem.storage.contracts import Append, LogEntry, LogStore, LogWrite
from raftmem.storage.memory_log import MemoryLogStore


class Violation(AssertionError):
    """Something that must always hold did not."""


class WatchedStore(MemoryLogStore):
    """A disk whose every write the referee sees. The store itself refuses a term or a vote that goes back."""

    def __init__(self, watch: Callable[[LogEntry, int], None]) -> None:
        super().__init__()
        self._watch = watch

    def commit(self, writes: Sequence[LogWrite]) -> None:
        super().commit(writes)
        for write in writes:
            if isinstance(write, Append):
                for entry in write.entries:
                    if entry.index <= self.last_index() and self.read(entry.index, entry.index + 1) == [entry]:
                        before = self.read(entry.index - 1, entry.index)
                        self._watch(entry, before[0].term if before else 0)


class Referee:
    """`truth`: index -> entry as first applied anywhere. `newest`: the highest index applied anywhere."""

    def __init__(self, seed: int, size: int) -> None:
        self.seed = seed
        self.truth: dict[int, LogEntry] = {}
        self.newest = 1
        self.leaders: dict[int, str] = {}
        self.refused: set[bytes] = set()
        self._majority = size // 2 + 1
        self._committed_by: dict[int, int] = {}  # index -> a term in which it was certainly committed
        self._written: dict[tuple[int, int], tuple[int, bytes]] = {}  # (index, term) -> (term before it, data)
        self._bodies: dict[bytes, int] = {}

    def fail(self, what: str) -> Violation:
        return Violation(f"seed {self.seed}: {what}")

    # --- disks ---------------------------------------------------------------------------------------
    def written(self, entry: LogEntry, term_before: int) -> None:
        """Log matching: index and term name one entry with one history."""
        known = self._written.setdefault((entry.index, entry.term), (term_before, entry.data))
        if known != (term_before, entry.data):
            raise self.fail(f"two entries of term {entry.term} at index {entry.index}")

    def applied(self, name: str, entry: LogEntry, term: int, disks: Iterable[LogStore]) -> None:
        """`term`: of the replica that applies it. An old entry may be committed in a much later term only."""
        truth = self.truth.get(entry.index)
        if truth is None:
            self._first_applied(name, entry, disks)
            self._committed_by[entry.index] = term
        elif truth != entry:
            raise self.fail(f"{name} applies another entry at {entry.index} than was applied before")

    def _first_applied(self, name: str, entry: LogEntry, disks: Iterable[LogStore]) -> None:
        copies = sum(disk.read(entry.index, entry.index + 1) == [entry] for disk in disks)
        if copies < self._majority:
            raise self.fail(f"{name} applies {entry.index}, which is on {copies} disks")
        before = self.truth.get(entry.index - 1)
        if before is not None and codec.times(before.data)[0] > codec.times(entry.data)[0]:
            raise self.fail(f"log time goes back at {entry.index}")
        self.truth[entry.index] = entry
        self.newest = max(self.newest, entry.index)
        body = entry.data[codec.PREFIX_BYTES :]
        if body in self.refused:
            raise self.fail(f"{name} applies at {entry.index} what its proposer was told is not applied")
        if body and self._bodies.setdefault(body, entry.index) != entry.index:
            raise self.fail(f"the command at {self._bodies[body]} is applied again at {entry.index}")

    # --- messages --------------------------------------------------------------------------------------
    def sent(self, name: str, peer: str, data: bytes, disk: LogStore) -> None:
        """Sync-before-promise: what a message says of its sender is on the sender's disk."""
        message = m.decode(data)
        state = disk.hard_state()
        match message:
            case m.Vote():
                held = state.term == message.term and state.vote == name
            case m.VoteReply(granted=True):
                held = state.term == message.term and state.vote == peer
            case m.Accept():
                held = state.term >= message.term and disk.last_index() >= message.match
            case m.Echo() | m.Reject() | m.Refuse() | m.VoteReply():
                held = state.term >= message.term
            case _:
                held = True
        if not held:
            raise self.fail(f"{name} sends {message}, its disk has {state} and ends at {disk.last_index()}")

    # --- leaders and readers -----------------------------------------------------------------------------
    def leads(self, name: str, consensus: Consensus) -> bool:
        """One leader a term; it has every entry that was committed in an earlier term. True when it is new."""
        known = self.leaders.get(consensus.term)
        if known == name:
            return False
        if known is not None:
            raise self.fail(f"two leaders in term {consensus.term}: {known} and {name}")
        self.leaders[consensus.term] = name
        for index, entry in self.truth.items():
            if self._committed_by[index] < consensus.term and consensus.journal.term_at(index) != entry.term:
                raise self.fail(f"{name} leads term {consensus.term} without the committed entry {index}")
        return True

    def may_read(self, name: str, index: int, newest: int, how: str) -> None:
        """A read that began when `newest` was applied somewhere."""
        if index < newest:
            raise self.fail(f"{name} reads at {index} ({how}), {newest} was applied before")
