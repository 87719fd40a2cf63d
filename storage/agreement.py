"""The look at log and state together before a replica starts from them.

The rule that must hold: what is applied here is in the log here, byte for byte. A state that is beyond its log
belongs to another log, or the log was lost; going on would apply other entries under the same indexes. A state that
is behind where its log begins cannot follow it any more: a snapshot must stand in.
"""

from raftmem.errors import Corrupt
from raftmem.storage.contracts import LogStore, StateStore


def check_open(log: LogStore, state: StateStore, *, path: str) -> bool:
    """Whether the state is behind the log's first index, and so must first be restored from a snapshot that the log
    holds; if not, it may go on as it is. A state of nothing may go on with a log that begins at index 0 or 1.

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
