"""The routes that write: one draft, one entry, one reply that says what it came to.

The rule: the reply shows the memory as it was right after its own operation, whatever was applied since, and a replay
under an Idempotency-Key shows the first reply again.
"""

from typing import Final

from raftmem.api.http import levels
from raftmem.api.http.call import Call, Headers, Reply
from raftmem.api.http.parameters import Parameters, memory_id
from raftmem.api.requests import memory_drafts
from raftmem.api.requests.memory_bodies import BATCH_OPS, AddBody, BatchBody, PatchBody, PutBody, convert
from raftmem.api.requests.memory_drafts import Step
from raftmem.api.responses import memory_refusals, memory_views
from raftmem.api.responses.memory_replies import BatchResult, BatchWritten, MemoryWritten
from raftmem.model.commands import Draft
from raftmem.service.interface import Written

_REPLAYED: Final = ((b"idempotent-replayed", b"true"),)


async def add(call: Call) -> Reply:
    """`POST /v1/memories`."""
    query = call.parameters(once=levels.WRITE)
    raw = await call.json()
    body = convert(raw, AddBody)
    step = memory_drafts.add(body, call.service.new_id)
    guards = memory_drafts.conditions(call, body.id or None)
    return await _one(call, query, memory_drafts.draft(call, query, (step,), body=body, raw=raw, guards=guards))


async def put(call: Call) -> Reply:
    """`PUT /v1/memories/{id}`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, PutBody)
    return await _conditional(call, query, target, memory_drafts.put(target, body), body=body, raw=raw)


async def patch(call: Call) -> Reply:
    """`PATCH /v1/memories/{id}`."""
    query, target = _target(call)
    raw = await call.json()
    body = convert(raw, PatchBody)
    return await _conditional(call, query, target, memory_drafts.update(target, body), body=body, raw=raw)


async def delete(call: Call) -> Reply:
    """`DELETE /v1/memories/{id}`."""
    query, target = _target(call)
    await call.no_body()
    return await _conditional(call, query, target, memory_drafts.delete(target))


async def batch(call: Call) -> Reply:
    """`POST /v1/events`."""
    query = call.parameters(once=levels.WRITE)
    raw = await call.json()
    body = convert(raw, BatchBody, ops=BATCH_OPS)
    guards = memory_drafts.conditions(call, None)
    steps = memory_drafts.batch(body, call)
    draft = memory_drafts.draft(call, query, steps, body=body, raw=raw, guards=guards, atomic=body.atomic)
    written = await call.service.write(draft, timeout_ms=levels.timeout_ms(query))
    _refuse_batch(written, atomic=body.atomic)
    results = [_result(call, written, seq) for seq in range(len(written.row.result.outcomes))]
    text = memory_views.encode(BatchWritten(written.row.index, results))
    return Reply(200, text, written.row.index, headers=_REPLAYED if written.replayed else ())


def _target(call: Call) -> tuple[Parameters, str]:
    query = call.parameters(once=levels.WRITE)
    return query, memory_id(call.segments[0])


async def _conditional(
    call: Call,
    query: Parameters,
    target: str,
    step: Step,
    *,
    body: PutBody | PatchBody | None = None,
    raw: object = None,
) -> Reply:
    listed = await memory_drafts.listed_version(call, target, timeout_ms=levels.timeout_ms(query))
    guards = memory_drafts.conditions(call, target, listed)
    return await _one(call, query, memory_drafts.draft(call, query, (step,), body=body, raw=raw, guards=guards))


async def _one(call: Call, query: Parameters, draft: Draft) -> Reply:
    """Write one operation. Raises: Problem when it is refused."""
    written = await call.service.write(draft, timeout_ms=levels.timeout_ms(query))
    row = written.row
    outcome = row.result.outcomes[0]
    if not outcome.applied:
        raise memory_refusals.problem(written, 0)
    event = memory_views.event(row, written.entry, 0)
    record = written.record(0)
    headers: Headers = _REPLAYED if written.replayed else ()
    if record is None:
        return Reply(200, memory_views.encode(MemoryWritten(None, event)), row.index, headers=headers)
    headers += (memory_views.etag(record),)
    if outcome.op == "ADD":
        headers += ((b"location", b"/v1/memories/" + record.id.encode()),)
    text = memory_views.encode(MemoryWritten(memory_views.memory(record), event))
    return Reply(201 if outcome.op == "ADD" else 200, text, row.index, headers=headers)


def _refuse_batch(written: Written, *, atomic: bool) -> None:
    """Raises: Problem when the whole entry was refused, with the operation that did it."""
    outcomes = written.row.result.outcomes
    for seq, outcome in enumerate(outcomes):
        of_the_entry = outcome.code in memory_refusals.OF_THE_ENTRY
        if not outcome.applied and (of_the_entry or (atomic and outcome.code != "batch-refused")):
            problem = memory_refusals.problem(written, seq)
            problem.extra["failed_seq"] = seq
            raise problem


def _result(call: Call, written: Written, seq: int) -> BatchResult:
    event = memory_views.event(written.row, written.entry, seq)
    if event.outcome == "refused":
        problem = memory_refusals.problem(written, seq)
        return BatchResult(event, None, problem.body(instance=call.instance, request_id=call.request_id))
    record = written.record(seq)
    return BatchResult(event, None if record is None else memory_views.memory(record), None)
