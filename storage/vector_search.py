"""One exact search over captured rows: the scan on any thread, the records on the loop.

FAISS proposes, float64 decides: the nearest rows by FAISS are scored again exactly, and a row counts as found only
when no row that FAISS left out can stand before it or beside it. While the conditions of the query on the record
itself refuse candidates, more are asked for, in growing steps, up to all of them: so the answer is the same as if
every candidate had been judged before the search.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from raftmem.errors import Corrupt
from raftmem.records import SEQ_LAST, Position
from raftmem.storage.contracts import Hit, StateReader, VectorQuery
from raftmem.storage.cosine import BLOCK_ROWS, Floats, Places, Probe, ranking, reached, shown
from raftmem.storage.faiss_index import Reading
from raftmem.storage.vector_rows import Capture

SPARE_ROWS: Final = 8  # asked for beyond what is wanted, so that a tie at the end rarely needs a second search
JUDGED_FIRST: Final = 128  # asked for at once when the query has a condition on the record
JUDGED_MAX: Final = 1024  # records that may be looked at on the loop: 4 ms
GROWTH: Final = 8
NEAREST_MAX: Final = 8192  # past this FAISS's heap costs more than scoring all candidates
SHORT_FLOATS: Final = 1 << 19  # scanned at once: 0.1 ms, about what handing it to a thread costs a busy loop
LATE_WEIGHT: Final = 16  # a pending row is normalised and scored in float64, that many times the work


class Ranked(NamedTuple):
    """Candidates before which no other can stand, best first, ties by id. `whole`: no other reaches the threshold."""

    scores: Floats
    ids: list[str]
    whole: bool


NOTHING: Final = Ranked(np.empty(0, dtype=np.float32), [], whole=True)


class VectorSearch:
    """Implements `contracts.Search`. `capture`: None when surely nothing is found. `index`: of its moment."""

    def __init__(
        self, capture: Capture | None, query: VectorQuery, *, index: int, snapshot: Callable[[], StateReader]
    ) -> None:
        self._capture = capture
        self._query = query
        self._moment = Position(index, SEQ_LAST)
        self._snapshot = snapshot
        self._ranked = NOTHING

    def scan_now(self) -> bool:
        capture = self._capture
        if capture is None:
            return True
        rows = capture.candidates_max
        if (rows + LATE_WEIGHT * min(rows, len(capture.pending))) * capture.dimension > SHORT_FLOATS:
            return False
        with capture.flat.reading_if_free() as reading:
            if reading is None:
                return False
            self._ranked = self._first(reading, capture)
        return True

    def scan(self) -> None:
        if self._capture is not None:
            with self._capture.flat.reading() as reading:
                self._ranked = self._first(reading, self._capture)

    def _first(self, reading: Reading, capture: Capture) -> Ranked:
        return rank(reading, capture, Probe(self._query.vector), capture.candidates(), self._query, steps=0)

    def hits(self, reader: StateReader) -> list[Hit] | None:
        if reader.head.index < self._moment.index:
            raise Corrupt("vector index", f"reflects index {self._moment.index}, the state", index=reader.head.index)
        ranked = self._ranked
        if len(ranked.ids) > JUDGED_MAX:
            ranked = Ranked(ranked.scores[:JUDGED_MAX], ranked.ids[:JUDGED_MAX], whole=False)
        return judged(ranked, self._query, reader, self._moment)

    def further(self) -> Callable[[], list[Hit]]:
        reader = self._snapshot()

        def run() -> list[Hit]:
            try:
                return self._search(reader)
            finally:
                reader.release()

        return run

    def _search(self, reader: StateReader) -> list[Hit]:
        capture = self._capture
        hits = judged(self._ranked, self._query, reader, self._moment)
        if capture is None or hits is not None:
            return hits or []
        probe, candidates = Probe(self._query.vector), capture.candidates()
        steps = 0
        while hits is None:
            steps += 1
            with capture.flat.reading() as reading:
                ranked = rank(reading, capture, probe, candidates, self._query, steps=steps)
            hits = judged(ranked, self._query, reader, self._moment)
        return hits


def judged(ranked: Ranked, query: VectorQuery, reader: StateReader, moment: Position) -> list[Hit] | None:
    """The first that the query's condition on the record accepts, as many as it wants; None when more are needed."""
    accept = query.query.accept
    hits: list[Hit] = []
    for score, memory_id in zip(ranked.scores, ranked.ids, strict=True):
        record = reader.memory(memory_id, moment)
        if record is None or record.status != "active":
            raise Corrupt("vector index", f"holds memory {memory_id}, which the state does not", index=moment.index)
        if accept is None or accept(record):
            hits.append(Hit(record, shown(score)))
            if len(hits) == query.top_k:
                return hits
    return hits if ranked.whole else None


def rank(
    reading: Reading,
    capture: Capture,
    probe: Probe,
    candidates: tuple[Places, Places],
    query: VectorQuery,
    *,
    steps: int,
) -> Ranked:
    """As many as the nearest rows prove, more with each step; in the end all that reach the threshold."""
    inside, late = candidates
    least = reached(query.threshold)
    k = max(query.top_k + SPARE_ROWS, 0 if query.query.accept is None else JUDGED_FIRST) * GROWTH**steps
    above, whole = 0.0, True
    if k < len(inside) and k <= NEAREST_MAX:
        products, inside = reading.nearest(probe.unit, k, inside)
        # no row that was left out scores above this; clamping makes all of them ties at 0 below that
        above = max(float(products[-1]) + probe.slack, 0.0)
        whole = bool(above < least)
    scores = _scores(reading, probe, inside)
    if len(late):
        inside = np.concatenate([inside, late])
        scores = np.concatenate([scores, probe.scores(capture.late_rows(late))])
    sure = scores >= least if whole else scores > above
    inside, scores = inside[sure], scores[sure]
    ids = [capture.ids[position] for position in inside.tolist()]
    order = ranking(scores, ids)
    return Ranked(scores[order], [ids[place] for place in order.tolist()], whole)


def _scores(reading: Reading, probe: Probe, positions: Places) -> Floats:
    """In blocks: the rows are held by FAISS and copied a few at a time."""
    if len(positions) <= BLOCK_ROWS:
        return probe.scores(reading.rows(positions))
    starts = range(0, len(positions), BLOCK_ROWS)
    return np.concatenate([probe.scores(reading.rows(positions[start : start + BLOCK_ROWS])) for start in starts])
