"""Compare the vector index with the state, vector by vector and label by label. Reads only."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import numpy as np

from raftmem.model.records import Record
from raftmem.storage.state.contract import StateReader
from raftmem.storage.vectors.cosine import floats, normalised
from raftmem.storage.vectors.postings import Label
from raftmem.storage.vectors.rows import Capture, Rows, row_of

DIFFERENCES_MAX: Final = 100  # then it is enough: rebuild
_BLOCK: Final = 1024


def audit(dimensions: dict[int, Rows], reader: StateReader) -> list[str]:
    """Differences in words; empty when equal. Loop thread."""
    return list(islice(_differences(dimensions, reader), DIFFERENCES_MAX))


def _differences(dimensions: dict[int, Rows], reader: StateReader) -> Iterator[str]:
    carriers = {dimension: rows.carriers() for dimension, rows in dimensions.items()}
    captures = {dimension: rows.frozen().capture for dimension, rows in dimensions.items()}
    seen: dict[int, set[str]] = {}
    labels: dict[int, int] = dict.fromkeys(dimensions, 0)
    for block in _blocks(reader.vectors()):
        for dimension, records in block.items():
            rows = dimensions.get(dimension)
            if rows is None:
                yield from (f"memory {record.id}: not in the index" for record in records)
                continue
            known = [record for record in records if record.id in rows.where]
            yield from (f"memory {record.id}: not in the index" for record in records if record.id not in rows.where)
            seen.setdefault(dimension, set()).update(record.id for record in known)
            yield from _vectors_differ(rows, captures[dimension], known, reader)
            for record in known:
                wanted = set(row_of(record).labels)
                labels[dimension] += len(wanted)
                yield from _labels_differ(rows, carriers[dimension], record, wanted)
    for dimension, rows in dimensions.items():
        extra = sorted(rows.where.keys() - seen.get(dimension, set()))
        yield from (f"memory {memory_id}: in the index, not in the state" for memory_id in extra)
        held = sum(map(len, carriers[dimension].values()))
        if not extra and held != labels[dimension]:
            yield f"dimension {dimension}: {held} labels in the index, {labels[dimension]} in the state"


def _blocks(records: Iterable[Record]) -> Iterator[dict[int, list[Record]]]:
    source = iter(records)
    while block := list(islice(source, _BLOCK)):
        by_dimension: dict[int, list[Record]] = {}
        for record in block:
            by_dimension.setdefault(record.dimension or 0, []).append(record)
        yield by_dimension


def _vectors_differ(rows: Rows, capture: Capture, records: list[Record], reader: StateReader) -> Iterator[str]:
    vectors = [reader.vector(record) or bytes(4 * rows.dimension) for record in records]
    wanted = normalised(floats(vectors, rows.dimension))
    positions = np.array([rows.where[record.id] for record in records], dtype=np.int64)
    equal = (capture.rows(positions) == wanted).all(axis=1).tolist()
    for record, position, same in zip(records, positions.tolist(), equal, strict=True):
        row = row_of(record)
        if (rows.created[position], rows.vector_at[position]) != (row.created, row.vector_at):
            yield f"memory {record.id}: the index has the vector of another version"
        elif not same:
            yield f"memory {record.id}: the index has other numbers"


def _labels_differ(rows: Rows, carriers: dict[Label, set[int]], record: Record, wanted: set[Label]) -> Iterator[str]:
    position = rows.where[record.id]
    if rows.labels(position) != wanted or any(position not in carriers.get(label, ()) for label in wanted):
        yield f"memory {record.id}: the index has other labels"
