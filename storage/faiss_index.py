"""One flat inner-product index of FAISS: the only importer of faiss, and the quarantine of its untyped calls.

FAISS may not add and search at the same time, and an add moves the rows that a search reads; so searches share
a gate that an add passes alone. Rows are only ever appended; which of them count is the caller's to say.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np
from numpy.typing import NDArray

from raftmem.storage.cosine import Floats, Places


class Gate:
    """Many searches or one add; an add that waits goes before later searches."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._searching = 0
        self._adding = False
        self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._turn:
            self._turn.wait_for(lambda: not self._adding and not self._waiting)
            self._searching += 1
        try:
            yield
        finally:
            with self._turn:
                self._searching -= 1
                self._turn.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._turn:
            self._waiting += 1
            self._turn.wait_for(lambda: not self._adding and not self._searching)
            self._waiting -= 1
            self._adding = True
        try:
            yield
        finally:
            with self._turn:
                self._adding = False
                self._turn.notify_all()


class FlatIndex:
    """float32 rows of one dimension by position, 0-based. Any thread."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._index = faiss.IndexFlatIP(dimension)
        self._gate = Gate()

    def add(self, rows: Floats) -> None:
        """Append rows (n, dimension). Waits for the searches that run; not for the loop thread."""
        with self._gate.alone():
            self._index.add(np.ascontiguousarray(rows))

    def nearest(self, unit: Floats, k: int, among: NDArray[np.bool_]) -> tuple[Floats, Places]:
        """Inner products and positions of the k best rows, best first; ties in no order.

        `unit`: (1, dimension). `among[position]`: the row may be found; rows past its end may not. At least k
        of them must be True.
        """
        bits = np.packbits(among, bitorder="little")
        chosen = faiss.SearchParameters()
        selector = faiss.IDSelectorBitmap(
            len(bits), faiss.swig_ptr(bits)
        )  # borrows: both names must outlive the search
        chosen.sel = selector
        with self._gate.shared():
            products, positions = self._index.search(unit, k, params=chosen)
        return products[0], positions[0]

    def rows(self, positions: Places) -> Floats:
        """A copy of these rows, (n, dimension)."""
        with self._gate.shared():
            count = self._index.ntotal
            if not count:
                return np.empty((0, self._dimension), dtype=np.float32)
            held: Floats = faiss.rev_swig_ptr(self._index.get_xb(), count * self._dimension)
            return held.reshape(count, self._dimension)[positions]
