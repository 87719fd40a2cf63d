"""Replicas that do not keep a promise: for each, the run that finds the damage, and the finding that must be bad.

A harness that calls good runs good has proved little. Rules: a row is as wanted only if the finding that it names is
bad, because damage shows in many places, and some of them are not about this promise. Where a second promise hides the
damage, that promise is switched off too; off alone it shows nothing. No row needs root: what a power loss does to
replicas that promise before they sync is a test of that nemesis.
"""

from typing import Final

from msgspec import structs

from jepsen_like.runs.options import Options


def _row(
    promise: str,
    shows: str,
    workload: str,
    *nemeses: str,
    behind: str | None = None,
    seconds: float = 8,
    clients: int = 6,
    keys: int = 4,
    rate: float = 250,
    levels: tuple[str, ...] = ("lease", "linearizable"),
) -> Options:
    return Options(
        workload=workload,
        nemeses=nemeses,
        seconds=seconds,
        clients=clients,
        keys=keys,
        rate=rate,
        levels=levels,
        seed=1,
        without=(promise,) if behind is None else (promise, behind),
        shows=shows,
    )


ROWS: Final = (
    _row("one-effect", "idempotency", "idempotent", seconds=4),
    _row("preconditions", "bank", "bank", seconds=4),
    _row("session-reads", "sessions", "session", "partition"),
    _row("follower-reads", "reflected", "register", "partition"),
    _row("fencing", "locks", "lock-fenced"),
    _row("majority", "list-append", "list-append", "partition-leader", behind="check-quorum", seconds=10),
    _row("lease", "reflected", "register", "partition-leader", behind="check-quorum", seconds=10, levels=("lease",)),
    _row(
        "read-index",
        "reflected",
        "register",
        "partition-leader",
        behind="check-quorum",
        seconds=10,
        levels=("linearizable",),
    ),
    _row("log-time", "locks", "lock", "clock-leader", seconds=12),
    _row("expiry-saw", "locks", "lock", "fsync-slow", seconds=24, clients=12, keys=16, rate=0),
)


def broken(*, seed: int = 0) -> list[Options]:
    """`seed`: 0 for the runs as they were chosen, another for others of the same kind."""
    return [structs.replace(row, seed=row.seed + seed) for row in ROWS]
