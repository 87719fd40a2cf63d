"""The vector index over FAISS: every active vector of the state, one flat index a dimension, exact answers.

It is a cache of the state and knows its index. It refuses a reader at another index, and it never approximates:
scope, tags and type are masked inside the search, and a filter judges candidates in order until enough are found. The
rule that must hold: after `apply`, a search can find exactly the vectors that `StateReader.vectors` lists, whatever
chores run.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from raftmem.errors import Corrupt, is_no_descriptor
from raftmem.model.records import PutRecord, Record, Step
from raftmem.runtime.interfaces import Executor
from raftmem.storage.state.contract import StateReader
from raftmem.storage.vectors import file as vector_file
from raftmem.storage.vectors.audit import audit
from raftmem.storage.vectors.contract import VectorQuery
from raftmem.storage.vectors.cosine import BLOCK_ROWS, FLOAT_BYTES
from raftmem.storage.vectors.rows import Rows, row_of
from raftmem.storage.vectors.search import VectorSearch
from raftmem.storage.vectors.shard import CHORES, Chores, Shard

log = logging.getLogger("raftmem.storage")


class FaissVectorIndex:
    """Loop thread only, but for what `prepare_save` returns, and a search where it says so.

    `snapshot`: a private reader of the state as of now, good on any thread until released.
    `executor`: for flushes and rebuilds; not the log's, because a rebuild of a million rows takes seconds.
    """

    def __init__(
        self, folder: Path, *, executor: Executor, snapshot: Callable[[], StateReader], chores: Chores = CHORES
    ) -> None:
        self._folder = folder
        self._executor = executor
        self._snapshot = snapshot
        self._chores = chores
        self._index = 0
        self._saved_at: int | None = None
        self._shards: dict[int, Shard] = {}
        self.origin = "empty"  # how it came to be, in words, for the log of the start

    @classmethod
    def open(
        cls,
        folder: Path,
        reader: StateReader,
        *,
        executor: Executor,
        snapshot: Callable[[], StateReader],
        chores: Chores = CHORES,
    ) -> "FaissVectorIndex":
        """The index of the state that `reader` sees, from what was saved where that can be trusted."""
        self = cls(folder, executor=executor, snapshot=snapshot, chores=chores)
        loaded = vector_file.load(folder, reader)
        self._fill(reader, loaded.dimensions)
        for shard in self._shards.values():
            shard.keep_house()
        self._index = reader.head.index
        self._saved_at = loaded.saved_at if loaded.doubt is None else None
        if loaded.doubt is None:
            self.origin = f"caught up from index {loaded.saved_at} to {self._index}"
        elif self._index > 0:
            self.origin = f"rebuilt from the state at index {self._index}: {loaded.doubt}"
        return self

    @classmethod
    def build(
        cls,
        folder: Path,
        reader: StateReader,
        *,
        executor: Executor,
        snapshot: Callable[[], StateReader],
        chores: Chores = CHORES,
    ) -> "FaissVectorIndex":
        """The index of an installed snapshot, from the state alone. Any thread; the loop's once it is in force."""
        self = cls(folder, executor=executor, snapshot=snapshot, chores=chores)
        self._fill(reader, {})
        self._index = reader.head.index
        self.origin = f"built from the snapshot at index {self._index}"
        return self

    @property
    def index(self) -> int:
        return self._index

    def __len__(self) -> int:
        """Live vectors."""
        return sum(len(shard.rows.where) for shard in self._shards.values())

    # --- following the state ----------------------------------------------------------------------
    def apply(self, index: int, steps: Sequence[Step]) -> None:
        """Raises: StorageFailed when it cannot follow any longer, Corrupt when a change does not fit."""
        touched: set[Shard] = set()
        for step in steps:
            for change in step.changes:
                if isinstance(change, PutRecord):
                    self._follow(change, touched)
        self._index = index
        for shard in touched:
            shard.check()
            shard.keep_house()

    def _follow(self, change: PutRecord, touched: set[Shard]) -> None:
        record, old = change.record, change.old
        stays = record.vector_at is not None and record.status == "active"
        if old is not None and old.vector_at is not None and old.status == "active":
            shard = self._shard(old)
            if stays and record.vector_at == old.vector_at:
                if record.tags != old.tags or record.memory_type != old.memory_type:
                    shard.relabel(row_of(record))
                return
            shard.drop(row_of(old))
            touched.add(shard)
        if stays:
            shard = self._shard(record)
            vector = change.vector
            if vector is None or len(vector) != FLOAT_BYTES * shard.rows.dimension:
                raise Corrupt("vector index", f"memory {record.id} came without its vector", index=record.updated.index)
            shard.add(row_of(record), vector)
            touched.add(shard)

    def _shard(self, record: Record) -> Shard:
        dimension = record.dimension
        if dimension is None:
            raise Corrupt("vector index", f"memory {record.id} has a vector and no dimension")
        shard = self._shards.get(dimension)
        if shard is None:
            shard = self._shards[dimension] = Shard(Rows(dimension), self._executor, self._chores)
        return shard

    # --- answering --------------------------------------------------------------------------------
    def prepare(self, query: VectorQuery, reader: StateReader) -> VectorSearch:
        """Raises: Corrupt when `reader` is of another index, StorageFailed when the index could not follow."""
        self._check_index(reader)
        shard = self._shards.get(len(query.vector) // FLOAT_BYTES)
        capture = None
        if shard is not None and query.query.status == "active":
            shard.check()
            capture = shard.rows.capture(query.query)
        return VectorSearch(capture, query, index=self._index, snapshot=self._snapshot)

    def _check_index(self, reader: StateReader) -> None:
        if reader.head.index != self._index:
            raise Corrupt("vector index", f"reflects index {self._index}, the state", index=reader.head.index)

    def audit(self, reader: StateReader) -> list[str]:
        if reader.head.index != self._index:
            return [f"the vector index reflects index {self._index}, the state {reader.head.index}"]
        return audit({dimension: shard.rows for dimension, shard in self._shards.items()}, reader)

    # --- on disk ----------------------------------------------------------------------------------
    def prepare_save(self) -> Callable[[], None]:
        """Fix what is to be saved as of now; the returned save may run on another thread, one at a time."""
        reader = self._snapshot()
        self._check_index(reader)
        head = reader.head
        reader.release()
        frozen = [shard.rows.frozen() for shard in self._shards.values() if shard.rows.where]

        def run() -> None:
            vector_file.save(self._folder, head, frozen)
            self._saved_at = head.index

        return run

    def save(self) -> None:
        """Without a free descriptor nothing is saved: the next start makes the index from the state."""
        if self._saved_at == self._index:
            return
        try:
            self.prepare_save()()
        except OSError as error:
            if not is_no_descriptor(error):
                raise
            log.warning("%s: the vector index is not saved, no open files are left (%s)", self._folder, error)

    def _fill(self, reader: StateReader, saved: dict[int, vector_file.Saved]) -> None:
        """Every vector of the state: the saved row where there is one, else its bytes."""
        places: dict[int, dict[int, int]] = {}
        for dimension, rows in saved.items():
            held = Rows(dimension, rows.flat, len(rows.created))
            self._shards[dimension] = Shard(held, self._executor, self._chores)
            places[dimension] = {created: place for place, created in enumerate(rows.created.tolist())}
        for record in reader.vectors():
            row, shard = row_of(record), self._shard(record)
            place = places.get(shard.rows.dimension, {}).get(row.created)
            if place is not None and saved[shard.rows.dimension].vector_at[place] == row.vector_at:
                shard.rows.revive(place, row)
                continue
            vector = reader.vector(record)
            if vector is None:
                raise Corrupt("state", f"memory {record.id} has lost its vector", index=row.vector_at >> 16)
            shard.rows.add(row, vector)
            if len(shard.rows.pending) >= BLOCK_ROWS:
                shard.flush_now()
        for shard in self._shards.values():
            shard.flush_now()
