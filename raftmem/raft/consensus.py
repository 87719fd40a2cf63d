"""One replica's consensus: messages and timers in, messages and committed entries out. One thread, callbacks only.

The caller's duties: give it a log that is not empty (`LogStore`); call `start`; hand it `receive`, `connected`,
`disconnected` from an authenticated network; apply what it is given, in order, in one transaction with the applied
index; stop the process when `on_stop` is called. It reads no clock of its own, starts no thread, opens no file.

Rule: nothing leaves that promises what is not on disk. Votes and echoes wait for the hard state, claims are never
above the durable index, the leader's appends alone may leave before its own sync.
"""

import logging
from collections.abc import Callable

import msgspec

from raftmem.errors import Corrupt, Removed, Stop
from raftmem.limits import APPEND_BYTES_MAX
from raftmem.model.commands import Actor, Member, Members
from raftmem.raft import messages as m
from raftmem.raft.compaction import Compaction
from raftmem.raft.dispatch import Dispatch
from raftmem.raft.election.timer import ElectionTimer
from raftmem.raft.election.votes import Votes
from raftmem.raft.follower.append_handler import AppendHandler
from raftmem.raft.follower.snapshot_receiver import SnapshotReceiver
from raftmem.raft.forwarding import OnForward
from raftmem.raft.interfaces import Network, Snapshots, Timing
from raftmem.raft.leader.leadership import Leadership
from raftmem.raft.leadership_term import LeadershipTerm
from raftmem.raft.learner_promotion import LearnerPromotion
from raftmem.raft.log.apply_queue import ApplyQueue
from raftmem.raft.log.durable_outbox import DurableOutbox
from raftmem.raft.log.journal import Journal, members_of
from raftmem.raft.membership import ids
from raftmem.raft.pending_requests import OnForwarded, OnIndex
from raftmem.raft.pysyncobj_core import LEADER, Core
from raftmem.raft.requests import Requests
from raftmem.runtime.interfaces import Clock, Executor, Loop, Randomness
from raftmem.storage.log.contract import LogEntry, LogStore

log = logging.getLogger("raftmem.raft")
OnMembers = Callable[[Members, Members], None]


class Consensus:
    """See the module. `apply(entries)` and `settle()`, which makes what was applied outlive a kill and is called every
    half a heartbeat, may raise OSError ENOSPC (tried again later); all else stops the replica.

    `on_members(in force, committed)`: at the start, and when one of the two has changed. `birth_of(member)`: of the
    data folder that is known by that id.
    """

    def __init__(
        self,
        *,
        node_id: str,
        store: LogStore,
        applied: int,
        apply: Callable[[list[LogEntry]], None],
        settle: Callable[[], None],
        on_stop: Callable[[Stop], None],
        timing: Timing,
        loop: Loop,
        clock: Clock,
        randomness: Randomness,
        executor: Executor,
        network: Network,
        snapshots: Snapshots,
        on_members: OnMembers = lambda _in_force, _committed: None,
        birth_of: Callable[[str], str | None] = lambda _member: None,
        append_bytes_max: int = APPEND_BYTES_MAX,
    ) -> None:
        self.node_id = node_id
        self.stopped = False
        self._on_stop = on_stop
        self._on_members = on_members
        self._timing = timing
        self._loop = loop
        self._clock = clock
        self._network = network
        self._snapshots = snapshots
        self._append_bytes_max = append_bytes_max
        self.journal = Journal(
            store,
            executor=executor,
            loop=loop,
            clock=clock,
            on_durable=self._kick,
            on_failed=self.fail,
            on_members=self._members_moved,
        )
        if not self.journal.first_index <= applied <= self.journal.last_index:
            where = f"holds {self.journal.first_index}..{self.journal.last_index}, the state stands at {applied}"
            raise Corrupt("log", where, index=applied)
        voters = ids(self.members.voters)
        self.requests = Requests(
            node_id=node_id,
            journal=self.journal,
            clock=clock,
            first_ask=int(randomness.random() * 2**52),
            birth_of=birth_of,
            leading=lambda: self.leading,
            send=self._send,
            kick=self._kick,
        )
        self._core = Core(
            node_id=node_id, voters=voters, journal=self.journal, applied=applied, no_op=self.requests.no_op
        )
        self.requests.core = self._core
        self._election = ElectionTimer(
            self_id=node_id,
            voters=voters,
            clock=clock,
            randomness=randomness,
            timeout=timing.election_timeout,
            fresh=self._core.term == 0 and self.journal.last_index == 1,
        )
        self._promises = DurableOutbox(journal=self.journal, current_term=lambda: self._core.term, send=self._send)
        self._appends = AppendHandler(core=self._core, journal=self.journal, promises=self._promises, commit=applied)
        self.voting = Votes(
            core=self._core,
            journal=self.journal,
            election=self._election,
            promises=self._promises,
            peers=lambda: tuple(voter for voter in ids(self.members.voters) if voter != node_id),
            send=self._send,
            may_stand=self._can_write,
        )
        self.applying = ApplyQueue(
            journal=self.journal, index=applied, apply=apply, settle=settle, loop=loop, clock=clock, again=self._kick
        )
        self.installing = SnapshotReceiver(
            core=self._core,
            journal=self.journal,
            promises=self._promises,
            appends=self._appends,
            applying=self.applying,
            snapshots=snapshots,
            step=self._step,
        )
        self.tenure = LeadershipTerm(
            node_id=node_id,
            core=self._core,
            journal=self.journal,
            election=self._election,
            voting=self.voting,
            steward=LearnerPromotion(journal=self.journal, requests=self.requests),
            clock=clock,
            timing=timing,
            connected=self.requests.connected,
            lead=self._lead,
            can_write=self._can_write,
        )
        self._inbox = Dispatch(
            core=self._core,
            election=self._election,
            appends=self._appends,
            installing=self.installing,
            voting=self.voting,
            requests=self.requests,
            tenure=self.tenure,
            applied=lambda: self.applied,
        )
        self._compacting = Compaction(
            journal=self.journal,
            snapshots=snapshots,
            applied=lambda: self.applied,
            leading=lambda: self.leading,
            step=self._step,
        )
        self._turn_due = False
        self._told_members = 0  # index of the newest membership that was told as committed
        self.bad_messages = 0

    # --- what others see -------------------------------------------------------------------------
    @property
    def term(self) -> int:
        return self._core.term

    @property
    def leader(self) -> str | None:
        return self._core.leader

    @property
    def is_leader(self) -> bool:
        return self._core.role == LEADER

    @property
    def applied(self) -> int:
        return self.applying.index

    @property
    def commit_index(self) -> int:
        return self._core.commit_index

    @property
    def members(self) -> Members:
        """The membership in force: the last in the log, committed or not."""
        return self.journal.members

    @property
    def leading(self) -> Leadership | None:
        """What this replica knows as a leader; None when it is none."""
        return self.tenure.leading

    def log_time(self) -> int | None:
        """Log time now, microseconds; only the leader can tell."""
        return self.requests.log_time()

    # --- life --------------------------------------------------------------------------------------
    def start(self) -> None:
        self._step(self._tell_members)
        self._tick()

    def stop(self) -> None:
        """No more messages, timers or writes. The journal's store is closed by its owner."""
        self.stopped = True
        self.journal.writer.stop()
        self.tenure.let_go()
        self.requests.asks.lost_all()

    def fail(self, error: Stop) -> None:
        """Something is wrong that must not be papered over."""
        if not self.stopped:
            self.stop()
            log.critical("%s stops: %s", self.node_id, error)
            self._on_stop(error)

    def connected(self, peer: str) -> None:
        self.requests.connected.add(peer)
        if self.leading is not None:
            self.leading.reconnected(peer)
            self._kick()

    def disconnected(self, peer: str) -> None:
        """Answers that were to come from there will not: their fate is not known."""
        self.requests.connected.discard(peer)
        self.requests.asks.lost(peer)
        self._election.lost(peer, leader=self._core.leader)

    # --- proposing -----------------------------------------------------------------------------------
    def propose(self, body: bytes) -> tuple[int, int]:
        """Append a command to the leader's log: (index, term). Committed when an entry of that term is applied there.

        Raises: NoLeader here is not the leader, or it gives way; NoSpace its log found no room; TooLarge.
        """
        return self.requests.propose(body)

    def on_forward(self, handler: OnForward) -> None:
        """Who proposes what other replicas forward, at once or later, and answers; its checks raise NotApplied."""
        self.requests.take_forwarded = handler

    def forward(self, body: bytes, callback: OnForwarded) -> None:
        """Ask the leader to propose. Called back with its answer, or None when its fate is not known. Raises: NoLeader
        when it certainly was not sent; TooLarge."""
        self.requests.forward(body, callback)

    def change(self, op: m.ChangeOp, member: Member, actor: Actor, request_id: str) -> tuple[int, int]:
        """Add or remove a member, at the leader: where the entry stands. Raises: NoLeader, NoSpace, ChangeUnderWay (ask
        again); WrongState, NotFound."""
        return self.requests.change(op, member, actor, request_id)

    def transfer(self, member_id: str | None) -> None:
        """Begin to give way, at the leader, to a voter (None: the one that is furthest). Raises: as `change`."""
        self.requests.hand_over(member_id)

    def ask_change(self, op: m.ChangeOp, member: Member, actor: Actor, request_id: str, callback: OnForwarded) -> None:
        """Ask the leader to change or to give way. Raises: NoLeader when it certainly was not sent."""
        self.requests.ask_change(op, member, actor, request_id, callback)

    # --- reading --------------------------------------------------------------------------------------
    def lease_index(self) -> int | None:
        """The commit index, if this leader's lease covers this very call (obligation lease)."""
        return None if self.leading is None else self.leading.lease_index()

    def read_index(self, *, quorum: bool, callback: OnIndex) -> None:
        """From which index may a read that has arrived be answered? Asked of the leader; None: not confirmed.

        With `quorum`, confirmed by a round begun after this call (obligation read-index); else the lease will do.
        """
        self.requests.read_index(quorum=quorum, callback=callback)

    # --- compaction -------------------------------------------------------------------------------------
    def compact(self, index: int) -> None:
        """Entries below `index` may go from the log, as far as a snapshot covers them and nobody waits for them."""
        self._compacting.up_to(index)

    # --- the turn ---------------------------------------------------------------------------------------
    def _kick(self) -> None:
        if not self._turn_due and not self.stopped:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if not self.stopped:
            self._guarded(self._go_on)

    def _go_on(self) -> None:
        leading = self.tenure.leading
        if leading is not None:
            leading.advance()
        else:
            self._core.raise_commit(self._appends.commit)
            self._appends.claim(owed=False)
        self.tenure.observe()
        leading = self.tenure.leading
        if leading is not None:
            leading.replicate(self.requests.connected, heartbeat=False)
            leading.committed()
        commit = self._core.commit_index
        if self.applying.index < commit:
            self.applying.up_to(commit)
            self._core.set_applied(self.applied)
        if self._told_members < self.journal.members_index <= commit:
            self._tell_members()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Whatever goes wrong inside ends this replica: a half-done step must not be built on (apply-once)."""
        try:
            work()
        except Stop as error:
            self.fail(error)
        except Exception as error:
            log.exception("%s: a step of consensus raised", self.node_id)
            self.fail(Stop(f"a step of consensus raised {error!r}; this is a defect, the log on disk is as it was"))

    def _step(self, work: Callable[[], None]) -> None:
        """A step that a callback begins."""
        if not self.stopped:
            self._guarded(work)
            self._kick()

    # --- members ------------------------------------------------------------------------------------------
    def _members_moved(self) -> None:
        """The log holds another membership: it is in force at once (obligation membership)."""
        voters = ids(self.members.voters)
        self._core.set_voters(voters)
        self._election.set_voters(voters)
        if self.leading is not None:
            self.leading.set_members()
        self._tell_members()

    def _tell_members(self) -> None:
        committed = self.journal.membership_at(max(self._core.commit_index, self.journal.first_index))
        self._told_members = committed.index
        known = members_of(committed)
        self._on_members(self.members, known)
        if self.node_id in known.removed:
            raise Removed(f"{self.node_id} was removed from the group; a new replica joins under a new id")

    # --- timers -------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        if self.stopped:
            return
        self._loop.call_later(self._timing.heartbeat / 2, self._tick)
        self._guarded(self.tenure.tick)
        self._guarded(self.applying.settle)
        self._kick()

    def _can_write(self) -> bool:
        return not self.journal.writer.is_stuck(2 * self._election.timeout)

    def _lead(self) -> Leadership:
        self._kick()
        return Leadership(
            core=self._core,
            journal=self.journal,
            snapshots=self._snapshots,
            node_id=self.node_id,
            clock=self._clock,
            timing=self._timing,
            send=self._network.send,
            kick=self._kick,
            append_bytes_max=self._append_bytes_max,
        )

    # --- messages -----------------------------------------------------------------------------------------
    def _send(self, peer: str, message: m.Message) -> None:
        if not self.stopped:
            self._network.send(peer, m.encode(message))

    def receive(self, peer: str, data: bytes) -> bool:
        """One message of an authenticated replica of this group. False: it is not one of ours; close the connection."""
        if self.stopped:
            return True
        try:
            message = m.decode(data)
        except msgspec.DecodeError as error:
            self.bad_messages += 1
            log.warning("%s: a message from %s does not decode: %s", self.node_id, peer, error)
            return False
        self._guarded(lambda: self._take(peer, message))
        self._kick()
        return True

    def _take(self, peer: str, message: m.Message) -> None:
        self._inbox.handle(peer, message)
        self.tenure.observe()
