"""The models by name, ready to be searched."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jepsen_like.checkers.models.gate import Gate
from jepsen_like.checkers.models.holds import Lock, Mutex, Semaphore
from jepsen_like.checkers.models.memory import Memory
from jepsen_like.checkers.models.register import Register
from jepsen_like.checkers.models.registers import MultiRegister
from jepsen_like.checkers.models.rules import Rules, State
from jepsen_like.checkers.models.strings import Strings
from jepsen_like.checkers.search import Bounds, Outcome, search
from jepsen_like.history.record import Operation


@dataclass(frozen=True)
class Model:
    """`functions`: the `f` of its operations. `judge`: of the operations of one key. `silent`: those of them that say
    nothing (a read without an answer, a failure for a reason that the model does not know)."""

    name: str
    functions: frozenset[str]
    judge: Callable[[Sequence[Operation], Bounds], Outcome]
    silent: Callable[[Sequence[Operation]], list[Operation]]


def model_of(rules: Rules[State], name: str | None = None) -> Model:
    """Its state has no name out here."""

    def judge(operations: Sequence[Operation], bounds: Bounds) -> Outcome:
        return search(rules, operations, bounds)

    def silent(operations: Sequence[Operation]) -> list[Operation]:
        moves = rules.moves(operations)
        return [operation for operation, move in zip(operations, moves, strict=True) if move is None]

    return Model(name or rules.name, rules.functions, judge, silent)


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        model_of(Register()),
        model_of(Register(0), "cas-register"),
        model_of(Memory()),
        model_of(Lock()),
        model_of(Semaphore()),
        model_of(Gate()),
        model_of(Strings()),
        model_of(MultiRegister()),
        model_of(Mutex()),
    )
}
