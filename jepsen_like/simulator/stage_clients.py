"""The clients of a stage: each write has a name, an idempotency key of that name, and an end that is told once.

A write is told applied, not applied (another entry took its place), refused, or unknown: when its replica died, its
question was lost, or its time was over. Nothing is ever asked again unless the script does.
"""

import hashlib
from collections.abc import Callable, Iterable

from msgspec import Struct

from jepsen_like.simulator.stage_oracle import StageOracle
from jepsen_like.simulator.stage_replica import StageReplica
from jepsen_like.simulator.world import World
from raftmem.errors import NotApplied
from raftmem.model import codec
from raftmem.model.commands import Actor, Content, Draft, Fields, Header, Idempotency, Operation, Put
from raftmem.raft import messages as m
from raftmem.storage.log.contract import LogEntry

AGENT = Actor("agent", "client")


def body_of(name: str) -> bytes:
    """A memory of that name is put: its version counts how often that was applied."""
    return _body(name, Put(name, Fields()), Content(text=name))


def _body(name: str, operation: Operation, content: Content | None = None) -> bytes:
    key = Idempotency(name, hashlib.sha256(name.encode()).digest())
    header = Header(AGENT, name, (operation,), idempotency=key)
    return codec.encode_draft(Draft(header, (content,)), lambda count: bytes(count))


class _Write(Struct):
    name: str
    body: bytes
    replica: str
    place: tuple[int, int] | None = None
    over: bool = False


class Clients:
    """`told`: the newest answer to each write. `read_at`: the newest answer to a read at each replica."""

    def __init__(self, world: World, oracle: StageOracle, say: Callable[[str], None]) -> None:
        self.told: dict[str, str] = {}
        self.read_at: dict[str, int | None] = {}
        self._world = world
        self._oracle = oracle
        self._say = say
        self._writes: list[_Write] = []

    # --- writes -------------------------------------------------------------------------------------
    def write(self, replica: StageReplica, name: str, *, forward: bool, within: float | None) -> None:
        """To a leader, or to a replica that passes it on."""
        write = _Write(name, body_of(name), replica.name)
        if within is not None:
            self._world.at(self._world.now + within, lambda: self._tell(write, "unknown"))
        self._begin(replica, write, forward=forward)

    def write_operation(self, replica: StageReplica, name: str, operation: Operation) -> None:
        """To a leader: something else than a memory, under the same kind of key."""
        self._begin(replica, _Write(name, _body(name, operation), replica.name), forward=False)

    def _begin(self, replica: StageReplica, write: _Write, *, forward: bool) -> None:
        self._writes.append(write)
        replica.machine.perform(lambda: self._place(replica, write, forward=forward))

    def _place(self, replica: StageReplica, write: _Write, *, forward: bool) -> None:
        consensus = replica.consensus
        if consensus is None:
            self._tell(write, "refused: nobody is there")
            return
        try:
            if forward:
                consensus.forward(write.body, lambda reply: self._answered(write, reply))
            else:
                self._stands(write, *consensus.propose(write.body))
        except NotApplied as error:
            self._tell(write, f"refused: {error}")

    def _answered(self, write: _Write, reply: m.Forwarded | None) -> None:
        if write.over:
            self._say(f"the answer to {write.name} comes too late")
        elif reply is None:
            self._tell(write, "unknown")
        elif reply.code is not None:
            self._tell(write, f"refused: {reply.detail}")
        else:
            self._stands(write, reply.index, reply.term)

    def _stands(self, write: _Write, index: int, term: int) -> None:
        write.place = (index, term)
        self._say(f"{write.name} stands at {index}/{term}")

    def applied(self, name: str, entries: Iterable[LogEntry]) -> None:
        """At a replica; those who wait there are told."""
        for entry in entries:
            for write in self._writes:
                if write.replica == name and write.place is not None and write.place[0] == entry.index:
                    self._tell(write, "applied" if write.place[1] == entry.term else "not applied")

    def lost(self, name: str) -> None:
        """That replica died."""
        for write in self._writes:
            if write.replica == name:
                self._tell(write, "unknown")

    def _tell(self, write: _Write, what: str) -> None:
        if not write.over:
            write.over = True
            self.told[write.name] = what
            self._say(f"the client of {write.name} is told: {what}")

    # --- reads --------------------------------------------------------------------------------------
    def read_by_lease(self, replica: StageReplica) -> None:
        """At a leader: now, or when it wakes."""
        newest = self._oracle.newest
        replica.machine.perform(lambda: self._leased(replica, newest))

    def _leased(self, replica: StageReplica, newest: int) -> None:
        index = None if replica.consensus is None else replica.consensus.lease_index()
        self._read(replica.name, index, newest, "by its lease")

    def read_index(self, replica: StageReplica, *, quorum: bool) -> None:
        """At any replica, which asks the leader."""
        newest, consensus = self._oracle.newest, replica.consensus
        how = "by a round" if quorum else "by the leader's lease"
        if consensus is not None:
            replica.machine.perform(
                lambda: consensus.read_index(
                    quorum=quorum, callback=lambda index: self._read(replica.name, index, newest, how)
                )
            )

    def _read(self, name: str, index: int | None, newest: int, how: str) -> None:
        self.read_at[name] = index
        self._say(f"{name} does not read {how}" if index is None else f"{name} reads at {index} {how}")
        if index is not None:
            self._oracle.reads(name, index, newest)
