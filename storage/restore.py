"""A state that lies behind its log, made again from a snapshot: at open, before anything else looks at it.

It is needed after a stop of the machine (the state is not synced, and was discarded) and after a kill in the middle of
an install (the log begins at the snapshot, the state does not hold it yet). The rule that must hold: only a snapshot
whose last entry the log holds may be used; with none, the replica stops.
"""

import logging
from collections.abc import Sequence

from raftmem.errors import Corrupt
from raftmem.storage.contracts import LogStore, SnapshotMeta, StateStore

log = logging.getLogger("raftmem.storage")


def restore(store: LogStore, state: StateStore, snapshots: Sequence[SnapshotMeta], *, path: str) -> SnapshotMeta:
    """The newest snapshot that fits becomes the state; a damaged one is passed over. Blocking; nothing reads yet.

    `path`: the data folder, for the message. Raises: Corrupt when none is left; OSError ENOSPC.
    """
    for meta in sorted(snapshots, key=lambda meta: meta.index, reverse=True):
        if not _holds(store, meta):
            continue
        try:
            prepared = state.prepare(meta)
        except (Corrupt, FileNotFoundError) as error:
            log.warning("%s: snapshot %s cannot be used: %s", path, meta.name, error)
            continue
        state.replace(prepared)
        prepared.discard()
        return meta
    what = "log begins above the state, and no sound snapshot that it goes on from is here"
    raise Corrupt(path, what, index=store.first_index())


def _holds(store: LogStore, meta: SnapshotMeta) -> bool:
    if not store.first_index() <= meta.index <= store.last_index():
        return False
    entry = store.read(meta.index, meta.index + 1)[0]
    return (entry.term, entry.data) == (meta.term, meta.entry)
