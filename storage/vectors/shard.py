"""One dimension of the vector index: it follows the state on the loop, and does its chores on an executor.

There are two chores, and one runs at a time: a flush moves pending rows into FAISS; a rebuild copies the live rows
into a new index when too many are dead. A search sees neither: a flush counts only once the loop hears of it, and
changes during a rebuild go into a journal, which is applied to the new rows before they take over.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from raftmem.errors import StorageFailed
from raftmem.limits import VECTOR_DEAD_SHARE_MAX
from raftmem.runtime.interfaces import Executor
from raftmem.storage.vectors.cosine import BLOCK_ROWS, floats, normalised
from raftmem.storage.vectors.rows import Frozen, Row, Rows

Journal = list[Callable[[Rows], None]]


class Chores(NamedTuple):
    """When to keep house. `flush_rows`: pending rows that are worth a flush. `dead_rows_min`: fewer are no reason."""

    flush_rows: int = 256
    dead_rows_min: int = 1024


CHORES: Final = Chores()


class Shard:
    """Loop thread only; `work` of a chore touches only what it captured."""

    def __init__(self, rows: Rows, executor: Executor, chores: Chores) -> None:
        self.rows = rows
        self._executor = executor
        self._chores = chores
        self._busy = False
        self._journal: Journal | None = None  # changes since the rebuild that runs began
        self._failed: BaseException | None = None

    # --- following the state ----------------------------------------------------------------------
    def add(self, row: Row, vector: bytes) -> None:
        self.rows.add(row, vector)
        if self._journal is not None:
            self._journal.append(lambda rows: rows.add(row, vector))

    def drop(self, row: Row) -> None:
        self.rows.drop(row)
        if self._journal is not None:
            self._journal.append(lambda rows: rows.drop(row))

    def relabel(self, row: Row) -> None:
        self.rows.relabel(row)
        if self._journal is not None:
            self._journal.append(lambda rows: rows.relabel(row))

    def flush_now(self) -> None:
        """Pending rows into FAISS on this thread: for a start, when nothing searches."""
        self.rows.flat.add(normalised(floats(self.rows.pending, self.rows.dimension)))
        self.rows.stored_up_to(len(self.rows.pending))

    # --- keeping house ----------------------------------------------------------------------------
    def check(self) -> None:
        """Raises: StorageFailed when a chore failed: the index can no longer keep up."""
        if self._failed is not None:
            raise StorageFailed(
                f"vector index of dimension {self.rows.dimension}: {self._failed}; restart rebuilds it from the state"
            ) from self._failed

    def keep_house(self) -> None:
        """Begin the chore that is due, if any."""
        if self._busy or self._failed is not None:
            return
        rows = self.rows
        if rows.dead >= self._chores.dead_rows_min and rows.dead > len(rows) * VECTOR_DEAD_SHARE_MAX:
            self._rebuild()
        elif len(rows.pending) >= self._chores.flush_rows:
            self._flush()

    def _flush(self) -> None:
        rows = self.rows
        batch = rows.pending[:BLOCK_ROWS]

        def work() -> None:
            rows.flat.add(normalised(floats(batch, rows.dimension)))

        def done() -> None:
            rows.stored_up_to(len(batch))

        self._submit(work, done)

    def _rebuild(self) -> None:
        frozen = self.rows.frozen()
        journal: Journal = []
        built: list[Rows] = []
        self._journal = journal

        def work() -> None:
            built.append(rebuilt(frozen))

        def done() -> None:
            fresh = built.pop()
            for change in journal:
                change(fresh)
            self.rows, self._journal = fresh, None

        self._submit(work, done)

    def _submit(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        def finished(error: BaseException | None) -> None:
            self._busy = False
            if error is not None:
                self._failed = error
                return
            done()
            self.keep_house()

        self._busy = True
        self._executor.submit(work, finished)


def rebuilt(frozen: Frozen) -> Rows:
    """The live rows alone, all in FAISS. Any thread."""
    fresh = Rows(frozen.capture.dimension)
    live = frozen.live()
    for start in range(0, len(live), BLOCK_ROWS):
        block = live[start : start + BLOCK_ROWS]
        fresh.flat.add(frozen.capture.rows(block))
        for position in block.tolist():
            fresh.enter_stored(frozen.row(position))
    return fresh
