"""Defects of this project that the simulator found and that were mended: each can be put back, and must be found again.

`MENDED` says of each what was wrong and which schedules show it. The rule is that of `without.TABLE`.
"""

import re
from typing import Final, NamedTuple

from jepsen_like.simulator import campaign, recorded
from jepsen_like.simulator.off import Swap, swapped
from raftmem.limits import SNAPSHOTS_KEPT
from raftmem.raft.leader.leadership import Leadership
from raftmem.replica.snapshot_keeper import SnapshotKeeper

_replicate = Leadership.replicate


def _speaks_before_its_vote_is_on_disk(self: Leadership, connected: set[str], *, heartbeat: bool) -> None:
    number, self._hard_number = self._hard_number, 0
    try:
        _replicate(self, connected, heartbeat=heartbeat)
    finally:
        self._hard_number = number


def _keeps_what_was_listed_when_it_chose(self: SnapshotKeeper) -> None:
    listed, sent = self._store.all(), self._in_transfer()
    held = [meta for meta in listed if self._holds(meta)][:SNAPSHOTS_KEPT]
    ahead = [meta for meta in listed if meta.index > self._replica.applied and meta not in held][:1]
    kept = [*held, *ahead, *(meta for meta in listed if meta.name in sent)]
    self._submit(lambda: self._store.drop([meta for meta in self._store.all() if meta not in kept]), lambda _: None)


class Mended(NamedTuple):
    """`recorded`: how the reason of the kept schedule that shows it begins. `expected`: a pattern that what breaks must
    match."""

    was: str
    swaps: tuple[Swap, ...]
    recorded: str
    expected: str


MENDED: Final[dict[str, Mended]] = {
    "lone-vote": Mended(
        "a lone voter told its learner of a term that was not on its disk yet",
        ((Leadership, "replicate", _speaks_before_its_vote_is_on_disk),),
        "a lone voter told",
        "two entries of term 8 at index 11",
    ),
    "snapshot-in-transfer": Mended(
        "a snapshot that was being sent was dropped for younger ones, and the transfer began anew for ever",
        ((SnapshotKeeper, "_in_transfer", lambda _self: set()),),
        "a snapshot that was being sent",
        "no new write is applied",
    ),
    "snapshot-listed-late": Mended(
        "a snapshot that was listed while older ones were chosen to go was dropped with them",
        ((SnapshotKeeper, "_drop_old", _keeps_what_was_listed_when_it_chose),),
        "a snapshot that was listed",
        "no sound snapshot",
    ),
}


def found(name: str) -> str | None:
    """Run its schedule with the defect put back; the violation, or None when everything held. Raises: ValueError."""
    if name not in MENDED:
        raise ValueError(f"no such mended defect: {name}; there are {', '.join(MENDED)}")
    kept = next(kept for kept in recorded.load() if kept.why.startswith(MENDED[name].recorded))
    with swapped(MENDED[name].swaps):
        result = campaign.one(kept.options, kept.faults)
    return f"{result.kind} {result.what}" if isinstance(result, campaign.Failed) else None


def show(name: str) -> int:
    """Tell it. 1 when it is found again, which is what is wanted."""
    what = found(name)
    print(f"{name} put back: {MENDED[name].was}\n  {what or 'NOT SHOWN: everything held'}")
    return 1 if what is not None and re.search(MENDED[name].expected, what) else 0
