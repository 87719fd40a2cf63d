"""One exact search over captured rows: the scan on any thread, what it found judged on the loop.

FAISS proposes, float64 decides: the nearest rows by FAISS are scored again exactly, and a row counts as found only
when no row that FAISS left out can stand before it or beside it. While the conditions of the query on the record
itself refuse candidates, more are asked for, in growing steps, up to all of them: so the answer is the same as if
every candidate had been judged before the search.
"""

import sys
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raftmem.errors import Corrupt
from raftmem.model.records import SEQ_LAST, Position
from raftmem.storage.state.contract import StateReader
from raftmem.storage.state.query import content_bytes
from raftmem.storage.vectors.contract import Hit, VectorQuery
from raftmem.storage.vectors.cosine import BLOCK_ROWS, Floats, Places, Probe, ranking, reached, shown
from raftmem.storage.vectors.faiss_index import FlatIndex
from raftmem.storage.vectors.rows import Capture

SPARE_ROWS: Final = 8  # asked for beyond what is wanted, so that a tie at the end rarely needs a second search
JUDGED_FIRST: Final = 128  # asked for at once when the query has a condition on the record
JUDGED_MAX: Final = 1024  # records that may be looked at on the loop: 4 ms
JUDGED_BYTES_MAX: Final = 1 << 20  # content, as often as it is looked at, that may be read on the loop: 3 ms
GROWTH: Final = 8
NEAREST_MAX: Final = 8192  # past this FAISS's heap costs more than scoring all candidates
SHORT_FLOATS: Final = 1 << 19  # scanned at once: 0.1 ms, about what handing it to a thread costs a busy loop
LATE_WEIGHT: Final = 16  # a pending row is normalised and scored in float64, that many times the work


class Ranked(NamedTuple):
    """Candidates before which no other can stand, best first, ties by id. `whole`: no other reaches the threshold."""

    scores: Floats
    ids: list[str]
    whole: bool


class Nearest(NamedTuple):
    """The rows that FAISS holds nearest. `above`: what was left out scores no more; None: nothing was."""

    positions: Places
    rows: Floats
    above: float | None


class VectorSearch:
    """Implements `contracts.Search`. `capture`: None when surely nothing is found. `index`: of its moment."""

    def __init__(
        self, capture: Capture | None, query: VectorQuery, *, index: int, snapshot: Callable[[], StateReader]
    ) -> None:
        self._capture = capture
        self._query = query
        self._moment = Position(index, SEQ_LAST)
        self._snapshot = snapshot
        self._probe = Probe(query.vector)
        self._least = reached(query.threshold)
        self._k = max(query.top_k + SPARE_ROWS, 0 if query.query.accept is None else JUDGED_FIRST)
        self._found: tuple[Nearest, Places] | None = None

    def scan_now(self) -> bool:
        capture = self._capture
        if capture is None:
            return True
        rows = capture.candidates_max
        if (rows + LATE_WEIGHT * min(rows, len(capture.pending))) * capture.dimension > SHORT_FLOATS:
            return False
        self.scan()
        return True

    def scan(self) -> None:
        if self._capture is not None:
            inside, late = self._capture.candidates()
            self._found = nearest(self._capture.flat, self._probe, inside, self._k), late

    def hits(self, reader: StateReader) -> list[Hit] | None:
        if reader.head.index < self._moment.index:
            raise Corrupt("vector index", f"reflects index {self._moment.index}, the state", index=reader.head.index)
        if self._capture is None:
            return []
        assert self._found is not None, "it was scanned"
        found, late = self._found
        ranked = rank(self._capture, self._probe, found, late, self._least)
        if len(ranked.ids) > JUDGED_MAX:
            ranked = Ranked(ranked.scores[:JUDGED_MAX], ranked.ids[:JUDGED_MAX], whole=False)
        return judged(ranked, self._query, reader, self._moment, bytes_max=JUDGED_BYTES_MAX)

    def further(self) -> Callable[[], list[Hit]]:
        reader = self._snapshot()

        def run() -> list[Hit]:
            try:
                return [] if self._capture is None else self._search(self._capture, reader)
            finally:
                reader.release()

        return run

    def _search(self, capture: Capture, reader: StateReader) -> list[Hit]:
        inside, late = capture.candidates()
        k = self._k * GROWTH
        while k <= NEAREST_MAX and k < len(inside):
            found = nearest(capture.flat, self._probe, inside, k)
            ranked = rank(capture, self._probe, found, late, self._least)
            hits = judged(ranked, self._query, reader, self._moment)
            if hits is not None:
                return hits
            k *= GROWTH
        ranked = rank_all(capture, self._probe, np.concatenate([inside, late]), self._least)
        return judged(ranked, self._query, reader, self._moment) or []


def judged(
    ranked: Ranked, query: VectorQuery, reader: StateReader, moment: Position, *, bytes_max: int = sys.maxsize
) -> list[Hit] | None:
    """The first that the query's condition on the record accepts, as many as it wants.

    None when more are needed, or when `bytes_max` of content was looked at before.
    """
    accept, looks = query.query.accept, 1 + query.query.conditions
    hits: list[Hit] = []
    for score, memory_id in zip(ranked.scores, ranked.ids, strict=True):
        if bytes_max <= 0:
            return None
        record = reader.memory(memory_id, moment)
        if record is None or record.status != "active":
            raise Corrupt("vector index", f"holds memory {memory_id}, which the state does not", index=moment.index)
        bytes_max -= content_bytes(record) * looks
        if accept is None or accept(record):
            hits.append(Hit(record, shown(score)))
            if len(hits) == query.top_k:
                return hits
    return hits if ranked.whole else None


def nearest(flat: FlatIndex, probe: Probe, inside: Places, k: int) -> Nearest:
    """The k nearest of these rows, or all of them."""
    if k >= len(inside):
        return Nearest(inside, flat.rows(inside), None)
    products, positions = flat.nearest(probe.unit, k, inside)
    # no row that was left out scores above this; clamping makes all of them ties at 0 below that
    return Nearest(positions, flat.rows(positions), max(float(products[-1]) + probe.slack, 0.0))


def rank(capture: Capture, probe: Probe, found: Nearest, late: Places, least: np.float32) -> Ranked:
    """As many as the nearest rows prove, and `late`: candidates that FAISS does not hold."""
    positions, scores, above = found.positions, probe.scores(found.rows), found.above
    if len(late):
        positions = np.concatenate([positions, late])
        scores = np.concatenate([scores, probe.scores(capture.late_rows(late))])
    if above is None or above < least:
        return _in_order(capture, positions, scores, scores >= least, whole=True)
    return _in_order(capture, positions, scores, scores > above, whole=False)


def rank_all(capture: Capture, probe: Probe, positions: Places, least: np.float32) -> Ranked:
    """All of them, in blocks: the rows are held by FAISS and copied a few at a time."""
    starts = range(0, len(positions), BLOCK_ROWS)
    blocks = [probe.scores(capture.rows(positions[start : start + BLOCK_ROWS])) for start in starts]
    scores = np.concatenate(blocks) if blocks else np.empty(0, dtype=np.float32)
    return _in_order(capture, positions, scores, scores >= least, whole=True)


def _in_order(capture: Capture, positions: Places, scores: Floats, sure: NDArray[np.bool_], *, whole: bool) -> Ranked:
    scores = scores[sure]
    ids = [capture.ids[position] for position in positions[sure].tolist()]
    order = ranking(scores, ids)
    return Ranked(scores[order], [ids[place] for place in order.tolist()], whole)
