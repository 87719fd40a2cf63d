"""No hold and no wait runs out before its promised end, by true time: that of the harness's own clock.

The log has both the expiry (LOCK_EXPIRE) and the entry that renewed the hold last. The renewing entry was made after
the call of its client, or of a client whose entry is before it. The expiry was made before anybody was told of it or
of a later entry. If these two times are closer than the time to live, the hold ended early, whatever the clocks of the
replicas said. The rule: this checker complains only of what no delay can explain. A late end is no fault.
"""

from typing import Final

from msgspec import Struct

from jepsen_like.checkers.closing import FOR_EVER, Times
from jepsen_like.checkers.complaints import Complaints, ms
from jepsen_like.checkers.payloads import integer, text
from jepsen_like.history.logged import Event, Log
from jepsen_like.history.record import Operation

DRIFT: Final = 0.001  # by which the clocks of the harness and of a replica may run apart


class Promise(Struct, frozen=True):
    """Of a hold, or of a wait: `ttl_ms` from when the entry at `index` was made, which was after `since`."""

    index: int
    since: int
    ttl_ms: int


def check_ends(operations: tuple[Operation, ...], log: Log, complaints: Complaints) -> int:
    """Returns the number of ends that were checked."""
    ends = _Ends(operations, complaints)
    for event in log.events:
        ends.see(event)
    return ends.seen


class _Ends:
    """`_holds`, `_waits`: what each (lock, owner) was promised last. `_asked`: the time to live that a wait is for."""

    def __init__(self, operations: tuple[Operation, ...], complaints: Complaints) -> None:
        self.seen = 0
        self._complaints = complaints
        self._times = Times(operations)
        self._calls = {one.request: one.call for one in operations if one.request is not None}
        self._since: int | None = None  # the entry of now was made later; None: maybe before the history begins
        self._holds: dict[tuple[str, str], Promise] = {}
        self._waits: dict[tuple[str, str], Promise] = {}
        self._asked: dict[tuple[str, str], int] = {}

    def see(self, event: Event) -> None:
        """In the order of the log."""
        called = self._calls.get(event.request_id or "")
        if called is not None:
            self._since = called if self._since is None else max(self._since, called)
        if event.lock is None or event.outcome != "applied":
            return
        owner = event.owner or text(event, "owner")
        if owner is None:
            return
        which, ttl_ms = (event.lock, owner), integer(event, "ttl_ms")
        match event.op:
            case "LOCK_ACQUIRE":
                self._promise(self._holds, which, event, ttl_ms)
            case "LOCK_WAIT":
                self._asked[which] = ttl_ms or 0
                self._promise(self._waits, which, event, integer(event, "wait_ms"))
            case "LOCK_GRANT":
                self._waits.pop(which, None)
                self._promise(self._holds, which, event, self._asked.get(which))
            case "LOCK_RENEW":
                before = self._holds.get(which)
                self._promise(self._holds, which, event, ttl_ms or (None if before is None else before.ttl_ms))
            case "LOCK_EXPIRE" if event.token is None:
                self._ended("wait-ends-early", self._waits.pop(which, None), which, event)
            case "LOCK_EXPIRE":
                self._ended("hold-ends-early", self._holds.pop(which, None), which, event)
            case "LOCK_LEAVE":
                self._waits.pop(which, None)
            case "LOCK_RELEASE" | "LOCK_FORCE_RELEASE":
                self._holds.pop(which, None)

    def _promise(
        self, promises: dict[tuple[str, str], Promise], which: tuple[str, str], event: Event, ttl_ms: int | None
    ) -> None:
        if ttl_ms is None or self._since is None:
            promises.pop(which, None)  # nobody says for how long, or since when
        else:
            promises[which] = Promise(event.index, self._since, ttl_ms)

    def _ended(self, kind: str, promise: Promise | None, which: tuple[str, str], event: Event) -> None:
        before = self._times.before(event.index)
        if promise is None or before == FOR_EVER:
            return
        self.seen += 1
        if before < promise.since + promise.ttl_ms * 1e6 * (1 - DRIFT):
            name, owner = which
            self._complaints.add(
                kind,
                f"index {event.index} ends what {owner} has of {name}, and had been made by {ms(before)} ms; index "
                f"{promise.index}, which was not asked for before {ms(promise.since)} ms, promised {promise.ttl_ms} ms",
            )
