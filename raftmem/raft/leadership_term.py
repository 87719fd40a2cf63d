"""The terms of this replica as a leader: it takes over when it has won, and steps down when a majority is silent.

Obligation check-quorum: a leader without echoes from a majority within an election timeout, or whose log cannot be
written, steps down.
"""

import logging
from collections.abc import Callable

from raftmem.raft.election.timer import ElectionTimer
from raftmem.raft.election.votes import Votes
from raftmem.raft.interfaces import Timing
from raftmem.raft.leader.leadership import Leadership
from raftmem.raft.learner_promotion import LearnerPromotion
from raftmem.raft.log.journal import Journal
from raftmem.raft.pysyncobj_core import LEADER, Core
from raftmem.runtime.interfaces import Clock

log = logging.getLogger("raftmem.raft")


class LeadershipTerm:
    """`leading`: None while another leads, or nobody. `step_downs`: how often it made way by itself."""

    def __init__(
        self,
        *,
        node_id: str,
        core: Core,
        journal: Journal,
        election: ElectionTimer,
        votes: Votes,
        learner_promotion: LearnerPromotion,
        clock: Clock,
        timing: Timing,
        connected: set[str],
        lead: Callable[[], Leadership],
        can_write: Callable[[], bool],
    ) -> None:
        self.leading: Leadership | None = None
        self.step_downs = 0
        self._node_id = node_id
        self._core = core
        self._journal = journal
        self._election = election
        self._votes = votes
        self._learner_promotion = learner_promotion
        self._clock = clock
        self._timing = timing
        self._connected = connected
        self._lead = lead
        self._can_write = can_write
        self._seen = (core.term, core.role)

    def tick(self) -> None:
        if self.leading is not None:
            self._keep(self.leading)
        elif self._election.is_due():
            self._votes.ask_around()
            self.observe()

    def _keep(self, leading: Leadership) -> None:
        alone = len(self._journal.members.voters) == 1
        silent = leading.rounds.silent_seconds()
        if silent > self._election.timeout and not alone:
            self._step_down(f"no echo of a majority for {silent:.2f} s")
        elif not self._can_write() and not alone:
            self._step_down("its log cannot be written")
        else:
            leading.look_at_heir()
            self._learner_promotion.look(leading)
            if self._clock.boottime() - leading.heartbeat_at >= 0.9 * self._timing.heartbeat:
                leading.replicate(self._connected, heartbeat=True)

    def _step_down(self, why: str) -> None:
        log.warning("%s steps down in term %d: %s", self._node_id, self._core.term, why)
        self.step_downs += 1
        self._core.follow_nobody()
        self._election.wait_again()
        self.observe()

    def observe(self) -> None:
        """Compare with what was seen last, and begin or end a leadership if this replica began or ceased to lead."""
        now = (self._core.term, self._core.role)
        if now == self._seen:
            return
        self._seen = now
        self.let_go()
        if now[1] == LEADER:
            log.info("%s leads term %d from index %d", self._node_id, self._core.term, self._journal.last_index)
            self.leading = self._lead()
            self.leading.replicate(self._connected, heartbeat=True)

    def let_go(self) -> None:
        leading, self.leading = self.leading, None
        if leading is not None:
            leading.end()
