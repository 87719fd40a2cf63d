"""Obligations as pure functions over (log, message). They decide; nothing is changed here.

A message is a peer's word, never an assertion: what cannot be is refused with `UntrustedClaim` (untrusted-messages).

`LogView` is all they see of a log: the journal satisfies it, and so does a list in a test.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

from raftmem.errors import Corrupt
from raftmem.model import codec
from raftmem.raft.messages import Append, PreVote, Reject, Vote
from raftmem.storage.log.contract import LogEntry


class UntrustedClaim(Exception):
    """A message claims what cannot be. Nothing was changed by it: it is counted, and its connection is closed."""


class LogView(Protocol):
    @property
    def first_index(self) -> int: ...

    @property
    def last_index(self) -> int: ...

    def term_at(self, index: int) -> int | None: ...


class Accepted(NamedTuple):
    """Agree up to `kept`, cut what follows it if `entries` is not empty, then add `entries`.

    `verified`: the last index that this append proved equal to the leader's log.
    `commit`: what may be committed by its word (obligation verified-commit).
    """

    kept: int
    entries: list[LogEntry]
    verified: int
    commit: int


def quorum(voters: Collection[str]) -> int:
    """The smallest majority."""
    return len(voters) // 2 + 1


def agreed(values: Iterable[int], size: int) -> int:
    """The highest value that at least `size` of the values have reached."""
    return sorted(values, reverse=True)[size - 1]


def last_not_above(log: LogView, index: int, term: int) -> int:
    """The highest i <= index whose term is <= term (obligation bounded-backtrack), or one below the first.

    Steps over a whole run of a term at a time when the caller then asks for that term's end. Terms never fall along a
    log, so that halving finds it: a peer's word must not make this look at every entry.
    """
    low, high = log.first_index - 1, index
    while low < high:
        middle = (low + high + 1) // 2
        here = log.term_at(middle)
        if here is not None and here <= term:
            low = middle
        else:
            high = middle - 1
    return max(low, high)


def judge_append(log: LogView, message: Append, *, floor: int) -> Accepted | Reject:
    """Judge an append of the current term against this log (truncate-on-conflict, verified-commit, termed-answers).

    `floor` is max(commit, applied): a conflict at or below it means that a promise was broken somewhere, or that the
    sender lies; this log holds what was committed either way.

    Raises: UntrustedClaim for such a conflict, and for entries that no log can hold.
    """
    _check_entries(message)
    prev, prev_term, entries = _above_first(log, message)
    here = log.term_at(prev)
    if here is None or here != prev_term:
        if prev <= floor:
            raise UntrustedClaim(
                f"index {prev} conflicts with the leader (term {here} here, {prev_term} there, floor {floor})"
            )
        hint = max(log.first_index, last_not_above(log, min(prev, log.last_index), prev_term))
        return Reject(message.term, prev, hint, log.term_at(hint) or 0)
    kept = prev
    verified = prev + len(entries)
    for position, entry in enumerate(entries):
        here = log.term_at(entry.index)
        if here != entry.term:
            entries = entries[position:]
            break
        kept = entry.index
    else:
        entries = []
    if entries and kept < log.last_index and entries[0].index <= floor:
        raise UntrustedClaim(
            f"the leader of term {message.term} has another entry at index {entries[0].index} (term "
            f"{entries[0].term}) than was committed here"
        )
    return Accepted(kept, entries, verified, min(message.commit, verified))


def _check_entries(message: Append) -> None:
    """Terms rise from that of the entry before to the sender's; kinds are known; a membership can be read.

    Raises: UntrustedClaim. The log's disk and the apply loop stop a replica for less.
    """
    term = message.prev_term
    for entry_term, data in message.entries:
        if not term <= entry_term or data[0] > codec.MEMBERSHIP:
            raise UntrustedClaim(f"an entry of term {entry_term}, kind {data[0]}, after one of term {term}")
        term = entry_term
        if data[0] == codec.MEMBERSHIP:
            check_membership(data)
    if term > message.term:
        raise UntrustedClaim(f"a leader of term {message.term} with an entry of term {term}")


def check_membership(data: bytes) -> None:
    """Raises: UntrustedClaim when an entry is no membership that can be read."""
    try:
        members = codec.decode(data).members
    except Corrupt as error:
        raise UntrustedClaim(f"a membership that cannot be read: {error}") from error
    if members is None:
        raise UntrustedClaim("a membership that is another kind of entry")


def _above_first(log: LogView, message: Append) -> tuple[int, int, list[LogEntry]]:
    """(previous index, its term, entries) of an append, without what lies at or below the first index of this log.

    That was committed, so every leader has it too (Raft 5.4.3, leader completeness).
    """
    prev, entries = message.prev_index, message.log_entries()
    beyond = log.first_index - prev
    if beyond <= 0:
        return prev, message.prev_term, entries
    first_term = log.term_at(log.first_index) or 0
    if len(entries) >= beyond and entries[beyond - 1].term != first_term:
        raise UntrustedClaim(
            f"the log begins at {log.first_index} with an entry of term {first_term}, the leader has one of term "
            f"{entries[beyond - 1].term}"
        )
    return log.first_index, first_term, entries[beyond:]


def next_after_reject(log: LogView, reject: Reject, *, match: int, following: int) -> int:
    """The leader's new next index for a follower: only ever lower, never at or below what it has matched.

    Where it falls to the leader's first index or below, only a snapshot helps. A refusal that is older than what is
    known by now changes nothing.
    """
    if reject.prev_index <= match or reject.prev_index >= following:
        return following
    agreed_at = last_not_above(log, min(reject.hint_index, log.last_index), reject.hint_term)
    return max(match + 1, min(following, agreed_at + 1))


def is_up_to_date(log: LogView, question: PreVote | Vote) -> bool:
    """Raft 5.4.1: the candidate's log is at least as far as this one."""
    mine = log.term_at(log.last_index) or 0
    return (question.last_term, question.last_index) >= (mine, log.last_index)


def is_sticky(*, now: float, heard: float, started: float, is_leader: bool, timeout: float) -> bool:
    """Obligation stickiness: no vote within the minimum election timeout of hearing from a live leader,
    nor that long after a start, since it is not remembered what was promised before."""
    return is_leader or now - heard < timeout or now - started < timeout
