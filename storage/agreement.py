"""The look at log and state together before a replica starts from them.

The rule that must hold: what is applied here is in the log here, byte for byte. A state that is beyond its log
belongs to another log, or the log was lost; going on would apply other entries under the same indexes.
"""

from raftmem.errors import Corrupt
from raftmem.storage.contracts import LogStore, StateStore


def check_open(log: LogStore, state: StateStore, *, path: str) -> None:
    """`path`: the data folder, for the message. Raises: Corrupt naming the index."""
    if log.last_index() == 0:
        raise Corrupt(path, "log holds no entry, not even the one that a bootstrap writes")
    head = state.head()
    if head.index > log.last_index():
        raise Corrupt(path, f"log ends at index {log.last_index()} but the state stands", index=head.index)
    if head.index == 0:
        return
    event = state.read().event(head.index)
    entry = log.read(head.index, head.index + 1)[0]
    if event is None or (event.term, event.data) != (entry.term, entry.data):
        raise Corrupt(path, "state and log hold different entries", index=head.index)
    if (event.digest, event.term) != (head.digest, head.term):
        raise Corrupt(path, "head of the state is not that of its newest event", index=head.index)
