"""What is measured, in which order; and what of it the short form takes."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from benchmarks.bench import Bench
from benchmarks.parts import coordination, reads, writes


class Part(NamedTuple):
    """`in_short`: also in the form of five minutes, there with fewer rounds or smaller data."""

    name: str
    says: str
    run: Callable[[Bench], None]
    in_short: bool = True


PARTS: Final = (
    Part("adds", "single ADDs beside etcd's puts and Redis' SET + WAIT", writes.adds),
    Part("gets", "GETs at each level beside etcd's range", reads.gets),
    Part("updates", "updates conditional on the version", writes.updates),
    Part("locks", "lock acquire and release, each client its own", coordination.locks),
    Part("tasks", "task claim and complete", coordination.tasks),
)


def chosen(names: Sequence[str], *, is_full: bool) -> list[Part]:
    """Those that were named, in the order of the plan; else those of the form."""
    if names:
        return [part for part in PARTS if part.name in names]
    return [part for part in PARTS if part.in_short or is_full]
