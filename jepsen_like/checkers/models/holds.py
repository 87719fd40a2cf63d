"""A lock and a semaphore, with the fencing token of each holder; and a mutex without owners.

Acquiring again as the holder gives the same token; each grant has a greater token than those before it. A token that
nobody heard is taken from the next answer about its hold, if that is possible; until then it stands as `~least`.
"""

from collections.abc import Sequence

from jepsen_like.checkers.models.rules import Move, Rules
from jepsen_like.checkers.models.values import fields, integer, text, unknown_function
from jepsen_like.history.record import Operation

Hold = tuple[str, int]  # owner, token
Held = tuple[frozenset[Hold], int]  # and the greatest token that was told of a grant


class Lock(Rules[Held]):
    """`expire`: the service ended a hold; as a release."""

    name = "lock"
    functions = frozenset({"acquire", "release", "renew", "expire"})
    begin: Held = (frozenset(), 0)

    def moves(self, operations: Sequence[Operation]) -> list[Move[Held] | None]:
        unheard = any(_unheard(operation) for operation in operations)
        return [self._move(operation, unheard) for operation in operations]

    def _permits(self, operation: Operation) -> int:
        del operation
        return 1

    def _move(self, operation: Operation, unheard: bool) -> Move[Held] | None:
        f, unknown = operation.f, operation.type == "unknown"
        if f not in self.functions:
            raise unknown_function(operation, self.name)
        asked = fields(operation, operation.value)
        owner = text(operation, asked, "owner")
        if f == "acquire":
            permits = self._permits(operation)
            if operation.type == "fail":
                return _was_full(owner, permits) if operation.error == "lock-held" else None
            return _acquire(owner, permits, _told(operation))
        token = integer(operation, asked, "token")
        if operation.type == "fail":
            return _was_not(owner, token) if operation.error == "stale-token" else None
        if f == "renew":
            return None if unknown else _was(owner, token, unheard)
        return _end(owner, token)


class Semaphore(Lock):
    name = "semaphore"

    def _permits(self, operation: Operation) -> int:
        permits = integer(operation, fields(operation, operation.value), "permits")
        return 1 if permits is None else permits


class Mutex(Rules[bool]):
    """The mutex of foreign histories: acquire and release without a value."""

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


def _told(operation: Operation) -> int | None:
    """The token that an acquire was told."""
    if operation.f != "acquire" or operation.type != "ok" or operation.result is None:
        return None
    return integer(operation, fields(operation, operation.result), "token")


def _unheard(operation: Operation) -> bool:
    """It may have been given a token that was not told."""
    return operation.f == "acquire" and operation.type != "fail" and _told(operation) is None


def _of(state: Held, owner: str) -> Hold | None:
    return next((hold for hold in state[0] if hold[0] == owner), None)


def _acquire(owner: str, permits: int, told: int | None) -> Move[Held]:
    def step(state: Held) -> Held | None:
        holds, newest = state
        hold = _of(state, owner)
        if hold is not None:
            return _heard(state, hold, told)
        least = newest if permits > 1 else newest + 1  # one entry may grant a semaphore to several who waited
        if len(holds) >= permits or (told is not None and told < least):
            return None
        return holds | {(owner, ~least if told is None else told)}, newest if told is None else told

    return Move(step, pure=False, same=("acquire", owner, permits))


def _heard(state: Held, hold: Hold, token: int | None) -> Held | None:
    """This hold is said to have this token."""
    owner, known = hold
    if token is None or known == token:
        return state
    if known >= 0 or token < ~known:
        return None
    return (state[0] - {hold}) | {(owner, token)}, max(state[1], token)


def _end(owner: str, token: int | None) -> Move[Held]:
    def step(state: Held) -> Held | None:
        hold = _of(state, owner)
        after = None if hold is None else _heard(state, hold, token)
        return None if after is None else (frozenset(one for one in after[0] if one[0] != owner), after[1])

    return Move(step, pure=False, same=("end", owner, token))


def _was(owner: str, token: int | None, unheard: bool) -> Move[Held]:
    """The operation tells the token of a hold. If nobody had heard that token, it is no mere read."""

    def step(state: Held) -> Held | None:
        hold = _of(state, owner)
        return None if hold is None else _heard(state, hold, token)

    return Move(step, pure=not unheard, same=("was", owner, token))


def _was_not(owner: str, token: int | None) -> Move[Held]:
    """A hold whose token nobody heard may differ from the hold that was refused."""

    def step(state: Held) -> Held | None:
        hold = _of(state, owner)
        return None if hold is not None and token in (None, hold[1]) else state

    return Move(step, pure=True, same=("was not", owner, token))


def _was_full(owner: str, permits: int) -> Move[Held]:
    def step(state: Held) -> Held | None:
        return state if len(state[0]) >= permits and _of(state, owner) is None else None

    return Move(step, pure=True, same=("full", owner, permits))
