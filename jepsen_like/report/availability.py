"""The time in which nobody was served: overall, and under each kind of fault.

Rules: a refusal for a reason of the request's own (a lock that is held) counts as service. A gap begins only when
somebody asked, so that a quiet phase is no outage. A fault answers for its window, from its begin until RECOVERY_NS
after its end or until the next fault begins.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from jepsen_like.history.record import Fault, Operation

RECOVERY_NS: Final = 5_000_000_000
READS: Final = frozenset({"read", "list", "search"})
STREAMS: Final = frozenset({"watch"})  # that one was open says nothing about service
UNSERVED: Final = frozenset(  # codes by which a replica, or the connection, says that it does not serve now
    {
        *("unreached", "lost", "nonsense", "internal", "corrupt", "no-leader", "no-quorum", "too-stale"),
        *("shutting-down", "unknown-outcome", "consistency-timeout", "no-space", "too-many-requests"),
    }
)


class Window(NamedTuple):
    """A fault that struck. `end` is None if nobody saw it end."""

    name: str
    begin: int
    end: int | None
    targets: tuple[str, ...]
    detail: str


class Gap(NamedTuple):
    begin: int
    end: int

    @property
    def ns(self) -> int:
        return self.end - self.begin


class Outage(NamedTuple):
    """Under one kind of fault: how often it struck, for how long in all, and the longest time without service."""

    name: str
    strikes: int
    lasted_ns: int
    longest: Gap | None
    longest_write: Gap | None


def is_served(operation: Operation) -> bool:
    if operation.f in STREAMS or operation.type == "unknown":
        return False
    return operation.type == "ok" or operation.error not in UNSERVED


def is_write(operation: Operation) -> bool:
    return operation.f not in READS and operation.f not in STREAMS


def windows(faults: Sequence[Fault]) -> tuple[Window, ...]:
    """In the order of their beginnings. What only happened, without a `begin`, is left out."""
    open_: dict[str, Fault] = {}
    found: list[Window] = []
    for fault in sorted(faults, key=lambda one: one.at):
        if fault.event == "unavailable":
            continue
        before = open_.pop(fault.name, None)
        if before is not None:
            found.append(Window(before.name, before.at, fault.at, before.targets, before.detail))
        if fault.event == "begin":
            open_[fault.name] = fault
    found += [Window(one.name, one.at, None, one.targets, one.detail) for one in open_.values()]
    return tuple(sorted(found, key=lambda window: window.begin))


def gaps(operations: Sequence[Operation]) -> tuple[Gap, ...]:
    """Times between two that were served, in which somebody asked. `operations`: in the order of their calls."""
    asked = [operation for operation in operations if operation.f not in STREAMS]
    if not asked:
        return ()
    calls = [operation.call for operation in asked]
    until = [operation.call if operation.return_ is None else operation.return_ for operation in asked]
    reach = list(accumulate(until, max))
    served = sorted(end for operation, end in zip(asked, until, strict=True) if is_served(operation))
    found = []
    for last, end in pairwise([calls[0], *served, reach[-1]]):
        place = bisect_right(calls, last)
        if place and reach[place - 1] > last:
            begin = last  # somebody was waiting then
        elif place < len(calls):
            begin = calls[place]
        else:
            continue
        if begin < end:
            found.append(Gap(begin, end))
    return tuple(found)


def longest(found: Sequence[Gap]) -> Gap | None:
    return max(found, key=lambda gap: gap.ns, default=None)


def outages(operations: Sequence[Operation], faults: Sequence[Window]) -> tuple[Outage, ...]:
    """One a kind of fault, the longest outage first."""
    every, writes = gaps(operations), gaps([one for one in operations if is_write(one)])
    until = max((one.call if one.return_ is None else one.return_ for one in operations), default=0)
    kinds: defaultdict[str, list[Window]] = defaultdict(list)
    for window in faults:
        kinds[window.name].append(window)
    found = [
        Outage(
            name,
            strikes=len(struck),
            lasted_ns=sum(max(0, (until if window.end is None else window.end) - window.begin) for window in struck),
            longest=longest([gap for window in struck for gap in _within(every, _answers_for(window, faults))]),
            longest_write=longest([gap for window in struck for gap in _within(writes, _answers_for(window, faults))]),
        )
        for name, struck in kinds.items()
    ]
    return tuple(sorted(found, key=lambda outage: -(outage.longest_write or outage.longest or Gap(0, 0)).ns))


def _answers_for(window: Window, faults: Sequence[Window]) -> tuple[int, int | None]:
    if window.end is None:
        return window.begin, None
    following = [other.begin for other in faults if other.begin >= window.end]
    return window.begin, min([window.end + RECOVERY_NS, *following])


def _within(found: Sequence[Gap], window: tuple[int, int | None]) -> list[Gap]:
    """Those that begin in the window, whole, and what lies in it of the one in which it began."""
    begin, end = window
    first = bisect_left(found, begin, key=lambda gap: gap.end)
    last = len(found) if end is None else bisect_left(found, end, key=lambda gap: gap.begin)
    return [Gap(max(begin, gap.begin), gap.end) for gap in found[first:last] if gap.end > begin]
