"""Switches that take a promise away from a served replica: those of the simulator that concern production code, and
those whose absence only shows through the whole product.

Each is the code that somebody would write who does not know the promise. The product has no switches: only
`jepsen_like.cluster.serve` puts them in place, and it is not installed with the product.
"""

from collections.abc import Sequence
from typing import Final

from jepsen_like.simulator.off import SWITCHES as SIMULATED
from jepsen_like.simulator.off import Swap
from jepsen_like.simulator.without import TABLE
from raftmem.machine import entry, guards
from raftmem.machine.idempotency import Admitted
from raftmem.machine.overlay import Overlay
from raftmem.model.commands import Actor, Guard, Idempotency
from raftmem.model.records import View
from raftmem.raft.leader.leadership import Leadership
from raftmem.runtime.promise import Deadline
from raftmem.service.interface import Level, Point, ReadOptions
from raftmem.service.read_barrier import ReadBarrier

ONLY_SIMULATED: Final = ("checked-files", "no-amnesia")  # what they swap is the simulator's own


def _commits_alone(self: Leadership) -> None:
    self._core.raise_commit(self._journal.durable_index)


async def _asks_nobody(self: ReadBarrier, options: ReadOptions, deadline: Deadline) -> int:
    del self, options, deadline
    return 0


async def _waits_for_nothing(self: ReadBarrier, options: ReadOptions) -> Point:
    """`at` goes on as it should: only what a session has seen is not waited for."""
    if options.at is not None:
        return await self._at(options.at, Deadline(options.timeout_ms))
    if options.level is Level.SESSION:
        return self._point(options.level)
    return self.open_now(options) or await _as_it_was(self, options)


_as_it_was = ReadBarrier.pass_through


def _remembers_no_key(view: View, actor: Actor, key: Idempotency, now: int) -> Admitted:
    del view, actor, key, now
    return Admitted(())


def _believes_every_token(working: Overlay, name: str, token: int | None, owner: str | None) -> bool:
    del working, name, token, owner
    return True


def _looks_at_no_guard(working: Overlay, asked: Sequence[Guard]) -> tuple[int, ...]:
    del working, asked
    return ()


#: name -> what it keeps, and what stands in its place
SERVED: Final[dict[str, tuple[str, tuple[Swap, ...]]]] = {
    "majority": (
        "an entry is committed when a majority has it on disk, not when its leader has",
        ((Leadership, "advance", _commits_alone),),
    ),
    "follower-reads": (
        "a follower asks its leader how far it must be before it answers",
        ((ReadBarrier, "_needed", _asks_nobody),),
    ),
    "session-reads": (
        "a session read waits for what the session has seen",
        ((ReadBarrier, "pass_through", _waits_for_nothing),),
    ),
    "one-effect": (
        "a request that is asked again under its key has no second effect",
        ((entry, "admit", _remembers_no_key), (entry, "used", lambda *_: [])),
    ),
    "fencing": (
        "a write under a lock's guard is refused once the lock has gone to another",
        ((guards, "_is_held", _believes_every_token),),
    ),
    "preconditions": (
        "a write is refused when what it was conditioned on is no longer so",
        ((entry, "false_guards", _looks_at_no_guard),),
    ),
}

SWITCHES: Final[dict[str, tuple[Swap, ...]]] = {
    **{name: swaps for name, swaps in SIMULATED.items() if name not in ONLY_SIMULATED},
    **{name: swaps for name, (_, swaps) in SERVED.items()},
}

KEEPS: Final[dict[str, str]] = {
    **{name: TABLE[name].keeps for name in SIMULATED if name not in ONLY_SIMULATED},
    **{name: keeps for name, (keeps, _) in SERVED.items()},
}
