"""The pure core: it alone decides what an entry does to the state (DESIGN.md in this folder).

`apply(view, index, term, entry) -> Step` reads the state just before the entry and returns outcomes and changes.
It knows no clock, no randomness, no disk and no network, and never raises for an entry that decodes. A command that
cannot be done is an outcome with `applied=False`, stored with the event like every other outcome.

One file an idea: `entry` (one entry, atomic or not), `memory` (operations on memories), `identity` and `revision` (the
next version of a record), `merge`, `guards`, `idempotency`, `locks`, `tasks`, `gates`, `overlay` (the state inside an
entry), `run` (decode, apply, digest, store).
"""

from raftmem.machine.entry import apply

__all__ = ["apply"]
