"""One exact search over captured rows; pure reading, any thread.

FAISS proposes, float64 decides: the nearest rows by FAISS are scored again exactly, and a row counts as found only
when no row that FAISS left out can stand before it or beside it. While the conditions of the query on the record
itself refuse candidates, more are asked for, in growing steps, up to all of them: so the answer is the same as if
every candidate had been judged before the search.
"""

from typing import Final, NamedTuple

import numpy as np

from raftmem.errors import Corrupt
from raftmem.storage.contracts import Hit, StateReader, VectorQuery
from raftmem.storage.cosine import BLOCK_ROWS, Floats, Places, Probe, ranking, reached, shown
from raftmem.storage.faiss_index import Reading
from raftmem.storage.vector_rows import Capture

SPARE_ROWS: Final = 8  # asked for beyond what is wanted, so that a tie at the end rarely needs a second search
GROWTH: Final = 8
NEAREST_MAX: Final = 8192  # past this FAISS's heap costs more than scoring all candidates


class Ranked(NamedTuple):
    """Candidates before which no other can stand, best first, ties by id. `whole`: no other reaches the threshold."""

    scores: Floats
    ids: list[str]
    whole: bool


def search(capture: Capture, query: VectorQuery, reader: StateReader) -> list[Hit]:
    """Best first, ties by id. `reader`: the state at the moment of the capture."""
    k = (query.top_k + SPARE_ROWS) * (1 if query.query.accept is None else GROWTH)
    probe, candidates = Probe(query.vector), capture.candidates()
    while True:
        ranked = rank(capture, probe, candidates, k, reached(query.threshold))
        hits = judge(ranked, query, reader)
        if ranked.whole or len(hits) == query.top_k:
            return hits
        k *= GROWTH


def judge(ranked: Ranked, query: VectorQuery, reader: StateReader) -> list[Hit]:
    """The first that the query's condition on the record accepts, no more than it wants."""
    accept = query.query.accept
    hits: list[Hit] = []
    for score, memory_id in zip(ranked.scores, ranked.ids, strict=True):
        record = reader.memory(memory_id)
        if record is None or record.status != "active":
            raise Corrupt(
                "vector index", f"holds memory {memory_id}, which the state does not", index=reader.head.index
            )
        if accept is None or accept(record):
            hits.append(Hit(record, shown(score)))
            if len(hits) == query.top_k:
                break
    return hits


def rank(capture: Capture, probe: Probe, candidates: tuple[Places, Places], k: int, least: np.float32) -> Ranked:
    """As many as k nearest rows prove; all that reach the threshold when there are not many more."""
    inside, late = candidates
    above, whole = 0.0, True
    with capture.flat.reading() as reading:
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
