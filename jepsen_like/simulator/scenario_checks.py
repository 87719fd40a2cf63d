"""`check ...` raises a violation when what a script claims does not hold, whatever text the script expects.

check agreement [n1 ...]              these (all that are up) hold one log, all of it applied, in one state
check committed 5/2 ...               applied somewhere, and on the disks of a majority of the voters still
check not committed 5/2 ...           applied nowhere
check log n1 = terms 1 1 4            the entries on its disk that are above index 1
check leader n1 [3]                   in that term; `check leader none`: nobody leads
check term n1 3                       check commit n1 5               check applied n1 5
check voters n1 ...                   as every replica that is up sees it, committed
check once x / check never x          how often the write was applied, at every replica that is up
check told x applied|not applied|refused|unknown
check read n1 5|none                  the newest answer to a read there
check held L A / check free L         by whom, at every replica that has applied the newest index
check stopped n1 [WORD ...]           it stopped by itself, and says why
check waits n1->n2 COUNT              messages on that way
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from jepsen_like.simulator.stage import Stage
from jepsen_like.simulator.stage_replica import StageReplica
from raftmem.limits import PERMITS_MAX
from raftmem.model.coordination_rows import Hold, holders
from raftmem.raft.consensus import Consensus
from raftmem.raft.log.journal import members_of
from raftmem.raft.membership import ids
from raftmem.raft.rules import quorum

Check = Callable[[Stage, Sequence[str]], str]


def check(stage: Stage, words: Sequence[str]) -> str:
    """Run one check and say what holds. Raises: Violation when it does not; KeyError, ValueError for no check."""
    said = _CHECKS[words[0]](stage, words[1:])
    stage.oracle.nobody_stopped()
    return said


def _up(stage: Stage) -> list[StageReplica]:
    return [replica for replica in stage.replicas.values() if replica.up]


def _consensus(stage: Stage, name: str) -> Consensus:
    consensus = stage.replicas[name].consensus
    if consensus is None:
        raise stage.oracle.fail(f"{name} is not running: {stage.replicas[name].stopped_by or 'it was crashed'}")
    return consensus


def _places(words: Sequence[str]) -> list[tuple[int, int]]:
    return [(int(index), int(term)) for index, term in (word.split("/") for word in words)]


def _agreement(stage: Stage, words: Sequence[str]) -> str:
    names = words or [replica.name for replica in _up(stage)]
    stage.oracle.must(len(names) > 0, lambda: "no replica is running")
    return stage.oracle.agreement(names)


def _committed(stage: Stage, words: Sequence[str]) -> str:
    for index, term in _places(words):
        known = stage.oracle.truth.get(index)
        if known is None or known[0].term != term:
            raise stage.oracle.fail(f"{index}/{term} was not committed")
        voters = _voters(stage)
        copies = [name for name in voters if _still_has(stage.replicas[name], index, term)]
        if len(copies) < quorum(voters):
            raise stage.oracle.fail(f"{index}/{term} was committed, and only {copies} of {voters} still have it")
    return f"committed: {' '.join(words)}"


def _still_has(replica: StageReplica, index: int, term: int) -> bool:
    """In its log, or in its state once the log was compacted."""
    if index < replica.log.first_index():
        event = replica.state.read().event(index)
        return event is not None and event.term == term
    return [entry.term for entry in replica.log.read(index, index + 1)] == [term]


def _voters(stage: Stage) -> tuple[str, ...]:
    """Of the newest membership that is committed anywhere."""
    newest = max((_consensus(stage, one.name) for one in _up(stage)), key=lambda one: one.commit_index)
    members = newest.journal.membership_at(max(newest.commit_index, newest.journal.first_index))
    return ids(members_of(members).voters)


def _not(stage: Stage, words: Sequence[str]) -> str:
    if words[0] != "committed":
        raise ValueError("`check not committed 5/2` is meant")
    for index, term in _places(words[1:]):
        known = stage.oracle.truth.get(index)
        stage.oracle.must(known is None or known[0].term != term, lambda: f"{words[1:]} was committed")
    return f"not committed: {' '.join(words[1:])}"


def _log(stage: Stage, words: Sequence[str]) -> str:
    log = stage.replicas[words[0]].log
    terms = [entry.term for entry in log.read(2, log.last_index() + 1)]
    wanted = [int(word) for word in words[3:]]
    stage.oracle.must(terms == wanted, lambda: f"the log of {words[0]} has the terms {terms}, not {wanted}")
    return f"{words[0]} has the terms {' '.join(words[3:])}"


def _leader(stage: Stage, words: Sequence[str]) -> str:
    leaders = [(one.name, one.consensus.term) for one in _up(stage) if one.consensus and one.consensus.is_leader]
    if words[0] == "none":
        stage.oracle.must(not leaders, lambda: f"there are leaders: {leaders}")
        return "nobody leads"
    name, term = max(leaders, key=lambda leader: leader[1], default=("nobody", 0))
    wanted = int(words[1]) if len(words) > 1 else term
    stage.oracle.must((name, term) == (words[0], wanted), lambda: f"{name} leads in term {term}")
    return f"{name} leads in term {term}"


def _number(what: Callable[[Consensus], int], called: str) -> Check:
    def look(stage: Stage, words: Sequence[str]) -> str:
        found = what(_consensus(stage, words[0]))
        stage.oracle.must(found == int(words[1]), lambda: f"the {called} of {words[0]} is {found}, not {words[1]}")
        return f"the {called} of {words[0]} is {found}"

    return look


def _voters_are(stage: Stage, words: Sequence[str]) -> str:
    voters = _voters(stage)
    stage.oracle.must(sorted(voters) == sorted(words), lambda: f"the voters are {voters}")
    return f"the voters are {' '.join(voters)}"


def _times(wanted: int) -> Check:
    def look(stage: Stage, words: Sequence[str]) -> str:
        for replica in _up(stage) if len(words) == 1 else [stage.replicas[name] for name in words[1:]]:
            record = replica.state.read().memory(words[0])
            found = 0 if record is None else record.version
            complaint = f"{words[0]} was applied {found} times at {replica.name}"
            stage.oracle.must(found == wanted, partial(str, complaint))
        return f"{words[0]} was {'applied once' if wanted else 'never applied'}"

    return look


def _told(stage: Stage, words: Sequence[str]) -> str:
    told, wanted = stage.clients.told.get(words[0], "nothing"), " ".join(words[1:])
    stage.oracle.must(told.split(":")[0] == wanted, lambda: f"the client of {words[0]} was told: {told}")
    return f"the client of {words[0]} was told: {wanted}"


def _read(stage: Stage, words: Sequence[str]) -> str:
    found = stage.clients.read_at.get(words[0], -1)
    wanted = None if words[1] == "none" else int(words[1])
    stage.oracle.must(found == wanted, lambda: f"the newest answer at {words[0]} is {found}, not {words[1]}")
    return f"the newest answer at {words[0]} is {words[1]}"


def _holders(stage: Stage, lock: str) -> dict[str, list[str]]:
    """At each replica that is as far as any."""
    newest = [one for one in _up(stage) if one.state.head().index == stage.oracle.newest]
    found = {one.name: one.state.read().scan(holders(lock), limit=PERMITS_MAX) for one in newest}
    return {name: [m.row.owner for m in marked if isinstance(m.row, Hold)] for name, marked in found.items()}


def _held(stage: Stage, words: Sequence[str]) -> str:
    for name, owners in _holders(stage, words[0]).items():
        if owners != words[1:]:
            raise stage.oracle.fail(f"{words[0]} is held by {' '.join(owners) or 'nobody'} at {name}")
    return f"{words[0]} is held by {' '.join(words[1:]) or 'nobody'}"


def _stopped(stage: Stage, words: Sequence[str]) -> str:
    error = stage.replicas[words[0]].stopped_by
    wanted = " ".join(words[1:])
    stage.oracle.must(error is not None and wanted in str(error), lambda: f"{words[0]} stopped by itself: {error}")
    stage.oracle.may_stop.add(words[0])
    return f"{words[0]} has stopped by itself"


def _waits(stage: Stage, words: Sequence[str]) -> str:
    sender, to = words[0].split("->")
    count = len(list(stage.network.on((sender, to))))
    stage.oracle.must(count == int(words[1]), lambda: f"{count} messages wait on {words[0]}")
    return f"{count} messages wait on {words[0]}"


_CHECKS: Final[dict[str, Check]] = {
    "agreement": _agreement,
    "committed": _committed,
    "not": _not,
    "log": _log,
    "leader": _leader,
    "term": _number(lambda consensus: consensus.term, "term"),
    "commit": _number(lambda consensus: consensus.commit_index, "commit index"),
    "applied": _number(lambda consensus: consensus.applied, "applied index"),
    "voters": _voters_are,
    "once": _times(1),
    "never": _times(0),
    "told": _told,
    "read": _read,
    "held": _held,
    "free": _held,
    "stopped": _stopped,
    "waits": _waits,
}
