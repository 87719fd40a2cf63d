"""The vector index in memory: the twin of `vectors.py`, brute force over the records themselves.

It keeps no index of anything: every search scores every vector whose record matches. It saves nothing.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from raftmem.errors import Corrupt
from raftmem.model.records import PutRecord, Record, Step
from raftmem.storage.state.contract import StateReader
from raftmem.storage.state.query import matches
from raftmem.storage.vectors.contract import Hit, VectorQuery
from raftmem.storage.vectors.cosine import FLOAT_BYTES, Floats, Probe, floats, normalised, ranking, reached, shown


class _Held(NamedTuple):
    record: Record
    vector: bytes


class InMemoryVectorIndex:
    """Loop thread only."""

    def __init__(self) -> None:
        self._index = 0
        self._held: dict[str, _Held] = {}

    @classmethod
    def open(cls, reader: StateReader) -> "InMemoryVectorIndex":
        """The index of the state that `reader` sees."""
        self = cls()
        for record in reader.vectors():
            self._held[record.id] = _Held(record, _present(reader.vector(record), record))
        self._index = reader.head.index
        return self

    @property
    def index(self) -> int:
        return self._index

    def __len__(self) -> int:
        """Live vectors."""
        return len(self._held)

    def apply(self, index: int, steps: Sequence[Step]) -> None:
        for step in steps:
            for change in step.changes:
                if isinstance(change, PutRecord):
                    self._follow(change)
        self._index = index

    def _follow(self, change: PutRecord) -> None:
        record = change.record
        before = self._held.pop(record.id, None)
        if record.status != "active" or record.vector_at is None:
            return
        if change.vector is None and before is not None and before.record.vector_at == record.vector_at:
            self._held[record.id] = _Held(record, before.vector)
        else:
            self._held[record.id] = _Held(record, _present(change.vector, record))

    def prepare(self, query: VectorQuery, reader: StateReader) -> "MemorySearch":
        if reader.head.index != self._index:
            raise Corrupt("vector index", f"reflects index {self._index}, the state", index=reader.head.index)
        dimension = len(query.vector) // FLOAT_BYTES
        held = [one for one in self._held.values() if one.record.dimension == dimension]
        return MemorySearch([one for one in held if matches(query.query, one.record)], query, index=self._index)

    def audit(self, reader: StateReader) -> list[str]:
        wanted = {record.id: _Held(record, _present(reader.vector(record), record)) for record in reader.vectors()}
        differing = [id_ for id_ in wanted.keys() | self._held.keys() if wanted.get(id_) != self._held.get(id_)]
        return [f"memory {memory_id}: differs from the state" for memory_id in sorted(differing)]

    def save(self) -> None:
        """There is nothing to save: `open` reads the state."""


class MemorySearch:
    """It keeps the records that may be found, so it needs no state to look them up."""

    def __init__(self, held: list[_Held], query: VectorQuery, *, index: int) -> None:
        self._held = held
        self._query = query
        self._index = index

    def scan_now(self) -> bool:
        return True

    def scan(self) -> None:
        """No effect: there is no index to scan."""

    def hits(self, reader: StateReader) -> list[Hit]:
        if reader.head.index < self._index:
            raise Corrupt("vector index", f"reflects index {self._index}, the state", index=reader.head.index)
        vectors = [one.vector for one in self._held]
        scores = Probe(self._query.vector).scores(normalised(floats(vectors, len(self._query.vector) // FLOAT_BYTES)))
        return _best(scores, [one.record for one in self._held], self._query)

    def further(self) -> Callable[[], list[Hit]]:
        raise NotImplementedError("every record was judged already")


def _best(scores: Floats, records: list[Record], query: VectorQuery) -> list[Hit]:
    order: list[int] = ranking(scores, [record.id for record in records])[: query.top_k].tolist()
    least = reached(query.threshold)
    return [Hit(records[place], shown(scores[place])) for place in order if scores[place] >= least]


def _present(vector: bytes | None, record: Record) -> bytes:
    if vector is None:
        raise Corrupt("vector index", f"memory {record.id} came without its vector", index=record.updated.index)
    return vector
