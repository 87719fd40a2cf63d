"""One flat inner-product index of FAISS: the only importer of faiss, and the quarantine of its untyped calls.

FAISS may not add and search at the same time, and an add moves the rows that a search reads; so readings share
a gate that an add passes alone. Rows are only ever appended; which of them count is the caller's to say.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import faiss
import numpy as np

from raftmem.storage.cosine import Floats, Places

_nearest: Final[Callable[..., None]] = vars(faiss)["knn_inner_products_by_idx"]  # its stubs do not name it


class Gate:
    """Many searches or one add; an add that waits goes before later searches."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._searching = 0
        self._adding = False
        self._waiting = 0

    def enter(self, *, wait: bool) -> bool:
        """To search; `leave` ends it. False: an add is under way, or goes before, and it was not to wait."""
        with self._turn:
            if wait:
                self._turn.wait_for(self._is_free)
            elif not self._is_free():
                return False
            self._searching += 1
            return True

    def leave(self) -> None:
        with self._turn:
            self._searching -= 1
            if self._waiting:
                self._turn.notify_all()

    def _is_free(self) -> bool:
        return not self._adding and not self._waiting

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


class Reading:
    """The rows as they are while no add runs: good within `FlatIndex.reading`."""

    def __init__(self, index: faiss.IndexFlatIP) -> None:
        self._index = index
        self._dimension: int = index.d
        self._count: int = index.ntotal

    def nearest(self, unit: Floats, k: int, among: Places) -> tuple[Floats, Places]:
        """Inner products and positions of the k best of these rows, best first; ties in no order.

        `unit`: (1, dimension). `among`: positions of rows, each once, at least k of them. That FAISS goes to them one
        by one costs no more than a bitmap when they are all rows, and far less when they are few.
        """
        products, positions = np.empty(k, dtype=np.float32), np.empty(k, dtype=np.int64)
        pointer, count = faiss.swig_ptr, len(among)
        sizes = (self._dimension, 1, self._count, count, k)
        _nearest(
            *(pointer(unit), self._index.get_xb(), pointer(among), *sizes, pointer(products), pointer(positions), count)
        )
        return products, positions

    def rows(self, positions: Places) -> Floats:
        """A copy of these rows, (n, dimension)."""
        if not self._count:
            return np.empty((0, self._dimension), dtype=np.float32)
        held: Floats = faiss.rev_swig_ptr(self._index.get_xb(), self._count * self._dimension)
        return held.reshape(self._count, self._dimension).take(positions, axis=0)


class FlatIndex:
    """float32 rows of one dimension by position, 0-based. Any thread."""

    def __init__(self, dimension: int) -> None:
        self._index = faiss.IndexFlatIP(dimension)
        self._gate = Gate()

    def add(self, rows: Floats) -> None:
        """Append rows (n, dimension). Waits for the readings that go on; not for the loop thread."""
        with self._gate.alone():
            self._index.add(np.ascontiguousarray(rows))

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Not within another reading: an add that came between would wait for the one, and the other for it."""
        self._gate.enter(wait=True)
        try:
            yield Reading(self._index)
        finally:
            self._gate.leave()

    @contextmanager
    def reading_if_free(self) -> Iterator[Reading | None]:
        """As `reading`; None instead of waiting for an add."""
        if not self._gate.enter(wait=False):
            yield None
            return
        try:
            yield Reading(self._index)
        finally:
            self._gate.leave()

    def rows(self, positions: Places) -> Floats:
        """A copy of these rows, (n, dimension)."""
        with self.reading() as reading:
            return reading.rows(positions)
