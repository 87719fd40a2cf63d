"""Entries of the log that are not applied are shown like the others: what each operation is about, and no outcome."""

import msgspec
import pytest

from raftmem.api.responses import memory_views
from raftmem.api.responses.payloads import payload
from raftmem.cli.pending import asked
from raftmem.cli.rows import event_row
from raftmem.model import codec, commands
from raftmem.model.commands import Actor, Draft, Fields, Header, Operation
from raftmem.storage.state.contract import EventRow

Event = dict[str, object]
SUBJECTS: dict[Operation, str | None] = {
    commands.Add("m", Fields()): "m",
    commands.Put("m", Fields()): "m",
    commands.Update("m", Fields()): "m",
    commands.Delete("m"): "m",
    commands.Noop(commands.Decision("llm"), "m"): "m",
    commands.Expire("m", 3): "m",
    commands.LockAcquire("a/b", "me#1", 1000): "a/b",
    commands.LockRenew("a/b", "me#1", 7): "a/b token 7",
    commands.LockRelease("a/b", "me#1", 7): "a/b token 7",
    commands.LockForceRelease("a/b"): "a/b",
    commands.LockLeave("a/b", "me#1", 5): "a/b me#1",
    commands.LockExpire("a/b", "me#1", 7, 0, 1): "a/b token 7 me#1",
    commands.OwnerRelease("me#1"): "me#1",
    commands.TaskAdd("t", "q"): "t",
    commands.TaskClaim(("q",), "w#1", 1000): None,
    commands.TaskHeartbeat("t", 7): "t",
    commands.TaskComplete("t", 7): "t",
    commands.TaskFail("t", 7): "t",
    commands.TaskRelease("t", 7): "t",
    commands.TaskCancel("t"): "t",
    commands.TaskRetry("t"): "t",
    commands.TaskExpire("t", 5, 0, 1): "t",
    commands.GatePut("g", 1): "g",
    commands.GateApprove("g"): "g",
    commands.GateRevoke("g"): "g",
    commands.GateConsume("g"): "g",
}


def shown(*operations: Operation) -> list[Event]:
    header = Header(Actor("agent", "planner-7"), "req-1", operations)
    body = codec.encode_draft(Draft(header, (None,) * len(operations)), bytes)
    entry = codec.decode(codec.seal(body, time=1, wall_ms=1), index=9)
    row = EventRow(9, 1, b"", asked(entry), b"")
    found = [
        memory_views.event(row, entry, seq, payload=payload(row, entry, seq)) for seq in range(len(row.result.outcomes))
    ]
    return [msgspec.json.decode(memory_views.encode(event), type=Event) for event in found]


@pytest.mark.parametrize("operation", SUBJECTS, ids=lambda one: type(one).__name__)
def test_operation_is_shown_with_what_it_is_about(operation: Operation) -> None:
    (event,) = shown(operation)
    assert (event["op"], event_row(event)[5]) == (type(operation).__struct_config__.tag, SUBJECTS[operation])


def test_every_operation_is_tried() -> None:
    named = {kind.__name__ for kind in Operation.__args__}
    assert named - {"Txn"} == {type(operation).__name__ for operation in SUBJECTS}


def test_transaction_shows_neither_arm() -> None:
    events = shown(commands.Txn(1), commands.LockForceRelease("a"), commands.LockForceRelease("b"))
    assert [(event["op"], "succeeded" in event) for event in events] == [("TXN", False)]
