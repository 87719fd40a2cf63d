"""The text that a filter shows of an entry: it is looked up and encoded once for all streams that ask for the same.

An entry never changes once it is applied, so its text stays good; where a cache is full the oldest goes. A filter that
one stream alone has is not cached.
"""

from typing import Final
from weakref import WeakKeyDictionary

from raftmem.api.responses import memory_views
from raftmem.api.routes.events import Wanted, shown
from raftmem.service.interface import Service
from raftmem.storage.state.contract import StateReader

CACHED_BYTES_MAX: Final = 16 << 20  # of one replica
_ROW_BYTES: Final = 200  # of one that shows nothing, about


class _Cache:
    """Texts by (number of the filter, index)."""

    def __init__(self) -> None:
        self.numbers = 0
        self.filters: dict[Wanted, Items] = {}
        self._texts: dict[tuple[int, int], bytes | None] = {}
        self._bytes = 0

    def has(self, key: tuple[int, int]) -> bool:
        return key in self._texts

    def get(self, key: tuple[int, int]) -> bytes | None:
        return self._texts[key]

    def keep(self, key: tuple[int, int], text: bytes | None) -> None:
        self._texts[key] = text
        self._bytes += _ROW_BYTES + len(text or b"")
        while self._bytes > CACHED_BYTES_MAX:
            gone = self._texts.pop(next(iter(self._texts)))
            self._bytes -= _ROW_BYTES + len(gone or b"")


class Items:
    """Through one filter. Made by `items_of`; whoever has it leaves it at the end."""

    def __init__(self, wanted: Wanted, cache: _Cache) -> None:
        self._wanted = wanted
        self._cache = cache
        cache.numbers += 1
        self._number = cache.numbers
        self.users = 0

    def find(self, reader: StateReader, index: int) -> tuple[bytes | None, int]:
        """The JSON array of the events of an applied entry that show (None: none does), and how many were looked at."""
        key = (self._number, index)
        if self._cache.has(key):
            return self._cache.get(key), 0
        row = reader.event(index)
        assert row is not None, "an applied entry has a row"
        events = [event for _, event in shown(reader, row, self._wanted)]
        text = memory_views.encode(events) if events else None
        if self.users > 1:
            self._cache.keep(key, text)
        return text, 1 + len(row.result.outcomes)

    def leave(self) -> None:
        self.users -= 1
        if not self.users:
            del self._cache.filters[self._wanted]


_CACHES: Final["WeakKeyDictionary[Service, _Cache]"] = WeakKeyDictionary()


def items_of(service: Service, wanted: Wanted) -> Items:
    """The one for everybody who asks this replica with this filter."""
    cache = _CACHES.setdefault(service, _Cache())
    items = cache.filters.get(wanted)
    if items is None:
        items = cache.filters[wanted] = Items(wanted, cache)
    items.users += 1
    return items
