"""The contract of a vector index, with FAISS or in memory.

Two implementations stand side by side and pass the same contract tests. It knows no network, no consensus, no HTTP.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from raftmem.model.records import Record, Step
from raftmem.storage.state.contract import Query, StateReader


class Hit(NamedTuple):
    """`score`: cosine, clamped to 0..1."""

    record: Record
    score: float


class VectorQuery(NamedTuple):
    """`vector`: float32 little-endian, not zero. `threshold`: inclusive."""

    vector: bytes
    top_k: int
    threshold: float
    query: Query


class Search(Protocol):
    """One search over what might be found when it was prepared: a scan, then `hits`, then perhaps `further`.

    Only the scan may take long. Whatever else reads a record stays on the loop, because a thread that takes the
    interpreter's lock for a moment, again and again, costs a busy loop more than those moments.
    """

    def scan_now(self) -> bool:
        """Scan at once, on the loop. False: it would take long, and was not begun; `scan` on another thread."""
        ...

    def scan(self) -> None:
        """Any thread."""
        ...

    def hits(self, reader: StateReader) -> list[Hit] | None:
        """Best first, ties by id; exact: equal to a float32 cosine over every candidate. Loop thread.

        `reader`: the state of the moment of `prepare`, or of a later one. None: the condition of the query on the
        record refused too many; ask `further`.
        """
        ...

    def further(self) -> Callable[[], list[Hit]]:
        """The same answer from as many candidates as it takes. Loop thread; what it returns is called once, on any
        thread."""
        ...


class VectorIndex(Protocol):
    """The active vectors, one index a dimension; equal to what the state says at `index`."""

    @property
    def index(self) -> int:
        """The log index that it reflects."""
        ...

    def apply(self, index: int, steps: Sequence[Step]) -> None:
        """Follow the state to `index`: new vectors appended, dead rows masked. Loop thread."""
        ...

    def prepare(self, query: VectorQuery, reader: StateReader) -> Search:
        """Fix what may be found as of now. Loop thread."""
        ...

    def audit(self, reader: StateReader) -> list[str]:
        """Differences to the vectors in the state, in words; empty when equal."""
        ...

    def save(self) -> None:
        """Leave a file that the next start can catch up from. Raises OSError."""
        ...
