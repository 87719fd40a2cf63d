"""Counters that are only added to: bounds for every value told, no value told twice, and the sum in the end.

A read at a strong level includes what was acknowledged before its call, and nothing that was called after its return.
An unknown `add` may be included or not; in the end the log says which. Reads of the weak levels have only an upper
bound.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import itemgetter

from msgspec import convert

from jepsen_like.checkers.complaints import Complaints, tell
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.order import applied, in_time, strong
from jepsen_like.history.logged import Log
from jepsen_like.history.record import Operation


def check(evidence: Evidence) -> Finding:
    """`Ending.extra["counters"]`: key -> the value in the end; if absent, that of the memory of this id."""
    complaints = Complaints("counters")
    keys: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in evidence.history.operations:
        if operation.f in ("add", "read"):
            keys[operation.key].append(operation)
    if not keys:
        complaints.doubt("nothing was added or read")
    final = final_values(evidence)
    for key, operations in keys.items():
        adds = [one for one in operations if one.f == "add" and one.type != "fail"]
        _bounds(operations, adds, complaints)
        _told(adds, complaints)
        if key in final or "counters" in evidence.ending.extra:
            _end(key, final.get(key, 0), adds, evidence.log, complaints)
        else:
            complaints.doubt(f"nobody read {key} in the end")
    told = sum(one.type == "ok" for operations in keys.values() for one in operations)
    return complaints.finding(f"{told} values of {len(keys)} counters are within their bounds", {"told": told})


def final_values(evidence: Evidence) -> dict[str, int]:
    values = {str(one["id"]): one.get("value") for one in evidence.ending.memories}
    found = {key: value for key, value in values.items() if isinstance(value, int)}
    return found | convert(evidence.ending.extra.get("counters", {}), dict[str, int])


class _Sum:
    """The sum that was added strictly before a time."""

    def __init__(self, steps: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(steps)
        self._times = [time for time, _ in ordered]
        self._sums = [0, *accumulate(amount for _, amount in ordered)]

    def before(self, time: int) -> int:
        return self._sums[bisect_left(self._times, time)]


def _amount(operation: Operation) -> int:
    return convert(operation.value, int)


def _bounds(operations: Sequence[Operation], adds: Sequence[Operation], complaints: Complaints) -> None:
    acked = [(one.return_, _amount(one)) for one in adds if one.type == "ok"]
    ended = [(end, amount) for end, amount in acked if end is not None]
    called = [(one.call, _amount(one)) for one in adds]
    surely = _Sum((end, max(amount, 0)) for end, amount in ended), _Sum((end, min(amount, 0)) for end, amount in ended)
    maybe = _Sum((at, max(amount, 0)) for at, amount in called), _Sum((at, min(amount, 0)) for at, amount in called)
    for operation in operations:
        if operation.type != "ok" or operation.return_ is None or (operation.f == "add" and operation.result is None):
            continue
        value = convert(operation.result or 0, int)  # what is not there yet counts as nothing
        until = operation.return_ + 1
        low = surely[0].before(operation.call) + maybe[1].before(until)
        high = maybe[0].before(until) + surely[1].before(operation.call)
        if value > high:
            complaints.add("too-much", f"{tell(operation)}: at most {high} could have been added")
        elif value < low and strong(operation):
            complaints.add("lost-add", f"{tell(operation)}: at least {low} had been added before it was called")


def _told(adds: Sequence[Operation], complaints: Complaints) -> None:
    """Each `add` was told its own value, rising in real time. Says nothing of counters that also fall."""
    if any(_amount(one) <= 0 for one in adds):
        return
    told = [one for one in adds if one.type == "ok" and one.result is not None]
    seen: dict[int, Operation] = {}
    for one in told:
        other = seen.setdefault(convert(one.result, int), one)
        if other is not one and (one.idempotency is None or one.idempotency != other.idempotency):
            complaints.add("lost-update", f"two were told the same value: {tell(other)}; {tell(one)}")
    most: tuple[int, Operation | None] = (0, None)
    first_tries = [one for one in told if one.idempotency is None]  # one that is asked again is told its first reply
    for one, returned in in_time(first_tries, told):
        value = convert(one.result, int)
        if returned:
            most = max(most, (value, one), key=itemgetter(0))
        elif value <= most[0] and most[1] is not None:
            complaints.add("falls", f"{tell(one)}, after {tell(most[1])}")


def _end(key: str, final: int, adds: Sequence[Operation], log: Log | None, complaints: Complaints) -> None:
    acked = sum(_amount(one) for one in adds if one.type == "ok")
    open_ = [one for one in adds if one.type == "unknown"]
    if log is not None:
        done = [one for one in open_ if applied(log, one)]
        expected = acked + sum(_amount(one) for one in done)
        if final != expected:
            complaints.add(
                "wrong-sum",
                f"{key} is {final} in the end; acknowledged were {acked}, and by the log {len(done)} of "
                f"{len(open_)} unknown ones were done: {expected}",
            )
        return
    low = acked + sum(min(_amount(one), 0) for one in open_)
    high = acked + sum(max(_amount(one), 0) for one in open_)
    if not low <= final <= high:
        complaints.add(
            "wrong-sum", f"{key} is {final} in the end; acknowledged were {acked}, with unknown ones {low}..{high}"
        )
