"""A history of one key laid out for the search: the pending operations at each return, in the order of the returns.

Ties in time count as overlap: a call at the instant of a return is before it. Operations of known outcome get slots
that are used again after their return, so that a bitset stays as small as the number of clients. An operation of
unknown outcome has a bit for ever. Those that do the same are one class, and one that must have happened sooner, if at
all, is used first (most may happen at any time).

Where a model names what an operation needs and makes, each pending operation knows which others may still make it. If
none may, the search turns back before it reaches the return.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate
from typing import Final, Generic

from jepsen_like.checkers.models.rules import Move, State
from jepsen_like.history.record import Operation

ANYBODY: Final = -1  # all bits: there is hope whatever is done
FOR_EVER: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Pending(Generic[State]):
    """`number`: of the operation. `bit`: its slot; of a class of unknown ones 0, and `free` are their bits.

    `makers`, `free_makers`: the pending changes and the unknown operations that make what it needs; `beyond`: in which
    states only these help (None: in every one).
    """

    number: int
    bit: int
    free: int
    step: Callable[[State], State | None]
    makers: int = ANYBODY
    free_makers: int = 0
    beyond: Callable[[State], bool] | None = None


@dataclass(frozen=True, slots=True)
class Turn(Generic[State]):
    """One return. `bit`: the slot of its operation; if it `lapses`, of an unknown one that may never have happened.

    `looks`: pending ones that change nothing; `ahead`: of those still to be called the one that returns first, if it
    is known what it needs. `changes`: what may happen before this return: the operation that
    returns, then those that return soonest, then the unknown ones. `needy`: those of the changes for which not anybody
    can make what they need. `idle`: slots of changes into a state that nobody needs any more. `over`: bits of unknown
    ones that cannot happen any more.
    """

    number: int
    bit: int
    pure: bool
    lapses: bool
    looks: tuple[Pending[State], ...]
    ahead: Pending[State] | None
    changes: tuple[Pending[State], ...]
    needy: tuple[Pending[State], ...]
    idle: int
    over: int


@dataclass(frozen=True, slots=True)
class Layout(Generic[State]):
    """`open_`: the bits of all operations of unknown outcome; `number_of`: by bit. Slots of looks lie above them, and
    all of them below the bit `width`."""

    turns: tuple[Turn[State], ...]
    open_: int
    number_of: dict[int, int]
    width: int


def lay_out(operations: Sequence[Operation], moves: Sequence[Move[State] | None]) -> Layout[State]:
    """`moves[i]` is of `operations[i]`; None leaves it out."""
    events: list[tuple[int, int, int]] = []
    for number, (operation, move) in enumerate(zip(operations, moves, strict=True)):
        if move is not None:
            events.append((operation.call, 0, number))
            if operation.type != "unknown" or operation.return_ is not None:
                events.append((_end(operation), 1, number))
    events.sort()
    return _Walk(operations, moves).over(events)


def _end(operation: Operation) -> int:
    """When it had happened at the latest: some day, if it was closed with nothing behind it."""
    return FOR_EVER if operation.return_ is None else operation.return_


class _Walk(Generic[State]):
    """Over the calls and returns in their order."""

    def __init__(self, operations: Sequence[Operation], moves: Sequence[Move[State] | None]) -> None:
        self._operations = operations
        self._moves = moves
        known = list(zip(operations, moves, strict=True))
        unknown = [number for number, (one, move) in enumerate(known) if move is not None and one.type == "unknown"]
        unknown.sort(key=lambda number: (_end(operations[number]), operations[number].call))
        self._number_of = {1 << place: number for place, number in enumerate(unknown)}
        self._bit_of = {number: bit for bit, number in self._number_of.items()}
        self._over = 0
        self._looks: _Slots[State] = _Slots(first=len(unknown))
        self._changes: _Slots[State] = _Slots(first=0)
        self._classes: dict[Hashable, Pending[State]] = {}
        self._free_makers: defaultdict[Hashable, int] = defaultdict(int)
        self._calls_of_makers: defaultdict[Hashable, list[int]] = defaultdict(list)
        for operation, move in known:
            if move is not None and move.makes is not None:
                self._calls_of_makers[move.makes].append(operation.call)
        for calls in self._calls_of_makers.values():
            calls.sort()
        self._needs: defaultdict[Hashable, list[Operation]] = defaultdict(list)
        for operation, move in known:
            if move is not None and move.needs is not None:
                self._needs[move.needs].append(operation)
        self._overwrites = _overwrites(operations, moves)
        self._coming = _Coming(operations, moves)
        self._all_named = all(
            move is None or (move.needs is not None if move.pure else move.makes is not None) for move in moves
        )

    def over(self, events: Sequence[tuple[int, int, int]]) -> Layout[State]:
        turns: list[Turn[State]] = []
        for at, returns, number in events:
            move = self._moves[number]
            assert move is not None, "what was left out has no events"
            slots = self._looks if move.pure else self._changes
            if self._operations[number].type == "unknown":
                if not returns:
                    self._opened(number, move)
                else:
                    turns.append(self._turn(number, self._bit_of[number], at, lapses=True))
                    self._ended(number, move)
            elif not returns:
                slots.take(number, move)
            else:
                turns.append(self._turn(number, slots.pending[number].bit, at, lapses=False))
                slots.give_back(number)
        return Layout(tuple(turns), (1 << len(self._number_of)) - 1, self._number_of, self._looks.width)

    def _opened(self, number: int, move: Move[State]) -> None:
        bit = self._bit_of[number]
        known = self._classes.get(move.same)
        self._classes[move.same] = Pending(number, 0, bit if known is None else known.free | bit, move.step)
        if move.makes is not None:
            self._free_makers[move.makes] |= bit

    def _ended(self, number: int, move: Move[State]) -> None:
        bit = self._bit_of[number]
        self._over |= bit
        known = self._classes.pop(move.same)
        if known.free != bit:
            self._classes[move.same] = Pending(number, 0, known.free ^ bit, move.step)
        if move.makes is not None:
            self._free_makers[move.makes] ^= bit

    def _turn(self, number: int, own: int, at: int, *, lapses: bool) -> Turn[State]:
        looks = tuple(self._hoping(pending, at) for pending in self._looks.pending.values())
        changes = [self._hoping(pending, at) for pending in self._changes.pending.values()]
        changes.sort(key=lambda pending: (pending.number != number, _end(self._operations[pending.number])))
        needy = tuple(pending for pending in changes if pending.makers != ANYBODY)
        pure, choice = number in self._looks.pending, (*changes, *self._classes.values())
        return Turn(number, own, pure, lapses, looks, self._ahead(at), choice, needy, self._idle(at), self._over)

    def _ahead(self, at: int) -> Pending[State] | None:
        number = self._coming.after(at)
        move = None if number is None else self._moves[number]
        if number is None or move is None or move.needs is None:
            return None
        hoping = self._hoping(Pending(number, 0, 0, move.step), at)
        return None if hoping.makers == ANYBODY else hoping

    def _idle(self, at: int) -> int:
        """A change is idle if nothing that is still to return can meet the state that it makes."""
        idle = 0
        for pending in self._changes.pending.values() if self._all_named else ():
            move = self._moves[pending.number]
            assert move is not None, "what is pending was not left out"
            gone = self._overwrites.after(_end(self._operations[pending.number]))
            if not any(need.call <= gone and _end(need) >= at for need in self._needs[move.makes]):
                idle |= pending.bit
        return idle

    def _hoping(self, pending: Pending[State], at: int) -> Pending[State]:
        """With those who may make what it needs, unless one that is called later, but in time, may."""
        move = self._moves[pending.number]
        if move is None or move.needs is None:
            return pending
        calls = self._calls_of_makers.get(move.needs, [])
        later = bisect_right(calls, at)
        if later < len(calls) and calls[later] <= _end(self._operations[pending.number]):
            return pending
        makers = self._changes.makers[move.needs] & ~(0 if move.pure else pending.bit)
        free = self._free_makers.get(move.needs, 0)
        return Pending(pending.number, pending.bit, 0, pending.step, makers, free, move.beyond)


class _Overwrites:
    """When a state that was made has been made another one for certain: a change was called and has returned since."""

    def __init__(self, changes: Sequence[Operation]) -> None:
        self._calls = [operation.call for operation in changes]
        self._ends = [FOR_EVER]
        for operation in reversed(changes):
            self._ends.append(min(self._ends[-1], _end(operation)))
        self._ends.reverse()

    def after(self, at: int) -> int:
        return self._ends[bisect_right(self._calls, at)]


def _overwrites(operations: Sequence[Operation], moves: Sequence[Move[State] | None]) -> _Overwrites:
    changes = [
        operation
        for operation, move in zip(operations, moves, strict=True)
        if move is not None and not move.pure and operation.type != "unknown"
    ]
    return _Overwrites(sorted(changes, key=lambda operation: operation.call))


class _Coming:
    """The look of known outcome that is called after a time, and returns before all other such."""

    def __init__(self, operations: Sequence[Operation], moves: Sequence[Move[State] | None]) -> None:
        looks = [
            (operation.call, _end(operation), number)
            for number, (operation, move) in enumerate(zip(operations, moves, strict=True))
            if move is not None and move.pure and operation.type != "unknown"
        ]
        looks.sort()
        self._calls = [call for call, _, _ in looks]
        firsts = accumulate(((end, number) for _, end, number in reversed(looks)), min)
        self._firsts = [number for _, number in firsts][::-1]

    def after(self, at: int) -> int | None:
        place = bisect_right(self._calls, at)
        return self._firsts[place] if place < len(self._firsts) else None


class _Slots(Generic[State]):
    """Bits from `first` on, the lowest free one at a time. `makers`: by what they make, those of pending ones."""

    def __init__(self, first: int) -> None:
        self.width = first
        self._free: list[int] = []
        self._makes: dict[int, Hashable] = {}
        self.pending: dict[int, Pending[State]] = {}
        self.makers: defaultdict[Hashable, int] = defaultdict(int)

    def take(self, number: int, move: Move[State]) -> None:
        if self._free:
            bit = heappop(self._free)
        else:
            bit, self.width = 1 << self.width, self.width + 1
        self.pending[number] = Pending(number, bit, 0, move.step)
        if move.makes is not None:
            self._makes[number] = move.makes
            self.makers[move.makes] |= bit

    def give_back(self, number: int) -> None:
        bit = self.pending.pop(number).bit
        heappush(self._free, bit)
        if number in self._makes:
            self.makers[self._makes.pop(number)] ^= bit
