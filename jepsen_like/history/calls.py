"""Histories of others as calls and returns in their order, put together to operations.

Times are places in that order. A call stays open until it is answered; `info`, or no answer at all, leaves it open for
ever, and the process may go on. Refused: a return without a call, a call while the last is unanswered.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from jepsen_like.history.record import Operation

Happening = Literal["invoke", "ok", "fail", "info"]
_HAPPENINGS: Final[dict[str, Happening]] = {"invoke": "invoke", "ok": "ok", "fail": "fail", "info": "info"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of such a history. `value`: what was asked, or what was told."""

    line: int
    process: int
    type: Happening
    f: str
    value: object = None
    key: str = ""
    error: str | None = None


def happening(text: object, line: int) -> Happening:
    """Raises: ValueError."""
    found = _HAPPENINGS.get(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"line {line}: the type {text!r} is none of {', '.join(_HAPPENINGS)}")
    return found


@dataclass(slots=True)
class Calls:
    """`complete`: the operation that a call and what came of it are (None: nothing did)."""

    complete: Callable[[Entry, Entry | None, int, int], Operation]
    _pending: dict[int, tuple[Entry, int]] = field(default_factory=dict)
    _operations: list[Operation] = field(default_factory=list)
    _place: int = 0

    def add(self, entry: Entry) -> None:
        """The next line. Raises: ValueError naming it."""
        if entry.type == "invoke":
            if entry.process in self._pending:
                before = self._pending[entry.process][0].line
                raise ValueError(
                    f"line {entry.line}: process {entry.process} asks again, its call of line {before} is unanswered"
                )
            self._pending[entry.process] = (entry, self._place)
        else:
            call, at = self._pending.pop(entry.process, (None, 0))
            if call is None:
                raise ValueError(f"line {entry.line}: process {entry.process} is answered, but had not asked")
            if (call.f, call.key) != (entry.f, entry.key):
                raise ValueError(f"line {entry.line}: process {entry.process} asked for {call.f} and is told {entry.f}")
            self._operations.append(self.complete(call, entry, at, self._place))
        self._place += 1

    def operations(self) -> tuple[Operation, ...]:
        """All, in the order of their calls; to be asked once, behind the last line."""
        for call, at in self._pending.values():
            self._operations.append(self.complete(call, None, at, self._place))
        return tuple(sorted(self._operations, key=lambda operation: operation.call))
