"""Guards: what must be true of named memories just before the entry, or nothing of it applies.

A deleted or expired memory does not exist here, so no version and no hash of it is ever true.
"""

from collections.abc import Sequence

from raftmem.commands import Guard
from raftmem.machine.working import Working


def false_guards(working: Working, guards: Sequence[Guard]) -> tuple[int, ...]:
    """Positions of all guards that are false, in order."""
    return tuple(position for position, guard in enumerate(guards) if not _holds(working, guard))


def _holds(working: Working, guard: Guard) -> bool:
    record = working.active(guard.memory)
    if guard.exists is not None and guard.exists != (record is not None):
        return False
    if guard.version is not None and (record is None or record.version != guard.version):
        return False
    return guard.sha256 is None or (record is not None and record.sha256.hex() == guard.sha256)
