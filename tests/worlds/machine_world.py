"""What the machine tests are written in: short words for operations, and a state that runs commands on itself."""

import struct
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET

from raftmem.machine.run import Applied, step_entry
from raftmem.model import codec
from raftmem.model.commands import (
    Actor,
    Add,
    Content,
    Decision,
    Delete,
    Draft,
    Expire,
    Fields,
    GateApprove,
    GateConsume,
    GatePut,
    GateRevoke,
    Guard,
    Header,
    Idempotency,
    LockAcquire,
    LockExpire,
    LockForceRelease,
    LockLeave,
    LockRelease,
    LockRenew,
    Merge,
    Noop,
    Operation,
    OwnerRelease,
    Pin,
    Put,
    TaskAdd,
    TaskCancel,
    TaskClaim,
    TaskComplete,
    TaskExpire,
    TaskFail,
    TaskHeartbeat,
    TaskRelease,
    TaskRetry,
    Txn,
    Update,
)
from raftmem.model.coordination_rows import (
    DUE,
    Gate,
    Hold,
    Task,
    Waiter,
    due_until,
    gate_key,
    holders,
    queue_of,
    task_key,
)
from raftmem.model.records import Outcome, Record
from raftmem.storage.state.contract import StateStore
from raftmem.storage.state.in_memory import InMemoryStateStore

ALICE = Actor("agent", "alice")
BOB = Actor("agent", "bob")
SECOND = 1_000_000  # of log time

Step = tuple[Operation, Content | None]


def json(value: object) -> bytes:
    return msgspec.json.encode(value)


def floats(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def _content(given: dict[str, object]) -> Content:
    """Take the words of `given` that are content out of it. `value`, `metadata` and merges are plain values."""
    words = {name: given.pop(name) for name in ("text", "value", "metadata", "embedding", "merge") if name in given}
    for name in ("value", "metadata"):
        if words.get(name) is not None:
            words[name] = json(words[name])
    if isinstance(words.get("embedding"), list):
        words["embedding"] = floats(*words["embedding"])  # type: ignore[misc]  # lists of floats by construction
    if isinstance(words.get("merge"), dict):
        merges = words["merge"]
        assert isinstance(merges, dict)
        words["merge"] = tuple(Merge(path, op, json(by)) for path, (op, by) in merges.items())
    return msgspec.convert(words, Content)


def add(memory_id: str, *, on_duplicate: str | None = None, **given: object) -> Step:
    content = _content(given)
    return Add(memory_id, Fields(**given), on_duplicate), content  # type: ignore[arg-type]  # words of the test


def put(memory_id: str, **given: object) -> Step:
    content = _content(given)
    return Put(memory_id, Fields(**given)), content  # type: ignore[arg-type]  # words of the test


def update(memory_id: str, **given: object) -> Step:
    content = _content(given)
    return Update(memory_id, Fields(**given)), content  # type: ignore[arg-type]  # words of the test


def delete(memory_id: str) -> Step:
    return Delete(memory_id), None


def noop(memory_id: str | None = None, by: str = "llm") -> Step:
    return Noop(Decision(by, reason="same fact"), memory_id), None


def expire(memory_id: str, version: int) -> Step:
    return Expire(memory_id, version), None


def command(
    steps: Sequence[Step],
    *,
    time: int,
    wall_ms: int = 0,
    salt: int = 0,
    guards: tuple[Guard, ...] = (),
    atomic: bool = True,
    key: str | None = None,
    fingerprint: bytes = b"f" * 32,
    actor: Actor = ALICE,
) -> bytes:
    """The bytes of an entry; every slot gets a salt of its own made from `salt`."""
    header = Header(
        actor,
        "req",
        tuple(operation for operation, _ in steps),
        guards,
        atomic,
        None if key is None else Idempotency(key, fingerprint),
    )
    count = iter(range(len(steps)))
    body = codec.encode_draft(
        Draft(header, tuple(content for _, content in steps)),
        lambda size: struct.pack(">QQ", salt, next(count))[:size],
    )
    return codec.seal(body, time=time, wall_ms=wall_ms)


class World:
    """A state and its log. Time stands still unless `later` moves it."""

    def __init__(self, store: StateStore | None = None) -> None:
        self.store: StateStore = InMemoryStateStore() if store is None else store
        self.time = 1_000 * SECOND
        self.log: list[bytes] = []
        self.last: Applied | None = None

    def later(self, *, ms: int) -> None:
        self.time += ms * 1000

    @property
    def wall_ms(self) -> int:
        return 1_700_000_000_000 + self.time // 1000

    def run(
        self,
        *steps: Step,
        guards: tuple[Guard, ...] = (),
        atomic: bool = True,
        key: str | None = None,
        fingerprint: bytes = b"f" * 32,
        actor: Actor = ALICE,
    ) -> tuple[Outcome, ...]:
        index = self.store.head().index + 1
        data = command(
            steps,
            time=self.time,
            wall_ms=self.wall_ms,
            salt=index,
            guards=guards,
            atomic=atomic,
            key=key,
            fingerprint=fingerprint,
            actor=actor,
        )
        return self.feed(data).row.result.outcomes

    def one(self, step: Step, **words: object) -> Outcome:
        """The outcome of a single operation."""
        (outcome,) = self.run(step, **words)  # type: ignore[arg-type]  # words of `run`
        return outcome

    def feed(self, data: bytes, *, term: int = 1) -> Applied:
        with self.store.write() as writer:
            self.last = step_entry(writer, writer.head.index + 1, term, data)
        self.log.append(data)
        return self.last

    def memory(self, memory_id: str) -> Record:
        record = self.store.read().memory(memory_id)
        assert record is not None, memory_id
        return record

    def value(self, memory_id: str) -> object:
        value = self.memory(memory_id).value
        return UNSET if value is None else msgspec.json.decode(value)

    @property
    def changes(self) -> int:
        """How many changes the last entry made."""
        assert self.last is not None
        return len(self.last.step.changes)


# --- gates and transactions -----------------------------------------------------------------------
def gate_put(
    gate: str, required: int = 0, approvers: Sequence[str] = (), pins: Mapping[str, int] | None = None
) -> Step:
    return GatePut(gate, required, tuple(approvers), tuple(Pin(*pin) for pin in (pins or {}).items())), None


def approve(gate: str, comment: object = UNSET) -> Step:
    return GateApprove(gate), None if comment is UNSET else Content(payload=json(comment))


def revoke(gate: str) -> Step:
    return GateRevoke(gate), None


def consume(gate: str) -> Step:
    return GateConsume(gate), None


def txn(then: Sequence[Step] = (), otherwise: Sequence[Step] = ()) -> tuple[Step, ...]:
    """The steps of an entry, guards beside them."""
    return ((Txn(len(then)), None), *then, *otherwise)


def gate_of(world: World, name: str) -> Gate:
    found = world.store.read().coordination_row(gate_key(name))
    assert isinstance(found, Gate), name
    return found


# --- locks ------------------------------------------------------------------------------------------
def acquire(
    lock: str,
    owner: str,
    *,
    ttl_ms: int = 10_000,
    permits: int = 1,
    wait_ms: int = 0,
    leave_ms: int = 0,
    metadata: object = UNSET,
) -> Step:
    content = None if metadata is UNSET else Content(payload=json(metadata))
    return LockAcquire(lock, owner, ttl_ms, permits, wait_ms, leave_ms), content


def renew(lock: str, owner: str, token: int, ttl_ms: int | None = None) -> Step:
    return LockRenew(lock, owner, token, ttl_ms), None


def release(lock: str, owner: str, token: int) -> Step:
    return LockRelease(lock, owner, token), None


def force_release(lock: str) -> Step:
    return LockForceRelease(lock), None


def leave(lock: str, owner: str, asked: int, *, gone: bool = False) -> Step:
    return LockLeave(lock, owner, asked, gone), None


def expire_lock(lock: str, owner: str, token: int | None, renewals: int = 0, term: int = 1) -> Step:
    return LockExpire(lock, owner, token, renewals, term), None


def release_owner(owner: str) -> Step:
    return OwnerRelease(owner), None


def holds_in(world: World, lock: str) -> list[Hold]:
    """Who holds it, by token."""
    rows = [one.row for one in world.store.read().scan(holders(lock), limit=2000)]
    return [row for row in rows if isinstance(row, Hold)]


def queue_in(world: World, lock: str) -> list[Waiter]:
    """Who waits for it, first come first."""
    rows = [one.row for one in world.store.read().scan(queue_of(lock), limit=2000)]
    return [row for row in rows if isinstance(row, Waiter)]


# --- tasks ------------------------------------------------------------------------------------------
def _said(words: object) -> Content | None:
    return None if words is UNSET else Content(payload=json(words))


def add_task(task_id: str, queue: str = "q", *, payload: object = UNSET, **given: object) -> Step:
    return TaskAdd(task_id, queue, **given), _said(payload)  # type: ignore[arg-type]  # words of the test


def claim(*queues: str, worker: str = "w", ttl_ms: int = 1000, most: int = 1) -> Step:
    return TaskClaim(queues or ("q",), worker, ttl_ms, most), None


def heartbeat(task_id: str, token: int, ttl_ms: int | None = None) -> Step:
    return TaskHeartbeat(task_id, token, ttl_ms), None


def complete(task_id: str, token: int, result: object = UNSET) -> Step:
    return TaskComplete(task_id, token), _said(result)


def fail(
    task_id: str, token: int, error: object = UNSET, *, retryable: bool = True, delay_ms: int | None = None
) -> Step:
    return TaskFail(task_id, token, retryable, delay_ms), _said(error)


def give_back(task_id: str, token: int) -> Step:
    return TaskRelease(task_id, token), None


def cancel(task_id: str) -> Step:
    return TaskCancel(task_id), None


def retry(task_id: str) -> Step:
    return TaskRetry(task_id), None


def expire_task(task: Task, *, term: int = 1) -> Step:
    return TaskExpire(task.id, task.updated.index, task.updated.seq, term), None


def find_task(world: World, task_id: str) -> Task | None:
    found = world.store.read().coordination_row(task_key(task_id))
    assert found is None or isinstance(found, Task)
    return found


def task_of(world: World, task_id: str) -> Task:
    found = find_task(world, task_id)
    assert found is not None, task_id
    return found


def tasks_due(world: World) -> list[Task]:
    """What a leader would end now, as the index has it."""
    found = world.store.read().scan(DUE, limit=1000, stop=due_until(world.time))
    return [one.row for one in found if isinstance(one.row, Task)]
