"""Operations of batches and transactions by the methods' names, and the outcome of a batch."""

import inspect
from collections.abc import Callable

import msgspec
import pytest
from client_world import URLS, Replicas, answer, event, memory

from raftmem.api.requests.memory_bodies import Item
from raftmem.api.requests.transaction_bodies import TXN_OPS, TxnItem
from raftmem.client import AlreadyExists, Batch, Pin, RaftmemClient, ops

MADE: dict[str, Callable[[], dict[str, object]]] = {
    "ADD": lambda: ops.add(text="a", tags=["t"], ttl=2, on_duplicate="noop"),
    "UPDATE": lambda: ops.update("m", value=None, merge={"value.n": {"op": "inc", "by": 1}}),
    "DELETE": lambda: ops.delete("m"),
    "NOOP": lambda: ops.noop({"by": "judge", "reason": "same"}, memory_id="m"),
    "LOCK_ACQUIRE": lambda: ops.locks.acquire("l", owner="o", ttl=10, permits=2, metadata={"a": 1}),
    "LOCK_RENEW": lambda: ops.locks.renew("l", owner="o", token=1, ttl=10),
    "LOCK_RELEASE": lambda: ops.locks.release("l", owner="o", token=1),
    "LOCK_FORCE_RELEASE": lambda: ops.locks.force_release("l"),
    "TASK_ADD": lambda: ops.tasks.add("q", {"a": 1}, delay=1.5, priority=3, depends_on=["t0"]),
    "TASK_CLAIM": lambda: ops.tasks.claim(["q"], worker="w", ttl=10, max=2),
    "TASK_HEARTBEAT": lambda: ops.tasks.heartbeat("t", token=1),
    "TASK_COMPLETE": lambda: ops.tasks.complete("t", token=1, result=[1]),
    "TASK_FAIL": lambda: ops.tasks.fail("t", token=1, error="e", retryable=False, delay=2),
    "TASK_RELEASE": lambda: ops.tasks.release("t", token=1),
    "TASK_CANCEL": lambda: ops.tasks.cancel("t"),
    "TASK_RETRY": lambda: ops.tasks.retry("t"),
    "GATE_PUT": lambda: ops.gates.put("g", required=2, approvers=["user/mia", "user/bo"], pins=[Pin("m", 1)]),
    "GATE_APPROVE": lambda: ops.gates.approve("g", comment="fine"),
    "GATE_REVOKE": lambda: ops.gates.revoke("g"),
    "GATE_CONSUME": lambda: ops.gates.consume("g"),
}


def test_every_operation_of_a_transaction_has_a_builder() -> None:
    assert set(MADE) == set(TXN_OPS)


@pytest.mark.parametrize("op", MADE)
def test_operation_is_what_the_service_reads(op: str) -> None:
    made = MADE[op]()
    assert made["op"] == op
    msgspec.convert(msgspec.json.decode(msgspec.json.encode(made)), TxnItem)


def test_put_is_a_new_memory_under_its_id() -> None:
    made = ops.put("m", text="a", user_id="u")
    assert made == {"op": "ADD", "id": "m", "text": "a", "user_id": "u"}
    msgspec.convert(made, Item)


@pytest.mark.parametrize("group", ["locks", "tasks", "gates"])
def test_builders_take_the_parameters_of_the_methods(group: str) -> None:
    client = RaftmemClient(URLS, transport=Replicas(lambda _asked: answer({})))
    for name in (name for name in dir(getattr(ops, group)) if not name.startswith("_")):
        builder = inspect.signature(getattr(getattr(ops, group), name)).parameters
        method = inspect.signature(getattr(getattr(client, group), name)).parameters
        assert list(builder) == [one for one in method if one not in ("guards", "key", "wait", "keep")], name


# --- the outcome of a batch -----------------------------------------------------------------------------
def batch_of(*errors: dict[str, object] | None) -> Batch:
    results = [{"event": event(), "memory": None if error else memory(), "error": error} for error in errors]
    replicas = Replicas(lambda _asked: answer({"index": 9, "results": results}))
    with RaftmemClient(URLS, transport=replicas) as client:
        return client.batch([ops.add(text="x") for _ in errors], atomic=False)


TAKEN = {"status": 409, "code": "already-exists", "detail": "m2 is taken"}
LARGE = {"status": 413, "code": "too-large", "detail": "m3 is too large"}


def test_batch_that_was_applied_whole_raises_nothing() -> None:
    done = batch_of(None, None)
    assert done.raise_for_errors() is done
    assert done.rejected == []


def test_refused_operations_of_a_batch_are_found_and_raised() -> None:
    done = batch_of(None, TAKEN, LARGE)
    assert [item.error for item in done.rejected] == [TAKEN, LARGE]
    with pytest.raises(AlreadyExists, match="m2 is taken") as refused:
        done.raise_for_errors()
    assert (refused.value.failed_seq, refused.value.index) == (1, 9)
    assert refused.value.__notes__ == ["operation 2 is refused too: m3 is too large"]
