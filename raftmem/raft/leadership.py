"""One leader in one term: what it sends to whom, and what it may promise readers. Made when a term is won.

Rules: appends may leave before the leader's own sync; a claim of a follower counts only in the term it was made in;
a read is confirmed only after an entry of this term has committed, by the lease or by a round begun after it arrived.
"""

import logging
from collections.abc import Callable

from raftmem.errors import Corrupt
from raftmem.limits import APPEND_ENTRIES_MAX
from raftmem.raft import messages as m
from raftmem.raft.journal import Journal
from raftmem.raft.progress import Progress
from raftmem.raft.quarantine import Core
from raftmem.raft.rounds import Rounds
from raftmem.raft.rules import agreed, quorum
from raftmem.seams import Clock

log = logging.getLogger("raftmem.raft")
OnIndex = Callable[[int | None], None]


class Leadership:
    """`own_index`: the first entry of this leader's term. `heartbeat_at`: when the last round was sent."""

    def __init__(
        self,
        *,
        core: Core,
        journal: Journal,
        node_id: str,
        voters: tuple[str, ...],
        clock: Clock,
        lease_seconds: float,
        send: Callable[[str, bytes], None],
        kick: Callable[[], None],
        append_bytes_max: int,
    ) -> None:
        self.term = core.term
        self.own_index = journal.last_index
        self.rounds = Rounds(self_id=node_id, voters=voters, clock=clock, lease_seconds=lease_seconds)
        self.progress = {voter: Progress(last_index=self.own_index - 1) for voter in voters if voter != node_id}
        self.heartbeat_at = clock.boottime()
        self._core = core
        self._journal = journal
        self._clock = clock
        self._send = send
        self._kick = kick
        self._append_bytes_max = append_bytes_max
        self._early: list[tuple[bool, OnIndex]] = []  # readers who wait for the first commit of this term

    # --- readers ---------------------------------------------------------------------------------
    def lease_index(self) -> int | None:
        """The commit index, if the lease covers this very call."""
        committed = self._core.commit_index
        return committed if committed >= self.own_index and self.rounds.holds_lease() else None

    def confirm(self, *, quorum: bool, callback: OnIndex) -> None:
        """The commit index of now, once it is sure that this is still the leader; None when it ceases to lead."""
        index = self._core.commit_index
        if index < self.own_index:
            self._early.append((quorum, callback))
        elif not quorum and self.rounds.holds_lease():
            callback(index)
        else:
            self.rounds.when_confirmed(lambda sure: callback(index if sure else None))
            self._kick()

    def advance(self) -> None:
        """Let the library commit what a majority has on disk (obligation durable-commit).

        A claim is credited no further than this leader's own disk, so that its own copy never counts before it is
        durable. The library is only asked when the answer can be news: it looks at every entry in between.
        """
        durable = self._journal.durable_index
        matches = [min(progress.match, durable) for progress in self.progress.values()]
        if agreed([*matches, durable], quorum(self.rounds.voters)) > self._core.commit_index:
            for peer, match in zip(self.progress, matches, strict=True):
                self._core.deliver_match(peer, match)
            self._core.advance()

    def committed(self) -> None:
        """The commit index may have moved: those who came before the first commit of this term go on."""
        if self._early and self._core.commit_index >= self.own_index:
            early, self._early = self._early, []
            for quorum, callback in early:
                self.confirm(quorum=quorum, callback=callback)

    def end(self) -> None:
        """This replica leads no more."""
        early, self._early = self._early, []
        for _, callback in early:
            callback(None)
        self.rounds.end()

    def contact_seconds(self, peer: str) -> float:
        """Since an echo of that follower was heard (since leading began, before the first)."""
        return self._clock.boottime() - self.rounds.echo_at[peer]

    # --- followers ---------------------------------------------------------------------------------
    def answered(self, peer: str, message: m.Echo | m.Accept | m.Reject) -> None:
        """An answer made in this term. Raises: Corrupt for a claim that no honest follower makes."""
        progress = self.progress[peer]
        match message:
            case m.Echo():
                self.rounds.echo(peer, message.round)
                progress.applied = message.applied
            case m.Accept():
                last = self._journal.last_index
                if message.match > last:
                    raise Corrupt("raft", f"{peer} claims index {message.match}, the leader's log ends at {last}")
                progress.accepted(message.match)
            case m.Reject():
                if message.hint_index < progress.match:
                    log.error(
                        "%s has lost what it claimed: its log ends near %d, it had %d on disk; replace it",
                        peer,
                        message.hint_index,
                        progress.match,
                    )
                progress.rejected(self._journal, message)

    def replicate(self, connected: set[str], *, heartbeat: bool) -> None:
        """Send each follower what it lacks; with a round if a heartbeat is due or a reader waits for one.

        Entries leave when their own write begins here, not before it ends: one group for all the disks, and while it
        is being synced the next one gathers.
        """
        number = 0
        if heartbeat or self.rounds.awaited:
            number = self.rounds.begin()
            self.heartbeat_at = self._clock.boottime()
        commit = self._core.commit_index
        encoded: dict[tuple[int, bool], tuple[bytes, int]] = {}  # two followers often lack the same
        for peer, progress in self.progress.items():
            if peer not in connected:
                continue
            if number:
                progress.retry()
            owed = number > 0 or progress.commit_sent < commit
            while self._has_entries_for(progress) or owed:
                key = (progress.following, self._has_entries_for(progress))
                if key not in encoded:
                    encoded[key] = self._append(*key, commit, number)
                data, last = encoded[key]
                self._send(peer, data)
                progress.sent(last, entries=key[1])
                progress.commit_sent = commit
                owed = False

    def _has_entries_for(self, progress: Progress) -> bool:
        return progress.following <= self._journal.started_index and progress.may_send_entries()

    def _append(self, following: int, entries: bool, commit: int, number: int) -> tuple[bytes, int]:
        """An encoded append with what fits from `following` on, or without entries; and its last index."""
        prev = following - 1
        prev_term = self._journal.term_at(prev)
        if prev_term is None:
            raise Corrupt("log", "the entry before the next one to send is missing", index=prev)
        stop = self._journal.started_index + 1 if entries else following
        batch = self._journal.read(following, stop, self._append_bytes_max, APPEND_ENTRIES_MAX)
        wire = tuple((entry.term, entry.data) for entry in batch)
        return m.encode(m.Append(self.term, number, prev, prev_term, commit, wire)), prev + len(batch)
