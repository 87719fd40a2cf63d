"""The requests about gates, and the wait for a gate to open."""

from collections.abc import Sequence
from typing import Final

from raftmem.client.coordination_shapes import Gate, GateWritten, Pin
from raftmem.client.effects import Pause, Program
from raftmem.client.errors import WaitTimeout
from raftmem.client.plan import (
    WAIT_S_MAX,
    Guard,
    Level,
    ListPlan,
    Plan,
    Reading,
    Shape,
    get,
    given,
    guards_of,
    listing,
    ms,
    parser,
    segment,
    write,
)
from raftmem.client.retry import Caller
from raftmem.client.shapes import Memory
from raftmem.client.values import names, seconds

_GATE: Final = parser(Gate)
_WRITTEN: Final = parser(GateWritten)
_TURN_S_MIN: Final = 0.1  # between two looks at a gate


def put(
    name: str,
    *,
    required: int = 1,
    approvers: Sequence[str] = (),
    pins: Sequence[Memory | Pin] = (),
    guards: Sequence[Guard] = (),
    key: str | None = None,
) -> Plan[GateWritten]:
    """Define a gate. It opens at `required` approvals (of `approvers`, if any are named) while every pinned memory is
    as it was given here. The same definition again changes nothing; another one drops the approvals."""
    body = {"required": required, **given(approvers=names(approvers, "approvers") or None, pins=pinned(pins) or None)}
    return write("PUT", _path(name), _WRITTEN, {**body, **given(guards=guards_of(guards))}, key=key)


def pinned(pins: Sequence[Memory | Pin]) -> list[dict[str, object]]:
    """Pins as the service reads them."""
    return [{"memory": pin.memory if isinstance(pin, Pin) else pin.id, "version": pin.version} for pin in pins]


def approve(name: str, *, comment: str | None = None, key: str | None = None) -> Plan[GateWritten]:
    """Approve as this client's actor; one actor counts once. Raises: Forbidden, NotFound, WrongState."""
    return write("POST", f"{_path(name)}/approve", _WRITTEN, given(comment=comment), key=key)


def revoke(name: str, *, key: str | None = None) -> Plan[GateWritten]:
    """Take this actor's approval back. Raises: NotFound."""
    return write("POST", f"{_path(name)}/revoke", _WRITTEN, {}, key=key)


def consume(name: str, *, guards: Sequence[Guard] = (), key: str | None = None) -> Plan[GateWritten]:
    """Pass through the gate, once. Raises: NotFound, WrongState when it is not open."""
    return write("POST", f"{_path(name)}/consume", _WRITTEN, given(guards=guards_of(guards)), key=key)


def show(name: str, *, consistency: Level | None = None) -> Plan[Gate]:
    """One gate. Raises: NotFound."""
    return get(_path(name), _GATE, reading=Reading(consistency))


def many(
    *, prefix: str | None = None, descending: bool = False, consistency: Level | None = None, page_size: int = 100
) -> ListPlan[Gate]:
    """List gates. Each page shows its own moment."""
    return listing("/v1/gates", "gates", list[Gate], given(prefix=prefix), Shape(page_size, descending, consistency))


def waiting_open(caller: Caller, name: str, wait: float | None) -> Program[Gate]:
    """Wait until it is open; `wait` None: without a limit. Raises: WaitTimeout, NotFound."""
    ends = None if wait is None else caller.clock.now() + seconds(wait, "wait")
    while True:
        left = WAIT_S_MAX if ends is None else min(max(ends - caller.clock.now(), 0.0), WAIT_S_MAX)
        asked = caller.clock.now()
        plan = get(_path(name), _GATE, given(wait_ms=ms(left, "wait") or None), reading=Reading(), wait_s=left)
        gate = (yield from caller.call(plan)).value
        if gate.open:
            return gate
        if ends is not None and caller.clock.now() >= ends:
            detail = f"gate {name} did not open within {wait:g} s: {len(gate.approvals)} of {gate.required} approvals"
            raise WaitTimeout(detail)
        if caller.clock.now() - asked < _TURN_S_MIN:  # the wait was cut short
            yield Pause(_TURN_S_MIN)


def _path(name: str) -> str:
    return f"/v1/gates/{segment(name)}"
