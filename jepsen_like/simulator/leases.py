"""Leases in true time: the time that a hold, a place in a queue, a claim or a delay was promised, seen from outside.

A lease counts from when its client asked for it, or from when somebody asked who stands before it in the log, if that
was later. The clocks of replicas run fast by the allowed drift at most. So it must hold that nothing runs out earlier
than its length, less that share, whoever leads and whatever the wall clocks say.
"""

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from jepsen_like.simulator.world import World
from raftmem.machine.run import Applied
from raftmem.model.commands import Header, LockRenew, Operation, TaskHeartbeat
from raftmem.model.records import Outcome, operation_of

ROUNDING: Final = 0.001  # seconds; log time is cut to microseconds at every leader
Fail = Callable[[str], Exception]


class Lease(Struct):
    """`since`: true time, in seconds. `term`: of the entry that gave or prolonged it last."""

    seconds: float
    since: float
    term: int


class Told(Struct, frozen=True):
    """One outcome of an applied entry, the operation that it answers (None: it followed from others), and the entry."""

    outcome: Outcome
    operation: Operation | None
    index: int
    term: int


class Leases:
    """`asked`: when each request was sent first. `floor`: no entry from the newest one on was stamped before that.

    What stands before an entry in the log was stamped before it: so no request that the log holds was sent later.
    """

    def __init__(self, world: World, drift: float) -> None:
        self.asked: dict[str, float] = {}
        self.floor = world.now
        self._world = world
        self._fastest = 1.0 + drift

    def raise_floor(self, header: Header) -> None:
        """By the requests that the next entry answers."""
        for operation in header.operations:
            if isinstance(operation, LockRenew | TaskHeartbeat) and operation.request_id is not None:
                self._raise(operation.request_id)
        self._raise(header.request_id)

    def _raise(self, request_id: str) -> None:
        self.floor = max(self.floor, self.asked.get(request_id, 0.0))

    def given(self, ms: int, term: int) -> Lease:
        """By the entry of now."""
        return Lease(ms / 1000, self.floor, term)

    def check_over(self, lease: Lease, what: str, fail: Fail) -> None:
        """It ends now because its time is over."""
        lasted = self._world.now - lease.since
        if lasted * self._fastest + ROUNDING < lease.seconds:
            raise fail(f"{what} runs out {lasted:.3f} s after it was asked for, {lease.seconds:.3f} s were promised")


def told(applied: Applied) -> Iterator[Told]:
    """The outcome of each operation of an entry, then those that followed."""
    header, row = applied.entry.header, applied.row
    if header is None:
        return
    outcomes = row.result.outcomes
    for seq, outcome in enumerate(outcomes):
        place = operation_of(header, outcomes, seq)
        operation = None if place is None else header.operations[place]
        yield Told(outcome, operation, row.index, row.term)
