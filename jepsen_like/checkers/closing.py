"""Settles operations of unknown outcome by the final log, and adds operations that no client made.

An operation of unknown outcome that stands in the log was done, at its index: before any operation that was answered
with a higher index. So it gets a return, and its result. An operation that is not in the log, or was refused, was
never done. Locks expire, and waiters are served, without a client; these operations come from the log too, with the
times between which their index was reached. The rule: this module makes no history worse than it was. Where indexes
and real time contradict each other, `contradictions` says so, and the operation keeps what it had.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jepsen_like.history.logged import Event, Log
from jepsen_like.history.record import Operation

LINEARIZABLE_READS = ("lease", "linearizable")
FOR_EVER = 1 << 62
BY_THE_LOG = -1  # the process of what no client did
_BEGINS = ("LOCK_ACQUIRE", "LOCK_GRANT")
_ENDS = ("LOCK_RELEASE", "LOCK_EXPIRE", "LOCK_FORCE_RELEASE")


class Closed(Struct, frozen=True):
    """`closed`, `dropped`, `added`: how many were found in the log, were not, and came from it."""

    operations: tuple[Operation, ...]
    contradictions: tuple[str, ...] = ()
    closed: int = 0
    dropped: int = 0
    added: int = 0


class Times:
    """Between which times an index can have come to be, as those tell who were answered."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        told = [
            one
            for one in operations
            if one.index is not None and one.f != "watch" and one.level in (None, *LINEARIZABLE_READS)
        ]
        returns = sorted((_place(one), one.return_) for one in told if one.return_ is not None)
        self._returned = [place for place, _ in returns]
        self._soonest = list(accumulate((at for _, at in reversed(returns)), min))[::-1]
        # a reply that was given again names an index from before its call
        calls = sorted((_place(one), one.call) for one in told if one.idempotency is None)
        self._called = [place for place, _ in calls]
        self._latest = list(accumulate((at for _, at in calls), max))

    def after(self, index: int) -> int:
        """Its operation had happened after this time."""
        place = bisect_left(self._called, 2 * index)
        return self._latest[place - 1] if place else 0

    def before(self, index: int) -> int:
        """Its operation had happened before this time."""
        place = bisect_right(self._returned, 2 * index)
        return self._soonest[place] if place < len(self._soonest) else FOR_EVER


def _place(operation: Operation) -> int:
    """Of a write at index i before that of a read that reflects i, before that of a write at i + 1."""
    assert operation.index is not None, "only those with an index have a place"
    return 2 * operation.index + (operation.level is not None)


def close(operations: Sequence[Operation], log: Log | None, everything: Iterable[Operation]) -> Closed:
    """`operations`: of one model. `everything`: all of the history, for its indexes. Without a log nothing changes."""
    operations = _merged(operations, log)
    if log is None:
        return Closed(tuple(operations))
    times = Times(everything)
    kept: list[Operation] = []
    complaints: list[str] = []
    closed = dropped = 0
    for operation in operations:
        if operation.type != "unknown" or operation.request is None:
            kept.append(operation)
            continue
        event = _effect(operation, log)
        if event is None:
            dropped += 1
            continue
        closed += 1
        before = times.before(event.index)
        if before < operation.call:
            complaints.append(
                f"{operation.f} of process {operation.process} has index {event.index} in the log, but was only called "
                f"at {operation.call / 1e6:.3f} ms, after a higher index had been answered at {before / 1e6:.3f} ms"
            )
        kept.append(_done(operation, event, before))
    added = _holds_by_the_log(kept, log, times)
    return Closed((*kept, *added), tuple(complaints), closed, dropped, len(added))


def _merged(operations: Sequence[Operation], log: Log | None) -> list[Operation]:
    """Repetitions under one idempotency key are one operation, from the first call to the first answer.

    Only what asks for the same is a repetition. Without an answer it is the one that the log knows, or any.
    """
    kept = [operation for operation in operations if operation.idempotency is None]
    groups: defaultdict[tuple[str | None, str, str, bytes], list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.idempotency is not None:
            asked = msgspec.json.encode(operation.value, order="deterministic")
            groups[operation.idempotency, operation.f, operation.key, asked].append(operation)
    for group in groups.values():
        since = min(operation.call for operation in group)
        answered = [operation for operation in group if operation.type == "ok" and operation.return_ is not None]
        if answered:
            first = min(answered, key=lambda operation: operation.return_ or 0)
            kept.append(replace(first, call=since))
            continue
        kept += [operation for operation in group if operation.type == "fail"]
        open_ = [operation for operation in group if operation.type == "unknown"]
        if open_:
            done = [operation for operation in open_ if log is not None and _effect(operation, log) is not None]
            kept.append(replace((done or open_)[0], call=min(operation.call for operation in open_)))
    return sorted(kept, key=lambda operation: operation.call)


def _effect(operation: Operation, log: Log) -> Event | None:
    """Where it was done."""
    for event in log.of(operation):
        if event.outcome != "applied":
            continue
        if event.op == "LOCK_WAIT" or event.requested_op == "LOCK_WAIT":
            return _granted(event, operation, log)
        return event
    return None


def _granted(wait: Event, operation: Operation, log: Log) -> Event | None:
    """The grant that ended the wait; None if there was none. `owner` stands in the value of an acquire."""
    owner = _field(operation.value, "owner")
    for event in log.events[_first_after(log, wait.index) :]:
        if event.lock == wait.lock and owner in (event.owner, _field(event.payload, "owner")):
            if event.op in _BEGINS and event.outcome == "applied":
                return event
            if event.token is None and event.op in ("LOCK_LEAVE", "LOCK_EXPIRE") and event.outcome == "applied":
                return None
    return None


def _first_after(log: Log, index: int) -> int:
    return bisect_right(log.events, index, key=lambda event: event.index)


def _done(operation: Operation, event: Event, before: int) -> Operation:
    result: object = None
    if operation.f in ("put", "patch", "delete") and event.memory_id is not None and event.version is not None:
        result = {"version": event.version}
    elif operation.f == "acquire" and event.token is not None:
        result = {"token": event.token}
    elif operation.f in ("approve", "revoke") and event.open is not None:
        result = {"open": event.open}
    at = None if before == FOR_EVER else max(before, operation.call)
    return replace(operation, type="ok", result=result, index=event.index, return_=at)


def _holds_by_the_log(operations: Sequence[Operation], log: Log, times: Times) -> list[Operation]:
    """Grants and ends of the locks that these are about, of which none of these tells."""
    acquires = [operation for operation in operations if operation.f == "acquire"]
    permits = {operation.key: _field(operation.value, "permits") for operation in acquires}
    granted = {
        (operation.key, _field(operation.result, "token"), _field(operation.value, "owner"))
        for operation in acquires
        if operation.type == "ok"
    }
    released = {operation.request for operation in operations if operation.f == "release" and operation.type == "ok"}
    owner_of: dict[tuple[str, int], object] = {}
    added: list[Operation] = []
    for event in log.events:
        if event.lock not in permits or event.token is None or event.outcome != "applied":
            continue
        said = event.owner or _field(event.payload, "owner") or owner_of.get((event.lock, event.token))
        if event.op in _BEGINS:
            owner_of[event.lock, event.token] = said
            if (event.lock, event.token, said) not in granted:
                value = {"owner": said, "permits": permits[event.lock]}
                added.append(_by_the_log("acquire", event, value, {"token": event.token}, times))
        elif event.op in _ENDS and event.request_id not in released:
            value = {"owner": said, "token": event.token}
            added.append(_by_the_log("expire", event, value, None, times))
    return added


def _by_the_log(f: str, event: Event, value: object, result: object, times: Times) -> Operation:
    after, before = times.after(event.index), times.before(event.index)
    return Operation(
        process=BY_THE_LOG,
        f=f,
        key=event.lock or "",
        value=value,
        type="ok",
        result=result,
        call=min(after, before),
        return_=None if before == FOR_EVER else before,
        index=event.index,
    )


def _field(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None
