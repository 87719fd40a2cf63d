"""The routes of gates: define, approve, revoke, go through, and look, also until one is open."""

from typing import Final

from raftmem.api.http import levels
from raftmem.api.http.call import Call, Reply
from raftmem.api.http.parameters import Parameters, name
from raftmem.api.http.problems import not_found
from raftmem.api.requests import coordination_drafts
from raftmem.api.requests.coordination_bodies import ApproveBody, BareBody, GateBody
from raftmem.api.requests.memory_bodies import convert
from raftmem.api.requests.memory_drafts import Step
from raftmem.api.responses import coordination_views, memory_views
from raftmem.api.responses.coordination_replies import GateChanged
from raftmem.api.responses.coordination_views import GateView
from raftmem.api.routes import listing
from raftmem.api.routes.coordination import Applied, optional_body, write
from raftmem.limits import WAIT_MS_MAX
from raftmem.model.commands import GateConsume, GateRevoke
from raftmem.model.coordination_rows import GATES, Gate, gate_key

_LIST: Final = (*listing.PARAMETERS, "prefix")


# --- writing --------------------------------------------------------------------------------------
async def put(call: Call) -> Reply:
    """`PUT /v1/gates/{name}`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, GateBody)
    done = await write(call, query, coordination_drafts.put_gate(target, body), body, raw)
    row = done.written.reader.coordination_row(gate_key(target), done.at)
    is_new = isinstance(row, Gate) and row.created == done.at
    return _changed(done, target, status=201 if is_new else 200)


async def approve(call: Call) -> Reply:
    """`POST /v1/gates/{name}/approve`."""
    query, target = _target(call)
    body, raw = await optional_body(call, ApproveBody)
    return _changed(await write(call, query, coordination_drafts.approve(target, body.comment), body, raw), target)


async def revoke(call: Call) -> Reply:
    """`POST /v1/gates/{name}/revoke`."""
    query, target = _target(call)
    body, raw = await optional_body(call, BareBody)
    return _changed(await write(call, query, Step(GateRevoke(target), None), body, raw), target)


async def consume(call: Call) -> Reply:
    """`POST /v1/gates/{name}/consume`."""
    query, target = _target(call)
    body, raw = await optional_body(call, BareBody)
    return _changed(await write(call, query, Step(GateConsume(target), None), body, raw), target)


def _target(call: Call) -> tuple[Parameters, str]:
    query = call.parameters(once=levels.WRITE)
    return query, name(call.segments[0], "name")


def gate_of(done: Applied, target: str) -> GateView | None:
    """As the operation left it."""
    return coordination_views.gate_at(done.written.reader, target, done.at)


def _changed(done: Applied, target: str, *, status: int = 200) -> Reply:
    gate = gate_of(done, target)
    assert gate is not None, "an operation on a gate leaves one"
    return Reply(status, memory_views.encode(GateChanged(gate, done.event)), done.index, headers=done.headers)


# --- looking --------------------------------------------------------------------------------------
async def one(call: Call) -> Reply:
    """`GET /v1/gates/{name}`; with `wait_ms` as soon as it is open, or else when the time is over."""
    given = call.parameters(once=(*levels.READ, "wait_ms"))
    target = name(call.segments[0], "name")
    options = levels.read_options(given, call.settings.level())
    wait_ms = given.integer("wait_ms", high=WAIT_MS_MAX) or 0
    if wait_ms:
        with call.wait(wait_ms):
            point = call.point = await call.service.await_gate(target, options, wait_ms=wait_ms, gone=call.gone)
    else:
        point = await call.read(options)
    row = point.reader.coordination_row(gate_key(target))
    if not isinstance(row, Gate):
        raise not_found(f"there is no gate {target}; PUT makes one", index=point.index)
    return Reply(200, memory_views.encode(coordination_views.gate(point.reader, row)), point.index, point.level)


async def many(call: Call) -> Reply:
    """`GET /v1/gates`."""
    given = call.parameters(once=_LIST)
    prefix = given.name("prefix") or ""
    source = listing.Source(
        Gate,
        GATES,
        lambda _, gate: gate.name.startswith(prefix),
        view=lambda reader, gate, _: coordination_views.gate(reader, gate),
    )
    return (await listing.read(call, given, source)).reply("gates")
