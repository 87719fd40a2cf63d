"""Cosine similarity as every vector index here means it: pure arrays, no index, no state.

A score is computed in float64 from float32 rows, row by row in an order that does not depend on what else is in the
block, and rounded to float32: equal vectors have equal scores wherever they stand, so that ties are ties. The
rule that must hold: two indexes that hold the same vectors answer with the same scores in the same order.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from raftmem.limits import LIST_LIMIT_MAX
from raftmem.model.records import Record
from raftmem.storage.state.contract import StateReader
from raftmem.storage.vectors.contract import Hit, VectorQuery

Floats = NDArray[np.float32]
Places = NDArray[np.int64]

FLOAT_BYTES: Final = 4
BLOCK_ROWS: Final = 4096  # rows worked on at a time: bounds the float64 copies
_ULP: Final = 2.0**-24  # half a unit in the last place of float32 at 1


def floats(vectors: Sequence[bytes], dimension: int) -> Floats:
    """float32, (n, dimension), as given. `vectors`: float32 little-endian each."""
    return np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), dimension).astype(np.float32, copy=False)


def _norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The norms to divide by; 1 for a zero vector, which so stays zero."""
    norms: NDArray[np.float64] = np.sqrt(np.add.reduce(np.square(rows), axis=1))
    norms[norms == 0.0] = 1.0
    return norms


def normalised(rows: Floats) -> Floats:
    """float32, L2-normalised; a zero vector stays zero."""
    exact = rows.astype(np.float64)
    exact /= _norms(exact)[:, None]
    return exact.astype(np.float32)


class Probe:
    """The vector that is looked for: what is needed to score rows against it."""

    def __init__(self, vector: bytes) -> None:
        row = np.frombuffer(vector, dtype="<f4").astype(np.float64).reshape(1, -1)
        row /= _norms(row)
        self.unit: Floats = row.astype(np.float32)  # (1, dimension)
        self._exact = row[0]
        # |float32 inner product in any order - score| <= dimension * ulp by Cauchy-Schwarz, and a few roundings
        self.slack = (row.shape[1] + 16) * _ULP

    def scores(self, rows: Floats) -> Floats:
        """The cosine of each row, clamped to 0..1, float32, (n,)."""
        if len(rows) > BLOCK_ROWS:
            starts = range(0, len(rows), BLOCK_ROWS)
            return np.concatenate([self.scores(rows[start : start + BLOCK_ROWS]) for start in starts])
        exact = rows.astype(np.float64)
        norms = _norms(exact)
        exact *= self._exact
        scores: NDArray[np.float64] = np.add.reduce(exact, axis=1)
        scores /= norms
        np.maximum(scores, 0.0, out=scores)
        np.minimum(scores, 1.0, out=scores)
        return scores.astype(np.float32)


def ranking(scores: Floats, ids: list[str]) -> Places:
    """Places of the scores, best first, ties by id. `ids[i]` belongs to `scores[i]`."""
    order: Places = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    tied = ranked[1:] == ranked[:-1]
    if not tied.any():
        return order
    starts = np.flatnonzero(np.concatenate([[True], ~tied]))
    stops = np.append(starts[1:], len(order))
    for tie in np.flatnonzero(stops - starts > 1):
        run = slice(starts[tie], stops[tie])
        places: list[int] = order[run].tolist()
        order[run] = sorted(places, key=ids.__getitem__)
    return order


def shown(score: np.float32) -> float:
    """The shortest decimal that is this float32: 0.96, not 0.9599999785423279."""
    return float(str(score))


def reached(threshold: float) -> np.float32:
    """A threshold as scores are compared with it: inclusive after the same rounding."""
    return np.float32(threshold)


def search_at(reader: StateReader, query: VectorQuery, at: int) -> list[Hit]:
    """The search as it would have answered at index `at`: exact, over the records of that moment, page by page.

    Reads every candidate; runs on whichever thread may use `reader`.
    """
    probe = Probe(query.vector)
    best: list[tuple[np.float32, Record]] = []
    after: tuple[int, str] | None = None
    while True:
        page = reader.memories(query.query, at=at, after=after, limit=LIST_LIMIT_MAX)
        best = _merged(best, _scored(reader, probe, query, page.records), query.top_k)
        if page.after is None:
            return [Hit(record, shown(score)) for score, record in best]
        after = page.after


def _scored(
    reader: StateReader, probe: Probe, query: VectorQuery, records: Sequence[Record]
) -> list[tuple[np.float32, Record]]:
    dimension = len(query.vector) // FLOAT_BYTES
    candidates = [(record, reader.vector(record)) for record in records if record.dimension == dimension]
    held = [(record, vector) for record, vector in candidates if vector is not None]
    scores = probe.scores(normalised(floats([vector for _, vector in held], dimension)))
    least = reached(query.threshold)
    return [(score, record) for score, (record, _) in zip(scores, held, strict=True) if score >= least]


def _merged(
    best: list[tuple[np.float32, Record]], more: list[tuple[np.float32, Record]], top_k: int
) -> list[tuple[np.float32, Record]]:
    return sorted(best + more, key=lambda found: (-found[0], found[1].id))[:top_k]
