"""The outcome of a batch: an answer for each operation, and a way to make the refused ones an error."""

from typing import Self

from msgspec import Struct

from raftmem.client.errors import of_problem
from raftmem.client.shapes import Event, Memory


class BatchItem(Struct, frozen=True):
    """The outcome of one operation. `error`: a problem document if it was refused (`errors.of_problem` tells it)."""

    event: Event
    memory: Memory | None = None
    error: dict[str, object] | None = None


class Batch(Struct, frozen=True):
    """`results[i]` answers operation i."""

    index: int
    results: list[BatchItem]

    @property
    def rejected(self) -> list[BatchItem]:
        """The operations that were refused, in order; empty if all were applied."""
        return [item for item in self.results if item.error is not None]

    def raise_for_errors(self) -> Self:
        """This batch, if all of it was applied.

        Raises: the error of the first refused operation; `failed_seq` is its place, its notes name the others.
        """
        refused = [(place, item.error) for place, item in enumerate(self.results) if item.error is not None]
        if not refused:
            return self
        (place, problem), *others = refused
        error = of_problem({**problem, "failed_seq": place}, index=self.index)
        for another, document in others:
            error.add_note(f"operation {another} is refused too: {of_problem(document).detail}")
        raise error
