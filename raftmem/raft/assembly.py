"""The assembly of one replica's consensus, for production, the simulator and the tests alike.

Every part is complete when its constructor returns. The parts know one another through arguments only; where two need
each other, the earlier one gets a callback that finds the later one when it is called. No callback runs before
`assemble` returns.
"""

from collections.abc import Callable
from dataclasses import dataclass

from raftmem.errors import Corrupt, Stop
from raftmem.limits import APPEND_BYTES_MAX
from raftmem.model.commands import Members
from raftmem.raft import messages as m
from raftmem.raft.compaction import Compaction
from raftmem.raft.consensus import Consensus, Parts
from raftmem.raft.dispatch import Dispatch
from raftmem.raft.election.timer import ElectionTimer
from raftmem.raft.election.votes import Votes
from raftmem.raft.follower.append_handler import AppendHandler
from raftmem.raft.follower.snapshot_receiver import SnapshotReceiver
from raftmem.raft.interfaces import Network, Snapshots, Timing
from raftmem.raft.leader.leadership import Leadership
from raftmem.raft.leadership_term import LeadershipTerm
from raftmem.raft.learner_promotion import LearnerPromotion
from raftmem.raft.log.apply_queue import ApplyQueue
from raftmem.raft.log.durable_outbox import DurableOutbox
from raftmem.raft.log.journal import Journal
from raftmem.raft.membership import ids
from raftmem.raft.pysyncobj_core import Core
from raftmem.raft.requests import Requests
from raftmem.raft.steps import Steps
from raftmem.runtime.interfaces import Clock, Executor, Loop, Randomness
from raftmem.storage.log.contract import LogEntry, LogStore


@dataclass(frozen=True, kw_only=True)
class Seams:
    """All that consensus is given from outside.

    `store`: its log, not empty. `applied`: the index that the state stands at. `apply(entries)`, and `settle()`, which
    makes what was applied outlive a kill and is called every half a heartbeat, may raise OSError ENOSPC (tried again
    later); all else stops the replica. `on_stop`: called once, when the replica stops by itself.

    `on_members(in force, committed)`: at the start, and when one of the two has changed. `birth_of(member)`: of the
    data folder that is known by that id.
    """

    node_id: str
    store: LogStore
    applied: int
    apply: Callable[[list[LogEntry]], None]
    settle: Callable[[], None]
    on_stop: Callable[[Stop], None]
    timing: Timing
    loop: Loop
    clock: Clock
    randomness: Randomness
    executor: Executor
    network: Network
    snapshots: Snapshots
    on_members: Callable[[Members, Members], None] = lambda _in_force, _committed: None
    birth_of: Callable[[str], str | None] = lambda _member: None
    append_bytes_max: int = APPEND_BYTES_MAX


def assemble(seams: Seams) -> Consensus:
    """Consensus of one replica, not started.

    Raises: Corrupt when the state does not stand within the log.
    """
    node_id, clock, timing, network = seams.node_id, seams.clock, seams.timing, seams.network
    steps = Steps(node_id, loop=seams.loop, turn=lambda: consensus.turn(), fail=lambda error: consensus.fail(error))

    def send(peer: str, message: m.Message) -> None:
        if not steps.stopped:
            network.send(peer, m.encode(message))

    def can_write() -> bool:
        return not journal.writer.is_stuck(2 * election.timeout)

    def leading() -> Leadership | None:
        return leadership_term.leading

    def lead() -> Leadership:
        steps.kick()
        return Leadership(
            core=core,
            journal=journal,
            snapshots=seams.snapshots,
            node_id=node_id,
            clock=clock,
            timing=timing,
            send=network.send,
            kick=steps.kick,
            append_bytes_max=seams.append_bytes_max,
        )

    journal = Journal(
        seams.store,
        executor=seams.executor,
        loop=seams.loop,
        clock=clock,
        on_durable=steps.kick,
        on_failed=lambda error: consensus.fail(error),
        on_members=lambda: consensus.members_moved(),
    )
    if not journal.first_index <= seams.applied <= journal.last_index:
        where = f"holds {journal.first_index}..{journal.last_index}, the state stands at {seams.applied}"
        raise Corrupt("log", where, index=seams.applied)
    voters = ids(journal.members.voters)
    first_request = int(seams.randomness.random() * 2**52)
    core = Core(
        node_id=node_id,
        voters=voters,
        journal=journal,
        applied=seams.applied,
        no_op=lambda term: requests.no_op(term),
    )
    requests = Requests(
        node_id=node_id,
        core=core,
        journal=journal,
        clock=clock,
        first=first_request,
        birth_of=seams.birth_of,
        leading=leading,
        send=send,
        kick=steps.kick,
    )
    election = ElectionTimer(
        self_id=node_id,
        voters=voters,
        clock=clock,
        randomness=seams.randomness,
        timeout=timing.election_timeout,
        fresh=core.term == 0 and journal.last_index == 1,
    )
    outbox = DurableOutbox(journal=journal, current_term=lambda: core.term, send=send)
    append_handler = AppendHandler(core=core, journal=journal, outbox=outbox, commit=seams.applied)
    votes = Votes(
        core=core,
        journal=journal,
        election=election,
        outbox=outbox,
        peers=lambda: tuple(voter for voter in ids(journal.members.voters) if voter != node_id),
        send=send,
        may_stand=can_write,
    )
    apply_queue = ApplyQueue(
        journal=journal,
        index=seams.applied,
        apply=seams.apply,
        settle=seams.settle,
        loop=seams.loop,
        clock=clock,
        again=steps.kick,
    )
    snapshot_receiver = SnapshotReceiver(
        core=core,
        journal=journal,
        outbox=outbox,
        append_handler=append_handler,
        apply_queue=apply_queue,
        snapshots=seams.snapshots,
        step=steps.step,
    )
    leadership_term = LeadershipTerm(
        node_id=node_id,
        core=core,
        journal=journal,
        election=election,
        votes=votes,
        learner_promotion=LearnerPromotion(journal=journal, requests=requests),
        clock=clock,
        timing=timing,
        connected=requests.connected,
        lead=lead,
        can_write=can_write,
    )
    dispatch = Dispatch(
        core=core,
        election=election,
        append_handler=append_handler,
        snapshot_receiver=snapshot_receiver,
        votes=votes,
        requests=requests,
        leadership_term=leadership_term,
        applied=lambda: apply_queue.index,
        members=lambda: journal.members,
        send=send,
    )
    compaction = Compaction(
        journal=journal,
        snapshots=seams.snapshots,
        applied=lambda: apply_queue.index,
        leading=leading,
        step=steps.step,
    )
    consensus = Consensus(
        Parts(
            steps=steps,
            journal=journal,
            core=core,
            election=election,
            append_handler=append_handler,
            votes=votes,
            apply_queue=apply_queue,
            snapshot_receiver=snapshot_receiver,
            leadership_term=leadership_term,
            requests=requests,
            dispatch=dispatch,
            compaction=compaction,
        ),
        node_id=node_id,
        loop=seams.loop,
        heartbeat=timing.heartbeat,
        on_stop=seams.on_stop,
        on_members=seams.on_members,
    )
    return consensus
