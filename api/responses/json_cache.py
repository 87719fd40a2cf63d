"""JSON of memories that were shown before, so that one that is read again and again is written out once.

The rule: a version of a memory is named by its id and by the position in the log of the operation that made it, and is
shown the same for ever. So what is kept here is never stale; it is bounded, and the oldest goes first. One a replica:
positions of another log mean something else.
"""

from typing import Final

from raftmem.api.responses import memory_views
from raftmem.model.records import Position, Record

_SHOWN_MAX: Final = 8192
_BYTES_MAX: Final = 2048  # a larger one costs more to keep than to write out


class JsonCache:
    """Loop thread only."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, Position], bytes] = {}

    def text(self, record: Record) -> bytes:
        """A memory without its vector, as JSON."""
        key = (record.id, record.updated)
        found = self._texts.get(key)
        if found is None:
            found = memory_views.encode(memory_views.memory(record))
            if len(found) <= _BYTES_MAX:
                if len(self._texts) >= _SHOWN_MAX:
                    del self._texts[next(iter(self._texts))]
                self._texts[key] = found
        return found
