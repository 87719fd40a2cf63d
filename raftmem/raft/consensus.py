"""One replica's consensus: messages and timers in, messages and committed entries out. One thread, callbacks only.

The caller's duties: give it a log that is not empty (`LogStore`); call `start`; hand it `receive`, `connected`,
`disconnected` from an authenticated network; apply what it is given, in order, in one transaction with the applied
index; stop the process when `on_stop` is called. It reads no clock of its own, starts no thread, opens no file.

Rule: nothing leaves that promises what is not on disk. Votes and echoes wait for the hard state, claims are never
above the durable index, the leader's appends alone may leave before its own sync.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from raftmem.errors import Removed, Stop
from raftmem.model.commands import Actor, Member, Members
from raftmem.raft import messages as m
from raftmem.raft.compaction import Compaction
from raftmem.raft.dispatch import Dispatch
from raftmem.raft.election.timer import ElectionTimer
from raftmem.raft.election.votes import Votes
from raftmem.raft.follower.append_handler import AppendHandler
from raftmem.raft.follower.snapshot_receiver import SnapshotReceiver
from raftmem.raft.forwarding import OnForward
from raftmem.raft.leader.leadership import Leadership
from raftmem.raft.leadership_term import LeadershipTerm
from raftmem.raft.log.apply_queue import ApplyQueue
from raftmem.raft.log.journal import Journal, members_of
from raftmem.raft.membership import ids
from raftmem.raft.pending_requests import OnForwarded, OnIndex
from raftmem.raft.pysyncobj_core import LEADER, Core
from raftmem.raft.requests import Requests
from raftmem.raft.rules import UntrustedClaim
from raftmem.raft.steps import Steps
from raftmem.runtime.interfaces import Loop

log = logging.getLogger("raftmem.raft")


class Parts(NamedTuple):
    """The parts of one replica's consensus, as `assembly.assemble` makes them."""

    steps: Steps
    journal: Journal
    core: Core
    election: ElectionTimer
    append_handler: AppendHandler
    votes: Votes
    apply_queue: ApplyQueue
    snapshot_receiver: SnapshotReceiver
    leadership_term: LeadershipTerm
    requests: Requests
    dispatch: Dispatch
    compaction: Compaction


class Consensus:
    """Made by `assembly.assemble`, whose `Seams` say what the callbacks may do. `bad_messages`: how many did not
    decode or claimed what cannot be; `last_refusal`: the newest of them. `heartbeat`: seconds."""

    def __init__(
        self,
        parts: Parts,
        *,
        node_id: str,
        loop: Loop,
        heartbeat: float,
        on_stop: Callable[[Stop], None],
        on_members: Callable[[Members, Members], None],
    ) -> None:
        self.node_id = node_id
        self.journal = parts.journal
        self.votes = parts.votes
        self.apply_queue = parts.apply_queue
        self.snapshot_receiver = parts.snapshot_receiver
        self.leadership_term = parts.leadership_term
        self.requests = parts.requests
        self.bad_messages = 0
        self.last_refusal = ""
        self._steps = parts.steps
        self._core = parts.core
        self._election = parts.election
        self._append_handler = parts.append_handler
        self._dispatch = parts.dispatch
        self._compaction = parts.compaction
        self._loop = loop
        self._heartbeat = heartbeat
        self._on_stop = on_stop
        self._on_members = on_members
        self._told_members = 0  # index of the newest membership that was told as committed

    # --- what others see -------------------------------------------------------------------------
    @property
    def stopped(self) -> bool:
        return self._steps.stopped

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
        return self.apply_queue.index

    @property
    def commit_index(self) -> int:
        return self._core.commit_index

    @property
    def members(self) -> Members:
        """The membership in force: the last in the log, committed or not."""
        return self.journal.members

    @property
    def leading(self) -> Leadership | None:
        """The leadership of this replica; None while it does not lead."""
        return self.leadership_term.leading

    def log_time(self) -> int | None:
        """Log time now, microseconds; only the leader can tell."""
        return self.requests.log_time()

    # --- life --------------------------------------------------------------------------------------
    def start(self) -> None:
        self._steps.step(self._tell_members)
        self._tick()

    def stop(self) -> None:
        """No more messages, timers or writes. The journal's store is closed by its owner."""
        self._steps.stopped = True
        self.journal.writer.stop()
        self.leadership_term.let_go()
        self.requests.pending.lost_all()

    def abandon(self) -> None:
        """End this life as a kill does: nothing more happens, and nobody is told."""
        self._steps.stopped = True

    def fail(self, error: Stop) -> None:
        """Stop this replica for good, once, and tell the owner why."""
        if not self.stopped:
            self.stop()
            log.critical("%s stops: %s", self.node_id, error)
            self._on_stop(error)

    def connected(self, peer: str) -> None:
        self.requests.connected.add(peer)
        if self.leading is not None:
            self.leading.reconnected(peer)
            self._steps.kick()

    def disconnected(self, peer: str) -> None:
        """Answer every request that waits for this peer with None: its fate is not known."""
        self.requests.connected.discard(peer)
        self.requests.pending.lost(peer)
        self._election.lost(peer, leader=self._core.leader)

    # --- proposing -----------------------------------------------------------------------------------
    def propose(self, body: bytes) -> tuple[int, int]:
        """Append a command to the leader's log: (index, term). Committed when an entry of that term is applied there.

        Raises: NoLeader here is not the leader, or it gives way; NoSpace its log found no room; TooLarge.
        """
        return self.requests.propose(body)

    def on_forward(self, handler: OnForward) -> None:
        """`handler` proposes what other replicas forward, and answers at once or later; its checks raise NotApplied."""
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
        """Ask the leader from which index a read that has arrived may be answered. None: not confirmed.

        With `quorum`, confirmed by a round begun after this call (obligation read-index); else the lease will do.
        """
        self.requests.read_index(quorum=quorum, callback=callback)

    # --- compaction -------------------------------------------------------------------------------------
    def compact(self, index: int) -> None:
        """Entries below `index` may go from the log, as far as a snapshot covers them and nobody waits for them."""
        self._compaction.up_to(index)

    # --- the turn ---------------------------------------------------------------------------------------
    def turn(self) -> None:
        """Do what has become due: commit, claim, replicate, apply."""
        leading = self.leading
        if leading is not None:
            leading.advance()
        else:
            self._core.raise_commit(self._append_handler.commit)
            self._append_handler.claim(owed=False)
        self.leadership_term.observe()
        leading = self.leading
        if leading is not None:
            leading.replicate(self.requests.connected, heartbeat=False)
            leading.committed()
        commit = self._core.commit_index
        if self.applied < commit:
            self.apply_queue.up_to(commit)
            self._core.set_applied(self.applied)
        if self._told_members < self.journal.members_index <= commit:
            self._tell_members()

    # --- members ------------------------------------------------------------------------------------------
    def members_moved(self) -> None:
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
        self._loop.call_later(self._heartbeat / 2, self._tick)
        self._steps.guard(self.leadership_term.tick)
        self._steps.guard(self.apply_queue.settle)
        self._steps.kick()

    # --- messages -----------------------------------------------------------------------------------------
    def receive(self, peer: str, data: bytes) -> bool:
        """One message of an authenticated replica of this group. False: it is none, or claims what cannot be; it has
        changed nothing, and the caller closes the connection (untrusted-messages)."""
        if self.stopped:
            return True
        try:
            message = m.decode(data)
        except msgspec.DecodeError as error:
            return self._refuse(peer, f"does not decode: {error}")
        refused = self.bad_messages
        self._steps.guard(lambda: self._take(peer, message))
        self._steps.kick()
        return self.bad_messages == refused

    def _take(self, peer: str, message: m.Message) -> None:
        try:
            self._dispatch.handle(peer, message)
        except UntrustedClaim as error:
            self._refuse(peer, f"is refused: {error}")
        self.leadership_term.observe()

    def _refuse(self, peer: str, reason: str) -> bool:
        self.bad_messages += 1
        self.last_refusal = f"a message from {peer} {reason}"
        log.error("%s: %s", self.node_id, self.last_refusal)
        return False
