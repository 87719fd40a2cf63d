"""In the end all replicas are one: equal digests, replays from scratch that agree, and searches that equal arithmetic.

A search is compared with the cosine of every stored vector, computed here in double precision: scores within 1e-5,
clamped to 0..1, best first, ties by id, and nobody left out who scores higher than one who was shown.
"""

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct, convert

from jepsen_like.checkers.complaints import Complaints
from jepsen_like.checkers.evidence import Ending, Evidence, Finding, Searched

WITHIN: Final = 1e-5
Found = tuple[tuple[str, float], ...]


class _Embedding(Struct, frozen=True):
    vector: tuple[float, ...] = ()


class _Memory(Struct, frozen=True):
    id: str
    app_id: str | None = None
    status: str = "active"
    embedding: _Embedding | None = None


def check(evidence: Evidence) -> Finding:
    complaints = Complaints("agreement")
    ending = evidence.ending
    _digests(ending, complaints)
    for replica, complaint in sorted(ending.replays.items()):
        if complaint:
            complaints.add("replay-differs", f"{replica}: {complaint}")
    if not ending.replays:
        complaints.doubt("no folder was replayed")
    memories = [convert(one, _Memory) for one in ending.memories]
    answers = 0
    for number, searched in enumerate(ending.searches):
        scores = _scores(searched, memories)
        for replica, found in sorted(searched.found.items()):
            answers += 1
            for complaint in _differs(searched, found, scores):
                complaints.add("search-differs", f"search {number} at {replica}: {complaint}")
    return complaints.finding(
        f"{len(ending.digests)} replicas have one digest at index {ending.index}, {len(ending.replays)} replays agree, "
        f"{answers} searches over {len(memories)} memories equal the arithmetic",
        {"replicas": len(ending.digests), "replays": len(ending.replays), "searches": answers},
    )


def _digests(ending: Ending, complaints: Complaints) -> None:
    if not ending.digests:
        complaints.doubt("no replica was asked for its digest")
    elif len(set(ending.digests.values())) > 1:
        told = ", ".join(f"{replica} {digest[:16]}…" for replica, digest in sorted(ending.digests.items()))
        complaints.add("digests-differ", f"at index {ending.index}: {told}")


def _scores(searched: Searched, memories: list[_Memory]) -> dict[str, float]:
    """Of every candidate."""
    candidates = [
        (one.id, one.embedding.vector)
        for one in memories
        if one.embedding is not None
        and len(one.embedding.vector) == len(searched.vector)
        and one.status == "active"
        and searched.app_id in (None, one.app_id)
    ]
    if not candidates:
        return {}
    query: npt.NDArray[np.float64] = np.array(searched.vector, dtype=np.float64)
    vectors: npt.NDArray[np.float64] = np.array([vector for _, vector in candidates], dtype=np.float64)
    cosines = (vectors @ query) / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
    return {name: float(score) for (name, _), score in zip(candidates, np.clip(cosines, 0, 1), strict=True)}


def _differs(searched: Searched, found: Found, scores: dict[str, float]) -> list[str]:
    ids = [name for name, _ in found]
    wrong: list[str] = []
    if len(set(ids)) != len(ids):
        wrong.append("a memory is shown twice")
    strangers = [name for name in ids if name not in scores]
    if strangers:
        wrong.append(f"{strangers[0]} is no candidate")
    wanted = min(searched.top_k, len(scores))
    if len(ids) != wanted:
        wrong.append(f"{len(ids)} memories are shown, and there are {wanted}")
    for name, score in found:
        if name in scores and not abs(score - scores[name]) <= WITHIN:
            wrong.append(f"{name} scores {score:.7f}, and is {scores[name]:.7f}")
    for (before, more), (after, less) in pairwise(found):
        if less > more or (less == more and after < before):
            wrong.append(f"{after} ({less:.7f}) stands after {before} ({more:.7f})")
    left_out = scores.keys() - set(ids)
    best = max(left_out, key=lambda name: scores[name], default=None)
    if best is not None and found and scores[best] > found[-1][1] + WITHIN:
        wrong.append(f"{best} ({scores[best]:.7f}) is left out, {ids[-1]} ({found[-1][1]:.7f}) is not")
    return wrong
