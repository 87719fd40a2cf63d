"""The view of a run in progress: a changing panel on a terminal, elsewhere a line every few seconds.

It counts each operation once, as it comes in, and asks nobody.
"""

import time
from collections import Counter, deque
from contextlib import AbstractContextManager
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from jepsen_like.history.record import Operation
from jepsen_like.history.recorder import Recorder
from jepsen_like.runs.options import Options
from jepsen_like.runs.polling import State

LINE_EVERY_S: Final = 5.0
RATE_S: Final = 2.0  # over which the rate is taken
ERRORS: Final = 4
COLOURS: Final = {"leader": "green", "follower": "cyan", "learner": "blue"}


class Seen:
    """The history so far, in numbers."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._read = 0
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self.types: Counter[str] = Counter()
        self.errors: deque[str] = deque(maxlen=ERRORS)

    def look(self) -> None:
        end = len(self._recorder.operations)
        for operation in self._recorder.operations[self._read : end]:
            self.types[operation.type] += 1
            if operation.type == "unknown" or operation.error in ("lost", "nonsense"):
                self.errors.append(_told(operation))
        self._read = end
        self._marks.append((time.monotonic(), end))
        while len(self._marks) > 2 and self._marks[0][0] < time.monotonic() - RATE_S:
            self._marks.popleft()

    @property
    def rate(self) -> float:
        (began, first), (now, last) = self._marks[0], self._marks[-1]
        return (last - first) / (now - began) if now > began else 0.0

    def line(self) -> str:
        types = self.types
        return f"{self.rate:6.0f} ops/s, {types['ok']} ok, {types['fail']} fail, {types['unknown']} unknown"


def _told(operation: Operation) -> str:
    return f"{operation.call / 1e9:7.1f} s  {operation.f} {operation.key} at {operation.node}: {operation.error}"


class Now(Protocol):
    """The state of the run that a view shows besides."""

    seen: Seen

    @property
    def phase(self) -> str: ...

    @property
    def elapsed(self) -> float: ...

    @property
    def states(self) -> dict[str, State]: ...

    @property
    def faults(self) -> list[str]: ...


class View(Protocol):
    """`show` is called some ten times a second, and at each change of phase."""

    def show(self, now: Now) -> None: ...


class Lines:
    """`console`: where they go."""

    def __init__(self, console: Console, options: Options) -> None:
        self._console = console
        self._options = options
        self._phase = ""
        self._due = 0.0

    def show(self, now: Now) -> None:
        if now.phase == self._phase and time.monotonic() < self._due:
            return
        self._phase, self._due = now.phase, time.monotonic() + LINE_EVERY_S
        now.seen.look()
        faults = ", ".join(now.faults) or "no faults"
        line = f"{now.elapsed:5.0f} s  {now.phase}: {now.seen.line()}; {faults}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Panel:
    """For a terminal; inside `live()`."""

    def __init__(self, console: Console, options: Options) -> None:
        self._options = options
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._phase = ""
        self._due = 0.0

    def live(self) -> AbstractContextManager[object]:
        return self._live

    def show(self, now: Now) -> None:
        if now.phase == self._phase and time.monotonic() < self._due:
            return
        self._phase, self._due = now.phase, time.monotonic() + 0.25
        now.seen.look()
        self._live.update(self._drawn(now), refresh=True)

    def _drawn(self, now: Now) -> Group:
        options = self._options
        head = f"[bold]{escape(options.workload)}[/bold] under {escape(options.faults)}, seed {options.seed}"
        left = max(0.0, options.seconds - now.elapsed)
        lines = [
            head,
            f"{now.phase}: {now.elapsed:.0f} s gone, {left:.0f} s of load to go",
            _coloured(now.seen),
            f"faults: [red]{escape(', '.join(now.faults))}[/red]" if now.faults else "faults: none now",
        ]
        errors = [f"[dim]{escape(error)}[/dim]" for error in now.seen.errors]
        return Group(*lines, _replicas(now.states), *errors)


def _coloured(seen: Seen) -> str:
    types = seen.types
    return (
        f"{seen.rate:.0f} ops/s   [green]{types['ok']} ok[/green]   [yellow]{types['fail']} fail[/yellow]   "
        f"[magenta]{types['unknown']} unknown[/magenta]"
    )


def _replicas(states: dict[str, State]) -> Table:
    table = Table("replica", "role", "term", "applied", box=None, padding=(0, 2))
    for name, state in sorted(states.items()):
        colour = COLOURS.get(state.role, "red")
        number = ["" if value is None else str(value) for value in (state.term, state.applied)]
        table.add_row(name, f"[{colour}]{state.role}[/{colour}]", *number)
    return table
