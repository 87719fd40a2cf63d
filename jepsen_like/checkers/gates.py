"""Gates, replayed from the log: their approvals, their pinned memories, and the state that follows.

The rules: a gate is open exactly while it has its approvals, every pinned memory stands at its version, and it was not
consumed. A change of a pinned memory closes it in the entry of the change, as an event. One consume succeeds. A write
under the guard of an open gate is applied while the gate is open. A read tells what the log says at its index.
"""

from bisect import bisect_right

from msgspec import Struct, convert

from jepsen_like.checkers.complaints import Complaints, tell
from jepsen_like.checkers.evidence import Evidence, Finding
from jepsen_like.checkers.order import by_entry
from jepsen_like.history.logged import Event, Log
from jepsen_like.history.record import Operation

NAME = "gates"
_CHANGES = frozenset({"ADD", "UPDATE", "DELETE", "EXPIRE"})
_ENDS = frozenset({"DELETE", "EXPIRE"})


class _Pin(Struct, frozen=True):
    memory: str
    version: int


class _Definition(Struct, frozen=True):
    required: int
    approvers: tuple[str, ...] = ()
    pins: tuple[_Pin, ...] = ()

    def same(self, other: "_Definition") -> bool:
        """The order means nothing."""
        return self.required == other.required and all(
            set(mine) == set(others) for mine, others in ((self.approvers, other.approvers), (self.pins, other.pins))
        )


class _Guard(Struct, frozen=True):
    gate: str | None = None
    open: bool | None = None


class _Guarded(Struct, frozen=True):
    guards: tuple[_Guard, ...] = ()


class Seen(Struct, frozen=True):
    """A gate as a read tells it."""

    open: bool
    approvals: tuple[str, ...]
    consumed: bool


class _Gate:
    def __init__(self, definition: _Definition) -> None:
        self.definition = definition
        self.approvals: list[str] = []
        self.consumed = False
        self.was_open = False  # after the last entry, or event of its own


class Replay:
    """Of a whole log. `states`: of each gate, what it was from which index on."""

    def __init__(self, found: Complaints) -> None:
        self._found = found
        self._gates: dict[str, _Gate] = {}
        self._versions: dict[str, int] = {}  # of active memories
        self.states: dict[str, list[tuple[int, Seen]]] = {}
        self.closed = 0

    def take(self, entry: tuple[Event, ...]) -> None:
        """The events of one index."""
        applied = [event for event in entry if event.outcome == "applied"]
        self._guards(entry)
        closed = {event.gate for event in applied if event.op == "GATE_CLOSE"}
        self.closed += len(closed)
        for event in applied:
            if event.op in _CHANGES and event.memory_id is not None and event.version is not None:
                self._change(event, closed)
            elif event.gate is not None and event.op != "GATE_CLOSE":
                self._operate(event)
        for event in entry:
            if event.outcome == "refused" and event.op == "GATE_CONSUME" and event.code == "wrong-state":
                self._refused(event)
        for name in {event.gate for event in applied if event.gate is not None} | closed:
            self._keep(name, entry[0].index)

    def _guards(self, entry: tuple[Event, ...]) -> None:
        """They stand in the payload of the first event."""
        first = entry[0]
        asked = convert(first.payload, _Guarded).guards if isinstance(first.payload, dict) else ()
        broken = [guard.gate for guard in asked if guard.gate and self._is_open(guard.gate) != guard.open]
        if first.outcome == "applied" and broken:
            self._found.add("guard-broken", f"{_at(first)} was applied, and {broken[0]} was closed")
        elif first.code == "precondition-failed" and asked and not broken and all(guard.gate for guard in asked):
            self._found.add("wrongly-refused", f"{_at(first)}: {asked[0].gate} was open")

    def _change(self, event: Event, closed: set[str | None]) -> None:
        assert event.memory_id is not None
        assert event.version is not None
        if event.op in _ENDS:
            self._versions.pop(event.memory_id, None)
        else:
            self._versions[event.memory_id] = event.version
        for name, gate in self._gates.items():
            if gate.was_open and not self._is_open(name):
                gate.was_open = False
                if name not in closed:
                    self._found.add("not-closed", f"{_at(event)} changes what {name} is pinned to: not closed")

    def _operate(self, event: Event) -> None:
        name = event.gate
        assert name is not None
        asked = event.requested_op or event.op
        gate = self._gates.get(name)
        if asked == "GATE_PUT":
            definition = convert(event.payload, _Definition)
            if gate is None or gate.consumed or not gate.definition.same(definition):
                gate = self._gates[name] = _Gate(definition)
        elif gate is None:
            self._found.add("no-such-gate", _at(event))
            return
        self._do(event, asked, name, gate)
        gate.was_open = self._is_open(name)
        if event.open != gate.was_open:
            self._found.add("wrongly-told", f"{_at(event)} says open={event.open}, and it is {gate.was_open}")

    def _do(self, event: Event, asked: str, name: str, gate: _Gate) -> None:
        actor = "" if event.actor is None else f"{event.actor.type}/{event.actor.id}"
        if asked == "GATE_APPROVE" and actor not in gate.approvals:
            approvers = gate.definition.approvers
            if approvers and not {actor, actor.partition("/")[2]} & set(approvers):
                self._found.add("no-approver", f"{_at(event)}: {actor} is none of {', '.join(approvers)}")
            if gate.consumed:
                self._found.add("after-the-end", f"{_at(event)}: {name} was consumed")
            gate.approvals.append(actor)
        elif asked == "GATE_REVOKE" and actor in gate.approvals:
            gate.approvals.remove(actor)
        elif asked == "GATE_CONSUME":
            if not self._is_open(name):
                why = "was consumed before" if gate.consumed else "was closed"
                self._found.add("wrongly-consumed", f"{_at(event)}: {name} {why}")
            gate.consumed = True

    def _refused(self, event: Event) -> None:
        if event.gate is not None and self._is_open(event.gate):
            self._found.add("wrongly-refused", f"{_at(event)}: {event.gate} was open")

    def _is_open(self, name: str) -> bool:
        gate = self._gates.get(name)
        return (
            gate is not None
            and not gate.consumed
            and len(gate.approvals) >= gate.definition.required
            and all(self._versions.get(pin.memory) == pin.version for pin in gate.definition.pins)
        )

    def _keep(self, name: str | None, index: int) -> None:
        gate = None if name is None else self._gates.get(name)
        if name is not None and gate is not None:
            seen = Seen(self._is_open(name), tuple(gate.approvals), gate.consumed)
            self.states.setdefault(name, []).append((index, seen))


def check(evidence: Evidence) -> Finding:
    found = Complaints(NAME)
    if evidence.log is None:
        found.doubt("nobody could be asked for the log")
        return found.finding("")
    replay = replayed(evidence.log, found)
    read = sum(_judge(operation, replay, found) for operation in evidence.history.operations)
    consumed = sum(event.op == "GATE_CONSUME" and event.outcome == "applied" for event in evidence.log.events)
    good = (
        f"{len(replay.states)} gates, {consumed} consumed, {replay.closed} closed by a change of what they were pinned "
        f"to; {read} reads told what the log says"
    )
    return found.finding(good, {"gates": len(replay.states), "consumed": consumed, "closed": replay.closed})


def replayed(log: Log, found: Complaints) -> Replay:
    replay = Replay(found)
    for entry in by_entry(log):
        replay.take(entry)
    return replay


def _judge(operation: Operation, replay: Replay, found: Complaints) -> bool:
    """A read of a gate against the log; whether it was one."""
    states = replay.states.get(operation.key)
    if operation.f != "read" or operation.type != "ok" or operation.index is None or states is None:
        return False
    place = bisect_right(states, operation.index, key=lambda state: state[0])
    truth = states[place - 1][1] if place else None
    told = None if operation.result is None else convert(operation.result, Seen)
    if told != truth:
        found.add("wrong-read", f"{tell(operation)}: at that index it was {truth}")
    return True


def _at(event: Event) -> str:
    request = f", request {event.request_id}" if event.request_id else ""
    return f"index {event.index}, {event.op}{request}"
