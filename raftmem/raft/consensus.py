"""One replica's consensus: messages and timers in, messages and committed entries out. One thread, callbacks only.

The caller's duties: give it a log with a bootstrap entry at index 1; call `start`; hand it `receive`, `connected`,
`disconnected` from an authenticated network; apply what it is given, in order, in one transaction with the applied
index; stop the process when `on_stop` is called. It reads no clock of its own, starts no thread, opens no file.

Rule: nothing leaves that promises what is not on disk. Votes and echoes wait for the hard state, claims are never
above the durable index, the leader's appends alone may leave before its own sync.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from raftmem import codec
from raftmem.clock import LogTime
from raftmem.errors import Corrupt, NoLeader, NoSpace, Stop
from raftmem.limits import APPEND_BYTES_MAX
from raftmem.raft import forwarded
from raftmem.raft import messages as m
from raftmem.raft.appends import Appends
from raftmem.raft.applying import Applying
from raftmem.raft.asks import Asks, OnForwarded, OnIndex
from raftmem.raft.election import Election
from raftmem.raft.forwarded import OnForward
from raftmem.raft.journal import Journal
from raftmem.raft.leadership import Leadership
from raftmem.raft.promises import Promises
from raftmem.raft.quarantine import LEADER, Core
from raftmem.raft.timing import Network, Timing
from raftmem.raft.voting import Voting
from raftmem.seams import Clock, Executor, Loop, Randomness
from raftmem.storage.contracts import LogEntry, LogStore

log = logging.getLogger("raftmem.raft")


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
        self.stopped = False
        self._on_stop = on_stop
        self._timing = timing
        self._loop = loop
        self._clock = clock
        self._network = network
        self._append_bytes_max = append_bytes_max
        self.journal = Journal(
            store, executor=executor, loop=loop, clock=clock, on_durable=self._kick, on_failed=self.fail
        )
        if applied > self.journal.last_index:
            raise Corrupt("log", f"ends at {self.journal.last_index}, the state stands at {applied}", index=applied)
        self._core = Core(
            node_id=node_id,
            voters=voters,
            journal=self.journal,
            applied=applied,
            no_op=self._no_op,
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
        self._leading: Leadership | None = None
        self._asks = Asks(first=int(randomness.random() * 2**52))
        self._connected: set[str] = set()
        self._promises = Promises(journal=self.journal, current_term=lambda: self._core.term, send=self._send)
        self._appends = Appends(core=self._core, journal=self.journal, promises=self._promises, commit=applied)
        self.voting = Voting(
            core=self._core,
            journal=self.journal,
            election=self._election,
            promises=self._promises,
            peers=self.peers,
            send=self._send,
            may_stand=self._can_write,
        )
        self._applying = Applying(
            journal=self.journal, index=applied, apply=apply, loop=loop, clock=clock, again=self._kick
        )
        self._seen = (self._core.term, self._core.role)
        self._turn_due = False
        self._forward_handler: OnForward = self.propose
        self.step_downs = 0
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
        return self._applying.index

    @property
    def commit_index(self) -> int:
        return self._core.commit_index

    @property
    def leading(self) -> Leadership | None:
        """What this replica knows as a leader; None when it is none."""
        return self._leading

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
        for peer in self.peers:
            self._asks.lost(peer)

    def fail(self, error: Stop) -> None:
        """Something is wrong that must not be papered over."""
        if not self.stopped:
            self.stop()
            log.critical("%s stops: %s", self.node_id, error)
            self._on_stop(error)

    def connected(self, peer: str) -> None:
        self._connected.add(peer)
        if self._leading is not None and peer in self._leading.progress:
            self._leading.progress[peer].reconnected()
            self._kick()

    def disconnected(self, peer: str) -> None:
        """Answers that were to come from there will not: their fate is not known."""
        self._connected.discard(peer)
        self._asks.lost(peer)

    # --- proposing -----------------------------------------------------------------------------------
    def propose(self, body: bytes, *, kind: int = codec.COMMAND) -> tuple[int, int]:
        """Append a command to the leader's log: (index, term). Committed when an entry of that term is applied there.

        Raises: NoLeader here is not the leader; NoSpace when its log found no room; TooLarge for an entry that no
        follower would take (one in the log would keep every follower out for ever).
        """
        if not self.is_leader or self._log_time is None or self.stopped:
            raise NoLeader("this replica is not the leader; ask again, or ask another replica")
        if self.journal.writer.no_room:
            raise NoSpace("the leader's disk had no room for its log; free some, or try again when it has")
        forwarded.check_size(body)
        data = codec.seal(body, kind=kind, time=self._log_time.now(), wall_ms=self._clock.wall_ms())
        index = self._core.propose(data)
        self._kick()
        return index, self._core.term

    def on_forward(self, handler: OnForward) -> None:
        """What is asked of a forwarded body before it is proposed: its checks raise NotApplied errors."""
        self._forward_handler = handler

    def forward(self, body: bytes, callback: OnForwarded) -> None:
        """Ask the leader to propose. Called back with its answer, or None when its fate is not known.

        Raises: NoLeader when it certainly was not sent; TooLarge as `propose`.
        """
        forwarded.check_size(body)
        leader = self._reachable_leader()
        if leader is None:
            raise NoLeader("no leader is known at the moment; try again")
        self._send(leader, m.Forward(self._asks.forward(leader, callback), body))

    def _reachable_leader(self) -> str | None:
        leader = self._core.leader
        return leader if leader in self._connected else None

    # --- reading --------------------------------------------------------------------------------------
    def lease_index(self) -> int | None:
        """The commit index, if this leader's lease covers this very call (obligation lease)."""
        return None if self._leading is None else self._leading.lease_index()

    def read_index(self, *, quorum: bool, callback: OnIndex) -> None:
        """From which index may a read that has arrived be answered? Asked of the leader; None: not confirmed.

        With `quorum`, confirmed by a round begun after this call (obligation read-index); else the lease will do.
        """
        leader = self._reachable_leader()
        if self._leading is not None:
            self._leading.confirm(quorum=quorum, callback=callback)
        elif leader is None:
            callback(None)
        else:
            self._send(leader, m.ReadIndex(self._asks.read(leader, callback), quorum))

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
            if self._leading is not None:
                self._leading.advance()
            else:
                self._core.raise_commit(self._appends.commit)
                self._appends.claim(owed=False)
            self._observe()
            if self._leading is not None:
                self._leading.replicate(self._connected, heartbeat=False)
                self._leading.committed()
            self._applying.up_to(self._core.commit_index)
            self._core.set_applied(self.applied)

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

    # --- timers -------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        if self.stopped:
            return
        self._loop.call_later(self._timing.heartbeat / 2, self._tick)
        with self._stopping():
            if self._leading is not None:
                self._lead(self._leading)
            elif self._election.is_due():
                self.voting.ask_around()
                self._observe()
        self._kick()

    def _lead(self, leading: Leadership) -> None:
        """Obligation check-quorum: a leader that is not heard, or whose disk hangs, makes way."""
        alone = len(self.voters) == 1
        silent = leading.rounds.silent_seconds()
        if silent > self._election.timeout and not alone:
            self._step_down(f"no echo of a majority for {silent:.2f} s")
        elif not self._can_write() and not alone:
            self._step_down("its log cannot be written")
        elif self._clock.boottime() - leading.heartbeat_at >= 0.9 * self._timing.heartbeat:
            leading.replicate(self._connected, heartbeat=True)

    def _step_down(self, why: str) -> None:
        log.warning("%s steps down in term %d: %s", self.node_id, self.term, why)
        self.step_downs += 1
        self._core.follow_nobody()
        self._election.wait_again()
        self._observe()

    def _can_write(self) -> bool:
        return not self.journal.writer.is_stuck(2 * self._election.timeout)

    def _observe(self) -> None:
        """Compare with what was seen last: did this replica begin or cease to lead?"""
        now = (self._core.term, self._core.role)
        if now == self._seen:
            return
        self._seen = now
        self._let_go()
        if now[1] == LEADER:
            self._take_over()

    def _take_over(self) -> None:
        log.info("%s leads term %d from index %d", self.node_id, self.term, self.journal.last_index)
        self._leading = Leadership(
            core=self._core,
            journal=self.journal,
            node_id=self.node_id,
            voters=self.voters,
            clock=self._clock,
            lease_seconds=self._timing.lease,
            send=self._network.send,
            kick=self._kick,
            append_bytes_max=self._append_bytes_max,
        )
        self._leading.replicate(self._connected, heartbeat=True)
        self._kick()

    def _let_go(self) -> None:
        leading, self._leading = self._leading, None
        if leading is not None:
            leading.end()

    # --- what the library asks of us ------------------------------------------------------------------------
    def _no_op(self, _term: int) -> bytes:
        """A new leader's first entry; log time is anchored here, once a term."""
        self._log_time = LogTime(self._clock, last_time=self.journal.last_time, last_stored=self.journal.last_stored)
        return codec.no_op(time=self._log_time.now(), wall_ms=self._clock.wall_ms())

    # --- sending --------------------------------------------------------------------------------------------
    def _send(self, peer: str, message: m.Message) -> None:
        if not self.stopped:
            self._network.send(peer, m.encode(message))

    # --- receiving --------------------------------------------------------------------------------------------
    def receive(self, peer: str, data: bytes) -> bool:
        """One message of an authenticated voter. False: it was not one of ours; close that connection."""
        if self.stopped:
            return True
        try:
            message = m.decode(data)
        except msgspec.DecodeError as error:
            self.bad_messages += 1
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
                if self._appends.take(peer, message, applied=self.applied):
                    self._election.heard_leader()
            case m.Refuse():
                self._learn(message.term)
            case m.Echo() | m.Accept() | m.Reject():
                if self._learn(message.term) and self._leading is not None and message.term == self._leading.term:
                    self._leading.answered(peer, message)
            case m.PreVote():
                self.voting.pre_vote(peer, message)
            case m.PreVoteReply():
                if self._learn(message.term):
                    self.voting.would_vote(peer, message)
            case m.Vote():
                self.voting.vote(peer, message)
            case m.VoteReply():
                if self._learn(message.term):
                    self.voting.voted(peer, message)
            case m.Forward():
                self._send(peer, forwarded.answer(message, self._forward_handler))
            case m.ReadIndex():
                self._on_read_index(peer, message)
            case m.Forwarded() | m.ReadIndexReply():
                self._asks.answered(peer, message)

    def _learn(self, term: int) -> bool:
        """Obligation learn-terms: a higher term is adopted, whoever shows it. False if that happened."""
        if term <= self._core.term:
            return True
        self._core.adopt(term)
        self._observe()
        return False

    def _on_read_index(self, peer: str, message: m.ReadIndex) -> None:
        def reply(index: int | None) -> None:
            self._send(peer, m.ReadIndexReply(message.id, index))

        if self._leading is None:
            reply(None)
        else:
            self._leading.confirm(quorum=message.quorum, callback=reply)
