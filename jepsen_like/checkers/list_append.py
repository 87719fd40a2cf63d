"""Lists that are only appended to: every read is a beginning of one order, and the orders of all lists fit together.

The longest list that anybody saw of a key is its order. From it follow, in linear time, the anomalies that no history
of a correct group shows: G1a (a value of a failed append was read), never-appended, duplicate, incompatible-order,
lost-update, lost-append, stale-read, real-time-order, internal, G1b, and the cycles of `cycles.py`. After Kingsbury
and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", 2020.

The rule: only what must be wrong is called wrong. Reads of the weak levels may be old, and values that nobody saw prove
nothing.
"""

from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Final

from msgspec import convert

from jepsen_like.checkers.columns import FUNCTIONS, Column, Shown, Value, columns_of
from jepsen_like.checkers.complaints import Complaints, short, tell
from jepsen_like.checkers.cycles import KINDS, RT, RW, WR, WW, Cycle, Graph, Step
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.order import strong, sweep
from jepsen_like.history.record import Operation

STEPS_TOLD: Final = 8  # of a cycle
_UNSEEN_MAX: Final = 30  # of a list that are looked at, so that the graph stays linear


def check(evidence: Evidence) -> Finding:
    """`Ending.extra["lists"]`: key -> the list in the end."""
    operations = [one for one in evidence.history.operations if one.f in FUNCTIONS]
    complaints = Complaints("list-append")
    if not operations:
        complaints.doubt("nothing was appended or read")
    columns = columns_of(operations, complaints)
    if "lists" in evidence.ending.extra:
        final = convert(evidence.ending.extra["lists"], dict[str, list[Value]])
        for key in (*columns, *(key for key in final if key not in columns)):
            column = columns.setdefault(key, Column(key, len(columns)))
            column.final = final.get(key, [])
            column.shown.append(Shown(-1, column.final, 0))
    graph = Graph(len(operations))
    for column in columns.values():
        _Judge(column, operations, complaints).judge(graph)
    _real_time(graph, operations)
    names = list(columns)
    for cycle in graph.cycles():
        complaints.add(cycle.name, _spelled(cycle, operations, names))
    done = sum(one.type == "ok" for one in operations)
    longest = sum(len(column.order) for column in columns.values())
    return complaints.finding(
        f"{done} of {len(operations)} operations on {len(columns)} lists fit one order, which real time allows; "
        f"{longest} values in it",
        {"operations": len(operations), "ok": done, "lists": len(columns), "values": longest},
    )


# --- one key ----------------------------------------------------------------------------------------
class _Judge:
    def __init__(self, column: Column, operations: Sequence[Operation], complaints: Complaints) -> None:
        self._column = column
        self._operations = operations
        self._add = complaints.add

    def judge(self, graph: Graph) -> None:
        column = self._column
        longest = max(column.shown, key=lambda one: len(one.seen), default=None)
        column.order = [] if longest is None else longest.seen
        self._values(column.order, "the list" if longest is None else self._who(longest.by))
        fitting = [one for one in column.shown if self._fits(one, longest)]
        places = {value: place for place, value in enumerate(column.order)}
        self._edges(graph, fitting)
        self._in_time(fitting, places)
        self._lost(places)

    def _who(self, number: int) -> str:
        return "the read in the end" if number < 0 else tell(self._operations[number])

    def _values(self, seen: Sequence[Value], who: str) -> None:
        met: set[Value] = set()
        for value in seen:
            writer = self._column.writers.get(value)
            if value in met:
                self._add("duplicate", f"{self._column.key} has {short(value)} twice: {who}")
            elif writer is None:
                self._add("never-appended", f"{self._column.key} has {short(value)}, which nobody appended: {who}")
            elif self._operations[writer].type == "fail":
                self._add("G1a", f"{self._who(writer)} was refused, and is in {self._column.key}: {who}")
            met.add(value)

    def _fits(self, one: Shown, longest: Shown | None) -> bool:
        order = self._column.order
        if longest is None or one.seen == order[: len(one.seen)]:
            return True
        place = next(k for k, (a, b) in enumerate(zip(one.seen, order, strict=False)) if a != b)
        kind = "incompatible-order"
        if one.own and place == one.before:  # it appended to what another had appended to before
            kind = "lost-update"
        self._add(
            kind,
            f"{self._column.key}: {short(one.seen[place])} and {short(order[place])} both stand at place {place}: "
            f"{self._who(one.by)}; and {self._who(longest.by)}",
        )
        self._values(one.seen, self._who(one.by))
        return False

    def _edges(self, graph: Graph, fitting: Sequence[Shown]) -> None:
        column = self._column
        line = [column.writers.get(value, -1) for value in column.order]
        for before, after in pairwise(line):
            if before >= 0 and after >= 0:
                graph.add(before, after, WW, column.number)
        unseen = self._unseen(frozenset(line))
        for after in unseen if line and line[-1] >= 0 else ():
            graph.add(line[-1], after, WW, column.number)
        readers = 0  # of the whole line
        for by, seen, own in fitting:
            if by < 0 or own:  # what it appended stands in the line already
                continue
            length = len(seen)
            writer = line[length - 1] if length else -1
            following = line[length] if length < len(line) else -1
            if writer >= 0:
                graph.add(writer, by, WR, column.number)
            if following >= 0:
                graph.add(by, following, RW, column.number)
            if length == len(line) and readers < _UNSEEN_MAX:
                readers += 1
                for after in unseen:
                    graph.add(by, after, RW, column.number)
            if writer >= 0 and writer == following and writer != by:
                self._add("G1b", f"{self._who(by)} saw half of {self._who(writer)}")

    def _unseen(self, line: frozenset[int]) -> list[int]:
        """Acknowledged appends that nobody saw: they stand behind everything that was seen."""
        unseen: list[int] = []
        for writer in self._column.writers.values():
            if writer not in line and self._operations[writer].type == "ok":
                unseen.append(writer)
                if len(unseen) == _UNSEEN_MAX:
                    break
        return unseen

    def _in_time(self, fitting: Sequence[Shown], places: dict[Value, int]) -> None:
        """Values that were shown before an operation's call stand before its append, and in the list that it read."""
        column, operations = self._column, self._operations
        shown = [(one.by, one.before, len(one.seen)) for one in fitting if one.by >= 0]
        told = {one.by for one in fitting if one.own}
        for value, writer in column.writers.items():
            place = places.get(value)
            if place is not None and writer not in told:
                shown.append((writer, place, place + 1))
        calls = [(operations[one[0]].call, one) for one in shown if strong(operations[one[0]])]
        ends = [(operations[one[0]].return_, one) for one in shown if operations[one[0]].type == "ok"]
        returns = [(end, one) for end, one in ends if end is not None]
        most = (-1, 0, 0)
        for one, returned in sweep(sorted(calls, key=itemgetter(0)), sorted(returns, key=itemgetter(0))):
            if returned:
                most = max(most, one, key=itemgetter(2))
            elif one[1] < most[2]:
                reads = operations[one[0]].f == "read" or one[1] == one[2]
                self._add(
                    "stale-read" if reads else "real-time-order",
                    f"{column.key}: {self._who(one[0])} {'shows' if reads else 'stands after'} {one[1]} values, and "
                    f"before it was called {most[2]} were there: {self._who(most[0])}",
                )

    def _lost(self, places: dict[Value, int]) -> None:
        """Acknowledged and not in the end, or not in a list read afterwards."""
        column, operations = self._column, self._operations
        final = None if column.final is None else set(column.final)
        strong_reads = [one.by for one in column.shown if one.by >= 0 and strong(operations[one.by])]
        last = max(strong_reads, key=lambda by: operations[by].call, default=None)
        for value, writer in column.writers.items():
            operation = operations[writer]
            acknowledged = operation.type == "ok" and operation.return_ is not None
            if final is not None and value not in final and (acknowledged or value in places):
                what = "was acknowledged" if acknowledged else "was read"
                self._add(
                    "lost-append", f"{short(value)} of {column.key} {what} and is gone in the end: {tell(operation)}"
                )
            elif final is None and last is not None and value not in places and acknowledged:
                called = operations[last].call
                if operation.return_ is not None and operation.return_ < called:
                    self._add("lost-append", f"{tell(operation)} is missing from {self._who(last)}")


# --- all together -----------------------------------------------------------------------------------
def _real_time(graph: Graph, operations: Sequence[Operation]) -> None:
    """A chain of moments: who returned stands before the next moment, who is called after the one before.

    Operations of the weak levels may be told of the past, and stand in nobody's way.
    """
    binding = [(number, one) for number, one in enumerate(operations) if one.type != "fail" and strong(one)]
    calls = sorted(((one.call, number) for number, one in binding), key=itemgetter(0))
    ends = [(one.return_, number) for number, one in binding if one.type == "ok"]
    returns = sorted(((end, number) for end, number in ends if end is not None), key=itemgetter(0))
    moment: int | None = None
    fresh = False  # somebody has returned since somebody was called: they share a moment
    for number, returned in sweep(calls, returns):
        if returned:
            if not fresh or moment is None:
                before, moment, fresh = moment, graph.moment(), True
                if before is not None:
                    graph.add(before, moment, RT)
            graph.add(number, moment, RT)
        elif moment is not None:
            graph.add(moment, number, RT)
            fresh = False


def _spelled(cycle: Cycle, operations: Sequence[Operation], names: Sequence[str]) -> str:
    """A long way round is told by its beginning and its end."""
    parts = [
        f"({tell(operations[step.source])}) before, by {KINDS[step.kind]}{_on(step, names)}," for step in cycle.steps
    ]
    if len(parts) > STEPS_TOLD:
        half = STEPS_TOLD // 2
        parts[half:-half] = [f"… {len(parts) - 2 * half} steps more …"]
    return " ".join([*parts, f"({tell(operations[cycle.steps[0].source])})"])


def _on(step: Step, names: Sequence[str]) -> str:
    return f" on {names[step.key]}" if step.key >= 0 else ""
