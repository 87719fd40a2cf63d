"""The pure core: what an entry does to the state is decided here and nowhere else.

`apply(view, index, term, entry) -> Step` reads the state just before the entry and returns outcomes and changes;
it knows no clock, no randomness, no disk and no network, and never raises for an entry that decodes. A command
that cannot be done is an outcome with `applied=False`, written beside the event like every other.

One file an idea: `entry` (one entry, atomic or not), `memory` (the operations), `identity` and `revision` (a record's
next version), `merge`, `guards`, `idempotency`, `working` (the state inside an entry), `run` (apply, digest, store).
"""

from raftmem.machine.entry import apply

__all__ = ["apply"]
