"""`POST /v1/txn`: guards, and two arms of operations on memories, locks, tasks and gates; one entry, one arm, whole.

Which arm ran is no failure: 200 either way. A refused operation is the problem of the whole, with its place in the arm.
"""

from collections.abc import Callable, Sequence
from typing import Final, assert_never

from msgspec import UNSET

from raftmem.api.http import levels
from raftmem.api.http.call import Call, Reply
from raftmem.api.http.parameters import memory_id as row_id
from raftmem.api.http.parameters import name
from raftmem.api.requests import coordination_drafts, memory_drafts
from raftmem.api.requests.memory_bodies import AddItem, DeleteItem, NoopItem, UpdateItem, convert
from raftmem.api.requests.memory_drafts import Step
from raftmem.api.requests.transaction_bodies import (
    TXN_OPS,
    GateApproveItem,
    GateConsumeItem,
    GateItem,
    GatePutItem,
    GateRevokeItem,
    LockAcquireItem,
    LockForceReleaseItem,
    LockItem,
    LockReleaseItem,
    LockRenewItem,
    TaskAddItem,
    TaskCancelItem,
    TaskClaimItem,
    TaskCompleteItem,
    TaskFailItem,
    TaskHeartbeatItem,
    TaskItem,
    TaskReleaseItem,
    TaskRetryItem,
    TxnBody,
    TxnItem,
)
from raftmem.api.responses import coordination_views, memory_refusals, memory_views
from raftmem.api.responses.coordination_replies import TxnResult, TxnWritten
from raftmem.api.routes.coordination import Applied
from raftmem.api.routes.gates import gate_of
from raftmem.api.routes.tasks import cancel_requested, claimed
from raftmem.errors import BadRequest, TooLarge
from raftmem.limits import OPERATIONS_MAX, TXN_OPERATIONS_MAX
from raftmem.model import commands
from raftmem.model.commands import GateOperation, LockOperation, MemoryOperation, Operation, TaskOperation
from raftmem.model.records import Outcome, operation_of
from raftmem.service.interface import Written

_OF_THE_OTHERS: Final = "batch-refused"


async def txn(call: Call) -> Reply:
    """`POST /v1/txn`."""
    query = call.parameters(once=levels.WRITE)
    raw = await call.json()
    body = convert(raw, TxnBody, ops=TXN_OPS)
    guards = memory_drafts.conditions(call, None)
    then, otherwise = _arm(call, "then", body.then), _arm(call, "else", body.otherwise)
    steps = (Step(commands.Txn(len(then)), None), *then, *otherwise)
    asked = memory_drafts.draft(call, query, steps, body=body, raw=raw, guards=guards)
    written = await call.service.write(asked, timeout_ms=levels.timeout_ms(query))
    return _reply(written)


def _reply(written: Written) -> Reply:
    """Raises: Problem when the transaction was refused."""
    row, header = written.row, written.entry.header
    outcomes = row.result.outcomes
    first = Applied(written, 0)
    if not first.outcome.applied or header is None:
        raise _problem(written, outcomes)
    results = [
        _result(Applied(written, seq), header.operations[place])
        for seq in range(1, len(outcomes))
        if (place := operation_of(header, outcomes, seq)) is not None
    ]
    about = first.outcome.about
    succeeded = about is not None and about.succeeded is True
    failed = memory_refusals.false_guards(written, first.outcome)
    text = memory_views.encode(TxnWritten(succeeded, row.index, results, failed, first.event))
    return Reply(200, text, row.index, headers=first.headers)


def _problem(written: Written, outcomes: Sequence[Outcome]) -> Exception:
    """Of the operation that refused it; or of the transaction itself (its key)."""
    for seq, outcome in enumerate(outcomes[1:], 1):
        if outcome.code != _OF_THE_OTHERS:
            problem = memory_refusals.problem(written, seq)
            problem.extra["failed_seq"] = seq - 1
            return problem
    return memory_refusals.problem(written, 0)


def _result(done: Applied, operation: Operation) -> TxnResult:
    """The result of one operation, as it was right after it."""
    written, event = done.written, done.event
    if isinstance(operation, MemoryOperation):
        record = written.record(done.seq)
        return TxnResult(event, memory=None if record is None else memory_views.memory(record))
    about = done.outcome.about
    if isinstance(operation, LockOperation) and about is not None and about.lock is not None:
        return TxnResult(event, lock=coordination_views.lock(written.reader, about.lock, done.now))
    if isinstance(operation, GateOperation):
        return TxnResult(event, gate=gate_of(done, operation.gate))
    if isinstance(operation, commands.TaskClaim):
        return TxnResult(event, tasks=claimed(done))
    if isinstance(operation, TaskOperation) and about is not None and about.task_ids:
        target = about.task_ids[0]
        task = coordination_views.task_at(written.reader, target, done.at, done.now)
        asked = cancel_requested(done, target) if isinstance(operation, commands.TaskHeartbeat) else UNSET
        return TxnResult(event, task=task, cancel_requested=asked)
    return TxnResult(event)


# --- items ----------------------------------------------------------------------------------------
def _arm(call: Call, arm: str, items: Sequence[TxnItem]) -> list[Step]:
    if len(items) > TXN_OPERATIONS_MAX:
        raise TooLarge(f"{arm} has {len(items)} operations; the limit is {TXN_OPERATIONS_MAX}: use several requests")
    fresh = memory_drafts.fresh_ids(call, len(items))
    steps = [_step(fresh, item, f"{arm}[{at}].") for at, item in enumerate(items)]
    claimed_max = sum(step.operation.max for step in steps if isinstance(step.operation, commands.TaskClaim))
    if claimed_max > OPERATIONS_MAX:
        raise TooLarge(
            f"the claims of {arm} take up to {claimed_max} tasks; the limit is {OPERATIONS_MAX}: claim fewer"
        )
    locks: set[str] = set()
    for at, step in enumerate(steps):
        if isinstance(step.operation, commands.LockOperation) and not isinstance(step.operation, commands.OwnerRelease):
            lock = step.operation.lock
            if lock in locks:
                place = f"{arm}[{at}].name"
                detail = f"{place}: {lock} stands twice in one arm; one operation on a lock can take effect there"
                raise BadRequest(detail, parameter=place)
            locks.add(lock)
    return steps


def _step(fresh: Callable[[], str], item: TxnItem, at: str) -> Step:
    if isinstance(item, AddItem | UpdateItem | DeleteItem | NoopItem):
        return memory_drafts.memory_item(item, fresh, at)
    if isinstance(item, LockItem):
        return _lock_step(item, at)
    if isinstance(item, TaskItem):
        return _task_step(fresh, item, at)
    return _gate_step(item, at)


def _lock_step(item: LockItem, at: str) -> Step:
    lock = name(item.name, at + "name")
    match item:
        case LockAcquireItem():
            return coordination_drafts.acquire(lock, item, at=at)
        case LockRenewItem():
            return Step(coordination_drafts.renew(lock, item, at), None)
        case LockReleaseItem():
            return coordination_drafts.release(lock, item, at)
        case LockForceReleaseItem():
            return Step(commands.LockForceRelease(lock), None)
        case _:
            assert_never(item)


def _task_step(fresh: Callable[[], str], item: TaskItem, at: str) -> Step:
    match item:
        case TaskAddItem():
            return coordination_drafts.add_task(item, fresh, at)
        case TaskClaimItem():
            return coordination_drafts.claim(item, at)
    task = row_id(item.id, at + "id")
    match item:
        case TaskHeartbeatItem():
            return coordination_drafts.heartbeat(task, item)
        case TaskCompleteItem():
            return coordination_drafts.complete(task, item, at)
        case TaskFailItem():
            return coordination_drafts.fail(task, item, at)
        case TaskReleaseItem():
            return Step(commands.TaskRelease(task, item.token), None)
        case TaskCancelItem():
            return Step(commands.TaskCancel(task), None)
        case TaskRetryItem():
            return Step(commands.TaskRetry(task), None)
        case _:
            assert_never(item)


def _gate_step(item: GateItem, at: str) -> Step:
    gate = name(item.name, at + "name")
    match item:
        case GatePutItem():
            return coordination_drafts.put_gate(gate, item, at)
        case GateApproveItem():
            return coordination_drafts.approve(gate, item.comment, at)
        case GateRevokeItem():
            return Step(commands.GateRevoke(gate), None)
        case GateConsumeItem():
            return Step(commands.GateConsume(gate), None)
        case _:
            assert_never(item)
