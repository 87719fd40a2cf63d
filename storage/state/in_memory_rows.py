"""The things of the state in memory, and what users said of them: a part of `memory_state.py`.

Nothing is ever removed: a row, and a mark of one, carries from which entry on it was there and until which. The marks
that stand now are beside that in a list of their own, so that a scan of the newest state does not walk over old ones.
It refuses a change whose `old` is not what stands there, and a mark that is another row's already.
"""

from bisect import bisect_left, insort
from itertools import islice
from typing import NamedTuple

from raftmem.errors import Corrupt
from raftmem.model.coordination_rows import VERSIONED, Thing, marks
from raftmem.model.records import Marked, Position, PutContent, PutThing


class _Row(NamedTuple):
    entry: int  # index of the one that put it
    at: Position
    thing: Thing | None  # None: nothing stands there from here on
    is_version: bool


class _Life(NamedTuple):
    """begin <= index < end: the mark stood then. `end` None: it stands."""

    key: bytes
    begin: int
    end: int | None


class KeptThings:
    """Everything that was ever put, in the order it came. An index at or past the last change asks for what is now."""

    def __init__(self) -> None:
        self._changed = 0  # index of the last entry that put a thing
        self._rows: dict[bytes, list[_Row]] = {}
        self._contents: dict[Position, tuple[int, bytes]] = {}
        self._marks: list[bytes] = []  # those that stand, in order
        self._lives: dict[bytes, list[_Life]] = {}  # mark -> its lives, oldest first
        self._ever: list[bytes] = []  # the keys of `_lives` in order, but for the newest: see `_all_marks`

    # --- what an entry does ---------------------------------------------------------------------------
    def put(self, change: PutThing, index: int) -> None:
        old, new = self.thing(change.key, index), change.new
        if old != change.old:
            raise Corrupt("state in memory", f"thing {change.key.hex()} follows another than stands there", index=index)
        self._changed = index
        kind = old if new is None else new
        self._rows.setdefault(change.key, []).append(_Row(index, change.at, new, isinstance(kind, VERSIONED)))
        before = frozenset[bytes]() if old is None else marks(old)
        after = frozenset[bytes]() if new is None else marks(new)
        for mark in before - after:
            self._end(mark, index)
        for mark in after - before:
            self._begin(mark, change.key, index)

    def _end(self, mark: bytes, index: int) -> None:
        lives = self._lives[mark]
        lives[-1] = lives[-1]._replace(end=index)
        del self._marks[bisect_left(self._marks, mark)]

    def _begin(self, mark: bytes, key: bytes, index: int) -> None:
        lives = self._lives.setdefault(mark, [])
        if lives and lives[-1].end is None:
            raise Corrupt("state in memory", f"mark {mark.hex()} is another thing's", index=index)
        lives.append(_Life(key, index, None))
        insort(self._marks, mark)

    def put_content(self, change: PutContent, index: int) -> None:
        self._contents[change.at] = (index, change.data)

    # --- what stood there after entry `index` -----------------------------------------------------------
    def thing(self, key: bytes, index: int) -> Thing | None:
        rows = reversed(self._rows.get(key, ()))
        return next((row.thing for row in rows if row.entry <= index), None)

    def version(self, key: bytes, at: Position) -> Thing | None:
        rows = reversed(self._rows.get(key, ()))
        return next((row.thing for row in rows if row.is_version and row.at <= at), None)

    def content(self, at: Position, index: int) -> bytes | None:
        found = self._contents.get(at)
        return found[1] if found is not None and found[0] <= index else None

    def scan(self, index: int, prefix: bytes, *, limit: int, start: bytes, stop: bytes | None) -> list[Marked]:
        ordered = self._marks if index >= self._changed else self._all_marks()
        found: list[Marked] = []
        for place in range(bisect_left(ordered, max(prefix, start)), len(ordered)):
            mark = ordered[place]
            if len(found) >= limit or not mark.startswith(prefix) or (stop is not None and mark >= stop):
                break
            thing = self._marked(mark, index)
            if thing is not None:
                found.append(Marked(mark, thing))
        return found

    def _all_marks(self) -> list[bytes]:
        if len(self._ever) < len(self._lives):
            self._ever += islice(self._lives, len(self._ever), None)
            self._ever.sort()
        return self._ever

    def _marked(self, mark: bytes, index: int) -> Thing | None:
        for life in reversed(self._lives[mark]):
            if life.begin <= index and (life.end is None or index < life.end):
                return self.thing(life.key, index)
        return None
