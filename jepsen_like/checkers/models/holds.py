"""A lock and a semaphore: who holds it, each under which fencing token. And a mutex that knows no owners.

Asking again as the holder gives the same token. A token that nobody heard is None in a hold: it is whatever the next
answer about this hold says.
"""

from collections.abc import Sequence

from jepsen_like.checkers.models.rules import Move, Rules
from jepsen_like.checkers.models.values import fields, integer, text, unknown_function
from jepsen_like.history.record import Operation

Hold = tuple[str, int | None]  # owner, token
Held = frozenset[Hold]


class Lock(Rules[Held]):
    """`expire`: the service ended a hold; as a release."""

    name = "lock"
    functions = frozenset({"acquire", "release", "renew", "expire"})
    begin: Held = frozenset()

    def moves(self, operations: Sequence[Operation]) -> list[Move[Held] | None]:
        return [self._move(operation) for operation in operations]

    def _permits(self, operation: Operation) -> int:
        del operation
        return 1

    def _move(self, operation: Operation) -> Move[Held] | None:
        f, unknown = operation.f, operation.type == "unknown"
        if f not in self.functions:
            raise unknown_function(operation, self.name)
        asked = fields(operation, operation.value)
        owner = text(operation, asked, "owner")
        if f == "acquire":
            permits = self._permits(operation)
            if operation.type == "fail":
                return _was_full(owner, permits) if operation.error == "lock-held" else None
            told = None
            if not unknown and operation.result is not None:
                told = integer(operation, fields(operation, operation.result), "token")
            return _acquire(owner, permits, told)
        token = integer(operation, asked, "token")
        if operation.type == "fail":
            return _was_not(owner, token) if operation.error == "stale-token" else None
        if f == "renew":
            return None if unknown else _was(owner, token)
        return _end(owner, token)


class Semaphore(Lock):
    name = "semaphore"

    def _permits(self, operation: Operation) -> int:
        permits = integer(operation, fields(operation, operation.value), "permits")
        return 1 if permits is None else permits


class Mutex(Rules[bool]):
    """What others record: acquire and release without a value."""

    name = "mutex"
    functions = frozenset({"acquire", "release"})
    begin = False

    def moves(self, operations: Sequence[Operation]) -> list[Move[bool] | None]:
        return [self._move(operation) for operation in operations]

    def _move(self, operation: Operation) -> Move[bool] | None:
        if operation.f not in self.functions:
            raise unknown_function(operation, self.name)
        if operation.type == "fail":
            return None
        after = operation.f == "acquire"
        return Move(lambda state: None if state is after else after, pure=False, same=after)


def _of(state: Held, owner: str) -> Hold | None:
    return next((hold for hold in state if hold[0] == owner), None)


def _acquire(owner: str, permits: int, told: int | None) -> Move[Held]:
    def step(state: Held) -> Held | None:
        hold = _of(state, owner)
        if hold is None:
            return state | {(owner, told)} if len(state) < permits else None
        if told is None or hold[1] == told:
            return state
        return (state - {hold}) | {(owner, told)} if hold[1] is None else None

    return Move(step, pure=False, same=("acquire", owner, permits))


def _end(owner: str, token: int | None) -> Move[Held]:
    def step(state: Held) -> Held | None:
        hold = _of(state, owner)
        if hold is None or (token is not None and hold[1] not in (None, token)):
            return None
        return state - {hold}

    return Move(step, pure=False, same=("end", owner, token))


def _was(owner: str, token: int | None) -> Move[Held]:
    def step(state: Held) -> Held | None:
        hold = _of(state, owner)
        return state if hold is not None and (token is None or hold[1] in (None, token)) else None

    return Move(step, pure=True, same=("was", owner, token))


def _was_not(owner: str, token: int | None) -> Move[Held]:
    """A hold whose token nobody heard may be another one than that which was refused."""

    def step(state: Held) -> Held | None:
        return None if token is not None and (owner, token) in state else state

    return Move(step, pure=True, same=("was not", owner, token))


def _was_full(owner: str, permits: int) -> Move[Held]:
    def step(state: Held) -> Held | None:
        return state if len(state) >= permits and _of(state, owner) is None else None

    return Move(step, pure=True, same=("full", owner, permits))
