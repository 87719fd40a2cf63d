"""A counterexample drawn: rows are processes, bars go from call to return, open ones run out of the picture.

Bars of the counterexample are full, those around it pale; the operation that fits nowhere is red. Numbers give the
longest order that the search found. The SVG needs nothing else.
"""

from collections.abc import Sequence
from html import escape
from typing import Final

from jepsen_like.checkers.counterexample import Counterexample
from jepsen_like.checkers.search import Outcome
from jepsen_like.checkers.table import done_said, has_places, time_said
from jepsen_like.history.record import Operation

OPERATIONS_MAX: Final = 200
LABEL_CHARACTERS_MAX: Final = 40
LEFT, ROW, BAR, TOP = 96, 34, 24, 30
WIDTH_MIN, WIDTH_MAX, STEP = 1000, 3600, 18
CHARACTER: Final = 6.3  # how wide one is
COLOURS: Final = {"ok": "#8fc79a", "fail": "#d8d8d8", "unknown": "#f0c36d"}
STUCK: Final = "#e05252"


def timeline(operations: Sequence[Operation], counterexample: Counterexample, found: Outcome) -> str:
    """`operations`: of the whole key; `found`: the search over them. One <svg> element."""
    shown = _window(operations, counterexample)
    core = {id(operation) for operation in counterexample.operations}
    stuck = counterexample.outcome.stuck
    drawn = {id(operation) for operation in shown}
    in_order = [id(operation) for operation in found.order if id(operation) in drawn]
    place = {one: number for number, one in enumerate(in_order, 1)}
    lanes, scale = _lanes(shown), _Scale(shown)
    width, height = LEFT + scale.width + 30, TOP + ROW * (max(lanes.values(), default=0) + 1) + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" font-family="system-ui, sans-serif" font-size="11">',
        "<title>Operations of the counterexample over time</title>",
        f'<rect width="100%" height="{height}" fill="#fff"/>',
        *_row_names(shown, lanes, scale.width),
    ]
    for operation in shown:
        one = id(operation)
        is_stuck = stuck is not None and _same(operation, stuck)
        parts.append(_bar(operation, scale, lanes[one], pale=one not in core, red=is_stuck, number=place.get(one)))
    y, (first, last) = height - 8, scale.ends
    parts.append(f'<text x="{LEFT}" y="{y}" fill="#555">{escape(first)}</text>')
    parts.append(f'<text x="{LEFT + scale.width}" y="{y}" fill="#555" text-anchor="end">{escape(last)}</text></svg>')
    return "".join(parts)


def _same(one: Operation, other: Operation) -> bool:
    return (one.process, one.call, one.f) == (other.process, other.call, other.f)


def _window(operations: Sequence[Operation], counterexample: Counterexample) -> list[Operation]:
    """The counterexample, and what overlaps with it as far as there is room, the nearest to its last call first."""
    core = list(counterexample.operations)[-OPERATIONS_MAX:]
    if not core:
        return []
    known = {id(operation) for operation in core}
    ends = [operation.call if operation.return_ is None else operation.return_ for operation in core]
    first, last = min(operation.call for operation in core), max(ends)
    around = [
        operation
        for operation in operations
        if id(operation) not in known
        and operation.call <= last
        and (operation.return_ is None or operation.return_ >= first)
    ]
    around.sort(key=lambda operation: abs(operation.call - core[-1].call))
    room = min(OPERATIONS_MAX - len(core), max(20, 3 * len(core)))
    return sorted([*core, *around[:room]], key=lambda operation: operation.call)


def _lanes(shown: Sequence[Operation]) -> dict[int, int]:
    """A row for each process, by operation; more than one for a process that overlaps with itself (the log)."""
    taken: list[tuple[int, float]] = []  # of each row: whose it is, and until when it is used
    lanes: dict[int, int] = {}
    for operation in sorted(shown, key=lambda operation: (operation.process, operation.call)):
        free = next(
            (
                row
                for row, (process, until) in enumerate(taken)
                if process == operation.process and until <= operation.call
            ),
            len(taken),
        )
        until = float("inf") if operation.return_ is None else operation.return_
        taken[free : free + 1] = [(operation.process, until)]
        lanes[id(operation)] = free
    return lanes


def _row_names(shown: Sequence[Operation], lanes: dict[int, int], width: int) -> list[str]:
    parts: list[str] = []
    for row, process in {lanes[id(operation)]: operation.process for operation in shown}.items():
        name, y = "the log" if process < 0 else f"process {process}", TOP + ROW * row
        parts.append(f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end" fill="#333">{name}</text>')
        parts.append(f'<path d="M{LEFT} {y + BAR + 5}h{width}" stroke="#eee"/>')
    return parts


class _Scale:
    """Places, not lengths of time: calls and returns at equal distances, so that what is short can be read too."""

    def __init__(self, shown: Sequence[Operation]) -> None:
        calls = {operation.call for operation in shown}
        times = sorted(calls | {operation.return_ for operation in shown if operation.return_ is not None})
        self._place = {at: number for number, at in enumerate(times)}
        self.width = min(WIDTH_MAX, max(WIDTH_MIN, STEP * len(times)))
        self._step = self.width / max(1, len(times))
        self._has_places = has_places(shown)
        self.ends = (self.said(times[0]), self.said(times[-1])) if times else ("", "")

    def said(self, at: int | None) -> str:
        return time_said(at, places=self._has_places)

    def x(self, at: int) -> float:
        return LEFT + self._step * self._place[at]


def _bar(operation: Operation, scale: _Scale, row: int, *, pale: bool, red: bool, number: int | None) -> str:
    x, y = scale.x(operation.call), TOP + ROW * row
    end = LEFT + scale.width if operation.return_ is None else scale.x(operation.return_)
    width = max(4.0, end - x)
    colour = STUCK if red else COLOURS[operation.type]
    label = done_said(operation)
    times = f"{scale.said(operation.call)} to {scale.said(operation.return_)}"
    if operation.return_ is None:
        tip = f"l12 {BAR / 2:g}l-12 {BAR / 2:g}"
        shape = f'<path d="M{x:.1f} {y}h{width:.1f}{tip}h-{width:.1f}z" fill="{colour}" stroke="#666"/>'
    else:
        shape = f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="3" fill="{colour}" stroke="#666"/>'
    weight, ink = ' opacity="0.45"' if pale else "", "#fff" if red else "#111"
    return (
        f"<g{weight}>{shape}<title>{escape(f'process {operation.process}: {label}, {times}')}</title>"
        f'<text x="{x + 4:.1f}" y="{y + 16}" fill="{ink}">{_text(label, number, width)}</text></g>'
    )


def _text(label: str, number: int | None, width: float) -> str:
    """As much of the number and the words as there is room for."""
    order = "" if number is None else f"{number} "
    room = min(LABEL_CHARACTERS_MAX, int((width - 4) / CHARACTER) - len(order))
    bold = f'<tspan font-weight="bold">{order}</tspan>' if order and room >= -1 else ""
    if room < 3:
        return bold
    return bold + escape(label if len(label) <= room else f"{label[: room - 1]}…")
