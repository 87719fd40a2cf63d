"""Locks and tasks in a group: the production code of a leader for them, its oracles, and how requests for them travel.

Each life of a replica has the production expiry and the production grouping of renewals, wired as `raftmem/node.py`
and `raftmem/service/proposer.py` do it. The oracles see each entry when it is first applied anywhere.
"""

from typing import Protocol

from jepsen_like.simulator.leases import Leases
from jepsen_like.simulator.lock_oracle import LockOracle
from jepsen_like.simulator.oracles import Referee
from jepsen_like.simulator.replicas import Replica
from jepsen_like.simulator.sometimes import Sometimes
from jepsen_like.simulator.task_oracle import TaskOracle
from jepsen_like.simulator.world import VirtualMachine, World
from raftmem.errors import NotApplied
from raftmem.machine.run import Applied
from raftmem.model import codec
from raftmem.model.commands import Draft
from raftmem.raft.consensus import Consensus
from raftmem.raft.forwarding import EntryAddress, OnProposed, Refused
from raftmem.raft.interfaces import Timing
from raftmem.replica.apply_loop import Replica as ApplyLoop
from raftmem.service.expiry import Expiry
from raftmem.service.renewal_batch import RenewalBatch, is_renewal


class Setting(Protocol):
    """The group, as its locks and tasks see it."""

    world: World
    timing: Timing
    sometimes: Sometimes
    referee: Referee

    def took(self, number: int, place: tuple[int, int], machine: VirtualMachine) -> None: ...
    def forward(self, number: int, replica: Replica, body: bytes | None = None) -> bool: ...


class Coordination:
    """`seqs`: number -> which operation of its entry is the first that was asked for, where it is not the first."""

    def __init__(self, group: Setting) -> None:
        fail, sometimes = group.referee.fail, group.sometimes
        self.leases = Leases(group.world, group.timing.drift)
        self.locks = LockOracle(self.leases, sometimes, fail)
        self.tasks = TaskOracle(self.leases, sometimes, fail)
        self.seqs: dict[int, int] = {}
        self._group = group
        self._renewals: dict[str, RenewalBatch] = {}
        group.referee.watchers.append(self._applies)

    def _applies(self, applied: Applied) -> None:
        if applied.entry.header is not None:
            self.leases.raise_floor(applied.entry.header)
            self.locks.applies(applied)
            self.tasks.applies(applied)

    def longest_left(self) -> float:
        """Seconds of the longest lease that is given."""
        holds = [held.lease.seconds for seen in self.locks.locks.values() for held in seen.holders.values()]
        waits = [
            place.lease.seconds + place.ttl_ms / 1000
            for seen in self.locks.locks.values()
            for place in seen.queue.values()
        ]
        claims = [seen.claim.lease.seconds for seen in self.tasks.tasks.values() if seen.claim is not None]
        return max([*holds, *waits, *claims], default=0.0)

    def left(self) -> list[str]:
        """The holders, the waiters and the workers, each with its subject."""
        return [*self.locks.leases_left(), *self.tasks.claims_left()]

    # --- at a replica -------------------------------------------------------------------------------
    def begin(self, replica: Replica, consensus: Consensus, apply_loop: ApplyLoop) -> None:
        """A new life."""
        machine = replica.machine
        Expiry(consensus=consensus, replica=apply_loop, loop=machine, randomness=machine).start()
        renewals = self._renewals[replica.name] = RenewalBatch(consensus=consensus, loop=machine, randomness=machine)

        def take(body: bytes, draft: Draft, placed: OnProposed) -> None:
            if is_renewal(draft):
                renewals.add(draft, placed)
            else:
                placed(EntryAddress(*consensus.propose(body)))

        consensus.on_forward(take)

    # --- requests -----------------------------------------------------------------------------------
    def give(self, number: int, replica: Replica, draft: Draft) -> None:
        """To a replica that leads, as far as anybody knows."""
        consensus, machine = replica.consensus, replica.machine
        if consensus is None:
            return

        def placed(what: EntryAddress | Refused) -> None:
            if isinstance(what, EntryAddress):
                self.seqs[number] = what.seq
                if what.seq > 0:
                    self._group.sometimes.saw("renewals in one entry")
                self._group.took(number, (what.index, what.term), machine)

        try:
            if is_renewal(draft):
                self._renewals[replica.name].add(draft, placed)
            else:
                placed(EntryAddress(*consensus.propose(_body(draft))))
        except NotApplied:
            return  # its agent hears nothing

    def pass_on(self, number: int, replica: Replica, draft: Draft) -> None:
        """To a replica that asks its leader."""
        self._group.forward(number, replica, _body(draft))


def _body(draft: Draft) -> bytes:
    return codec.encode_draft(draft, lambda count: bytes(count))
