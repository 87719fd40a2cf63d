"""One exact search over captured rows; pure reading, any thread.

FAISS proposes, float64 decides: the nearest rows by FAISS are scored again exactly, and a row counts as found only
when no row that FAISS left out can stand before it or beside it. While the conditions of the query on the record
itself refuse candidates, more are asked for, in growing steps, up to all of them: so the answer is the same as if
every candidate had been judged before the search.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from raftmem.errors import Corrupt
from raftmem.storage.contracts import Hit, StateReader, VectorQuery
from raftmem.storage.cosine import BLOCK_ROWS, Floats, Places, Probe, ranking, reached, shown
from raftmem.storage.vector_rows import Capture

SPARE_ROWS: Final = 32  # asked for beyond what is wanted, so that a tie at the end rarely needs a second search
GROWTH: Final = 8
NEAREST_MAX: Final = 8192  # past this FAISS's heap costs more than scoring all candidates
GATHER_ROWS: Final = 256  # so few candidates are scored directly; measured: 0.15 ms at 384 dimensions
GATHER_SHARE: Final = 500  # or one row in so many, because FAISS looks at every bit of the mask


def search(capture: Capture, query: VectorQuery, reader: StateReader) -> list[Hit]:
    """Best first, ties by id. `reader`: the state at the moment of the capture."""
    least = reached(query.threshold)
    accept = query.query.accept
    hits: list[Hit] = []
    for score, memory_id in _ranked(capture, Probe(query.vector), query.top_k, least):
        if score < least or len(hits) == query.top_k:
            break
        record = reader.memory(memory_id)
        if record is None or record.status != "active":
            raise Corrupt(
                "vector index", f"holds memory {memory_id}, which the state does not", index=reader.head.index
            )
        if accept is None or accept(record):
            hits.append(Hit(record, shown(score)))
    return hits


def _ranked(capture: Capture, probe: Probe, top_k: int, least: np.float32) -> Iterator[tuple[np.float32, str]]:
    """Every candidate with its score, best first, ties by id, found as far as it is asked for."""
    mask = capture.mask()
    inside, late = mask[: capture.stored], np.flatnonzero(mask[capture.stored :]) + capture.stored
    count = int(np.count_nonzero(inside))
    late_scores = probe.scores(capture.rows(late))
    given = 0
    k = top_k + SPARE_ROWS
    while k <= NEAREST_MAX and k < count and count > max(GATHER_ROWS, len(inside) // GATHER_SHARE):
        products, nearest = capture.flat.nearest(probe.unit, k, inside)
        # no row that was left out scores above this; clamping makes all of them ties at 0 below that
        above = max(float(products[-1]) + probe.slack, 0.0)
        scores = probe.scores(capture.rows(nearest))
        positions, scores = np.r_[nearest, late], np.r_[scores, late_scores]
        sure = scores > above if above >= least else scores >= least
        yield from _in_order(capture, positions[sure], scores[sure], given)
        if above < least:
            return
        given = int(np.count_nonzero(sure))
        k *= GROWTH
    positions = np.r_[np.flatnonzero(inside), late]
    scores = np.empty(len(positions), dtype=np.float32)
    scores[:count] = _scores_of_all(capture, probe, positions[:count])
    scores[count:] = late_scores
    yield from _in_order(capture, positions, scores, given)


def _scores_of_all(capture: Capture, probe: Probe, positions: Places) -> Floats:
    """In blocks: the rows are held by FAISS and copied a few at a time."""
    found = np.empty(len(positions), dtype=np.float32)
    for start in range(0, len(positions), BLOCK_ROWS):
        block = positions[start : start + BLOCK_ROWS]
        found[start : start + BLOCK_ROWS] = probe.scores(capture.rows(block))
    return found


def _in_order(capture: Capture, positions: Places, scores: Floats, skip: int) -> Iterator[tuple[np.float32, str]]:
    """The order is total, so those given before are exactly its first `skip`."""
    ids = [capture.ids[position] for position in positions.tolist()]
    order: list[int] = ranking(scores, ids)[skip:].tolist()
    for place in order:
        yield scores[place], ids[place]
