"""The oracle of a stage: it checks each step, whatever the script says, and at the end what the script claims.

At every step: what is applied is on a majority's disks and the same everywhere for ever; one leader a term, with all
that was committed before it; no read misses what was applied before it began; no lease beside a later leader.
"""

from collections.abc import Callable, Iterable

from jepsen_like.simulator.oracles import Violation
from jepsen_like.simulator.stage_replica import StageReplica
from jepsen_like.simulator.world import World
from raftmem.raft.membership import ids
from raftmem.raft.rules import quorum
from raftmem.storage.log.contract import LogEntry


class StageOracle:
    """`truth`: index -> entry as first applied anywhere, with the term in which that was."""

    def __init__(self, world: World, replicas: dict[str, StageReplica], bootstrap: LogEntry) -> None:
        self.truth = {bootstrap.index: (bootstrap, 0)}
        self.leaders: dict[int, str] = {}
        self.may_stop: set[str] = set()
        self._world = world
        self._replicas = replicas

    @property
    def newest(self) -> int:
        """The highest index applied anywhere."""
        return max(self.truth)

    def fail(self, what: str) -> Violation:
        """Also noted in the world: what is raised inside a replica would only stop that one."""
        violation = Violation(what)
        if self._world.failure is None:
            self._world.failure = violation
        return violation

    # --- at every step ------------------------------------------------------------------------------
    def applies(self, name: str, term: int, entries: Iterable[LogEntry]) -> None:
        for entry in entries:
            known = self.truth.get(entry.index)
            if known is None:
                self._is_on_a_majority(name, entry)
                self.truth[entry.index] = (entry, term)
            elif known[0] != entry:
                raise self.fail(
                    f"{name} applies {entry.index}/{entry.term}, {entry.index}/{known[0].term} was applied before"
                )

    def _is_on_a_majority(self, name: str, entry: LogEntry) -> None:
        consensus = self._replicas[name].consensus
        assert consensus is not None
        voters = ids(consensus.members.voters)
        copies = [voter for voter in voters if voter in self._replicas and self.holds(voter, entry)]
        if len(copies) < quorum(voters):
            raise self.fail(f"{name} applies {entry.index}/{entry.term}, which is on the disks of {copies} only")

    def holds(self, name: str, entry: LogEntry) -> bool:
        return self._replicas[name].log.read(entry.index, entry.index + 1) == [entry]

    def leads(self, name: str, term: int) -> None:
        if self.leaders.setdefault(term, name) != name:
            raise self.fail(f"two leaders in term {term}: {self.leaders[term]} and {name}")
        consensus = self._replicas[name].consensus
        assert consensus is not None
        journal = consensus.journal
        for index, (entry, committed_in) in self.truth.items():
            if committed_in < term and index >= journal.first_index and journal.term_at(index) != entry.term:
                raise self.fail(f"{name} leads term {term} without the committed entry {index}/{entry.term}")
        for other in self._replicas.values():
            older = other.consensus
            if older is not None and older.term < term and older.lease_index() is not None:
                raise self.fail(f"{other.name} holds a lease in term {older.term}, {name} leads term {term}")

    def reads(self, name: str, index: int, newest: int) -> None:
        """A read that began when `newest` was applied somewhere."""
        if index < newest:
            raise self.fail(f"{name} reads at {index}, {newest} was applied before the read began")

    # --- when asked -----------------------------------------------------------------------------------
    def agreement(self, names: Iterable[str]) -> str:
        """The named replicas are up and hold one log, all of it applied, in one state."""
        ends: dict[str, tuple[int, int, int, bytes]] = {}
        for name in names:
            replica = self._up(name)
            head, last = replica.state.head(), replica.log.read(replica.log.last_index(), replica.log.last_index() + 1)
            ends[name] = (last[0].index, last[0].term, head.index, head.digest)
            for entry in replica.log.read(max(replica.log.first_index(), 1), self.newest + 1):
                if entry.index in self.truth and self.truth[entry.index][0] != entry:
                    raise self.fail(f"{name} holds {entry.index}/{entry.term}, which is not what was committed")
        if len(set(ends.values())) != 1:
            raise self.fail(
                "no agreement: " + ", ".join(f"{n} at {i}/{t} applied {a}" for n, (i, t, a, _) in ends.items())
            )
        index, term, applied, _ = next(iter(ends.values()))
        if applied != index:
            raise self.fail(f"no agreement: the logs end at {index}/{term}, applied is {applied}")
        return f"agreement of {' '.join(ends)} at {index}/{term}"

    def _up(self, name: str) -> StageReplica:
        replica = self._replicas[name]
        if not replica.up:
            raise self.fail(f"{name} is not running: {replica.stopped_by or 'it was crashed'}")
        return replica

    def nobody_stopped(self) -> None:
        """Raises: Violation for a replica that stopped by itself and was not expected to."""
        for replica in self._replicas.values():
            if replica.stopped_by is not None and replica.name not in self.may_stop:
                raise self.fail(f"{replica.name} stopped: {replica.stopped_by}")

    def must(self, holds: bool, what: Callable[[], str]) -> None:
        if not holds:
            raise self.fail(what())
