"""The rows of one flat index and FAISS's exact search over them: the only importer of faiss, and the quarantine of its
untyped calls.

The rows stand in an array of ours, which numpy asks huge pages for: a search reads all of it, and FAISS's own vector
has none. Rows are only ever appended, behind what was handed out or in a larger array; so whoever holds rows may go on
reading them, and nobody waits. Which of them count is the caller's to say.
"""

from collections.abc import Callable
from typing import Final

import faiss
import numpy as np

from raftmem.storage.vectors.cosine import Floats, Places

_nearest: Final[Callable[..., None]] = vars(faiss)["knn_inner_products_by_idx"]  # its stubs do not name it


class FlatIndex:
    """float32 rows of one dimension by position, 0-based. `add` on one thread at a time, all else on any."""

    def __init__(self, dimension: int, *, room_rows: int = 0) -> None:
        """`room_rows`: so many come without a copy of those before."""
        self._room: Floats = np.empty((room_rows, dimension), dtype=np.float32)
        self._held = self._room[:0]  # set as one: whatever another thread sees is whole

    def add(self, rows: Floats) -> None:
        """Append rows (n, dimension)."""
        held = self._held
        count = len(held) + len(rows)
        if count > len(self._room):
            # what is not written to yet takes no memory
            self._room = np.empty((max(count, 2 * len(held)), held.shape[1]), dtype=np.float32)
            self._room[: len(held)] = held
        self._room[len(held) : count] = rows
        self._held = self._room[:count]

    def nearest(self, unit: Floats, k: int, among: Places) -> tuple[Floats, Places]:
        """Inner products and positions of the k best of these rows, best first; ties in no order.

        `unit`: (1, dimension). `among`: positions of rows, each once, at least k of them. That FAISS goes to them one
        by one costs no more than a bitmap when they are all rows, and far less when they are few.
        """
        held, pointer, count = self._held, faiss.swig_ptr, len(among)
        products, positions = np.empty(k, dtype=np.float32), np.empty(k, dtype=np.int64)
        sizes = (held.shape[1], 1, len(held), count, k)
        _nearest(*(pointer(unit), pointer(held), pointer(among), *sizes, pointer(products), pointer(positions), count))
        return products, positions

    def rows(self, positions: Places) -> Floats:
        """A copy of these rows, (n, dimension)."""
        return self._held.take(positions, axis=0)
