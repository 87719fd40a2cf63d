"""One replica's consensus: messages and timers in, messages and committed entries out. One thread, callbacks only.

The caller's duties: give it a log with a bootstrap entry at index 1; call `start`; hand it `receive`, `connected`,
`disconnected` from an authenticated network; apply what it is given, in order, in one transaction with the applied
index; stop the process when `on_stop` is called. It reads no clock of its own, starts no thread, opens no file.

Rule: nothing leaves that promises what is not on disk. Votes and echoes wait for the hard state, claims are never
above the durable index, the leader's appends alone may leave before its own sync.
"""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import msgspec

from raftmem import codec
from raftmem.clock import LogTime
from raftmem.errors import Corrupt, NoLeader, NotApplied, Stop, TooManyRequests
from raftmem.limits import APPEND_BYTES_MAX, APPEND_ENTRIES_MAX, APPLY_ENTRIES_MAX, APPLY_TURN_MS
from raftmem.raft import messages as m
from raftmem.raft import rules
from raftmem.raft.election import Election
from raftmem.raft.journal import Journal
from raftmem.raft.progress import Progress
from raftmem.raft.quarantine import CANDIDATE, LEADER, Core
from raftmem.raft.rounds import Rounds
from raftmem.seams import Clock, Executor, Loop, Randomness
from raftmem.storage.contracts import LogEntry, LogStore

log = logging.getLogger("raftmem.raft")
APPLY_CHUNK = 128
APPLY_RETRY_SECONDS = 0.25


class Timing(NamedTuple):
    """Seconds. The same on every replica (the handshake refuses a difference). `drift`: a share, per clock."""

    election_timeout: float = 1.0
    heartbeat: float = 0.1
    drift: float = 0.0005

    @property
    def lease(self) -> float:
        """How long a confirmed round keeps others from being elected: both clocks may be off by `drift`."""
        return self.election_timeout * (1.0 - 2.0 * self.drift)


class Network(Protocol):
    """Carries bytes to a peer, in order while a connection lasts, or loses them."""

    def send(self, peer: str, data: bytes) -> None: ...


class Consensus:
    """See the module. `apply(entries)` may raise OSError ENOSPC (tried again later); all else stops the replica."""

    def __init__(
        self,
        *,
        node_id: str,
        voters: tuple[str, ...],
        store: LogStore,
        applied: int,
        apply: Callable[[list[LogEntry]], None],
        on_stop: Callable[[Stop], None],
        timing: Timing,
        loop: Loop,
        clock: Clock,
        randomness: Randomness,
        executor: Executor,
        network: Network,
        append_bytes_max: int = APPEND_BYTES_MAX,
    ) -> None:
        self.node_id = node_id
        self.voters = voters
        self.peers = tuple(voter for voter in voters if voter != node_id)
        self.applied = applied
        self.stopped = False
        self._apply = apply
        self._on_stop = on_stop
        self._timing = timing
        self._loop = loop
        self._clock = clock
        self._network = network
        self._append_bytes_max = append_bytes_max
        self.journal = Journal(
            store, executor=executor, loop=loop, clock=clock, on_durable=self._durable, on_failed=self.fail
        )
        self._core = Core(
            node_id=node_id,
            voters=voters,
            journal=self.journal,
            applied=applied,
            no_op=self._no_op,
            asks_vote=self._ask_vote,
            grants_vote=self._grant_vote,
        )
        self._election = Election(
            self_id=node_id,
            voters=voters,
            clock=clock,
            randomness=randomness,
            timeout=timing.election_timeout,
            fresh=self._core.term == 0 and self.journal.last_index == 1,
        )
        self._log_time: LogTime | None = None
        self._rounds: Rounds | None = None
        self._progress: dict[str, Progress] = {}
        self._connected: set[str] = set()
        self._own_index = 0  # this leader's first entry
        self._verified = 0  # as a follower: agrees with the leader of `_verified_term` up to here
        self._verified_term = 0
        self._verified_commit = applied
        self._claimed = 0
        self._granted = False
        self._seen = (self._core.term, self._core.role)
        self._turn_due = False
        self._heartbeat_at = 0.0
        self._apply_paused = False
        self._own_term_waiting: list[Callable[[], None]] = []
        self._asked: dict[int, tuple[str, Callable[[m.Forwarded | m.ReadIndexReply | None], None]]] = {}
        self._next_id = 0
        self._forward_handler: Callable[[bytes], tuple[int, int]] = self.propose
        self.on_leader_change: Callable[[], None] = lambda: None
        self.counts: dict[str, int] = {"elections": 0, "step_downs": 0, "bad_messages": 0}

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
    def commit_index(self) -> int:
        return self._core.commit_index

    def match_index(self, peer: str) -> int | None:
        """As the leader knows it; None elsewhere."""
        progress = self._progress.get(peer)
        return None if progress is None else progress.match

    def contact_seconds(self, peer: str) -> float | None:
        """Since the leader last heard that follower; None elsewhere."""
        return None if self._rounds is None else self._clock.boottime() - self._rounds.echo_at[peer]

    def log_time(self) -> int | None:
        """Log time now, microseconds; only the leader can tell."""
        return self._log_time.now() if self.is_leader and self._log_time is not None else None

    # --- life --------------------------------------------------------------------------------------
    def start(self) -> None:
        self._tick()

    def stop(self) -> None:
        """No more messages, timers or writes. The journal's store is closed by its owner."""
        self.stopped = True
        self.journal.writer.stop()
        self._let_go()

    def fail(self, error: Stop) -> None:
        """Something is wrong that must not be papered over."""
        if not self.stopped:
            self.stop()
            log.critical("%s stops: %s", self.node_id, error)
            self._on_stop(error)

    def connected(self, peer: str) -> None:
        self._connected.add(peer)
        if peer in self._progress:
            self._progress[peer].reconnected()
            self._kick()

    def disconnected(self, peer: str) -> None:
        """Answers that were to come from there will not: their fate is not known."""
        self._connected.discard(peer)
        for number in [number for number, (asked, _) in self._asked.items() if asked == peer]:
            self._asked.pop(number)[1](None)

    # --- proposing -----------------------------------------------------------------------------------
    def propose(self, body: bytes, *, kind: int = codec.COMMAND) -> tuple[int, int]:
        """Append a command to the leader's log: (index, term). Committed when an entry of that term is applied there.

        Raises: NoLeader here is not the leader; TooManyRequests when its log writes make no progress.
        """
        if not self.is_leader or self._log_time is None or self.stopped:
            raise NoLeader("this replica is not the leader; ask again, or ask another replica")
        if self.journal.writer.no_room:
            raise TooManyRequests("the leader's log cannot be written at the moment; try again")
        data = codec.seal(body, kind=kind, time=self._log_time.now(), wall_ms=self._clock.wall_ms())
        index = self._core.propose(data)
        self._kick()
        return index, self._core.term

    def on_forward(self, handler: Callable[[bytes], tuple[int, int]]) -> None:
        """What is asked of a forwarded body before it is proposed: its checks raise NotApplied errors."""
        self._forward_handler = handler

    def forward(self, body: bytes, callback: Callable[[m.Forwarded | None], None]) -> None:
        """Ask the leader to propose. Called back with its answer, or None when its fate is not known.

        Raises: NoLeader when it certainly was not sent.
        """
        leader = self._core.leader
        if leader is None or leader == self.node_id or leader not in self._connected:
            raise NoLeader("no leader is known at the moment; try again")

        def answered(reply: m.Forwarded | m.ReadIndexReply | None) -> None:
            callback(reply if isinstance(reply, m.Forwarded) else None)

        self._send(leader, m.Forward(self._remember(leader, answered), body))

    # --- reading --------------------------------------------------------------------------------------
    def lease_index(self) -> int | None:
        """The commit index, if this leader's lease covers this very call (obligation lease)."""
        rounds = self._rounds
        if rounds is None or self._core.commit_index < self._own_index or not rounds.holds_lease():
            return None
        return self._core.commit_index

    def read_index(self, *, quorum: bool, callback: Callable[[int | None], None]) -> None:
        """From which index may a read that has arrived be answered? Asked of the leader; None: not confirmed.

        With `quorum`, confirmed by a round begun after this call (obligation read-index); else the lease will do.
        """
        if self.is_leader:
            self._confirm(quorum, callback)
            return
        leader = self._core.leader
        if leader is None or leader not in self._connected:
            callback(None)
            return

        def answered(reply: m.Forwarded | m.ReadIndexReply | None) -> None:
            callback(reply.index if isinstance(reply, m.ReadIndexReply) else None)

        self._send(leader, m.ReadIndex(self._remember(leader, answered), quorum))

    def _confirm(self, quorum: bool, callback: Callable[[int | None], None]) -> None:
        rounds = self._rounds
        if rounds is None:
            callback(None)
            return
        index = self._core.commit_index
        if index < self._own_index:
            self._own_term_waiting.append(lambda: self._confirm(quorum, callback))
        elif not quorum and rounds.holds_lease():
            callback(index)
        else:
            rounds.when_confirmed(lambda sure: callback(index if sure else None))
            self._kick()

    def _remember(self, peer: str, callback: Callable[[m.Forwarded | m.ReadIndexReply | None], None]) -> int:
        self._next_id += 1
        self._asked[self._next_id] = (peer, callback)
        return self._next_id

    # --- the turn ---------------------------------------------------------------------------------------
    def _kick(self) -> None:
        if not self._turn_due and not self.stopped:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        if self.stopped:
            return
        with self._stopping():
            if self.is_leader:
                self._core.advance()
            else:
                self._core.raise_commit(self._verified_commit)
                self._claim(owed=False)
            self._observe()
            if self._rounds is not None:
                self._replicate(heartbeat=False)
            self._apply_committed()

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Whatever goes wrong inside ends this replica: a half-done step must not be built on (apply-once)."""
        try:
            yield
        except Stop as error:
            self.fail(error)
        except Exception as error:
            log.exception("%s: a step of consensus raised", self.node_id)
            self.fail(Stop(f"a step of consensus raised {error!r}; this is a defect, the log on disk is as it was"))

    def _durable(self) -> None:
        self._kick()

    def _apply_committed(self) -> None:
        """Apply what is committed and durable, at most a turn's worth (obligation durable-commit)."""
        if self._apply_paused:
            return
        began = self._clock.boottime()
        budget = APPLY_ENTRIES_MAX
        stop = self._core.commit_index + 1
        while self.applied + 1 < stop and budget > 0:
            entries = self.journal.read(self.applied + 1, stop, APPEND_BYTES_MAX, min(budget, APPLY_CHUNK))
            if not self._apply_some(entries):
                return
            budget -= len(entries)
            if (self._clock.boottime() - began) * 1000 > APPLY_TURN_MS:
                break
        self.journal.forget(self.applied)
        if self.applied + 1 < stop:
            self._kick()

    def _apply_some(self, entries: list[LogEntry]) -> bool:
        try:
            self._apply(entries)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._apply_paused = True
            self._loop.call_later(APPLY_RETRY_SECONDS, self._resume_apply)
            return False
        self.applied = entries[-1].index
        self._core.set_applied(self.applied)
        return True

    def _resume_apply(self) -> None:
        self._apply_paused = False
        self._kick()

    # --- timers -------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        if self.stopped:
            return
        self._loop.call_later(self._timing.heartbeat / 2, self._tick)
        with self._stopping():
            if self._rounds is not None:
                self._lead()
            elif self._election.is_due():
                self._ask_around()
        self._kick()

    def _lead(self) -> None:
        """Obligation check-quorum: a leader that is not heard, or whose disk hangs, makes way."""
        rounds = self._rounds
        assert rounds is not None
        writer = self.journal.writer
        patience = self._election.timeout
        if rounds.silent_seconds() > patience and len(self.voters) > 1:
            self._step_down(f"no echo of a majority for {rounds.silent_seconds():.2f} s")
        elif (writer.pending_seconds() > 2 * patience or writer.no_room) and len(self.voters) > 1:
            self._step_down("its log cannot be written")
        elif self._clock.boottime() - self._heartbeat_at >= 0.9 * self._timing.heartbeat:
            self._replicate(heartbeat=True)

    def _step_down(self, why: str) -> None:
        log.warning("%s steps down in term %d: %s", self.node_id, self.term, why)
        self.counts["step_downs"] += 1
        self._core.follow_nobody()
        self._election.wait_again()
        self._observe()

    def _can_write(self) -> bool:
        writer = self.journal.writer
        return not writer.no_room and writer.pending_seconds() <= 2 * self._election.timeout

    def _ask_around(self) -> None:
        """Nobody leads, as far as this replica hears: would the others vote for it? (obligation pre-vote)"""
        if not self._can_write():
            self._election.wait_again()
            return
        self._core.follow_nobody()
        self._observe()
        term = self._core.term + 1
        if self._election.ask(term):
            self._stand(term)
            return
        question = m.PreVote(term, self.journal.last_index, self.journal.last.term)
        for peer in self.peers:
            self._send(peer, question)

    def _stand(self, term: int) -> None:
        """A majority would vote: checked once more, then candidacy (obligations pre-vote, stickiness)."""
        sticky = self._election.is_sticky(is_leader=self.is_leader)
        if term != self._core.term + 1 or sticky or self.leader is not None or not self._can_write():
            return
        self.counts["elections"] += 1
        self._election.stand()
        self._core.stand()
        self._observe()

    def _observe(self) -> None:
        """Compare with what was seen last: did this replica begin or cease to lead?"""
        now = (self._core.term, self._core.role)
        if now == self._seen:
            return
        was_leader = self._rounds is not None
        self._seen = now
        if was_leader:
            self._let_go()
        if now[1] == LEADER:
            self._take_over()
        if was_leader or now[1] == LEADER:
            self.on_leader_change()

    def _take_over(self) -> None:
        log.info("%s leads term %d from index %d", self.node_id, self.term, self.journal.last_index)
        self._own_index = self.journal.last_index
        self._rounds = Rounds(
            term=self.term,
            self_id=self.node_id,
            voters=self.voters,
            clock=self._clock,
            lease_seconds=self._timing.lease,
        )
        self._progress = {peer: Progress(last_index=self._own_index - 1) for peer in self.peers}
        self._replicate(heartbeat=True)
        self._kick()

    def _let_go(self) -> None:
        rounds, self._rounds = self._rounds, None
        self._progress = {}
        self._own_index = 0
        waiting, self._own_term_waiting = self._own_term_waiting, []
        if rounds is not None:
            rounds.end()
        for again in waiting:
            again()

    # --- what the library asks of us ------------------------------------------------------------------------
    def _no_op(self, _term: int) -> bytes:
        """A new leader's first entry; log time is anchored here, once a term."""
        self._log_time = LogTime(self._clock, last_time=self.journal.last_time, last_stored=self.journal.last_stored)
        return codec.no_op(time=self._log_time.now(), wall_ms=self._clock.wall_ms())

    def _ask_vote(self, peer: str, last_index: int, last_term: int) -> None:
        term = self._core.term

        def send() -> None:
            if self._core.term == term and self._core.role == CANDIDATE:
                self._send(peer, m.Vote(term, last_index, last_term))

        self.journal.writer.when_durable(self.journal.hard_number, send)

    def _grant_vote(self, _candidate: str) -> None:
        self._granted = True

    # --- sending --------------------------------------------------------------------------------------------
    def _send(self, peer: str, message: m.Message) -> None:
        if not self.stopped:
            self._network.send(peer, m.encode(message))

    def _send_promise(self, peer: str, message: m.Message) -> None:
        """Once the hard state is on disk, and only if the term has not moved by then."""
        term = self._core.term

        def send() -> None:
            if self._core.term == term:
                self._send(peer, message)

        self.journal.writer.when_durable(self.journal.hard_number, send)

    def _replicate(self, *, heartbeat: bool) -> None:
        """Send each follower what it lacks; with a round if a heartbeat is due or a reader waits for one."""
        rounds = self._rounds
        assert rounds is not None
        number = 0
        if heartbeat or rounds.awaited:
            number = rounds.begin()
            self._heartbeat_at = self._clock.boottime()
        commit = self._core.commit_index
        last = self.journal.last_index
        encoded: dict[tuple[int, bool], tuple[bytes, int]] = {}
        for peer, progress in self._progress.items():
            if peer not in self._connected:
                continue
            if number:
                progress.retry()
            owed = bool(number) or progress.commit_sent < commit
            while owed or (progress.following <= last and progress.may_send_entries()):
                with_entries = progress.following <= last and progress.may_send_entries()
                key = (progress.following, with_entries)
                if key not in encoded:
                    encoded[key] = self._append_bytes(progress.following, last if with_entries else 0, commit, number)
                data, sent_to = encoded[key]
                self._network.send(peer, data)
                progress.sent(sent_to, entries=with_entries)
                progress.commit_sent = commit
                owed = False

    def _append_bytes(self, following: int, last: int, commit: int, number: int) -> tuple[bytes, int]:
        """An encoded append from `following` on, as much as fits, and the last index in it."""
        prev = following - 1
        prev_term = self.journal.term_at(prev)
        if prev_term is None:
            raise Corrupt("log", "the entry before the next one to send is missing", index=prev)
        entries = self.journal.read(following, last + 1, self._append_bytes_max, APPEND_ENTRIES_MAX) if last else []
        wire = tuple((entry.term, entry.data) for entry in entries)
        message = m.Append(self._core.term, number, prev, prev_term, commit, wire)
        return m.encode(message), entries[-1].index if entries else prev

    # --- receiving --------------------------------------------------------------------------------------------
    def receive(self, peer: str, data: bytes) -> bool:
        """One message of an authenticated voter. False: it was not one of ours; close that connection."""
        if self.stopped:
            return True
        try:
            message = m.decode(data)
        except msgspec.DecodeError as error:
            self.counts["bad_messages"] += 1
            log.warning("%s: a message from %s does not decode: %s", self.node_id, peer, error)
            return False
        if peer not in self.peers:
            return False
        with self._stopping():
            self._handle(peer, message)
            self._observe()
        self._kick()
        return True

    def _handle(self, peer: str, message: m.Message) -> None:
        match message:
            case m.Append():
                self._on_append(peer, message)
            case m.Echo() | m.Accept() | m.Reject() | m.Refuse():
                if self._learn(message.term) and self._rounds is not None and message.term == self._core.term:
                    self._on_answer(peer, message, self._rounds)
            case m.PreVote():
                self._on_pre_vote(peer, message)
            case m.PreVoteReply():
                if self._learn(message.term) and message.granted and self._election.would_vote(peer, message.asked):
                    self._stand(message.asked)
            case m.Vote():
                self._on_vote(peer, message)
            case m.VoteReply():
                if self._learn(message.term) and message.granted and message.term == self._core.term:
                    self._on_granted(peer, message.term)
            case m.Forward():
                self._on_forward(peer, message)
            case m.ReadIndex():
                self._on_read_index(peer, message)
            case m.Forwarded() | m.ReadIndexReply():
                asked = self._asked.pop(message.id, None)
                if asked is not None and asked[0] == peer:
                    asked[1](message)

    def _learn(self, term: int) -> bool:
        """Obligation learn-terms: a higher term is adopted, whoever shows it. False if that happened."""
        if term <= self._core.term:
            return True
        self._core.adopt(term)
        self._observe()
        return False

    def _on_append(self, leader: str, message: m.Append) -> None:
        core = self._core
        if message.term < core.term:
            self._send_promise(leader, m.Refuse(core.term))
            return
        if self.is_leader and message.term == core.term:
            raise Corrupt("raft", f"two leaders in term {core.term}: {self.node_id} and {leader}")
        verdict = rules.judge_append(self.journal, message, floor=max(core.commit_index, self.applied))
        if isinstance(verdict, m.Reject):
            core.deliver_append(leader, term=message.term, kept=0, entries=[], commit=0)
        else:
            core.deliver_append(
                leader, term=message.term, kept=verdict.kept, entries=verdict.entries, commit=verdict.commit
            )
            self._verify(message.term, verdict.verified, verdict.commit)
        self._election.heard_leader()
        self._observe()
        if message.round:
            self._send_promise(leader, m.Echo(message.term, message.round))
        if isinstance(verdict, m.Reject):
            self._send_promise(leader, verdict)
        else:
            self._claim(owed=bool(message.round))

    def _verify(self, term: int, verified: int, commit: int) -> None:
        if term != self._verified_term:
            self._verified_term, self._verified, self._claimed = term, 0, 0
        self._verified = max(self._verified, verified)
        self._verified_commit = max(self._verified_commit, commit)

    def _claim(self, *, owed: bool) -> None:
        """Say how far this log is verified and on disk, if that is news or an answer is owed (termed-answers)."""
        leader = self._core.leader
        if leader is None or leader == self.node_id or self._verified_term != self._core.term:
            return
        match = min(self._verified, self.journal.durable_index)
        if match > self._claimed or (owed and match > 0):
            self._claimed = match
            self._send_promise(leader, m.Accept(self._core.term, match))

    def _on_answer(self, peer: str, message: m.Echo | m.Accept | m.Reject | m.Refuse, rounds: Rounds) -> None:
        progress = self._progress[peer]
        match message:
            case m.Echo():
                rounds.echo(peer, message.round)
            case m.Accept():
                if message.match > self.journal.last_index:
                    raise Corrupt(
                        "raft", f"{peer} claims index {message.match}, the leader has {self.journal.last_index}"
                    )
                progress.accepted(message.match)
                self._core.deliver_match(peer, message.match)
            case m.Reject():
                progress.rejected(self.journal, message)
            case m.Refuse():
                pass  # an equal term refuses nothing

    def _on_pre_vote(self, peer: str, message: m.PreVote) -> None:
        granted = (
            message.term > self._core.term
            and not self._election.is_sticky(is_leader=self.is_leader)
            and rules.is_up_to_date(self.journal, message)
        )
        self._send_promise(peer, m.PreVoteReply(self._core.term, message.term, granted))

    def _on_vote(self, peer: str, message: m.Vote) -> None:
        if self._election.is_sticky(is_leader=self.is_leader):
            self._send_promise(peer, m.VoteReply(self._core.term, False))
            return
        self._granted = False
        self._core.deliver_vote_request(
            peer, term=message.term, last_index=message.last_index, last_term=message.last_term
        )
        self._observe()
        if self._granted:
            self._election.wait_again()
        self._send_promise(peer, m.VoteReply(self._core.term, self._granted))

    def _on_granted(self, peer: str, term: int) -> None:
        if self._core.role == CANDIDATE and self._election.first_vote_of(peer):
            self._core.deliver_vote(peer, term=term)

    def _on_forward(self, peer: str, message: m.Forward) -> None:
        try:
            codec.check_body(message.body)
            index, term = self._forward_handler(message.body)
            reply = m.Forwarded(message.id, index, term)
        except Corrupt as error:
            reply = m.Forwarded(message.id, 0, 0, "invalid-request", str(error))
        except NotApplied as error:
            reply = m.Forwarded(message.id, 0, 0, error.code, str(error))
        self._send(peer, reply)

    def _on_read_index(self, peer: str, message: m.ReadIndex) -> None:
        if self._rounds is None:
            self._send(peer, m.ReadIndexReply(message.id, None))
            return
        self._confirm(message.quorum, lambda index: self._send(peer, m.ReadIndexReply(message.id, index)))
