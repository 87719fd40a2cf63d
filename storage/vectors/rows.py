"""The rows of one dimension: the memory at each position of the FAISS index, whether it is alive, and its labels.

Positions are assigned once, in order, and never move: positions < `stored` are in FAISS, the others wait in `pending`
as the original bytes. A memory has at most one live row. A search captures everything that it needs at once, and the
capture does not change afterwards. Loop thread only, except where a docstring says otherwise.

Invariant: `0 <= stored <= len(ids)`, `len(pending) == len(ids) - stored`, `dead == alive.count(0)`.
"""

from array import array
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from raftmem.errors import Corrupt
from raftmem.model.records import Record
from raftmem.storage.state.contract import Query
from raftmem.storage.vectors.cosine import Floats, Places, floats, normalised
from raftmem.storage.vectors.faiss_index import FlatIndex
from raftmem.storage.vectors.postings import Label, Positions, Posting, labels_asked, labels_of


class Row(Struct, frozen=True):
    """One vector of one memory; (created, vector_at) pins its bytes for ever.

    Both are positions packed into one integer, `index << 16 | seq`, which keeps their order.
    """

    id: str
    created: int
    vector_at: int
    labels: list[Label]


def row_of(record: Record) -> Row:
    """The row of a record that has a vector."""
    created = record.created
    at = record.vector_at or created
    return Row(record.id, created.index << 16 | created.seq, at.index << 16 | at.seq, labels_of(record))


class Capture(NamedTuple):
    """The rows that one search may find, fixed when it was made. Any thread."""

    flat: FlatIndex
    dimension: int
    stored: int
    pending: list[bytes]
    alive: bytes
    postings: list[Positions]
    only: list[int] | None  # positions of the ids that were asked for
    ids: list[str]  # grows; positions below len(alive) never change

    @property
    def candidates_max(self) -> int:
        """An upper bound of the number of candidates, without a look at them."""
        counts = [len(posting) for posting in self.postings]
        if self.only is not None:
            counts.append(len(self.only))
        return min(counts, default=len(self.alive))

    def candidates(self) -> tuple[Places, Places]:
        """Positions of the candidates, each once: those in FAISS, and those that are still pending."""
        alive = np.frombuffer(self.alive, dtype=np.bool_)
        found = self._carriers(len(alive))
        living: Places
        living = np.flatnonzero(alive) if found is None else found[alive[found]].astype(np.int64)
        if self.stored == len(alive):
            return living, living[:0]
        inside = living < self.stored
        return living[inside], living[~inside]

    def _carriers(self, count: int) -> Positions | None:
        """The rows with every label that were asked for by id, alive or not; None for all rows."""
        wanted = self.postings if self.only is None else [*self.postings, np.array(self.only, dtype=np.int32)]
        if not wanted:
            return None
        found, *others = sorted(wanted, key=len)
        for posting in others:
            carried = np.zeros(count, dtype=np.bool_)
            carried[posting] = True
            found = found[carried[found]]
        return found

    def late_rows(self, positions: Places) -> Floats:
        """Pending rows: L2-normalised, (n, dimension), in the order of `positions`."""
        late = [self.pending[place] for place in (positions - self.stored).tolist()]
        return normalised(floats(late, self.dimension))

    def rows(self, positions: Places) -> Floats:
        """L2-normalised, (n, dimension), in the order of `positions`."""
        inside = positions < self.stored
        if inside.all():
            return self.flat.rows(positions)
        found = np.empty((len(positions), self.dimension), dtype=np.float32)
        found[inside] = self.flat.rows(positions[inside])
        found[~inside] = self.late_rows(positions[~inside])
        return found


class Rows:
    """See the module. `saved`: rows of a file, dead until `revive`."""

    def __init__(self, dimension: int, flat: FlatIndex | None = None, saved: int = 0) -> None:
        self.dimension = dimension
        self.flat = flat if flat is not None else FlatIndex(dimension)
        self.stored = saved
        self.pending: list[bytes] = []
        self.dead = saved
        self.created = array("Q", bytes(8 * saved))
        self.vector_at = array("Q", bytes(8 * saved))
        self.where: dict[str, int] = {}  # id -> its live row
        self._ids = [""] * saved
        self._labels: list[tuple[Posting, ...]] = [()] * saved
        self._alive = bytearray(saved)
        self._postings: dict[Label, Posting] = {}

    def __len__(self) -> int:
        return len(self._ids)

    # --- following the state ----------------------------------------------------------------------
    def add(self, row: Row, vector: bytes) -> None:
        """A new live row, waiting for FAISS. `vector`: float32 little-endian, as given."""
        self.pending.append(vector)
        self._enter(row)

    def _enter(self, row: Row) -> None:
        position = len(self._ids)
        memory_id = row.id
        if self.where.setdefault(memory_id, position) != position:
            raise Corrupt("vector index", f"memory {memory_id} would have two live vectors", index=row.vector_at >> 16)
        self._ids.append(memory_id)
        self.created.append(row.created)
        self.vector_at.append(row.vector_at)
        self._alive.append(1)
        self._labels.append(self._carried_by(position, row.labels))

    def _carried_by(self, position: int, labels: list[Label]) -> tuple[Posting, ...]:
        postings = self._postings
        carried: list[Posting] = []
        for label in labels:
            posting = postings.get(label)
            if posting is None:
                posting = postings[label] = Posting(label)
            posting.add(position)
            carried.append(posting)
        return tuple(carried)

    def revive(self, position: int, row: Row) -> None:
        """A saved row is still in the state."""
        self._ids[position] = row.id
        self.created[position] = row.created
        self.vector_at[position] = row.vector_at
        self._alive[position] = 1
        self.dead -= 1
        self.where[row.id] = position
        self._labels[position] = self._carried_by(position, row.labels)

    def drop(self, row: Row) -> None:
        """The row is dead."""
        position = self._live(row)
        del self.where[row.id]
        self._alive[position] = 0
        self.dead += 1
        for posting in self._labels[position]:
            posting.live -= 1
            self._forget_empty(posting)

    def relabel(self, row: Row) -> None:
        """The row has other labels now."""
        position = self._live(row)
        wanted = set(row.labels)
        kept = tuple(posting for posting in self._labels[position] if posting.label in wanted)
        for posting in self._labels[position]:
            if posting.label not in wanted:
                posting.remove(position)
                self._forget_empty(posting)
        fresh = wanted.difference(posting.label for posting in kept)
        self._labels[position] = kept + self._carried_by(position, sorted(fresh))

    def _forget_empty(self, posting: Posting) -> None:
        if not posting.live:
            self._postings.pop(posting.label, None)

    def _live(self, row: Row) -> int:
        position = self.where.get(row.id)
        if position is None or (self.created[position], self.vector_at[position]) != (row.created, row.vector_at):
            raise Corrupt("vector index", f"has no live row for memory {row.id}", index=row.vector_at >> 16)
        return position

    # --- reading ----------------------------------------------------------------------------------
    def capture(self, query: Query) -> Capture | None:
        """The rows that this query may find now, without its filter; None if it can find none."""
        postings: list[Positions] = []
        for label in labels_asked(query):
            posting = self._postings.get(label)
            if posting is None:
                return None
            postings.append(posting.view())
        only = sorted({self.where[id_] for id_ in query.ids if id_ in self.where}) if query.ids else None
        alive = bytes(self._alive)
        return Capture(self.flat, self.dimension, self.stored, list(self.pending), alive, postings, only, self._ids)

    def labels(self, position: int) -> set[Label]:
        """The labels of a row, from the row's side."""
        return {posting.label for posting in self._labels[position]}

    def carriers(self) -> dict[Label, set[int]]:
        """The live rows of each label, from the postings' side (what a search goes by)."""
        live = {label: posting.view().tolist() for label, posting in self._postings.items()}
        return {label: {p for p in held if self._alive[p]} for label, held in live.items()}

    # --- keeping house ----------------------------------------------------------------------------
    def stored_up_to(self, count: int) -> None:
        """FAISS now holds the first `count` pending rows."""
        del self.pending[:count]
        self.stored += count

    def frozen(self) -> "Frozen":
        """Everything, to be copied elsewhere while this goes on."""
        everything = self.capture(Query())
        assert everything is not None  # a query without labels has candidates
        return Frozen(everything, self.created[:], self.vector_at[:], self._labels[:])

    def enter_stored(self, row: Row) -> None:
        """A live row that FAISS already holds at the next position."""
        self._enter(row)
        self.stored += 1


class Frozen(NamedTuple):
    """All rows at one moment. Any thread."""

    capture: Capture
    created: "array[int]"
    vector_at: "array[int]"
    labels: list[tuple[Posting, ...]]

    def live(self) -> Places:
        """Positions of the live rows, in row order of the state (by created)."""
        positions = np.flatnonzero(np.frombuffer(self.capture.alive, dtype=np.bool_))
        created = np.frombuffer(self.created, dtype=np.uint64)
        order: Places = positions[np.argsort(created[positions], kind="stable")]
        return order

    def row(self, position: int) -> Row:
        labels = [posting.label for posting in self.labels[position]]
        return Row(self.capture.ids[position], self.created[position], self.vector_at[position], labels)
