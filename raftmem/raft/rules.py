"""Obligations as pure functions over (log, message). They decide; nothing is changed here.

`LogView` is all they see of a log: the journal satisfies it, and so does a list in a test.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

from raftmem.errors import Corrupt
from raftmem.raft.messages import Append, PreVote, Reject, Vote
from raftmem.storage.log.contract import LogEntry


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

    Steps over a whole run of a term at a time when the caller then asks for that term's end.
    """
    while index >= log.first_index:
        here = log.term_at(index)
        if here is not None and here <= term:
            break
        index -= 1
    return index


def judge_append(log: LogView, message: Append, *, floor: int) -> Accepted | Reject:
    """Judge an append of the current term against this log (truncate-on-conflict, verified-commit, termed-answers).

    `floor` is max(commit, applied): a conflict at or below it means that a promise was broken somewhere.

    Raises: Corrupt for such a conflict; this replica must stop.
    """
    prev, prev_term, entries = _above_first(log, message)
    here = log.term_at(prev)
    if here is None or here != prev_term:
        if prev <= floor:
            raise Corrupt(
                "log", f"conflicts with the leader (term {here} here, {prev_term} there, floor {floor})", index=prev
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
        raise Corrupt(
            "log",
            f"the leader of term {message.term} has another entry (term {entries[0].term}) than was committed here",
            index=entries[0].index,
        )
    return Accepted(kept, entries, verified, min(message.commit, verified))


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
        raise Corrupt(
            "log",
            f"begins with an entry of term {first_term}, the leader has one of term {entries[beyond - 1].term}",
            index=log.first_index,
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
