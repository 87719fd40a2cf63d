"""The switches: the production code without an obligation, one for each obligation that the simulator can show.

A switch names attributes of the production code and what stands in their place while it is off. Each is written as
somebody would write it who did not know of the obligation, and no worse. The code itself has no switches.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from jepsen_like.simulator import replicas
from jepsen_like.simulator.disk import MemoryDisk
from raftmem.limits import APPEND_BYTES_MAX
from raftmem.machine import lock_release, locks, tasks
from raftmem.machine.overlay import Moment, Overlay, Refusal
from raftmem.model.commands import LockExpire, TaskExpire
from raftmem.model.records import Outcome, Step
from raftmem.raft import messages as m
from raftmem.raft import rules
from raftmem.raft.dispatch import Dispatch
from raftmem.raft.election import timer
from raftmem.raft.election.votes import Votes
from raftmem.raft.follower.match_claim import MatchClaim
from raftmem.raft.follower.snapshot_receiver import SnapshotReceiver
from raftmem.raft.leader.leadership import Leadership, OnIndex
from raftmem.raft.leader.progress import Progress
from raftmem.raft.leader.rounds import Rounds
from raftmem.raft.log.apply_queue import CHUNK, ApplyQueue
from raftmem.raft.log.durable_outbox import DurableOutbox
from raftmem.raft.log.journal import Journal
from raftmem.raft.log_time import LogTime
from raftmem.raft.pending_requests import PendingRequests
from raftmem.raft.pysyncobj_core import Core
from raftmem.raft.transport import frames
from raftmem.storage.snapshots.in_memory import InMemorySnapshotStore
from raftmem.storage.state.in_memory import InMemoryStateStore

Swap = tuple[object, str, object]  # whose attribute, its name, what stands in its place
_ABSENT: Final = object()


@contextmanager
def swapped(swaps: tuple[Swap, ...]) -> Iterator[None]:
    """Each attribute is the other one inside, and itself again after."""
    with ExitStack() as undo:
        for owner, name, other in swaps:
            getattr(owner, name)  # a switch that changes nothing is a defect
            before = vars(owner).get(name, _ABSENT)
            undo.callback(_put_back, owner, name, before)
            setattr(owner, name, other)
        yield


def _put_back(owner: object, name: str, before: object) -> None:
    if before is _ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, before)


# --- durability ------------------------------------------------------------------------------------------
def _at_once(self: DurableOutbox, peer: str, message: m.Message, *, unless: Callable[[], bool] = lambda: False) -> None:
    if not unless():
        self._send(peer, message)


def _claims_what_is_queued(self: MatchClaim, *, term: int, **_: object) -> int | None:
    return self._verified if term == self._term and self._verified else None


def _commits_what_is_counted(self: Core, index: int) -> None:
    self._commit = max(self._commit, min(index, self.journal.last_index))


_truncate = Journal.truncate


def _cut_leaves_the_durable_index(self: Journal, index: int) -> None:
    durable = self.durable_index
    _truncate(self, index)
    self.durable_index = durable
    self._cuts.clear()


_open = MemoryDisk.open


def _trusts_what_was_not_synced(self: MemoryDisk, *, power_lost: bool) -> None:
    """After a stop of the machine: the head of the state reached the disk, the newest records did not."""
    before = self.state
    _open(self, power_lost=power_lost)
    if not power_lost:
        return
    self.state = InMemoryStateStore(snapshots=self._files)
    kept, reached = before._kept, before.head().index
    with self.state.write() as writer:
        for (row, step), head in zip(kept.events, kept.heads[1:], strict=False):
            writer.put(row, step if row.index < reached - 8 else Step(step.result, ()), head)
    self.snapshots = InMemorySnapshotStore(self._files, self.state)


def _skips_what_found_no_room(self: ApplyQueue, stop: int) -> None:
    entries = self._journal.read(self.index + 1, stop, APPEND_BYTES_MAX, CHUNK)
    with suppress(OSError):
        self._apply(entries)
    self.index = entries[-1].index


# --- log matching and commit -------------------------------------------------------------------------------
_judge = rules.judge_append


def _cuts_what_matches(log: rules.LogView, message: m.Append, *, floor: int) -> rules.Accepted | m.Reject:
    verdict = _judge(log, message, floor=floor)
    if isinstance(verdict, m.Reject) or not message.entries or message.prev_index < log.first_index:
        return verdict
    return rules.Accepted(message.prev_index, message.log_entries(), verdict.verified, verdict.commit)


def _commits_unverified(log: rules.LogView, message: m.Append, *, floor: int) -> rules.Accepted | m.Reject:
    verdict = _judge(log, message, floor=floor)
    if isinstance(verdict, m.Reject):
        return verdict
    return verdict._replace(commit=min(message.commit, max(verdict.verified, log.last_index)))


_handle = Dispatch.handle


def _takes_any_answer(self: Dispatch, peer: str, message: m.Message) -> None:
    leading = self._leadership_term.leading
    if leading is not None and isinstance(message, m.Accept):
        leading.answered(peer, message)
    else:
        _handle(self, peer, message)


def _follows_the_last_refusal(self: Progress, _log: rules.LogView, reject: m.Reject) -> None:
    self.match, self.following, self.probing, self._probe_out = 0, reject.prev_index, False, False
    self._in_flight.clear()


# --- elections -----------------------------------------------------------------------------------------------
def _counts_votes(self: Votes, peer: str, reply: m.VoteReply) -> None:
    if reply.granted:
        self._core.deliver_vote(peer, term=reply.term)


def _stands_unasked(self: Votes) -> None:
    self._core.follow_nobody()
    self._begin()


def _learns_nothing(self: Dispatch, _peer: str, term: int) -> bool:
    return term <= self._core.term


def _keeps_its_lease(self: Leadership) -> int | None:
    committed = self._core.commit_index
    return committed if committed >= self.own_index and self.rounds.holds_lease() else None


# --- reads and the rest ------------------------------------------------------------------------------------------
def _confirms_unasked(self: Leadership, *, quorum: bool, callback: OnIndex) -> None:  # noqa: ARG001  # the signature
    callback(self._core.commit_index)


# --- coordination ------------------------------------------------------------------------------------------------
_expire_task = tasks._expire


def _ends_the_hold(working: Overlay, moment: Moment, operation: LockExpire) -> Outcome | Refusal:
    """Its leader has seen that the time is over: what is there to look at?"""
    name, owner = operation.lock, operation.owner
    row = working.waiter(name, owner) if operation.token is None else working.hold(name, owner)
    if row is None:
        return Refusal("moved")
    seen = LockExpire(name, owner, operation.token, row.renewals, moment.term)
    return lock_release.expire(working, moment._replace(now=max(moment.now, row.expires)), seen)


def _ends_the_claim(working: Overlay, moment: Moment, operation: TaskExpire) -> Outcome | Refusal:
    task = working.task(operation.task_id)
    if task is None or task.due is None:
        return Refusal("moved")
    seen = TaskExpire(task.id, task.updated.index, task.updated.seq, moment.term)
    return _expire_task(working, moment._replace(now=max(moment.now, task.due)), seen)


def _goes_by_the_wall(self: LogTime) -> int:
    self._previous = max(self._previous, self._clock.wall_ms() * 1000)
    return self._previous


_first = PendingRequests.__init__
_objection = frames.objection


def _any_folder_will_do(
    mine: frames.Hello, theirs: frames.Hello, *, is_removed: bool, **_: object
) -> frames.Bye | None:
    return _objection(mine, theirs, is_removed=is_removed, bound_folder=None, known_birth=None)


SWITCHES: Final[dict[str, tuple[Swap, ...]]] = {
    "sync-before-promise": ((DurableOutbox, "send", _at_once), (MatchClaim, "claim", _claims_what_is_queued)),
    "durable-commit": ((Core, "_set_commit", _commits_what_is_counted),),
    "atomic-files": ((Journal, "truncate", _cut_leaves_the_durable_index),),
    "checked-files": ((MemoryDisk, "open", _trusts_what_was_not_synced),),
    "truncate-on-conflict": ((rules, "judge_append", _cuts_what_matches),),
    "verified-commit": ((rules, "judge_append", _commits_unverified),),
    "termed-answers": ((Dispatch, "handle", _takes_any_answer),),
    "vote-set": ((Votes, "voted", _counts_votes),),
    "whole-snapshots": ((SnapshotReceiver, "_needs", lambda _self, _meta: True),),
    "apply-once": ((ApplyQueue, "_apply_some", _skips_what_found_no_room),),
    "pre-vote": ((Votes, "ask_around", _stands_unasked),),
    "stickiness": ((timer, "is_sticky", lambda **_: False),),
    "learn-terms": ((Dispatch, "_learn", _learns_nothing),),
    "check-quorum": ((Rounds, "silent_seconds", lambda _self: 0.0),),
    "transfer": ((Leadership, "lease_index", _keeps_its_lease),),
    "lease": ((Rounds, "holds_lease", lambda self: self.confirmed > 0),),
    "read-index": ((Leadership, "confirm", _confirms_unasked),),
    "membership": ((Leadership, "is_settled", lambda _self: True),),
    "no-blind-retry": ((PendingRequests, "__init__", lambda self, first: _first(self, first * 0)),),
    "bounded-backtrack": ((Progress, "rejected", _follows_the_last_refusal),),
    "no-amnesia": (
        (frames, "objection", _any_folder_will_do),
        (replicas, "objection", _any_folder_will_do),
    ),
    "expiry-saw": ((locks, "expire", _ends_the_hold), (tasks, "_expire", _ends_the_claim)),
    "log-time": ((LogTime, "now", _goes_by_the_wall),),
}
