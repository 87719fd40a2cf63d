"""Postings: the rows of an index that carry a label (scope ids, tags, the memory type), without touching a record.

A posting is a growing list of positions. Views that were handed out never change: a posting appends past their
end or moves to a new array. Dead rows stay in it; the caller masks them.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from raftmem.model.records import Record
from raftmem.storage.state.contract import Query

Label = tuple[str, str]  # (field, value), never joined into one string
Positions = NDArray[np.int32]

_SCOPE: Final = ("app_id", "user_id", "agent_id", "run_id")
_NONE: Final[Positions] = np.empty(0, dtype=np.int32)


def labels_of(record: Record) -> list[Label]:
    """Every label that a query may ask for."""
    scope = record.scope
    labels: list[Label] = []
    if scope.app_id is not None:
        labels.append(("app_id", scope.app_id))
    if scope.user_id is not None:
        labels.append(("user_id", scope.user_id))
    if scope.agent_id is not None:
        labels.append(("agent_id", scope.agent_id))
    if scope.run_id is not None:
        labels.append(("run_id", scope.run_id))
    if record.memory_type is not None:
        labels.append(("memory_type", record.memory_type))
    labels.extend([("tag", tag) for tag in record.tags])
    return labels


def labels_asked(query: Query) -> list[Label]:
    """The labels that a candidate of this query must carry, all of them."""
    labels = [*query.scope, *(("tag", tag) for tag in query.tags)]
    if query.memory_type is not None:
        labels.append(("memory_type", query.memory_type))
    return labels


class Posting:
    """The positions of one label. Loop thread only; what `view` returned may go anywhere.

    `live`: how many live rows carry the label; at 0 the posting has nothing left to say.
    """

    __slots__ = ("_gone", "_held", "_room", "_tail", "label", "live")

    def __init__(self, label: Label) -> None:
        self.label = label
        self.live = 0
        self._room = _NONE  # the array that `_held` is the front of
        self._held = _NONE
        self._tail: list[int] = []  # added since the last view
        self._gone: set[int] = set()  # removed since the last view

    def add(self, position: int) -> None:
        self.live += 1
        if self._gone and position in self._gone:
            self._gone.discard(position)
        else:
            self._tail.append(position)

    def remove(self, position: int) -> None:
        """A live row carries the label no longer."""
        self.live -= 1
        self._gone.add(position)

    def view(self) -> Positions:
        """int32, (n,), in no order."""
        if self._tail:
            self._extend()
        if self._gone:
            gone = np.fromiter(self._gone, dtype=np.int32, count=len(self._gone))
            self._room = self._held = self._held[~np.isin(self._held, gone)]
            self._gone = set()
        return self._held

    def _extend(self) -> None:
        used = len(self._held)
        total = used + len(self._tail)
        if total > len(self._room):
            self._room = np.empty(max(total, 2 * used), dtype=np.int32)
            self._room[:used] = self._held
        self._room[used:total] = self._tail
        self._held = self._room[:total]
        self._tail = []
