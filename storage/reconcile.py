"""Compare the log and the state before a replica starts from them, and make them agree.

The rule that must hold: every entry in the state is in the log, byte for byte. A state ahead of its log belongs to
another log, or the log was lost. Going on would put other entries under the same indexes, so the replica stops. A state
behind the first index of the log can no longer follow it, so it is restored from a snapshot whose last entry the log
holds. This happens after the machine stopped (the state is not synced and was discarded), and after a kill during an
install (the log begins at the snapshot, the state does not hold it yet). Without such a snapshot, the replica stops.
"""

import logging
from collections.abc import Sequence

from raftmem.errors import Corrupt
from raftmem.storage.log.contract import LogStore
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.contract import StateStore

log = logging.getLogger("raftmem.storage")


def check_open(log: LogStore, state: StateStore, *, path: str) -> bool:
    """True if the state is behind the log's first index, so that it must first be restored from a snapshot that the log
    holds; if not, it may go on as it is. An empty state may go on with a log that begins at index 0 or 1.

    `path`: the data folder, for the message. Raises: Corrupt naming the index.
    """
    if log.is_empty():
        raise Corrupt(path, "log holds no entry, not even the one that a bootstrap writes")
    head = state.head()
    if head.index > log.last_index():
        raise Corrupt(path, f"log ends at index {log.last_index()} but the state stands", index=head.index)
    if head.index == 0:
        return log.first_index() > 1
    if head.index < log.first_index():
        return True
    event = state.read().event(head.index)
    entry = log.read(head.index, head.index + 1)[0]
    if event is None or (event.term, event.data) != (entry.term, entry.data):
        raise Corrupt(path, "state and log hold different entries", index=head.index)
    if (event.digest, event.term) != (head.digest, head.term):
        raise Corrupt(path, "head of the state is not that of its newest event", index=head.index)
    return False


def restore(store: LogStore, state: StateStore, snapshots: Sequence[SnapshotMeta], *, path: str) -> SnapshotMeta:
    """Make the newest fitting snapshot the state; a damaged one is skipped. Blocking; nothing reads yet.

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
