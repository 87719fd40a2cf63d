"""The leadership of one term, made when the term is won: it sends to all members and confirms reads.

Rules: appends may leave before the leader's own sync; a claim of a follower counts only in the term it was made in;
a read is confirmed only after an entry of this term has committed, by the lease or by a round begun after it arrived.
A leader that has told another to stand serves no read by its lease again in that term (obligation transfer).
"""

import logging
from collections.abc import Callable

from raftmem.errors import Corrupt, is_shortage
from raftmem.limits import APPEND_ENTRIES_MAX, SNAPSHOT_WAIT_ENTRIES_MAX
from raftmem.raft import messages as m
from raftmem.raft.interfaces import Snapshots, Timing
from raftmem.raft.leader.progress import Progress
from raftmem.raft.leader.rounds import Rounds
from raftmem.raft.leader.snapshot_sender import SnapshotSender
from raftmem.raft.log.journal import Journal
from raftmem.raft.membership import ids
from raftmem.raft.pysyncobj_core import Core
from raftmem.raft.rules import UntrustedClaim, agreed, quorum
from raftmem.runtime.interfaces import Clock

log = logging.getLogger("raftmem.raft")
OnIndex = Callable[[int | None], None]


class Leadership:
    """`own_index`: the first entry of this leader's term. `heartbeat_at`: when the last round was sent."""

    def __init__(
        self,
        *,
        core: Core,
        journal: Journal,
        snapshots: Snapshots,
        node_id: str,
        clock: Clock,
        timing: Timing,
        send: Callable[[str, bytes], None],
        kick: Callable[[], None],
        append_bytes_max: int,
    ) -> None:
        self.term = core.term
        self.own_index = journal.last_index
        voters = ids(journal.members.voters)
        self.rounds = Rounds(self_id=node_id, voters=voters, clock=clock, lease_seconds=timing.lease)
        self.progress: dict[str, Progress] = {}
        self.heartbeat_at = clock.boottime()
        self._hard_number = journal.hard_number
        self.given_up = False  # another was told to stand: the lease of this term is over
        self.heir: str | None = None  # who is being made ready to lead
        self._heir_until = 0.0
        self._heir_told = False
        self._core = core
        self._journal = journal
        self._snapshots = snapshots
        self._node_id = node_id
        self._clock = clock
        self._timing = timing
        self._send = send
        self._kick = kick
        self._append_bytes_max = append_bytes_max
        self._early: list[tuple[bool, OnIndex]] = []  # readers who wait for the first commit of this term
        self._shipping: dict[str, SnapshotSender] = {}
        self.set_members()

    # --- members ---------------------------------------------------------------------------------
    def set_members(self) -> None:
        """The membership in force has changed: it counts from now on, committed or not (Raft thesis 4.1)."""
        members = self._journal.members
        voters, learners = ids(members.voters), ids(members.learners)
        self.rounds.set_members(voters, learners)
        following = [member for member in (*voters, *learners) if member != self._node_id]
        last = self._journal.last_index
        self.progress = {peer: self.progress.get(peer) or Progress(last_index=last - 1) for peer in following}
        for gone in [peer for peer in self._shipping if peer not in self.progress]:
            self._shipping.pop(gone).over = True
        if self.heir is not None and self.heir not in voters:
            self.heir = None

    def live(self) -> set[str]:
        """The members that were heard within an election timeout, and this replica."""
        timeout = self._timing.election_timeout
        heard = {p for p in self.progress if self.rounds.has_echoed(p) and self.contact_seconds(p) < timeout}
        return heard | {self._node_id}

    def knows_the_living(self) -> bool:
        """Every member was heard in this term, or had an election timeout to be: `live` is not only too young."""
        timeout = self._timing.election_timeout
        return all(self.rounds.has_echoed(p) or self.contact_seconds(p) >= timeout for p in self.progress)

    def is_settled(self) -> bool:
        """An entry of this term and the membership in force are committed: the next change may come."""
        return self._core.commit_index >= max(self.own_index, self._journal.members_index)

    # --- readers ---------------------------------------------------------------------------------
    def lease_index(self) -> int | None:
        """The commit index, if the lease covers this very call."""
        if self.given_up or not self.rounds.holds_lease():
            return None
        committed = self._core.commit_index
        return committed if committed >= self.own_index else None

    def confirm(self, *, quorum: bool, callback: OnIndex) -> None:
        """The commit index of now, once it is sure that this is still the leader; None when it ceases to lead."""
        index = self._core.commit_index
        if index < self.own_index:
            self._early.append((quorum, callback))
        elif not quorum and self.lease_index() is not None:
            callback(index)
        else:
            self.rounds.when_confirmed(lambda sure: callback(index if sure else None))
            self._kick()

    def advance(self) -> None:
        """Commit what a majority has on disk (obligation durable-commit).

        A claim is credited no further than this leader's own disk, so that its own copy never counts before it is
        durable.
        """
        durable = self._journal.durable_index
        voters = self.rounds.voters
        matches = [min(progress.match, durable) for peer, progress in self.progress.items() if peer in voters]
        self._core.advance(agreed([*matches, durable], quorum(voters)))

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
        for shipping in self._shipping.values():
            shipping.over = True
        self.rounds.end()

    def contact_seconds(self, peer: str) -> float:
        """Since an echo of that follower was heard (since leading began, before the first)."""
        return self._clock.boottime() - self.rounds.echo_at[peer]

    # --- giving way ------------------------------------------------------------------------------
    def hand_over(self, heir: str) -> None:
        """Take no more proposals until that voter has everything and stands, or an election timeout has passed."""
        self.heir, self._heir_told = heir, False
        self._heir_until = self._clock.boottime() + self._timing.election_timeout
        self._tell_heir()
        self._kick()

    def look_at_heir(self) -> None:
        """A transfer that did not come about is over: proposals go on, the lease does not."""
        if self.heir is not None and self._clock.boottime() > self._heir_until:
            log.warning("the transfer to %s did not come about in time", self.heir)
            self.heir = None

    def _tell_heir(self) -> None:
        if self.heir is None or self._heir_told:
            return
        if self.progress[self.heir].match == self._journal.last_index:
            self.given_up = self._heir_told = True
            self._send(self.heir, m.encode(m.TimeoutNow(self.term)))

    # --- followers ---------------------------------------------------------------------------------
    def reconnected(self, peer: str) -> None:
        if peer in self.progress:
            self.progress[peer].reconnected()
        if peer in self._shipping:
            self._shipping[peer].reconnected()

    def answered(self, peer: str, message: m.Echo | m.Accept | m.Reject | m.ChunkReply) -> None:
        """An answer made in this term. Raises: UntrustedClaim for a claim that no honest follower makes."""
        progress = self.progress.get(peer)
        if progress is None:
            return  # it is no member any more, or not yet
        match message:
            case m.Echo():
                self.rounds.echo(peer, message.round)
                progress.applied = message.applied
            case m.Accept():
                last = self._journal.last_index
                if message.match > last:
                    raise UntrustedClaim(f"{peer} claims index {message.match}, the leader's log ends at {last}")
                progress.accepted(message.match)
                if peer == self.heir:
                    self._tell_heir()
            case m.Reject():
                if message.hint_index < progress.match:
                    log.error(
                        "%s has lost what it claimed: its log ends near %d, it had %d on disk; replace it",
                        peer,
                        message.hint_index,
                        progress.match,
                    )
                progress.rejected(self._journal, message)
            case m.ChunkReply():
                if peer in self._shipping:
                    self._shipping[peer].answered(message)

    def replicate(self, connected: set[str], *, heartbeat: bool) -> None:
        """Send each follower what it lacks; with a round if a heartbeat is due or a reader waits for one.

        Entries leave when their own write begins here, not before it ends: one group for all the disks, and while it
        is being synced the next one gathers. A commit index does not leave alone when such a group will take it along
        as soon as the disk is free.
        """
        if self._journal.writer.durable < self._hard_number:
            return  # a lone voter leads before its own vote is on disk; nobody may hear of this term yet
        number = 0
        if heartbeat or self.rounds.awaited:
            number = self.rounds.begin()
            self.heartbeat_at = self._clock.boottime()
        commit = self._core.commit_index
        gathers = self._journal.last_index > self._journal.started_index
        encoded: dict[tuple[int, bool], tuple[bytes, int]] = {}  # two followers often lack the same
        for peer, progress in self.progress.items():
            if peer not in connected:
                continue
            if progress.lacks(self._journal):
                self._ship(peer, number)
                continue
            if number:
                progress.retry()
            soon = gathers and progress.may_send_entries()
            owed = number > 0 or (progress.commit_sent < commit and not soon)
            while self._has_entries_for(progress) or owed:
                key = (progress.following, self._has_entries_for(progress))
                if key not in encoded:
                    try:
                        encoded[key] = self._append(*key, commit, number)
                    except OSError as error:
                        if not is_shortage(error):
                            raise
                        break  # no descriptor to read the log with: the next turn tries again
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
        sent = tuple((entry.term, entry.data) for entry in batch)
        return m.encode(m.Append(self.term, number, prev, prev_term, commit, sent)), prev + len(batch)

    # --- snapshots ---------------------------------------------------------------------------------
    def _ship(self, peer: str, number: int) -> None:
        """Send a snapshot, then the log from there: the log has lost what this member lacks."""
        shipping = self._shipping.get(peer)
        if shipping is None or shipping.over:
            meta = self._snapshots.newest()
            if meta is None:
                log.error("%s needs a snapshot and there is none; it has to wait for the next", peer)
                return
            shipping = self._shipping[peer] = SnapshotSender(
                snapshots=self._snapshots,
                meta=meta,
                term=self.term,
                clock=self._clock,
                patience=self._timing.election_timeout,
                send=lambda message: self._send(peer, m.encode(message)),
            )
            log.info("sends %s a snapshot of index %d, %d bytes", peer, meta.index, meta.size)
            number = number or self.rounds.current
        if number:
            shipping.offer(number)

    def may_compact(self, index: int) -> int:
        """The index, at most `index`, up to which the log may be compacted: it must go on from each snapshot under
        way.
        """
        for peer, shipping in list(self._shipping.items()):
            if shipping.over or self.progress[peer].match >= shipping.meta.index:
                shipping.over = True
                del self._shipping[peer]
            elif self._journal.last_index - shipping.meta.index <= SNAPSHOT_WAIT_ENTRIES_MAX:
                index = min(index, shipping.meta.index)
        return index
