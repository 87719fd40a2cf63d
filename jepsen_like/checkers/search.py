"""The search for one order of the operations that real time and every answer allow, with as little work as possible.

Depth first over the returns in time order, just in time (Wing and Gong 1993, Lowe 2017): an operation is put into the
order only when a return forces it, the returning one first, else others that are pending before it. A configuration
that was tried is kept as (return, which pending changes are done, state) with `credit`, so it is not tried twice.

Four rules keep the search small and lose nothing:

- an operation that changes no state (a read, a known refusal) is put into the order as soon as the state allows it:
  everything later can still come after it, so it never branches;
- of operations of unknown outcome that do the same, the one with the least time left is used first, and one that would
  change nothing is not used;
- an operation that waits, or will wait, for a state that no operation is left to make, makes the configuration hopeless
  at once;
- `credit` is what a configuration has over another at the same place: reads that are done, unknown operations not yet
  used. A configuration with no more credit than another that was tried cannot get further.

The rule: `good` only with an order in hand, `bad` only when every possibility was tried; at a bound it is `unknown`.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from jepsen_like.checkers.evidence import Verdict
from jepsen_like.checkers.models.rules import Rules, State
from jepsen_like.checkers.turns import Layout, Pending, Turn, lay_out
from jepsen_like.history.record import Operation

LOOK_AT_CLOCK_EVERY = 256
SHORT_CONFIGURATIONS = 1_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """`deadline`: on `clock`, in seconds. `configurations`: how many may be kept, about 300 bytes each. `order`: one is
    wanted also of what is wrong without a search."""

    deadline: float
    configurations: int = 2_000_000
    order: bool = True
    clock: Callable[[], float] = time.monotonic

    def over(self) -> bool:
        return self.clock() >= self.deadline


@dataclass(frozen=True, slots=True)
class Outcome:
    """`order`: the longest that was found (all of it, if good). `stuck`: the operation whose return could not be
    reached. `reason`: in words, if there was no need to search, or why the search stopped."""

    verdict: Verdict
    order: tuple[Operation, ...] = ()
    stuck: Operation | None = None
    reason: str = ""
    configurations: int = 0


Path = tuple[int, "Path"] | None  # the last operation of an order, and what was before it


def search(rules: Rules[State], operations: Sequence[Operation], bounds: Bounds) -> Outcome:
    """`operations`: of one key. Raises: ValueError for an operation that the rules do not know."""
    moves = rules.moves(operations)
    plainly = rules.complaint(operations)
    if plainly is not None:
        return Outcome("bad", stuck=plainly[0], reason=plainly[1])
    wrong = rules.contradiction(operations)
    if wrong is not None and not bounds.order:
        return Outcome("bad", stuck=wrong[0], reason=wrong[1])
    if wrong is not None:  # then it is only looked how far an order gets
        bounds = replace(bounds, configurations=min(bounds.configurations, len(operations) + SHORT_CONFIGURATIONS))
    found = _Search(rules.begin, lay_out(operations, moves), operations, bounds).run()
    if wrong is None or found.verdict == "bad":
        return found
    return replace(found, verdict="bad", stuck=wrong[0], reason=wrong[1])


@dataclass(slots=True)
class _Frame(Generic[State]):
    """A configuration that waits for `turn` and tries one change after the other; `tried` of them so far."""

    turn: int
    done: int
    state: State
    credit: int
    path: Path
    tried: int = 0


def _in_vain(look: Pending[State], done: int, state: State, credit: int) -> bool:
    """The operation waits for a state that no other operation can still make."""
    if look.makers & ~done or look.free_makers & credit:
        return False
    return look.beyond is None or look.beyond(state)


class _Search(Generic[State]):
    def __init__(self, begin: State, layout: Layout[State], operations: Sequence[Operation], bounds: Bounds) -> None:
        self._begin = begin
        self._layout = layout
        self._turns: tuple[Turn[State], ...] = layout.turns
        self._operations = operations
        self._bounds = bounds
        self._seen: dict[Hashable, tuple[int, ...]] = {}
        self._count = 0
        self._furthest = -1
        self._longest: Path = None
        self._stuck: int | None = None
        self._stack: list[_Frame[State]] = []

    def run(self) -> Outcome:
        if self._arrive(0, 0, self._begin, self._layout.open_, None):
            return self._outcome("good")
        while self._stack:
            if self._count >= self._bounds.configurations:
                return self._outcome("unknown", f"stopped at {self._count:,} configurations")
            if self._count % LOOK_AT_CLOCK_EVERY == 0 and self._bounds.over():
                return self._outcome("unknown", f"stopped by time at {self._count:,} configurations")
            if self._advance(self._stack[-1]):
                return self._outcome("good")
        return self._outcome("bad")

    def _advance(self, frame: _Frame[State]) -> bool:
        """The next change that this configuration can try; true: it led to the end."""
        if frame.tried < 0:  # what could have happened until now has not
            frame.tried = 0
            return self._arrive(frame.turn + 1, frame.done, frame.state, frame.credit, frame.path)
        changes = self._turns[frame.turn].changes
        while frame.tried < len(changes):
            change = changes[frame.tried]
            frame.tried += 1
            found = self._try(frame, change)
            if found is not None:
                return found
        self._stack.pop()
        return False

    def _try(self, frame: _Frame[State], change: Pending[State]) -> bool | None:
        """None: it cannot happen here."""
        if frame.done & change.bit:
            return None
        credit, number, done = frame.credit, change.number, frame.done | change.bit
        if not change.bit:
            left = credit & change.free
            if not left:
                return None
            earliest = left & -left
            credit ^= earliest
            number = self._layout.number_of[earliest]
        state = change.step(frame.state)
        if state is None or (not change.bit and state == frame.state):
            return None
        self._count += 1
        return self._arrive(frame.turn, done, state, credit, (number, frame.path))

    def _arrive(self, turn: int, done: int, state: State, credit: int, path: Path) -> bool:
        """Go over all returns that need nothing more; keep the configuration if it is new. True: none is left."""
        while True:
            if turn > self._furthest:
                self._furthest, self._longest, self._stuck = turn, path, None
            if turn == len(self._turns):
                return True
            here = self._turns[turn]
            for look in here.looks:
                if credit & look.bit:
                    continue
                if look.step(state) is not None:
                    credit |= look.bit
                    path = (look.number, path)
                elif _in_vain(look, done, state, credit):
                    return self._hopeless(turn, look.number, path)
            if here.ahead and here.ahead.step(state) is None and _in_vain(here.ahead, done, state, credit):
                return self._hopeless(turn, here.ahead.number, path)
            for change in here.needy:
                hope = done & change.bit or change.makers & ~done or change.free_makers & credit
                if not hope and change.step(state) is None:
                    return self._hopeless(turn, change.number, path)
            if here.lapses:
                if credit & here.bit:
                    break
            elif here.pure and credit & here.bit:
                credit ^= here.bit
            elif not here.pure and done & here.bit:
                done ^= here.bit
            else:
                break
            turn += 1
        idle = done & here.idle
        if self._is_new((turn, done ^ idle, state), credit | here.over | idle << self._layout.width):
            self._stack.append(_Frame(turn, done, state, credit, path, tried=-1 if here.lapses else 0))
        return False

    def _hopeless(self, turn: int, number: int, path: Path) -> bool:
        """This operation can never be put into the order any more."""
        if turn == self._furthest and self._stuck is None:
            self._stuck, self._longest = number, path
        return False

    def _is_new(self, place: Hashable, credit: int) -> bool:
        known = self._seen.get(place, ())
        if any(credit & ~other == 0 for other in known):
            return False
        self._seen[place] = (*(other for other in known if other & ~credit), credit)
        return True

    def _outcome(self, verdict: Verdict, reason: str = "") -> Outcome:
        numbers: list[int] = []
        path = self._longest
        while path is not None:
            number, path = path
            numbers.append(number)
        stuck = None
        if verdict != "good" and self._furthest < len(self._turns):
            number = self._turns[self._furthest].number if self._stuck is None else self._stuck
            stuck = self._operations[number]
        order = tuple(self._operations[number] for number in reversed(numbers))
        return Outcome(verdict, order, stuck, reason, self._count)
