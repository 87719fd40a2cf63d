"""Every acknowledged write stands in the final log once, at the index that was told, in an order that real time allows.

A refused write did nothing. Indexes rise without a gap, and terms never fall. Reads, watches, uses of a resource of the
harness, and claims that found no task leave no trace in the log, and are not looked for.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Final

from jepsen_like.checkers.complaints import Complaints, tell
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.order import sweep
from jepsen_like.history.logged import Event, Log
from jepsen_like.history.record import Operation

_TRACELESS: Final = frozenset({"watch", "use"})
# What one request may rightly write several times, or though it was refused in the end: its way through a queue.
_QUEUEING: Final = frozenset(
    ("NOOP", "RAFT", "LOCK_WAIT", "LOCK_LEAVE", "LOCK_GRANT", "LOCK_EXPIRE", "LOCK_RENEW", "TASK_RELEASE")
)
_IN_PASSES: Final = frozenset(("LOCK_ACQUIRE", "LOCK_RELEASE", "LOCK_FORCE_RELEASE", "OWNER_RELEASE", "TASK_EXPIRE"))


def check(evidence: Evidence) -> Finding:
    complaints = Complaints("durability")
    if evidence.log is None:
        complaints.doubt("nobody could be asked for the log")
        return complaints.finding("")
    log = evidence.log
    _in_one_piece(log.events, complaints)
    writes = [one for one in evidence.history.operations if _leaves_a_trace(one)]
    judge = _Judge(log, writes, complaints)
    for one in writes:
        judge.judge(one)
    _real_time(writes, judge.places, complaints)
    acknowledged = sum(one.type == "ok" for one in writes)
    done = sum(one.type == "unknown" and one.request in judge.places for one in writes)
    unknown = sum(one.type == "unknown" for one in writes)
    if not log.events:
        complaints.doubt("the log is empty")
    return complaints.finding(
        f"{acknowledged} acknowledged writes stand in a log of {len(log.events)} events, each once; "
        f"{done} of {unknown} unknown ones were done",
        {"acknowledged": acknowledged, "unknown": unknown, "unknown and done": done, "events": len(log.events)},
    )


def _leaves_a_trace(one: Operation) -> bool:
    if one.request is None or one.level is not None or one.f in _TRACELESS:
        return False
    found_nothing = (
        one.f == "claim" and one.type == "ok" and isinstance(one.result, dict) and not one.result.get("tasks")
    )
    return not found_nothing


def _in_one_piece(events: Sequence[Event], complaints: Complaints) -> None:
    for before, after in pairwise(events):
        if after.index == before.index:
            if after.seq != before.seq + 1:
                complaints.add("gap", f"index {after.index} has seq {after.seq} after {before.seq}")
        elif after.index != before.index + 1 or after.seq != 0:
            complaints.add("gap", f"index {after.index}, seq {after.seq}, follows index {before.index}")
        if after.term < before.term:
            complaints.add("term-falls", f"index {after.index} is of term {after.term}, after term {before.term}")


class _Judge:
    """`places`: request -> the index at which it was done, for those of which this says when they were."""

    def __init__(self, log: Log, writes: Sequence[Operation], complaints: Complaints) -> None:
        self.places: dict[str, int] = {}
        self._log = log
        self._complaints = complaints
        self._attempts: defaultdict[str, list[Operation]] = defaultdict(list)
        for one in writes:
            if one.idempotency is not None:
                self._attempts[one.idempotency].append(one)
        self._grants = {
            (event.lock, event.index) for event in log.events if event.op == "LOCK_GRANT" and event.outcome == "applied"
        }

    def judge(self, one: Operation) -> None:
        found = [event for event in self._log.of(one) if event.outcome == "applied"]
        effects = sorted({event.index for event in found if event.op not in _QUEUEING | _IN_PASSES})
        if len(effects) > 1:
            self._complaints.add("done-twice", f"{tell(one)} was done at the indexes {effects}")
        if one.type == "ok":
            self._acknowledged(one, found)
        elif one.type == "fail":
            done = sorted({event.index for event in found if event.op not in _QUEUEING})
            if done:
                self._complaints.add("refused-and-done", f"{tell(one)} was done at index {done[0]}")
        elif one.request is not None and effects:
            self.places[one.request] = effects[0]

    def _acknowledged(self, one: Operation, found: Sequence[Event]) -> None:
        index = one.index
        if index is None:
            self._complaints.add("no-index", f"{tell(one)} was acknowledged without an index")
        elif any(event.index == index for event in found):
            self.places[one.request or ""] = index
        elif one.f == "acquire" and (one.key, index) in self._grants:
            if one.idempotency is None:
                self.places[one.request or ""] = index
        elif not self._first_reply(one, index):
            stands = sorted({event.index for event in self._log.of(one)})
            where = f"it stands at {stands}" if stands else "it is not in the log"
            self._complaints.add("lost-write", f"{tell(one)} was acknowledged: {where}")

    def _first_reply(self, one: Operation, index: int) -> bool:
        """True if another attempt under its key was done at that index."""
        others = self._attempts.get(one.idempotency or "", ())
        return any(
            event.index == index and event.outcome == "applied" for other in others for event in self._log.of(other)
        )


def _real_time(writes: Sequence[Operation], places: dict[str, int], complaints: Complaints) -> None:
    """Of two writes, one acknowledged before the other was called has the lower index."""
    placed = [(one, places[one.request]) for one in writes if one.request is not None and one.request in places]
    calls = sorted(((one.call, (one, index)) for one, index in placed), key=itemgetter(0))
    ends = [(one.return_, (one, index)) for one, index in placed if one.type == "ok"]
    returns = sorted(((end, which) for end, which in ends if end is not None), key=itemgetter(0))
    most: tuple[Operation | None, int] = (None, 0)
    for (one, index), returned in sweep(calls, returns):
        if returned:
            most = max(most, (one, index), key=itemgetter(1))
        elif index <= most[1] and most[0] is not None and most[0].request != one.request:
            complaints.add(
                "out-of-order",
                f"{tell(one)} stands at index {index}; before it was called, {tell(most[0])} at {most[1]}",
            )
