"""Requests to the leader, of clients and other replicas: to propose, to change the membership, to confirm a read.

Rules: what enters the log would decode and is within the bound of one entry; nothing is proposed twice by us
(no-blind-retry); a change of the membership waits for the one before it, and for an entry of this term (membership).
"""

from collections.abc import Callable

from raftmem.errors import (
    ChangeUnderWay,
    NoLeader,
    NoSpace,
    NotApplied,
    NotFound,
    TooLarge,
    TooManyRequests,
    WrongState,
    is_no_room,
)
from raftmem.limits import NAME_BYTES_MAX
from raftmem.model import codec
from raftmem.model.commands import Actor, Draft, Member, MemberChange, Members
from raftmem.raft import forwarding, membership
from raftmem.raft import messages as m
from raftmem.raft.forwarding import NOWHERE, EntryAddress, OnForward, OnProposed
from raftmem.raft.leader.leadership import Leadership
from raftmem.raft.log.journal import Journal
from raftmem.raft.log_time import LogTime
from raftmem.raft.pending_requests import OnForwarded, OnIndex, PendingRequests
from raftmem.raft.pysyncobj_core import Core
from raftmem.runtime.interfaces import Clock


class Requests:
    """`birth_of(member)`: of its data folder, if it is known here. `leading()`: the leadership of this replica, None
    while it has none. `kick()`: a turn of consensus is due."""

    def __init__(
        self,
        *,
        node_id: str,
        core: Core,
        journal: Journal,
        clock: Clock,
        first: int,
        birth_of: Callable[[str], str | None],
        leading: Callable[[], Leadership | None],
        send: Callable[[str, m.Message], None],
        kick: Callable[[], None],
    ) -> None:
        self.pending = PendingRequests(first=first)
        self.connected: set[str] = set()
        self.take_forwarded: OnForward = self._propose_forwarded
        self._node_id = node_id
        self._core = core
        self._journal = journal
        self._clock = clock
        self._birth_of = birth_of
        self._leading = leading
        self._send = send
        self._kick = kick
        self._log_time: LogTime | None = None

    # --- log time ------------------------------------------------------------------------------------
    def no_op(self, _term: int) -> bytes:
        """A new leader's first entry; log time is anchored here, once a term."""
        self._log_time = LogTime(self._clock, last_time=self._journal.last_time, last_stored=self._journal.last_stored)
        return codec.no_op(time=self._log_time.now(), wall_ms=self._clock.wall_ms())

    def log_time(self) -> int | None:
        return None if self._leading() is None or self._log_time is None else self._log_time.now()

    # --- commands ------------------------------------------------------------------------------------
    def propose(self, body: bytes) -> tuple[int, int]:
        forwarding.check_size(body)
        return self._append(self._ready(), body, codec.COMMAND)

    def _propose_forwarded(self, body: bytes, _draft: Draft, placed: OnProposed) -> None:
        placed(EntryAddress(*self.propose(body)))

    def _ready(self) -> Leadership:
        leading = self._leading()
        if leading is None or self._log_time is None:
            raise NoLeader("this replica is not the leader; ask again, or ask another replica")
        if leading.heir is not None:
            raise NoLeader(f"the leader gives way to {leading.heir}; ask again")
        shortage = self._journal.writer.shortage
        if shortage is not None:
            refusal = NoSpace if is_no_room(shortage) else TooManyRequests
            raise refusal(f"the leader cannot write its log: {shortage.strerror}; try again when it can")
        return leading

    def _append(self, leading: Leadership, body: bytes, kind: int) -> tuple[int, int]:
        assert self._log_time is not None
        time = self._log_time.now()
        index = self._core.propose(codec.seal(body, kind=kind, time=time, wall_ms=self._clock.wall_ms()))
        self._kick()
        return index, leading.term

    # --- the membership --------------------------------------------------------------------------------
    def change(self, op: m.ChangeOp, member: Member, actor: Actor, request_id: str) -> tuple[int, int]:
        """`add` or `remove`, at the leader: (index, term) of the entry, of the present one if nothing need change."""
        leading = self._ready()
        members = self._journal.members
        if op == "remove":
            if member.id == self._node_id and len(members.voters) > 1:
                self.hand_over(None)
                raise ChangeUnderWay("the leader that is to be removed gives way first; ask again")
            after = self._removed(leading, MemberChange("remove", member.id, actor, request_id))
        else:
            after = membership.add(members, member, MemberChange("add", member.id, actor, request_id))
        if after is None:
            standing = self._journal.membership_at(self._journal.last_index)
            return standing.index, standing.term
        return self._put(leading, after)

    def _removed(self, leading: Leadership, change: MemberChange) -> Members | None:
        try:
            return membership.remove(self._journal.members, change.member_id, change, live=leading.live())
        except WrongState as error:
            if leading.knows_the_living():
                raise
            raise ChangeUnderWay(f"the leader has just taken over, ask again; as far as it knows, {error}") from error

    def promote(self, learner_id: str, actor: Actor) -> None:
        """A learner has caught up. Raises: WrongState when a majority with it would not answer."""
        leading = self._ready()
        change = MemberChange("promote", learner_id, actor, f"promote-{learner_id}")
        after = membership.promote(self._journal.members, learner_id, change)
        membership.check_majority(membership.ids(after.voters), leading.live(), f"with {learner_id}")
        self._put(leading, after)

    def _put(self, leading: Leadership, after: Members) -> tuple[int, int]:
        if not leading.is_settled():
            raise ChangeUnderWay("another change of the membership is under way; try again when it is committed")
        body = codec.members_body(membership.with_births(after, self._birth_of))
        forwarding.check_size(body)
        return self._append(leading, body, codec.MEMBERSHIP)

    def hand_over(self, member_id: str | None) -> None:
        """Begin to give way to that voter; None: the one that is furthest. Raises: WrongState, NotFound, NoLeader."""
        leading = self._ready()
        others = [voter for voter in membership.ids(self._journal.members.voters) if voter != self._node_id]
        if member_id == self._node_id:
            return
        live = [voter for voter in others if voter in leading.live() and voter in self.connected]
        if member_id is not None and member_id not in others:
            raise NotFound(f"{member_id} is no voter, so it cannot lead; see `raftmem member list`")
        if not live:
            raise WrongState("no other voter answers, so none can lead; start one first")
        if member_id not in (None, *live):
            raise WrongState(f"{member_id} does not answer, so it cannot lead; start it first")
        leading.hand_over(member_id or max(live, key=lambda voter: (leading.progress[voter].match, voter)))

    # --- of other replicas -------------------------------------------------------------------------------
    def answer(self, peer: str, message: m.Forward | m.Change) -> None:
        if isinstance(message, m.Forward):
            forwarding.answer(message, self.take_forwarded, lambda reply: self._send(peer, reply))
            return
        try:
            if message.op == "transfer":
                self.hand_over(message.member.id or None)
                place = NOWHERE
            else:
                place = self.change(message.op, message.member, message.actor, message.request_id)
        except (NotApplied, TooLarge) as error:
            self._send(peer, m.Forwarded(message.id, *NOWHERE, error.code, str(error)[:NAME_BYTES_MAX]))
        else:
            self._send(peer, m.Forwarded(message.id, *place))

    def answer_read(self, peer: str, message: m.ReadIndex) -> None:
        def reply(index: int | None) -> None:
            self._send(peer, m.ReadIndexReply(message.id, index))

        leading = self._leading()
        if leading is None:
            reply(None)
        else:
            leading.confirm(quorum=message.quorum, callback=reply)

    # --- to the leader -------------------------------------------------------------------------------------
    def forward(self, body: bytes, callback: OnForwarded) -> None:
        forwarding.check_size(body)
        leader = self._known_leader()
        self._send(leader, m.Forward(self.pending.forward(leader, callback), body))

    def ask_change(self, op: m.ChangeOp, member: Member, actor: Actor, request_id: str, callback: OnForwarded) -> None:
        leader = self._known_leader()
        number = self.pending.forward(leader, callback)
        self._send(leader, m.change(number, op, member, actor, request_id))

    def _reachable_leader(self) -> str | None:
        leader = self._core.leader
        return leader if leader in self.connected else None

    def _known_leader(self) -> str:
        leader = self._reachable_leader()
        if leader is None:
            raise NoLeader("no leader is known at the moment; try again")
        return leader

    def read_index(self, *, quorum: bool, callback: OnIndex) -> None:
        leading, leader = self._leading(), self._reachable_leader()
        if leading is not None:
            leading.confirm(quorum=quorum, callback=callback)
        elif leader is None:
            callback(None)
        else:
            self._send(leader, m.ReadIndex(self.pending.read(leader, callback), quorum))
