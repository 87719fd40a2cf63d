"""`--shrink`: the smallest set of a schedule's faults that still fails, by delta debugging (Zeller, ddmin).

Clients, clocks and network keep their random streams, so that what is left out is all that differs. Any failure counts
as the same one: what is wanted is a short story.
"""

from collections.abc import Callable

from jepsen_like.simulator import hostile, schedule
from jepsen_like.simulator.options import Options
from jepsen_like.simulator.oracles import Stuck, Violation
from jepsen_like.simulator.schedule import Fault

Faults = tuple[Fault, ...]


def fails(options: Options, faults: Faults) -> bool:
    try:
        hostile.run(options, faults)
    except (Violation, Stuck):
        return True
    return False


def shrink(options: Options, faults: Faults, tell: Callable[[str], None]) -> Faults:
    """`faults` fail; so do those that are returned, and not without any one of them."""
    parts = 2
    while len(faults) > 1:
        size = -(-len(faults) // parts)
        for start in range(0, len(faults), size):
            fewer = faults[:start] + faults[start + size :]
            if fails(options, fewer):
                faults = fewer
                parts = max(parts - 1, 2)
                tell(f"{len(faults)} faults still fail")
                break
        else:
            if parts >= len(faults):
                break
            parts = min(2 * parts, len(faults))
    return () if len(faults) == 1 and fails(options, ()) else faults


def chosen(options: Options, numbers: frozenset[int]) -> Faults:
    """The faults of a schedule with these numbers."""
    return tuple(fault for fault in schedule.draw(options) if fault.number in numbers)
