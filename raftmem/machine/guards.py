"""Guards: conditions on memories, locks and gates just before the entry. If one is false, nothing of the entry applies.

A guard holds only if everything that it names is true; a guard that names nothing is false, so a guard that this
program does not understand never lets a write pass. A deleted or expired memory does not exist here: no version and
no hash of it matches. A lock is held until the log says otherwise. An expiry that has not come yet leaves its guard
true, and nobody else holds the lock either.
"""

from collections.abc import Sequence

from raftmem.machine.overlay import Overlay
from raftmem.model.commands import Guard
from raftmem.model.coordination_rows import Hold, holders


def false_guards(overlay: Overlay, guards: Sequence[Guard]) -> tuple[int, ...]:
    """Positions of all guards that are false, in order."""
    return tuple(position for position, guard in enumerate(guards) if not _holds(overlay, guard))


def _holds(overlay: Overlay, guard: Guard) -> bool:
    if guard.memory is None and guard.lock is None and guard.gate is None:
        return False
    return (
        (guard.memory is None or _is_so(overlay, guard.memory, guard))
        and (guard.lock is None or _is_held(overlay, guard.lock, guard.token, guard.owner))
        and (guard.gate is None or _stands(overlay, guard.gate, guard.open))
    )


def _is_so(overlay: Overlay, memory_id: str, guard: Guard) -> bool:
    record = overlay.active(memory_id)
    if guard.exists is not None and guard.exists != (record is not None):
        return False
    if guard.version is not None and (record is None or record.version != guard.version):
        return False
    return guard.sha256 is None or (record is not None and record.sha256.hex() == guard.sha256)


def _is_held(overlay: Overlay, name: str, token: int | None, owner: str | None) -> bool:
    """With exactly that token. Where several may hold, a token alone can be of two of them: it takes the owner too."""
    if owner is not None:
        hold = overlay.hold(name, owner)
        return hold is not None and hold.token == token
    lock = overlay.lock(name)
    if lock is None or lock.permits > 1:
        return False
    return any(
        isinstance(found.row, Hold) and found.row.token == token for found in overlay.scan(holders(name), limit=1)
    )


def _stands(overlay: Overlay, name: str, is_open: bool | None) -> bool:
    """A gate that was never put is not open."""
    gate = overlay.gate(name)
    return (gate is not None and gate.open) == is_open
