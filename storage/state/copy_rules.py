"""A check that a state is the one that a snapshot's meta names: pure, and shared by both snapshot stores."""

from raftmem.model.records import Head
from raftmem.storage.snapshots.contract import SnapshotMeta
from raftmem.storage.state.contract import EventRow


def difference(meta: SnapshotMeta, head: Head, event: EventRow | None) -> str | None:
    """In what a state is not the one of `meta`, in words; None when it is. `event`: the row at its head."""
    if (head.index, head.term, head.digest) != (meta.index, meta.term, meta.digest):
        return f"holds a state at index {head.index} of term {head.term} that is not the one of its manifest"
    if event is None or (event.term, event.data, event.digest) != (meta.term, meta.entry, meta.digest):
        return f"holds another entry at index {head.index} than its manifest"
    return None
