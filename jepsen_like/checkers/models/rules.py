"""The rules of a model: the first state, and the effect of each operation on a state.

Rules that must hold: states are values (hashable, never changed). A `Move` that is `pure` never changes a state. Two
operations of unknown outcome whose moves have the same `same` do the same to every state. A move also says what was
*told*: where the answer would have been another one, the step is impossible (None). A result of None on a write is an
answer that nobody heard: it may be anything.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from jepsen_like.history.record import Operation

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Move(Generic[State]):
    """`step`: the state after it, or None if this operation cannot have happened in this state.

    `needs`, `makes`: names of states, if the model has such. What needs one is impossible in every other state, and no
    operation leads into one but those that make it; what makes one and needs none does so from every state. None:
    nothing of the kind is known. `beyond`: of a pure move, in which states only they help that make what it needs; in
    all others anything may. None: in every state.
    """

    step: Callable[[State], State | None]
    pure: bool
    same: Hashable
    needs: Hashable | None = None
    makes: Hashable | None = None
    beyond: Callable[[State], bool] | None = None


class Rules(ABC, Generic[State]):
    """`functions`: the `f` that it knows. `begin`: the state at first."""

    name: ClassVar[str]
    functions: ClassVar[frozenset[str]]
    begin: State

    @abstractmethod
    def moves(self, operations: Sequence[Operation]) -> list[Move[State] | None]:
        """Of each operation of one key; None: it says nothing and changes nothing, so it is left out.

        Raises: ValueError for an operation that is not of this model, or of another shape.
        """

    def complaint(self, operations: Sequence[Operation]) -> tuple[Operation, str] | None:
        """A fault that needs no search: an operation and the reason, or None."""
        del operations
        return None

    def contradiction(self, operations: Sequence[Operation]) -> tuple[Operation, str] | None:
        """A fault that two or three operations show, where a search might not end; or None."""
        del operations
        return None


def observed(operation: Operation) -> bool:
    """It was answered, and its answer is known: only such an operation says what the state was."""
    return operation.type == "ok"
