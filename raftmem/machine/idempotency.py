"""The table of used Idempotency-Keys: each key of an actor stands for one applied command, however often it is retried.

A key is kept for at least `IDEMPOTENCY_KEEP_US_MIN` of log time, and then up to `IDEMPOTENCY_KEEP_US_MAX` while there
is room. A full table refuses new keys; it never forgets early. Only an entry that puts a new key removes rows, a few
at a time. So a row that is past its time but still there counts: its request is replayed, not done again.
"""

from typing import NamedTuple

from raftmem import limits
from raftmem.machine.overlay import Refusal
from raftmem.model.commands import Actor, Idempotency
from raftmem.model.records import Change, DropIdempotency, IdempotencyRow, PutIdempotency, View


class Replay(NamedTuple):
    """The key was used for the same request by the entry at index `first`."""

    first: int


class Admitted(NamedTuple):
    """The key is new. `drops`: the rows that make place if it gets used."""

    drops: tuple[IdempotencyRow, ...]


def admit(view: View, actor: Actor, key: Idempotency, now: int) -> Admitted | Replay | Refusal:
    """Decide if this command may run under its key. `now`: log time, microseconds."""
    row = view.idempotency(actor, key.key)
    if row is not None:
        return Replay(row.index) if row.fingerprint == key.fingerprint else Refusal("idempotency-key-reused")
    drops = _droppable(view, now)
    if view.head.keys - len(drops) >= limits.IDEMPOTENCY_KEYS_MAX:
        return Refusal("too-many-requests")
    return Admitted(drops)


def used(admitted: Admitted, row: IdempotencyRow) -> list[Change]:
    """The changes of an entry that was applied under a new key: `row` comes, the admitted drops go."""
    return [*(DropIdempotency(gone) for gone in admitted.drops), PutIdempotency(row)]


def _droppable(view: View, now: int) -> tuple[IdempotencyRow, ...]:
    """A prefix of the oldest rows; empty at once when the oldest must stay (the usual case: one row is read)."""
    keys = view.head.keys
    if keys == 0 or not all(_may_go(row, now, keys) for row in view.oldest_keys(1)):
        return ()
    drops: list[IdempotencyRow] = []
    for row in view.oldest_keys(limits.IDEMPOTENCY_PURGE_PER_ENTRY):
        if not _may_go(row, now, keys - len(drops)):
            break
        drops.append(row)
    return tuple(drops)


def _may_go(row: IdempotencyRow, now: int, keys: int) -> bool:
    age = now - row.time
    return age > limits.IDEMPOTENCY_KEEP_US_MAX or (
        age > limits.IDEMPOTENCY_KEEP_US_MIN and keys >= limits.IDEMPOTENCY_KEYS_MAX
    )
